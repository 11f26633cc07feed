"""What jobs that were given up and sessions cost, from a provider's charges to cost, verdict and table."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from harness import Inline
from sample_summary import Call as Calling
from sample_summary import make_cost, summary
from shotclock.bench.judge.metrics import Prices, by_arm, cost
from shotclock.bench.judge.verdict import verdict
from shotclock.bench.record.arm_runs import parse
from shotclock.bench.report.run import tables
from shotclock.bench.schema import Cost, UnitPrices
from shotclock.domain.accounting import NO_CHARGES, Charges
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.providers.money import MoneyBudget, Price
from shotclock.providers.workload import SharedWorkload, WorkloadPolicy
from synthetic import SMALL, rows

ARM = "hybrid-colocated"
PRICES = Prices("USD", qpu_second=2.0, gpu_hour=0.0)


def sum_cost(charges: Charges, prices: Prices = PRICES) -> Cost:
    arm = parse(ARM, ("colocated",))
    assert arm is not None
    return cost(by_arm([row for row in rows(SMALL) if row.arm == ARM], [arm])[ARM], None, 60, prices, charges)


def test_jobs_that_were_given_up_are_paid_for() -> None:
    plain, charged = sum_cost(Charges()), sum_cost(Charges(abandoned=3, abandoned_s=1.5, abandoned_untold=1))
    assert charged.qpu_s == pytest.approx(plain.qpu_s + 1.5)
    assert charged.money == pytest.approx(plain.money + 3.0)
    assert (charged.abandoned_jobs, charged.abandoned_qpu_s, charged.abandoned_untold) == (3, 1.5, 1)
    assert charged.qpu_idle_s is None


def test_a_cost_tells_the_prices_it_was_reckoned_with() -> None:
    cost = sum_cost(NO_CHARGES, replace(PRICES, gpu_hour=3.0))
    assert cost.prices == UnitPrices(gpu_hour=3.0, qpu_second=2.0)
    assert cost.money == pytest.approx(3.0 * cost.compute_h + 2.0 * cost.qpu_s)


def test_a_real_session_is_idle_where_neither_answered_nor_abandoned_jobs_ran() -> None:
    plain = sum_cost(Charges())
    cost = sum_cost(Charges(abandoned=1, abandoned_s=1.0, sessions=1, sessions_s=plain.qpu_s + 10.0))
    assert cost.qpu_s == pytest.approx(plain.qpu_s + 10.0)
    assert cost.qpu_idle_s == pytest.approx(9.0)
    assert cost.idle_money == pytest.approx(18.0)


def test_an_emulated_session_is_billed_by_the_training_and_its_abandoned_jobs_are_not_idle() -> None:
    session = replace(PRICES, session=True)
    plain, charged = sum_cost(Charges(), session), sum_cost(Charges(abandoned=1, abandoned_s=0.25), session)
    assert plain.qpu_idle_s is not None
    assert charged.qpu_idle_s == pytest.approx(max(0.0, plain.qpu_idle_s - 0.25))


def test_verdict_and_table_say_what_was_given_up_and_what_nobody_tells() -> None:
    given_up = {"abandoned_jobs": 12, "abandoned_qpu_s": 4.0, "abandoned_untold": 2, "sessions_untold": 1}
    run = summary({ARM: Calling(waits_ms=120.0, cost=make_cost(10.0).model_copy(update=given_up))})
    text = " ".join(sentence.text for sentence in verdict(run).sentences)
    assert (
        f"{ARM} abandoned 12 submitted jobs, which took 4.00 of its 10.0 QPU s and has no usage reported for "
        f"2 such jobs and 1 session, so its cost is a lower bound."
    ) in text
    notes = [
        getattr(cell, "note", "") for group in tables.cost(run).groups for row in group.rows for cell in row
    ]
    assert any(
        "4.00 of it in 12 jobs given up, 2 jobs with unknown usage, 1 session with" in note for note in notes
    )


def test_an_arm_that_gave_nothing_up_is_silent_about_it() -> None:
    text = " ".join(s.text for s in verdict(summary({ARM: Calling(waits_ms=120.0)})).sentences)
    assert "abandoned" not in text
    assert "told no usage" not in text


@dataclass(frozen=True)
class Lease:
    """A session of nobody's."""

    id: str


@dataclass
class Vendor:
    """As much of a Client as a workload needs; usage: of every session, or why it is unknown."""

    usage: float | ProviderError
    opened: int = 0
    closed: list[str] = field(default_factory=list)

    def open(self, mode: str, max_time_s: int | None) -> Lease:
        del mode, max_time_s
        self.opened += 1
        return Lease(f"session-{self.opened}")

    def close(self, lease: Lease) -> None:
        self.closed.append(lease.id)

    def usage_s(self, lease: Lease) -> float:
        del lease
        if isinstance(self.usage, ProviderError):
            raise self.usage
        return self.usage


def run_workload(vendor: Vendor, ran_s: float) -> SharedWorkload[Any, Any]:
    """One session with one job, closed."""

    async def main() -> SharedWorkload[Any, Any]:
        client: Any = vendor
        budget = MoneyBudget(0.0, Price(1.0))
        workload: SharedWorkload[Any, Any] = SharedWorkload(
            client, Inline(), WorkloadPolicy("session"), budget
        )
        await workload.enter()
        workload.leave(ran_s)
        await workload.close()
        return workload

    return asyncio.run(main())


def test_a_session_whose_vendor_tells_its_usage_has_a_bill() -> None:
    workload = run_workload(Vendor(5.0), ran_s=2.0)
    assert [(bill.usage_s, bill.idle_s) for bill in workload.bills] == [(5.0, 3.0)]
    assert workload.unreported_sessions == 0


@pytest.mark.parametrize("usage", [0.0, ProviderError(FaultKind.TRANSIENT, "away")])
def test_a_session_without_reported_usage_is_counted(usage: float | ProviderError) -> None:
    workload = run_workload(Vendor(usage), ran_s=2.0)
    assert workload.bills == []
    assert workload.unreported_sessions == 1
