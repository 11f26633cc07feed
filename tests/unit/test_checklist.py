"""The integration checklist: a point is met by figures alone, and what a run cannot show is never met."""

from __future__ import annotations

from sample_summary import Call, summary
from shotclock.bench.judge.checklist import (
    CANDIDATE,
    CONTINUOUS,
    FABRIC,
    FALLBACK,
    INSTRUMENTS,
    SLOS,
    TITLES,
    before_a_run,
)
from shotclock.bench.judge.summarise import judge_summary
from shotclock.bench.schema import CurvePoint, Result, State, Summary

COLOCATED, CLOUD = "hybrid-colocated", "hybrid-public-cloud"
PROTECTED = f"{COLOCATED}-protected"
NEAR = Call(waits_ms=120.0, p95_ms=140.0)
FAR = Call(waits_ms=2_300.0, p95_ms=2_400.0, gate=Result.FAIL)
P50, P99 = f"{COLOCATED}.added_latency.p50_ms", f"{COLOCATED}.quantum_latency.p99_ms"


def points(run: Summary) -> dict[str, CurvePoint]:
    return {point.key: point for point in judge_summary(run).checklist}


def state(run: Summary, key: str) -> State:
    return points(run)[key].state


def test_six_points_in_the_documents_order_each_with_its_fix_or_met() -> None:
    for run in (
        summary({}),
        summary({COLOCATED: NEAR, CLOUD: FAR}),
        summary({COLOCATED: NEAR}, control=False),
    ):
        checklist = judge_summary(run).checklist
        assert [point.key for point in checklist] == list(TITLES)
        assert all(bool(point.fix) is (point.state is not State.MET) for point in checklist)


def test_nothing_is_met_without_a_hybrid_arm() -> None:
    assert not [key for key, point in points(summary({})).items() if point.state is State.MET]


def test_slos_want_all_three_percentiles_of_one_arm() -> None:
    calls = {COLOCATED: NEAR, CLOUD: FAR}
    assert "p50 and p99" in points(summary(calls))[SLOS].said
    assert state(summary(calls, thresholds=(P50,)), SLOS) is State.NOT_MET
    elsewhere = (P50, P99.replace(COLOCATED, CLOUD))
    assert state(summary(calls, thresholds=elsewhere), SLOS) is State.NOT_MET
    assert state(summary(calls, thresholds=(P50, P99)), SLOS) is State.MET


def test_a_candidate_is_validated_by_a_sure_gain_beside_the_control() -> None:
    gaining = Call(waits_ms=120.0, p95_ms=140.0, wins=50, below=(0.2, 0.21, 0.19))
    assert state(summary({COLOCATED: gaining}), CANDIDATE) is State.MET
    assert state(summary({COLOCATED: NEAR}), CANDIDATE) is State.NOT_MET
    assert state(summary({COLOCATED: gaining}, control=False), CANDIDATE) is State.NOT_MEASURED


def test_a_fabric_is_chosen_only_among_several() -> None:
    assert state(summary({COLOCATED: NEAR}), FABRIC) is State.NOT_MEASURED
    assert state(summary({COLOCATED: NEAR, CLOUD: FAR}), FABRIC) is State.MET


def test_instruments_want_hardware_counters_too() -> None:
    point = points(summary({COLOCATED: NEAR}, thresholds=(P50, P99)))[INSTRUMENTS]
    assert point.state is State.NOT_MET
    assert "no alert" not in point.said
    assert "hardware counters" in point.said
    assert f"{COLOCATED}.qpu_exec_time" in point.figures


def test_a_fallback_that_no_call_needed_is_not_measured() -> None:
    def check_held(fell_back: int, answered: int, *, control: bool = True) -> State:
        call = Call(waits_ms=120.0, fell_back=fell_back, answered=answered)
        return state(summary({PROTECTED: call}, control=control), FALLBACK)

    assert check_held(0, 200) is State.NOT_MEASURED
    assert check_held(20, 200) is State.MET
    assert check_held(20, 198) is State.MET
    assert check_held(20, 197) is State.NOT_MET
    assert check_held(0, 190) is State.NOT_MET
    assert check_held(20, 200, control=False) is State.NOT_MEASURED
    # the arm that fell back most shows it, whatever its place
    near, far = Call(waits_ms=120.0), Call(waits_ms=2_300.0, fell_back=150)
    assert state(summary({PROTECTED: near, f"{CLOUD}-protected": far}), FALLBACK) is State.MET


def test_one_run_never_shows_that_runs_recur() -> None:
    assert state(summary({COLOCATED: NEAR}), CONTINUOUS) is State.NOT_MET
    assert state(summary({COLOCATED: NEAR}, thresholds=(P50,)), CONTINUOUS) is State.NOT_MEASURED


def test_settings_alone_decide_limits_and_nothing_else() -> None:
    gate = f"{COLOCATED}.quantum_latency.p95_ms"
    assert [point.key for point in before_a_run((), (gate,))] == list(TITLES)
    limited = {point.key: point.state for point in before_a_run((P50, P99), (gate,))}
    assert limited.pop(SLOS) is State.MET
    assert set(limited.values()) == {State.NOT_MEASURED}
