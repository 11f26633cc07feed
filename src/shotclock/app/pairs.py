"""Pairs of bench runs in turns (A B, B A, A B, …), each in a separate process, resumable.

A folder of pairs holds `a/` and `b/` with the complete runs `001`, `002`, …; `unfinished/` with what an
interrupted or failed run left; `logs/` with what each run printed; and `pairs.json`, what was asked for.
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
"""The exit code of a run that is complete and missed a threshold of its settings: it compares like others."""
THIS = (sys.executable, "-m", "shotclock")
PATIENCE_S = 120.0
"""How long an interrupted run may take to write down what ran."""


@dataclass(frozen=True, slots=True)
class Made:
    """One run for whoever waits: its place, and how long it took; seconds is None while it runs."""

    pair: int
    side: Side
    seconds: float | None


@dataclass(frozen=True, slots=True)
class PairsJob:
    """What is run. settings, commands: of A and of B; bench: further arguments of `shotclock bench`."""

    out: Path
    settings: tuple[Path, Path]
    commands: tuple[tuple[str, ...], tuple[str, ...]]
    bench: tuple[str, ...]

    def folder(self, side: Side, pair: int) -> Path:
        """Of a complete run; pairs count from 1."""
        return self.out / side / f"{pair:03d}"

    def has(self, side: Side, pair: int) -> bool:
        """Whether the run is there."""
        return (self.folder(side, pair) / "summary.json").is_file()

    def complete(self) -> int:
        """Pairs of which both runs are there, from the first on."""
        pair = 0
        while all(self.has(side, pair + 1) for side in SIDES):
            pair += 1
        return pair


def turns(pairs: int) -> Iterator[tuple[int, Side]]:
    """A B, B A, A B, …: what drifts meets both sides alike."""
    for pair in range(1, pairs + 1):
        for side in SIDES if pair % 2 else SIDES[::-1]:
            yield pair, side


def prepare(job: PairsJob) -> None:
    """Makes the folder, or checks that one which is there was made by the same job.

    Raises SettingsError for a folder of something else, MachineError where it cannot be written.
    """
    asked = _asked(job)
    record = job.out / "pairs.json"
    try:
        if record.is_file():
            _refuse_another(record, asked)
        elif job.out.exists() and any(job.out.iterdir()):
            raise SettingsError(f"--out {job.out}: is not empty and has no pairs; name a new folder")
        for name in (*SIDES, "unfinished", "logs"):
            files.make_folder(job.out / name)
        files.write_text(record, json.dumps(asked, indent=2))
    except (FileExistsError, NotADirectoryError) as error:
        raise MachineError(f"--out {job.out}: {error.filename} is a file, not a folder") from error
    except OSError as error:
        raise MachineError(f"--out {job.out}: cannot write there: {error.strerror}") from error


def _asked(job: PairsJob) -> dict[str, Any]:
    found: dict[str, Any] = {"schema": 1, "bench": list(job.bench)}
    for side, file, command in zip(SIDES, job.settings, job.commands, strict=True):
        text = file.read_text(encoding="utf-8", errors="replace")
        found[side] = {"command": list(command), "settings": text}
    return found


def _refuse_another(record: Path, asked: dict[str, Any]) -> None:
    try:
        before = documents.parse_json(files.read_bytes(record, documents.MOST_BYTES))
    except documents.DocumentError as error:
        raise SettingsError(f"{record}: is not valid JSON; name a new folder with --out") from error
    if not isinstance(before, dict):
        raise SettingsError(f"{record}: was not written by `shotclock pairs`; name a new folder with --out")
    words = {"a": "the settings or the command of A", "b": "those of B", "bench": "the options after --"}
    changed = [what for key, what in words.items() if before.get(key) != asked[key]]
    if changed:
        raise SettingsError(
            f"--out {record.parent}: has pairs of another job ({' and '.join(changed)} differ); "
            f"name a new folder"
        )


def make(job: PairsJob, pairs: int, tell: Callable[[Made], None]) -> None:
    """Makes the runs that are missing to so many pairs.

    Raises KeyboardInterrupt where it is interrupted: complete runs stay, the present one is kept apart;
    SettingsError, MachineError or RunError where a run fails, as its exit code says.
    """
    for pair, side in turns(pairs):
        if not job.has(side, pair):
            tell(Made(pair, side, None))
            began = time.monotonic()
            _run(job, pair, side)
            tell(Made(pair, side, time.monotonic() - began))


def _run(job: PairsJob, pair: int, side: Side) -> None:
    place = SIDES.index(side)
    unfinished = job.out / "unfinished" / f"{side}-{pair:03d}"
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a run that was interrupted or failed
    log = job.out / "logs" / f"{side}-{pair:03d}.txt"
    command = [*job.commands[place], "bench", "--config", str(job.settings[place])]
    code = _wait([*command, *job.bench, "--out", str(unfinished)], log)
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if code not in (0, THRESHOLD_FAILED):
        raise _failure(code, f"pair {pair}, {side.upper()}", log)
    status = RunFolder(unfinished).read_summary().status
    if status != "complete":
        raise RunError(f"pair {pair}, {side.upper()}: the run is {status}; {log} has what it printed")
    unfinished.rename(job.folder(side, pair))


def _wait(command: list[str], log: Path) -> int:
    """The exit code. The run has a separate session, so that one Ctrl-C reaches it once, from here."""
    with files.create(log) as printed:
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=printed,
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
    """Waits for it to write down what ran; a second Ctrl-C, or no end for long, kills it."""
    try:
        process.wait(PATIENCE_S)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


def _failure(code: int, which: str, log: Path) -> ShotclockError:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = lines[-1].removeprefix("shotclock: ") if lines else f"exit code {code}"
    kinds = {2: SettingsError, 3: MachineError}
    return kinds.get(code, RunError)(f"{which}: {said} ({log} has all it printed)")


def differences(a: Settings, b: Settings) -> list[str]:
    """`quantum.shots 256 → 512`, a key a line: where the settings of A and B differ."""
    one, other = _flat(a.model_dump(mode="json")), _flat(b.model_dump(mode="json"))
    return [
        f"{key} {one.get(key, 'unset')} → {other.get(key, 'unset')}"
        for key in {**one, **other}
        if one.get(key) != other.get(key)
    ]


def _flat(tree: dict[str, Any], under: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{under}{key}.") if isinstance(value, dict) else {f"{under}{key}": value}
    return found
