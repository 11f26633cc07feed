"""Real processes in turns: load tests of orchestrators that are the same, and of some with a planted delay.

Each run is a `shotclock load` with a dedicated orchestrator, which its generator, another process, calls over
gRPC on the real clock; each verdict is `shotclock compare`'s.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from _ruler_provider import Planted
from shotclock.bench.compare.decide import LOOK_AT
from shotclock.bench.load.folder import read_load
from shotclock.bench.schema import Percentile, Result

ITSELF = (sys.executable, "-c", "from shotclock.cli import main; main()")
BASELINE = "baseline"
P50, P99 = "load.latency.software.p50", "load.latency.software.p99"
SETTINGS = """\
schema = 1
[kernel]
n = 8
[quantum]
provider = "_ruler_provider:make"
budget_ms = 2000
shots = 64
"""
INVALID = 4
SPOILT_AT_MOST = 5
"""Runs in a row whose generator was late itself, before the machine is called too busy for a soak."""


@dataclass(frozen=True, slots=True)
class Size:
    """A run's load, and the numbers of pairs after which to compare. A p99 needs at least 662 calls."""

    rate_per_s: float
    duration_s: float
    looks: Sequence[int] = LOOK_AT


FULL, QUICK = Size(60, 13), Size(60, 13, (2,))


@dataclass(frozen=True, slots=True)
class Held:
    """One metric of B against A, from `shotclock compare --json`: shares of A, above 0 where B is slower."""

    result: Result
    change: float | None
    low: float | None
    high: float | None
    pairs: int
    needed: int

    @classmethod
    def of(cls, metric: Mapping[str, object]) -> Held:
        """Of one of `metrics`."""
        change, low, high, pairs, needed, result = (
            metric[name] for name in ("change", "low", "high", "pairs", "pairs_needed", "result")
        )
        return cls(Result(result), change, low, high, pairs, needed)  # type: ignore[arg-type]


@dataclass(slots=True)
class Arm:
    """B of a series. speaks: the metrics that must settle; results: all of them, after the last look."""

    name: str
    planted: Planted
    speaks: tuple[str, ...]
    results: dict[str, Held] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        """Whether more pairs would change nothing."""
        results = [self.results[metric].result for metric in self.speaks if metric in self.results]
        return bool(results) and Result.INCONCLUSIVE not in results


@dataclass(slots=True)
class Soak:
    """The runs and their folder; spoilt: invalid runs that were repeated."""

    folder: Path
    size: Size
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    runs: int = 0
    spoilt: int = 0

    def calibrate(self) -> None:
        """A baseline run that is not compared: the base of the 10 % and 25 %."""
        path = self._run("calibration", 0, Planted())
        tail = read_load(path).runs[0].software.percentiles
        self.p50_ms, self.p99_ms = (_ms(tail[name]) for name in ("p50", "p99"))

    def settle(self, arms: Sequence[Arm]) -> None:
        """Adds pairs for all that are not settled, at most the last look's."""
        pairs_made = 0
        for look in self.size.looks:
            todo = [arm for arm in arms if not arm.is_settled]
            for pair in range(pairs_made, look if todo else pairs_made):
                _say(f"pair {pair + 1} of {look}: {', '.join(arm.name for arm in todo)}")
                self._pair(pair, todo)
            pairs_made = look
            for arm in todo:
                arm.results = self._compare(arm.name)
                results = ", ".join(f"{name} {metric.result}" for name, metric in arm.results.items())
                _say(f"{arm.name}: {results}")

    def _pair(self, number: int, arms: Iterable[Arm]) -> None:
        """The baseline and every arm, in an order that alternates from pair to pair (A B B A)."""
        order = [(BASELINE, Planted()), *((arm.name, arm.planted) for arm in arms)]
        for name, planted in reversed(order) if number % 2 else order:
            self._run(name, number, replace(planted, seed=number))

    def _run(self, name: str, number: int, planted: Planted) -> Path:
        """A complete run; an invalid run is repeated."""
        path = self.folder / name / f"{number:03d}"
        for _ in range(SPOILT_AT_MOST):
            code, reason = self._load(path, number, planted)
            self.runs += 1
            if code != INVALID:
                break
            self.spoilt += 1
            _say(f"{name}: invalid, repeated: {reason}")
            path.rename(self.folder / f"spoilt-{self.spoilt:03d}")
        else:
            raise SystemExit(f"{name}, pair {number + 1}: {SPOILT_AT_MOST} runs in a row were late: {reason}")
        if not (path / "load.json").is_file():
            raise SystemExit(f"{name}, pair {number + 1}: ended with {code}: {reason}")
        return path

    def _load(self, path: Path, seed: int, planted: Planted) -> tuple[int, str]:
        words = {
            "--config": str(self._settings()),
            "--rate": f"{self.size.rate_per_s:g}",
            "--duration": f"{self.size.duration_s:g}",
            "--seed": str(seed),
            "--out": str(path),
        }
        words_given = [word for pair in words.items() for word in pair]
        ended = self._ran("load", *words_given, environment=planted.environment())
        return ended.returncode, " ".join(ended.stderr.split())[-160:]

    def _compare(self, name: str) -> dict[str, Held]:
        ended = self._ran("compare", str(self.folder / BASELINE), str(self.folder / name), "--json")
        if ended.returncode not in {0, 99}:
            raise SystemExit(f"{name}: compare ended with {ended.returncode}: {ended.stderr.strip()}")
        return {metric: Held.of(value) for metric, value in json.loads(ended.stdout)["metrics"].items()}

    def _settings(self) -> Path:
        file = self.folder / "shotclock.toml"
        file.write_text(SETTINGS, encoding="utf-8")
        return file

    def _ran(
        self, *words: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(
            [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        )
        beside = {"PYTHONPATH": path.strip(os.pathsep), **(environment or {})}
        return subprocess.run(
            [*ITSELF, *words], env={**os.environ, **beside}, capture_output=True, text=True, check=False
        )


def _ms(percentile: object) -> float:
    if not isinstance(percentile, Percentile) or percentile.value is None:
        raise SystemExit("the calibration has too few calls for a p99")
    return percentile.value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
