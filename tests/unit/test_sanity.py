"""A figure against the reference figure: met, explained by its components, or neither."""

from __future__ import annotations

import pytest

from sample_summary import Call, summary
from shotclock.bench.analysis import SanityArm, SanityResult
from shotclock.bench.judge.sanity import EXPECTED, sanity
from shotclock.emulator import profile as profiles

COLOCATED, ONPREM, CLOUD = "hybrid-colocated", "hybrid-onprem-today", "hybrid-public-cloud"


def of(arm: str, call: Call) -> SanityArm:
    (row,) = [row for row in sanity(summary({arm: call})) if row.arm == arm]
    return row


def results(sanity_arm: SanityArm) -> dict[str, SanityResult]:
    return {figure.statistic: figure.result for figure in sanity_arm.figures}


@pytest.mark.parametrize("name", profiles.list_profiles())
def test_the_documents_ranges_are_those_of_the_profiles_files(name: str) -> None:
    ranges = profiles.load(name).sanity
    expected = EXPECTED.get(f"hybrid-{name}", {})
    assert expected.get("mean") == (ranges.mean.ms if ranges else None)
    assert expected.get("p95") == (ranges.p95.ms if ranges and ranges.p95 else None)


def test_inside_the_range_is_met_and_too_few_calls_say_so() -> None:
    outcomes = results(of(COLOCATED, Call(waits_ms=30.0)))
    assert outcomes == {"mean": SanityResult.MET, "p95": SanityResult.TOO_FEW, "p99": SanityResult.TOO_FEW}


def test_above_the_range_is_explained_by_waits_and_not_by_software() -> None:
    waits = results(of(COLOCATED, Call(waits_ms=110.0, p95_ms=140.0)))
    assert (waits["mean"], waits["p95"]) == (SanityResult.EXPLAINED, SanityResult.EXPLAINED)
    software = results(of(COLOCATED, Call(waits_ms=30.0, software_ms=90.0, p95_ms=140.0)))
    assert (software["mean"], software["p95"]) == (SanityResult.NOT_MET, SanityResult.NOT_MET)
    # waits below the range don't explain a figure above it
    slow = results(of(COLOCATED, Call(waits_ms=10.0, software_ms=90.0)))
    assert slow["mean"] is SanityResult.NOT_MET


def test_components_add_up_and_the_largest_names_its_numbers() -> None:
    row = of(COLOCATED, Call(waits_ms=100.0, tag="assumed"))
    # of 90 ms on the QPU the profile predicts three quarters for the overhead
    assert row.components_ms == pytest.approx(
        {"subjob_overhead": 67.5, "shots": 22.5, "collect": 10.0, "software": 5.0}
    )
    assert sum(row.components_ms.values()) == pytest.approx(105.0)
    assert row.rests_on == ("subjob_overhead.value (assumed)",)
    # the noise is not part of a latency
    assert row.tags == {"published": 0, "measured": 0, "assumed": 3}


def test_hardware_is_explained_by_its_stages() -> None:
    row = of(CLOUD, Call(waits_ms=8_000.0, emulated=False))
    assert results(row)["mean"] is SanityResult.EXPLAINED
    assert next(iter(row.components_ms)) == "qpu_exec_time"
    assert row.tags == {}


def test_an_arm_without_a_row_says_so() -> None:
    row = of(ONPREM, Call(waits_ms=2_600.0))
    assert set(results(row).values()) == {SanityResult.NO_FIGURE}
    assert "no row" in row.said
    assert "no row" not in of(CLOUD, Call(waits_ms=2_000.0)).said


def test_an_iteration_answers_for_itself_on_an_accelerator_alone() -> None:
    def mean(workload: str, environment: dict[str, str], iteration_ms: float) -> SanityResult:
        run = summary({}, iteration_ms=iteration_ms, workload=workload, environment=environment)
        return results(sanity(run)[0])["mean"]

    gpu = {"gpu": "AMD Instinct MI455X"}
    assert mean("digits-mlp", {"cpu": "a processor"}, 1.0) is SanityResult.EXPLAINED
    assert mean("medium", gpu, 100.0) is SanityResult.MET
    assert mean("medium", gpu, 300.0) is SanityResult.NOT_MET
