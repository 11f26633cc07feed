"""What needs attention at a service, and whether it is healthy in one sentence."""

from __future__ import annotations

from collections.abc import Iterator

from shotclock.domain.accounting import MoneyLeft
from shotclock.domain.flags import FlagReport, FlagState
from shotclock.domain.ledger import LedgerState
from shotclock.domain.overview import Overview, RecentCalls
from shotclock.domain.plural import count
from shotclock.domain.status import BreakerState, Phase
from shotclock.telemetry.amounts import show_counts, show_span
from shotclock.telemetry.logs import DECIDED_LIMITS

FEWEST_CONCERNED = 5
MISSED_SHARE, REFUSED_SHARE = 0.01, 0.05
"""A caller is mentioned from so many missed or refused calls on that are more than this share."""

LITTLE_BUDGET = 0.1


def find_problems(overview: Overview) -> tuple[str, ...]:
    """What needs attention, the most urgent first; none if all is well."""
    return (
        *overview.reasons,
        *_of_provider(overview),
        *_of_flags(overview.flags),
        *(warning for warning in overview.warnings if warning not in overview.reasons),
        *(problem for recent in overview.callers for problem in _of_caller(recent)),
    )


def _of_provider(overview: Overview) -> Iterator[str]:
    if overview.breaker is not BreakerState.CLOSED:
        fault = overview.last_fault
        why = f"; its last fault: {fault.message}" if fault is not None else ""
        yield f"the breaker is {show_breaker(overview)}: no job is submitted to {overview.provider}{why}"
    if overview.ledger_stopped:
        yield "the ledger cannot be written: no job is paid for until a restart"
    if parked := overview.ledger_rows.get(LedgerState.PARKED, 0):
        yield f"{count(parked, 'parked job')}: a person must decide (`shotclock jobs --state parked`)"
    if (budget := overview.budget) is not None and is_nearly_spent(budget):
        effect = "every job is refused" if budget.remaining <= 0 else f"of {budget.limit:,.2f}"
        yield f"{max(0.0, budget.remaining):,.2f} {budget.currency} of the budget are left, {effect}"


def _of_flags(flags: FlagReport) -> Iterator[str]:
    if flags.state in {FlagState.STALE, FlagState.ERROR}:
        yield f"the flags are {flags.state}, those in force are {show_span(flags.age_s)} old: {flags.reason}"


def _of_caller(recent: RecentCalls) -> Iterator[str]:
    late = max(recent.misses, recent.late_at_client)
    if late >= FEWEST_CONCERNED and late > MISSED_SHARE * recent.calls:
        at_client = f"; the client counts {late:,}" if late > recent.misses else ""
        missed = f"{recent.misses:,} of {count(recent.calls, 'call')} missed their deadline"
        yield f"{recent.caller}: {missed}{at_client}"
    refused = {limit: number for limit, number in recent.refused.items() if limit not in DECIDED_LIMITS}
    if (total := sum(refused.values())) >= FEWEST_CONCERNED and total > REFUSED_SHARE * recent.calls:
        yield f"{recent.caller}: {total:,} of {count(recent.calls, 'call')} refused ({show_counts(refused)})"


def show_title(overview: Overview) -> str:
    """One sentence: whether it is healthy."""
    problems = len(find_problems(overview))
    if overview.reasons:
        phase = f" ({overview.phase})" if overview.phase is not Phase.READY else ""
        return f"Shotclock is not ready{phase}"
    if problems:
        return (
            f"Shotclock is ready; {count(problems, 'thing')} {'needs' if problems == 1 else 'need'} attention"
        )
    return "Shotclock is ready"


def show_breaker(overview: Overview) -> str:
    """`half open`."""
    return overview.breaker.value.replace("_", " ")


def has_missed(recent: RecentCalls) -> bool:
    """Whether more of the calls than `MISSED_SHARE` missed their deadline."""
    return recent.misses > MISSED_SHARE * recent.calls


def is_late_at_client(recent: RecentCalls) -> bool:
    """Whether the client reported more."""
    return recent.late_at_client > MISSED_SHARE * recent.calls


def is_nearly_spent(budget: MoneyLeft | None) -> bool:
    """Whether less than `LITTLE_BUDGET` of a known budget is left."""
    return budget is not None and budget.remaining < LITTLE_BUDGET * budget.limit
