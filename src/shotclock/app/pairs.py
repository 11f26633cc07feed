"""Pairs of bench runs in turns (A B, B A, A B, …), each in a separate process, resumable.

A folder of pairs holds `a/` and `b/` with the complete runs `001`, `002`, …; `unfinished/` with what an
interrupted or failed run left; `logs/` with each run's output; and `pairs.json`, the job.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shotclock.bench.record.folder import RunFolder
from shotclock.domain import documents, files
from shotclock.domain.errors import MachineError, RunError, SettingsError, ShotclockError
from shotclock.settings import Settings

Side = Literal["a", "b"]
SIDES: tuple[Side, Side] = ("a", "b")
THRESHOLD_FAILED = 99
"""The exit code of a complete run that missed a threshold; it is compared like any other."""
THIS = (sys.executable, "-m", "shotclock")
INTERRUPT_LIMIT_S = 120.0
"""How long an interrupted run may take to write its results."""


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The progress of one run: its pair and side, and its duration; seconds is None while it runs."""

    pair: int
    side: Side
    seconds: float | None


@dataclass(frozen=True, slots=True)
class PairsJob:
    """What is run.

    out: the folder of pairs.
    settings: the settings files of A and B.
    commands: the commands that run A and B.
    bench: further arguments of `shotclock bench`.
    """

    out: Path
    settings: tuple[Path, Path]
    commands: tuple[tuple[str, ...], tuple[str, ...]]
    bench: tuple[str, ...]

    def folder(self, side: Side, pair: int) -> Path:
        """The folder of a complete run; pairs count from 1."""
        return self.out / side / f"{pair:03d}"

    def has(self, side: Side, pair: int) -> bool:
        """Whether the run is complete."""
        return (self.folder(side, pair) / "summary.json").is_file()

    def complete(self) -> int:
        """How many pairs are complete, counted from the first without a gap."""
        pair = 0
        while all(self.has(side, pair + 1) for side in SIDES):
            pair += 1
        return pair


def turns(pairs: int) -> Iterator[tuple[int, Side]]:
    """The order of the runs: A B, B A, A B, …, so that drift affects both sides equally."""
    for pair in range(1, pairs + 1):
        for side in SIDES if pair % 2 else SIDES[::-1]:
            yield pair, side


def prepare(job: PairsJob) -> None:
    """Creates the folder, or checks that an existing one belongs to the same job.

    Raises SettingsError on a folder of something else, MachineError if it cannot be written.
    """
    document = _describe_job(job)
    record = job.out / "pairs.json"
    try:
        if record.is_file():
            _refuse_another(record, document)
        elif job.out.exists() and any(job.out.iterdir()):
            raise SettingsError(f"--out {job.out}: is not empty and has no pairs; name a new folder")
        for name in (*SIDES, "unfinished", "logs"):
            files.make_folder(job.out / name)
        files.write_text(record, json.dumps(document, indent=2))
    except (FileExistsError, NotADirectoryError) as error:
        raise MachineError(f"--out {job.out}: {error.filename} is a file, not a folder") from error
    except OSError as error:
        raise MachineError(f"--out {job.out}: cannot write there: {error.strerror}") from error


def _describe_job(job: PairsJob) -> dict[str, Any]:
    """`pairs.json`, schema 1."""
    document: dict[str, Any] = {"schema": 1, "bench": list(job.bench)}
    for side, file, command in zip(SIDES, job.settings, job.commands, strict=True):
        text = file.read_text(encoding="utf-8", errors="replace")
        document[side] = {"command": list(command), "settings": text}
    return document


def _refuse_another(record: Path, document: dict[str, Any]) -> None:
    try:
        before = documents.parse_json(files.read_bytes(record, documents.MOST_BYTES))
    except documents.DocumentError as error:
        raise SettingsError(f"{record}: is not valid JSON; name a new folder with --out") from error
    if not isinstance(before, dict):
        raise SettingsError(f"{record}: was not written by `shotclock pairs`; name a new folder with --out")
    words = {"a": "the settings or the command of A", "b": "those of B", "bench": "the options after --"}
    changed = [what for key, what in words.items() if before.get(key) != document[key]]
    if changed:
        raise SettingsError(
            f"--out {record.parent}: has pairs of another job ({' and '.join(changed)} differ); "
            f"name a new folder"
        )


def make(job: PairsJob, pairs: int, report: Callable[[RunProgress], None]) -> None:
    """Makes the runs that are missing from this many pairs.

    Raises KeyboardInterrupt if interrupted: complete runs stay, the present one is kept in `unfinished/`;
    SettingsError, MachineError or RunError if a run fails, according to its exit code.
    """
    for pair, side in turns(pairs):
        if not job.has(side, pair):
            report(RunProgress(pair, side, None))
            began = time.monotonic()
            _run(job, pair, side)
            report(RunProgress(pair, side, time.monotonic() - began))


def _run(job: PairsJob, pair: int, side: Side) -> None:
    index = SIDES.index(side)
    unfinished = job.out / "unfinished" / f"{side}-{pair:03d}"
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a run that was interrupted or failed
    log = job.out / "logs" / f"{side}-{pair:03d}.txt"
    command = [*job.commands[index], "bench", "--config", str(job.settings[index])]
    code = _wait([*command, *job.bench, "--out", str(unfinished)], log)
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if code not in (0, THRESHOLD_FAILED):
        raise _failure(code, f"pair {pair}, {side.upper()}", log)
    status = RunFolder(unfinished).read_summary().status
    if status != "complete":
        raise RunError(f"pair {pair}, {side.upper()}: the run is {status}; its output is in {log}")
    unfinished.rename(job.folder(side, pair))


def _wait(command: list[str], log: Path) -> int:
    """The exit code. The run has a separate session, so that Ctrl-C signals it only once, from here."""
    with files.create(log) as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise MachineError(f"{command[0]}: cannot be run: {error.strerror}") from error
        try:
            return process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)
            _end(process)
            raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """Waits for it to write its results; a second Ctrl-C, or the time limit, kills it."""
    try:
        process.wait(INTERRUPT_LIMIT_S)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


def _failure(code: int, which: str, log: Path) -> ShotclockError:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = lines[-1].removeprefix("shotclock: ") if lines else f"exit code {code}"
    kinds = {2: SettingsError, 3: MachineError}
    return kinds.get(code, RunError)(f"{which}: {reason} (its output is in {log})")


def differences(a: Settings, b: Settings) -> list[str]:
    """Where the settings of A and B differ, a line per key: `quantum.shots 256 → 512`."""
    of_a, of_b = _flatten(a.model_dump(mode="json")), _flatten(b.model_dump(mode="json"))
    return [
        f"{key} {of_a.get(key, 'unset')} → {of_b.get(key, 'unset')}"
        for key in {**of_a, **of_b}
        if of_a.get(key) != of_b.get(key)
    ]


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
