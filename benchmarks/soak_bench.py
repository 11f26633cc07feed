"""The full run: every arm of the default workload, three workloads on three devices, load up to the knee.

Everything is EMULATED and runs on the virtual clock: emulated waits are accounted, the software's time is
measured, so the machine must do nothing else. `--runs FOLDER` keeps the runs, and goes on from those in it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import _extras
from _full_run_page import CHARTS, LOAD_CHART, TERMINAL, Cell, FullRun, has_load_chart, write_page

WORKLOADS = ("digits-quantized", "digits-gated", "mnist-quantized")
DEVICES = ("heron-torino", "heron-boston", "nighthawk-berlin")
ARMS = ("--arms", "classical-only,classical-control,hybrid-colocated")


class Effort(NamedTuple):
    """What is run.

    full: words of the full run.
    cell: words of a run of the table.
    load: words of the load.
    workloads: rows of the table.
    devices: each with every workload.
    """

    full: tuple[str, ...]
    cell: tuple[str, ...]
    load: tuple[str, ...]
    workloads: tuple[str, ...]
    devices: tuple[str, ...]


FULL = Effort(
    full=(),
    cell=(*ARMS, "--steps", "85"),  # 17 calls a seed, 136 in all: a p95 needs 130
    load=("--sweep", "--rate", "4", "--duration", "250", "--deadline-ms", "1000"),
    workloads=WORKLOADS,
    devices=DEVICES,
)
QUICK = Effort(
    full=("--seeds", "2", "--steps", "10"),
    cell=(*ARMS, "--seeds", "2", "--steps", "10"),
    load=("--rate", "4", "--duration", "40"),
    workloads=WORKLOADS[:1],
    devices=DEVICES[-1:],
)


def main() -> None:
    """Runs what `--runs` lacks, then writes the page and the charts beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps of one workload on one device")
    parser.add_argument("--page", type=Path, required=True, help="where the markdown goes; charts beside it")
    parser.add_argument("--runs", type=Path, help="folder of the runs")
    words = parser.parse_args()
    effort = QUICK if words.quick else FULL
    with TemporaryDirectory() as folder:
        run = measure(effort, words.runs or Path(folder))
        charts = words.page.with_suffix("")
        charts.mkdir(parents=True, exist_ok=True)
        for name in CHARTS:
            shutil.copyfile(run.full / "charts" / f"{name}.svg", charts / f"{name}.svg")
        if has_load_chart(run):
            shutil.copyfile(run.load / "charts" / f"{LOAD_CHART}.svg", charts / f"{LOAD_CHART}.svg")
        write_page(run, words.page)


def measure(effort: Effort, runs: Path) -> FullRun:
    """The folders of complete runs."""
    runs.mkdir(parents=True, exist_ok=True)
    return FullRun(
        full=_run(runs / "full", "summary.json", "bench", *effort.full),
        cells=tuple(
            Cell(
                workload,
                device,
                _run(
                    runs / f"{workload}-{device}",
                    "summary.json",
                    "bench",
                    "--workload",
                    workload,
                    *effort.cell,
                    device=device,
                ),
            )
            for workload in effort.workloads
            for device in effort.devices
        ),
        load=_run(runs / "load", "load.json", "load", *effort.load),
        date=datetime.now(UTC).date().isoformat(),
    )


def _run(folder: Path, result: str, command: str, *words: str, device: str = DEVICES[0]) -> Path:
    """The folder of the command's run; a run that is there with its result is not repeated."""
    if (folder / result).exists() and (folder / TERMINAL).exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    print(" ".join(["running", command, *words, device]), file=sys.stderr)
    shotclock = [sys.executable, "-P", "-m", "shotclock", command, "--clock", "virtual", "--out", str(folder)]
    environment = os.environ | {"SHOTCLOCK_QUANTUM__DEVICE": device}
    ended = subprocess.run(
        [*shotclock, *words], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if ended.returncode not in {0, 99}:  # 99: a threshold failed, which is a result
        sys.exit(ended.returncode)
    (folder / TERMINAL).write_text(ended.stdout, encoding="utf-8")
    return folder


if __name__ == "__main__":
    _extras.run(main)
