"""What an improvement and a call cost: prices from the costs, bills that end at them, and the break-even."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

import synthetic
from sample_report import draw_charts, run
from shotclock.bench.analysis import BreakEven, CallCost, SecondPrices
from shotclock.bench.judge.break_even import find_break_even
from shotclock.bench.judge.money import curve_against_money, find_prices, is_billed_by_wall
from shotclock.bench.numbers import span
from shotclock.bench.record.rows import StepRow, table
from shotclock.bench.report.kit.arm_styles import looks
from shotclock.bench.report.kit.axes import linear, logarithmic, power
from shotclock.bench.report.kit.render import svg
from shotclock.bench.report.run.break_even_chart import draw_break_even
from shotclock.bench.report.run.break_even_table import findings, no_gain, word_prices
from shotclock.bench.schema import Cost, Summary, UnitPrices

AT = SecondPrices(currency="USD", gpu_second=2.10 / 3600, qpu_second=1.60)


def find_even(steps: list[StepRow], summary: Summary) -> str:
    break_even = find_break_even(summary, table(steps), AT)
    assert break_even is not None
    return svg(draw_break_even(break_even, looks(summary.arms), []))


def make_call_cost(arm: str = "hybrid-mine", *, by_wall: bool = False, gain: float | None = None) -> CallCost:
    return CallCost(
        arm=arm,
        calls=100,
        blocked_s=0.1,
        round_trip_s=0.1,
        usage_s=0.05,
        by_wall=by_wall,
        gain=gain,
        gain_note="",
    )


def with_costs(summary: Summary, costs: dict[str, Cost]) -> Summary:
    arms = {
        name: arm.model_copy(update={"cost": costs.get(name, arm.cost)}) for name, arm in summary.arms.items()
    }
    return summary.model_copy(update={"arms": arms})


@pytest.mark.parametrize("names", [(), ("classical-only",), ("hybrid-colocated",)])
def test_the_prices_are_those_the_costs_were_reckoned_with(names: tuple[str, ...]) -> None:
    _, summary = run(synthetic.SMALL, *names)
    prices = find_prices(summary)
    assert prices == AT
    assert word_prices(prices) == "2.10 USD a GPU hour, 1.60 USD a QPU second"


def test_a_summary_without_prices_draws_no_money() -> None:
    steps, summary = run()
    old = {name: arm.cost.model_copy(update={"prices": None}) for name, arm in summary.arms.items()}
    summary = with_costs(summary, old)
    assert find_prices(summary) is None
    charts = draw_charts(steps, summary)
    for name in ("loss_against_money", "break_even"):
        assert "are unknown" in charts[name].caption
        assert "are unknown" in svg(charts[name].chart)
        assert "EMULATED" in svg(charts[name].chart)


def test_courses_end_at_the_cost_of_the_summary() -> None:
    steps, summary = run()
    steps = [replace(step, eval_loss=0.5) if step.step == 59 else step for step in steps]
    courses = curve_against_money(summary, table(steps), AT)
    assert [course.arm for course in courses] == list(summary.arms)
    for course in courses:
        spent = course.points[-1].spent * course.seeds
        assert spent == pytest.approx(summary.arms[course.arm].cost.money, rel=1e-6)
        assert [point.spent for point in course.points] == sorted(point.spent for point in course.points)


def test_a_session_is_billed_by_the_clock() -> None:
    steps, summary = run()
    rows = table(steps)
    arm = "hybrid-public-cloud"
    cost = summary.arms[arm].cost
    session_cost = cost.model_copy(
        update={
            "qpu_s": 3600 * cost.compute_h,
            "qpu_idle_s": 3600 * cost.compute_h - cost.qpu_s,
            "money": cost.compute_h * 2.10 + 3600 * cost.compute_h * 1.60,
        }
    )
    billed = with_costs(summary, {arm: session_cost})
    assert is_billed_by_wall(billed, arm)
    assert not is_billed_by_wall(billed, "hybrid-colocated")
    last = next(course for course in curve_against_money(billed, rows, AT) if course.arm == arm).points[-1]
    wall_s = sum(s.total_iteration_time_ns for s in steps if s.arm == arm and s.step <= last.step) / 1e9
    assert last.spent * synthetic.SMALL.seeds == pytest.approx(wall_s * (AT.gpu_second + AT.qpu_second))


def test_a_job_that_was_given_up_makes_no_session() -> None:
    """What it consumed is in the cost and in no row."""
    _, summary = run()
    arm = "hybrid-colocated"
    cost = summary.arms[arm].cost
    given_up = cost.model_copy(
        update={"qpu_s": cost.qpu_s + 0.1, "abandoned_jobs": 1, "abandoned_qpu_s": 0.1}
    )
    assert not is_billed_by_wall(with_costs(summary, {arm: given_up}), arm)


def test_free_of_charge_is_drawn_too() -> None:
    steps, summary = run()
    free = {
        name: arm.cost.model_copy(
            update={"money": 0.0, "money_per_loss": None, "prices": UnitPrices(gpu_hour=0, qpu_second=0)}
        )
        for name, arm in summary.arms.items()
    }
    summary = with_costs(summary, free)
    charts = draw_charts(steps, summary)
    assert "loss_against_money" in charts
    assert "free in the settings" in charts["break_even"].caption
    assert "0 USD" in svg(charts["loss_against_money"].chart)


@pytest.mark.parametrize("by_wall", [False, True])
@pytest.mark.parametrize("trip_s", [1e-4, 0.1, 9.0])
def test_on_the_line_both_calls_cost_the_same(trip_s: float, by_wall: bool) -> None:
    call_cost, classical_s = make_call_cost(by_wall=by_wall), 10.0
    price = call_cost.price(classical_s, trip_s, AT)
    assert AT.gpu_second * trip_s + price * call_cost.billed_s(trip_s) == pytest.approx(
        AT.gpu_second * classical_s
    )
    assert call_cost.round_trip(classical_s, price, AT) == pytest.approx(trip_s)


def test_no_price_is_low_enough_for_a_round_trip_longer_than_the_classical_answer() -> None:
    assert make_call_cost().price(classical_s=0.01, round_trip_s=0.1, at=AT) < 0
    assert make_call_cost().price(classical_s=0.1, round_trip_s=0.1, at=AT) == 0


def test_the_solver_time_of_the_same_cost_breaks_even_with_this_run() -> None:
    call_cost = make_call_cost()
    assert call_cost.price(call_cost.classical_s(AT), call_cost.blocked_s, AT) == pytest.approx(AT.qpu_second)


def test_gains_move_the_line_only_where_both_are_settled() -> None:
    classical = make_call_cost("classical-control", gain=0.001)
    gained, unsettled = make_call_cost(gain=0.003), make_call_cost()

    def factor(quantum: CallCost, control: CallCost) -> float | None:
        return BreakEven(prices=AT, quantum=(quantum,), classical=control).gain_factor(quantum)

    assert factor(gained, classical) == pytest.approx(3)
    assert factor(unsettled, classical) is None
    assert factor(gained, unsettled) is None
    assert no_gain(BreakEven(prices=AT, quantum=(gained,), classical=classical)) == []


def test_fabrics_are_compared_and_their_gain_is_reported() -> None:
    steps, summary = run()
    break_even = find_break_even(summary, table(steps), AT)
    assert break_even is not None
    assert [call.arm for call in break_even.quantum] == [
        "hybrid-colocated",
        "hybrid-onprem-today",
        "hybrid-public-cloud",
    ]
    assert no_gain(break_even) == []
    factor = break_even.gain_factor(break_even.quantum[0])
    assert factor is not None
    colocated, control = (summary.arms[name] for name in ("hybrid-colocated", "classical-control"))
    assert colocated.loss.improvement
    assert control.loss.improvement
    ratio = (colocated.loss.improvement / colocated.calls) / (control.loss.improvement / control.calls)
    assert factor == pytest.approx(ratio)
    assert "for its gain" in find_even(steps, summary)


@pytest.mark.parametrize(
    ("gain", "interval"), [(-0.01, (-0.02, -0.001)), (0.01, (-0.01, 0.03)), (0.01, None)]
)
def test_an_unsettled_gain_has_no_line_and_says_so(gain: float, interval: tuple[float, float] | None) -> None:
    steps, summary = run()
    arms = {
        name: arm.model_copy(
            update={"loss": arm.loss.model_copy(update={"improvement": gain, "interval": interval})}
        )
        for name, arm in summary.arms.items()
    }
    summary = summary.model_copy(update={"arms": arms})
    break_even = find_break_even(summary, table(steps), AT)
    assert break_even is not None
    assert all(break_even.gain_factor(call) is None for call in break_even.quantum)
    assert "no break-even exists for any of them" in findings(break_even)
    chart = svg(draw_break_even(break_even, looks(summary.arms), []))
    assert "no break-even" in chart
    assert "for its gain" not in chart


def test_without_a_control_only_supposed_solvers_are_drawn() -> None:
    steps, summary = run(synthetic.SMALL, "classical-only", "hybrid-colocated")
    chart = find_even(steps, summary)
    assert "No classical-control ran" in chart
    assert "worth it" not in chart
    assert "a solver of 1 min" in chart


def test_calls_without_an_answer_are_paid_for_by_those_with_one() -> None:
    steps, summary = run()
    halved = [
        replace(step, call=replace(step.call, answered=step.step % 2 == 0)) if step.call else step
        for step in steps
    ]
    whole, half = (find_break_even(summary, table(each), AT) for each in (steps, halved))
    assert whole is not None
    assert half is not None
    assert half.quantum[0].calls < whole.quantum[0].calls
    assert half.quantum[0].cost(AT) * half.quantum[0].calls == pytest.approx(
        whole.quantum[0].cost(AT) * whole.quantum[0].calls
    )


def test_overlap_shows_what_it_hides() -> None:
    steps, summary = run(synthetic.SMALL, "classical-only", "classical-control", "hybrid-colocated")
    shown = find_even(steps, summary)
    hidden = [
        replace(step, call=replace(step.call, added_latency_ns=2_000_000))
        if step.call and step.arm == "hybrid-colocated"
        else step
        for step in steps
    ]
    assert find_even(hidden, summary).count("<path") > shown.count("<path")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (2e-5, "20 µs"),
        (0.137, "137 ms"),
        (1.0, "1 s"),
        (59.999, "1 min"),
        (5_800, "1.61 h"),
        (172_800, "2 d"),
    ],
)
def test_times_read_as_people_say_them(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_axes_have_round_ticks() -> None:
    assert linear(0.0, 1.0, 5, "").words == ("0", "0.2", "0.4", "0.6", "0.8", "1")
    assert logarithmic(1e-6, 1e3, "", every=3).words == ("1e-6", "0.001", "1", "1,000")
    assert logarithmic(1.0, 10.0, "").words == ("1", "2", "5", "10")
    assert [power(10.0**e) for e in (-5, -4)] == ["1e-5", "0.0001"]
    assert math.isclose(logarithmic(1.0, 10.0, "").high, 1.0)
