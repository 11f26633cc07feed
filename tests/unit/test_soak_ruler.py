"""The soak of the gate without its processes: turns, runs made again, pairs added until all is settled."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from queueing import MS, Queue, run_load
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario
from shotclock.bench.load.folder import write_load
from shotclock.bench.load.judge import judge
from shotclock.bench.load.summarise import LoadFacts, summarise
from shotclock.bench.schema import Result

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import soak_ruler
from _ruler_provider import MEDIAN_S, Planted
from _ruler_soak import BASELINE, INVALID, P50, P99, SPOILT_AT_MOST, Arm, Size, Soak


@dataclass(slots=True)
class VirtualSoak(Soak):
    """Runs are queues on virtual time; those numbered in `late` are invalid."""

    late: frozenset[int] = frozenset()
    folders: list[str] = field(default_factory=list)

    def _load(self, path: Path, seed: int, planted: Planted) -> tuple[int, str]:
        self.folders.append(path.parent.name)
        number = len(self.folders)
        plan = ArrivalPlan(Scenario.SERVER, 50, 16, 200 * MS, n=4, seed=seed)
        calls = run_load(plan, Queue(lambda call: 0.004 + planted.added_s))
        started = f"2026-11-22T10:{number // 60:02d}:{number % 60:02d}"
        facts = LoadFacts(
            "0.1", started, path.name, False, "queue", "queue", True, "virtual", {}, "quantum", None
        )
        path.mkdir(parents=True)
        write_load(summarise([judge(calls, plan, "quantum")], calls, plan, facts), calls, path)
        return (INVALID, "late itself") if number in self.late else (0, "")


def test_pairs_turn_round_until_each_series_has_settled(tmp_path: Path) -> None:
    soak = VirtualSoak(tmp_path, Size(50, 16, (2, 10)), late=frozenset({3}))
    soak.calibrate()
    assert soak.p50_ms == pytest.approx(4, rel=0.1)
    same, slower, unmoved = arms = (
        Arm("same", Planted(), (P50, P99)),
        Arm("slower", Planted(added_s=0.002), (P50,)),
        Arm("longer-tail", Planted(), (P99,)),
    )
    soak.settle(arms)
    names = [BASELINE, "same", "slower", "longer-tail"]
    assert soak.folders[:10] == [
        "calibration",
        BASELINE,
        "same",
        "same",
        "slower",
        "longer-tail",
        *names[::-1],
    ]
    assert (soak.runs, soak.spoilt) == (42, 1)
    assert same.is_settled
    assert same.results[P50].result is Result.PASS
    assert same.results[P50].pairs == 10
    assert slower.results[P50].result is Result.FAIL
    assert soak_ruler.wrong(
        (same, slower, unmoved)
    )  # the third planted nothing, so that its PASS is an error
    figures = soak_ruler.figures(soak, arms, 1.0)
    assert (figures["aa_failed"], figures["planted_p50_caught"], figures["planted_p99_caught"]) == (0, 1, 0)
    assert "| nothing | p50 | PASS |" in "\n".join(soak_ruler.markdown(soak, arms, 1.0))


def test_a_machine_too_busy_for_any_measurement_is_said(tmp_path: Path) -> None:
    soak = VirtualSoak(tmp_path, Size(50, 16, (10,)), late=frozenset(range(1, SPOILT_AT_MOST + 1)))
    with pytest.raises(SystemExit, match="late itself"):
        soak.calibrate()


def test_what_is_planted_is_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = Planted(added_s=0.002, tail_s=0.01, seed=7)
    for name, value in planted.environment().items():
        monkeypatch.setenv(name, value)
    assert Planted.from_environment() == planted
    plain = np.array(Planted(seed=7).waits())
    added = np.array(planted.waits()) - plain
    assert np.quantile(plain, 0.5) == pytest.approx(MEDIAN_S, rel=0.02)
    assert added[plain < np.quantile(plain, 0.85)].max() == pytest.approx(0.002)
    order = np.argsort(plain)
    at_p99 = np.interp(np.quantile(plain, 0.99), plain[order], added[order])
    assert at_p99 == pytest.approx(0.012, rel=0.1)
