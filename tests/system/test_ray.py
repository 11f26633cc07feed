"""`shotclock bench --engine ray` on a real cluster of three nodes, one of which loses its power."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ray_cluster import run_cluster, wait_for
from shotclock.bench.record.folder import RunFolder
from shotclock.bench.verify.check import verify

HELD = """
import os, sys, time
from pathlib import Path
from shotclock.training.loops.digits_mlp import build_quantized

FOLDER = Path(os.environ["HELD"])

def build(seed):
    if seed == 1 and not (FOLDER / "go").exists():
        (FOLDER / "host").write_text(sys.argv[-1])
        while not (FOLDER / "go").exists():
            time.sleep(0.05)
    return build_quantized(seed)
"""
"""A workload whose second seed waits, so that its node can be killed in the middle."""


def read_example() -> list[str]:
    """The small run of the page."""
    page = (Path(__file__).parents[2] / "docs" / "run-on-ray.md").read_text()
    return next(
        line[2:].split() for line in page.splitlines() if line.startswith("$ shotclock bench --engine")
    )


def test_a_run_is_complete_when_a_node_is_killed_in_the_middle(tmp_path: Path) -> None:
    signals, out = tmp_path / "signals", tmp_path / "run"
    signals.mkdir()
    with run_cluster(("alpha", "beta", "gamma"), {"held": HELD}, {"HELD": str(signals)}) as cluster:
        command = [*read_example(), "--workload", "held:build", "--json", "--out", str(out)]
        with (tmp_path / "progress").open("wb") as progress:
            run = subprocess.Popen(
                [sys.executable, "-P", "-m", *command],
                env={**cluster.environment, "RAY_ADDRESS": cluster.address},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=progress,
            )
            replicates = out / "replicates"
            wait_for(lambda: (signals / "host").exists() or run.poll() is not None, "seed 1 did not start")
            wait_for(
                lambda: (replicates / "seed-000-validation.json").exists() or run.poll() is not None,
                "seed 0 and its repetition did not finish",
            )
            finished = {file: file.read_bytes() for file in replicates.glob("seed-000*.json")}
            lost = (signals / "host").read_text()
            cluster.kill(lost)
            (signals / "go").touch()
            printed, _ = run.communicate()
    assert run.returncode == 0, (tmp_path / "progress").read_text()
    summary = json.loads(printed)
    assert summary["status"] == "complete"
    assert summary["arms"]["classical-control"]["seeds"] == [0, 1]
    assert len(finished) == 2
    assert {file: file.read_bytes() for file in finished} == finished

    replication = summary["replication"]
    assert [(each["seed"], each["host"]) for each in replication["lost"]] == [(1, lost)]
    ran = {name: (host["replicates"], host["validations"]) for name, host in replication["hosts"].items()}
    assert lost not in ran
    assert sorted(seed for seeds, _ in ran.values() for seed in seeds) == [0, 1]
    first = next(name for name, (seeds, _) in ran.items() if 0 in seeds)
    second = next(name for name, (_, repeated) in ran.items() if repeated == [0])
    assert first != second
    # the same seed on equal machines trains the same model
    assert replication["repeated"]["classical-control.loss"] == {"n": 1, "equal": 1, "mean": 0.0}
    assert replication["spread"]["classical-control.loss"]["n"] == 3
    assert replication["others"] == []

    assert verify(out) == []
    assert RunFolder(out).read_summary().replication is not None
    page = (out / "report.html").read_text()
    assert f"Lost: seed 1 on {lost}" in page
    assert "it ran again on" in page
