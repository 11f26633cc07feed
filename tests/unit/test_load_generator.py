"""The load generator on virtual time: scenarios, latency from the scheduled instant, what a stall shows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from harness import LoopClock, run_virtual
from queueing import MS, Queue, degrade, done, late, run_load, shed
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario, instances, schedule
from shotclock.bench.load.generate import LoadGenerator
from shotclock.bench.load.judge import judge, sample
from shotclock.bench.load.records import CallRecord, read, write
from shotclock.bench.load.schema import LoadSummary
from shotclock.bench.load.stability import stable, windows
from shotclock.bench.load.summarise import LoadFacts, summarise
from shotclock.bench.report.load.page import write_load_report
from shotclock.bench.schema import Percentile, Result
from shotclock.domain.errors import SettingsError, SubproblemError
from shotclock.domain.outcome import Outcome
from shotclock.domain.subproblem import Subproblem

SERVER = ArrivalPlan(Scenario.SERVER, rate_per_s=100, duration_s=20, deadline_ns=200 * MS)


def test_an_open_load_asks_at_its_scheduled_instants_whatever_became_of_the_calls() -> None:
    calls = run_load(SERVER, Queue(lambda number: 30.0 if number == 5 else 0.001))
    assert sorted(call.scheduled_ns for call in calls) == schedule(SERVER).tolist()
    assert max(call.issue_lag_ns for call in calls) <= 1_000  # a loop's timer rounds to its resolution
    assert min(call.issue_lag_ns for call in calls) >= 0


def test_latency_is_from_the_scheduled_instant_to_the_nanosecond() -> None:
    calls = run_load(replace(SERVER, rate_per_s=1, duration_s=10), Queue(lambda number: 0.05))
    assert all(call.latency_ns == call.completed_ns - call.scheduled_ns for call in calls)
    assert all(call.latency_ns >= 50 * MS for call in calls)
    alone = min(calls, key=lambda call: call.latency_ns)
    assert alone.latency_ns == pytest.approx(50 * MS, abs=2_000)


def test_a_stall_of_a_second_shows_in_an_open_loads_p99_and_hides_in_a_closed_one() -> None:
    def stall_once(number: int) -> float:
        return 1.0 if number == 1_000 else 0.005

    opened = judge(run_load(SERVER, Queue(stall_once)), SERVER, "quantum")
    closed_plan = replace(SERVER, scenario=Scenario.SINGLE_STREAM)
    closed = judge(run_load(closed_plan, Queue(stall_once)), closed_plan, "quantum")
    shown, hidden = opened.latency.percentiles["p99"], closed.latency.percentiles["p99"]
    assert isinstance(shown, Percentile)
    assert isinstance(hidden, Percentile)
    assert shown.value is not None
    assert hidden.value is not None
    assert shown.value > 500
    assert hidden.value < 6


def test_a_single_stream_asks_again_when_the_last_has_ended_and_offers_what_it_achieves() -> None:
    plan = ArrivalPlan(Scenario.SINGLE_STREAM, 1, 2, 200 * MS)
    calls = run_load(plan, Queue(lambda number: 0.01))
    assert len(calls) == 200
    assert all(after.scheduled_ns >= before.completed_ns for before, after in pairwise(calls))
    load_run = judge(calls, plan, "quantum")
    assert load_run.offered_per_s == load_run.achieved_per_s == pytest.approx(100, rel=0.01)
    assert load_run.gated == "p90"
    assert load_run.result is Result.PASS


def test_a_multi_stream_query_is_eight_calls_at_once() -> None:
    plan = ArrivalPlan(Scenario.MULTI_STREAM, 1, 1, 200 * MS)
    calls = run_load(plan, Queue(lambda number: 0.01))
    assert len(calls) % 8 == 0
    first = [call for call in calls if call.query == 0]
    assert len(first) == 8
    assert {call.scheduled_ns for call in first} == {first[0].scheduled_ns}
    second = min(call.scheduled_ns for call in calls if call.query == 1)
    assert second >= max(call.completed_ns for call in first)


def test_offline_holds_no_more_than_its_window_under_way_and_reports_throughput() -> None:
    plan = ArrivalPlan(Scenario.OFFLINE, rate_per_s=50, duration_s=4, deadline_ns=200 * MS, window=4)
    queue = Queue(lambda number: 0.01)
    calls = run_load(plan, queue)
    assert len(calls) == 200
    assert set(queue.budgets_ns) == {
        200 * MS
    }  # a call's budget starts when it is asked, not when all are there
    assert judge(calls, plan, "quantum").completed_per_s == pytest.approx(100, rel=0.01)
    assert {call.scheduled_ns - call.issued_ns for call in calls} == {0}  # nor does its latency
    assert judge(calls, plan, "quantum").deadline_hit_ratio.value == 1.0
    out = [sum(c.issued_ns <= at < c.completed_ns for c in calls) for at in range(0, 2_000 * MS, 7 * MS)]
    assert max(out) == 4


@pytest.mark.parametrize("scenario", list(Scenario))
def test_subproblems_of_a_request_are_due_at_one_instant_and_each_has_its_latency(scenario: Scenario) -> None:
    plan = ArrivalPlan(scenario, 80, 2, 200 * MS, batch=4)
    queue = Queue(lambda number: 0.005)
    calls = run_load(plan, queue)
    assert queue.batches == [4] * (len(calls) // 4)
    first = sorted((call for call in calls if call.query == 0), key=lambda call: call.completed_ns)[:4]
    assert len({call.scheduled_ns for call in first}) == 1
    if scenario is not Scenario.SERVER:  # where others may be served before
        assert [round(call.latency_ns / MS) for call in first] == [5, 10, 15, 20]
    load_run = judge(calls, plan, "quantum")
    assert load_run.calls == len(calls) == len(schedule(plan)) or not plan.is_counted
    if plan.open_loop:
        assert load_run.offered_per_s == pytest.approx(80, rel=0.4)
        assert len({call.scheduled_ns for call in calls}) == len(calls) / 4


def test_what_the_load_lost_itself_is_off_the_budget() -> None:
    class BlockingDispatcher(Queue):
        """Holds the loop for 40 ms on its first call, as a long computation would."""

        async def solve(self, subproblem: Subproblem) -> Outcome:
            if not self.budgets_ns:
                asyncio.get_running_loop().advance(40 * MS)  # type: ignore[attr-defined]
            return await super().solve(subproblem)

    queue = BlockingDispatcher(lambda number: 0.001)
    calls = run_load(replace(SERVER, duration_s=1), queue)
    late_calls = [call for call in calls if call.issue_lag_ns > MS]
    assert late_calls
    assert min(queue.budgets_ns) == pytest.approx(200 * MS - max(call.issue_lag_ns for call in calls), abs=10)


def mix_bits(number: int) -> float:
    return 0.001


def test_unanswered_and_rejected_calls_stay_in_the_denominator_and_classes_stay_apart() -> None:
    kinds = {0: shed, 1: late, 2: degrade}
    queue = Queue(mix_bits, lambda number: kinds.get(number % 10, done))
    plan = replace(SERVER, duration_s=10)
    load_run = judge(run_load(plan, queue), plan, "quantum")
    assert load_run.latency.n == load_run.quantum_latency.n == load_run.calls
    assert load_run.latency.missed == pytest.approx(0.2 * load_run.calls, abs=2)
    assert load_run.quantum_latency.missed == pytest.approx(0.3 * load_run.calls, abs=3)
    assert sum(tail.n for tail in load_run.by_class.values()) == load_run.calls
    assert load_run.by_class["rejected"].n == pytest.approx(0.1 * load_run.calls, abs=1)
    assert load_run.shares["qpu"].value == load_run.quantum_share.value
    assert load_run.goodput_per_s > load_run.quantum_goodput_per_s
    assert load_run.quantum_goodput_per_s == pytest.approx(0.7 * load_run.achieved_per_s, rel=0.02)
    assert load_run.causes.keys() == {"rejected: queue_limit", "deadline passed"}
    assert load_run.result is Result.FAIL


def test_a_load_that_is_late_itself_is_no_measurement() -> None:
    calls = run_load(SERVER, Queue(mix_bits))
    lagging = [replace(call, issued_ns=call.scheduled_ns + 3 * MS) for call in calls]
    load_run = judge(lagging, SERVER, "quantum")
    assert load_run.result is Result.INCONCLUSIVE
    assert "issue lag p99 3 ms" in load_run.faults[0]
    assert judge(calls, SERVER, "quantum").faults == ()


def test_a_load_that_falls_behind_its_rate_is_invalid() -> None:
    calls = run_load(SERVER, Queue(mix_bits))
    load_run = judge(calls[: int(0.98 * len(calls))], SERVER, "quantum")
    assert any("offered" in fault for fault in load_run.faults)
    assert load_run.result is Result.INCONCLUSIVE


def test_a_run_without_calls_says_whose_doing_that_is() -> None:
    idle = replace(SERVER, rate_per_s=1e-9)
    assert "no call was due" in judge([], idle, "quantum").faults[0]
    assert judge([], SERVER, "quantum").faults == ("no call ended",)


def test_too_few_calls_give_no_percentile() -> None:
    plan = replace(SERVER, rate_per_s=10, duration_s=10)
    load_run = judge(run_load(plan, Queue(mix_bits)), plan, "quantum")
    assert load_run.latency.percentiles["p99"] == "too_few_samples"
    assert load_run.latency.percentiles["p50"] != "too_few_samples"
    assert load_run.result is Result.INCONCLUSIVE


def test_a_cache_hit_is_no_call_of_the_qpu() -> None:
    calls = [replace(call, answered_by="cache_hit") for call in run_load(SERVER, Queue(mix_bits))]
    assert sample(calls, "quantum").n == 0
    assert sample(calls, "any").n == len(calls)


@pytest.mark.parametrize("scenario", [Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM])
def test_a_stream_does_not_hammer_a_target_that_died_and_says_so(scenario: Scenario) -> None:
    died = Queue(lambda number: 0.01 if number < 8 else 0.0, lambda number: done if number < 8 else shed)
    plan = ArrivalPlan(scenario, 1, 2, 200 * MS)
    calls = run_load(plan, died)
    scheduled = sorted({call.scheduled_ns for call in calls if not call.is_answered})
    assert len(scheduled) == 10
    gaps = [after - before for before, after in pairwise(scheduled)]
    assert gaps == pytest.approx([200 * MS] * 9, abs=2_000)  # a loop's timer rounds to its resolution
    assert max(call.completed_ns for call in calls) < plan.duration_ns
    assert (
        "nobody answered 10 queries, each of which took its whole deadline" in judge(calls, plan, "any").why
    )


def test_every_call_of_a_closed_load_is_in_a_window() -> None:
    plan = ArrivalPlan(Scenario.OFFLINE, 50, 4, 200 * MS)
    calls = run_load(plan, Queue(lambda number: 0.01))
    assert sum(window.n for window in windows(calls, plan, "any")) == len(calls)


def test_a_settled_run_is_stable_and_one_that_grows_is_not() -> None:
    plan = replace(SERVER, duration_s=60)
    settled = run_load(plan, Queue(lambda number: 0.001 + 0.0001 * (number % 10)))
    assert stable(windows(settled, plan, "quantum")) is True
    growing = [replace(call, completed_ns=call.scheduled_ns + call.scheduled_ns // 10) for call in settled]
    assert stable(windows(growing, plan, "quantum")) is False
    assert stable(windows(settled[:200], plan, "quantum")) is None


def test_an_interrupt_keeps_the_calls_that_ended() -> None:
    async def main() -> list[CallRecord]:
        load = LoadGenerator(SERVER, Queue(mix_bits), LoopClock(), instances(4, 0, 8))
        task = asyncio.create_task(load.generate())
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return load.calls

    assert len(run_virtual(main())) == pytest.approx(500, rel=0.15)


def test_a_refused_subproblem_is_the_dispatchers_own_error() -> None:
    def refusing(subproblem: Subproblem) -> Outcome:
        raise SubproblemError("linear", "has NaN or infinite coefficients")

    with pytest.raises(SubproblemError):
        run_load(SERVER, Queue(mix_bits, lambda number: refusing))


def test_records_survive_the_file(tmp_path: Path) -> None:
    calls = run_load(replace(SERVER, duration_s=2), Queue(mix_bits))
    file = tmp_path / "calls.parquet"
    write(calls, file)
    assert read(file) == calls
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(SettingsError, match=r"calls\.parquet"):
        read(file)


def draw_load(rates: tuple[float, ...], folder: Path, queue: Queue) -> tuple[LoadSummary, dict[str, str]]:
    """A load test of several rates and its charts as text."""
    calls: list[CallRecord] = []
    runs = []
    for number, rate in enumerate(rates):
        plan = replace(SERVER, rate_per_s=rate, seed=number)
        calls_of_run = [replace(call, run=number) for call in run_load(plan, replace(queue, budgets_ns=[]))]
        runs.append(judge(calls_of_run, plan, "quantum"))
        calls += calls_of_run
    facts = LoadFacts(
        "0.1", "2026-11-22T10:00:00", "load-x", False, "q", "q", True, "virtual", {}, "quantum", None
    )
    summary = summarise(runs, calls, SERVER, facts)
    write_load_report(summary, calls, folder)
    written = (folder / "charts").glob("*.svg")
    return summary, {path.stem: path.read_text(encoding="utf-8") for path in written}


def test_charts_are_marked_labelled_and_there_where_they_have_something_to_show(tmp_path: Path) -> None:
    _, drawings = draw_load((50, 100), tmp_path, Queue(mix_bits))
    assert drawings.keys() == {"latency_over_time", "latency_by_class", "load_against_latency"}
    for name, drawing in drawings.items():
        assert "EMULATED, VIRTUAL CLOCK" in drawing
        assert "ms, log scale" in drawing
        assert (tmp_path / "charts" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "calls per second" in drawings["load_against_latency"]
    _, one_rate = draw_load((50,), tmp_path / "one", Queue(mix_bits))
    assert "load_against_latency" not in one_rate


def test_calls_without_an_answer_have_a_separate_strip(tmp_path: Path) -> None:
    _, drawings = draw_load((50,), tmp_path, Queue(mix_bits, lambda number: late if number % 3 else done))
    assert "missed" in drawings["latency_over_time"]
    _, answered = draw_load((50,), tmp_path / "answered", Queue(mix_bits))
    assert "missed" not in answered["latency_over_time"]


def test_the_worst_run_speaks_for_the_test_and_runs_give_an_interval(tmp_path: Path) -> None:
    summary, _ = draw_load((100, 190, 120), tmp_path, Queue(lambda number: 0.005))
    assert summary.quoted == 1
    assert summary.interval is not None
    assert summary.interval.low < summary.interval.value < summary.interval.high
    assert not summary.official
