"""What the status page and `shotclock status` say of a service, in the order in which an operator asks."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.flags import FlagReport, FlagState
from shotclock.domain.ledger import LedgerState
from shotclock.domain.overview import Overview
from shotclock.domain.plural import count
from shotclock.domain.status import BreakerState, Phase
from shotclock.telemetry.amounts import (
    UNKNOWN,
    show_counts,
    show_instant,
    show_percentile,
    show_share,
    show_span,
)
from shotclock.telemetry.problems import has_missed, is_late_at_client, is_nearly_spent, show_breaker
from shotclock.telemetry.recent import FEWEST

LIMITS = {
    "breaker": "the provider failed or was too slow five times in a row",
    "tenant_quota": "the caller's QPU time or money is used up",
    "caller_quota": "the caller has too many calls or bytes in progress",
    "compile_capacity": "this host could not compile or emulate the circuit",
    "concurrent_calls": "too many calls of one method at once",
    "data_policy": "a rule of the data policy keeps the call from the provider",
    "drain": "the service is draining",
    "error_free_shots": "too few shots would come back without an error",
    "expected_gain": "a local preview says that the QPU would not help",
    "host_health": "the host has a problem whose action is to refuse",
    "lanes": "no job may be at the provider now",
    "lines": "no line of qubits is ready",
    "max_qubits": "more variables than the provider has qubits",
    "memory": "as many calls are in progress as fit into memory",
    "queue_limit": "too many calls wait",
    "queue_wait": "calls wait too long: low priorities go first",
    "remaining_budget": "the calls ahead and the job would end after the deadline",
    "shots_to_fit": "too few shots would fit before the deadline",
}
"""What a refusal by each limit means; docs/sre.md has what to do."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A value; needs_attention: an operator should look at it."""

    text: str
    needs_attention: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A table.

    name: for links, unique.
    title: what it shows.
    columns: their titles; empty where the first cell of each row names the second.
    rows: as many cells each.
    empty: what is said without rows.
    note: how to read it, "" where that is plain.
    has_numbers: whether all columns but the first are numbers, or words as short, none of which is broken.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str = ""
    note: str = ""
    has_numbers: bool = False


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the first screen, with what it is of."""

    name: str
    value: Cell
    note: str = ""


def show_emulated(overview: Overview) -> str:
    """A mark behind every emulated figure."""
    return " (EMULATED)" if overview.emulated else ""


def tiles(overview: Overview) -> tuple[Tile, ...]:
    """The figures of the first screen."""
    recent, window = overview.everybody, show_span(overview.window_s)
    refused = sum(recent.refused.values())
    in_time = recent.in_time_samples + recent.in_time_classical
    mark = ", EMULATED" if overview.emulated else ""
    p99 = f"p50 {show_percentile(recent.p50_s)}, p95 {show_percentile(recent.p95_s)}{mark}"
    few = f"{count(recent.timed, 'call')}; a p99 needs {FEWEST[0.99]}"
    p95 = f"{show_percentile(overview.service_p95_s)} predicted p95" if overview.service_p95_s else ""
    return (
        Tile(
            "Answered in time",
            Cell(show_share(in_time, recent.calls), has_missed(recent)),
            f"{in_time:,} of {count(recent.calls, 'call')} in {window}"
            if recent.calls
            else f"no calls in {window}",
        ),
        Tile(
            "With QPU samples",
            Cell(show_share(recent.in_time_samples, recent.calls)),
            f"{count(recent.in_time_samples, 'call')}, the others classically",
        ),
        Tile(
            "p99 of all calls",
            Cell(show_percentile(recent.p99_s)),
            p99 if recent.p99_s is not None else few,
        ),
        Tile("Refused", Cell(f"{refused:,}"), show_counts(dict(list(recent.refused.items())[:2]))),
        Tile(
            "Breaker",
            Cell(show_breaker(overview), overview.breaker is not BreakerState.CLOSED),
            f"provider {overview.provider}{show_emulated(overview)}",
        ),
        Tile(
            "Now",
            Cell(f"{overview.waiting:,} waiting"),
            f"{overview.running} of {count(overview.lanes_limit, 'job')} at the provider"
            + (f", {p95}" if p95 else ""),
        ),
    )


def sections(overview: Overview) -> tuple[Section, ...]:
    """Every table."""
    return (
        _callers(overview),
        _refusals(overview),
        *_tenants(overview),
        _provider(overview),
        _jobs(overview),
        _flags(overview.flags),
        _certificate(overview),
        _service(overview),
        _events(overview),
    )


def _callers(overview: Overview) -> Section:
    rows = tuple(
        (
            Cell(recent.caller),
            Cell(f"{recent.calls:,}"),
            Cell(f"{recent.misses:,}", has_missed(recent)),
            Cell(f"{recent.late_at_client:,}", is_late_at_client(recent)),
            Cell(f"{sum(recent.refused.values()):,}"),
            Cell(show_share(recent.in_time_samples, recent.calls)),
            *(Cell(show_percentile(value)) for value in (recent.p50_s, recent.p95_s, recent.p99_s)),
        )
        for recent in overview.callers
    )
    window = show_span(overview.window_s)
    return Section(
        "callers",
        f"Callers, last {window}{show_emulated(overview)}",
        ("caller", "calls", "missed", "late", "refused", "QPU", "p50", "p95", "p99"),
        rows,
        f"no calls in {window}",
        "missed: no answer by the deadline; late: the same as the client reported it; QPU: answered in time "
        "with new samples; percentiles: of all calls, refused ones included, 11, 130 and 662 at least.",
        has_numbers=True,
    )


def _refusals(overview: Overview) -> Section:
    refused = overview.everybody.refused
    rows = []
    for limit, number in refused.items():
        callers = {recent.caller: recent.refused.get(limit, 0) for recent in overview.callers}
        worst = dict(sorted(callers.items(), key=lambda each: -each[1])[:3])
        rows.append(
            (
                Cell(limit),
                Cell(f"{number:,}"),
                Cell(show_counts({name: calls for name, calls in worst.items() if calls})),
                Cell(LIMITS.get(limit, "a feature flag says so")),
            )
        )
    return Section(
        "refusals",
        f"Refusals, last {show_span(overview.window_s)}",
        ("limit", "calls", "callers", "why"),
        tuple(rows),
        "no call was refused",
    )


def _provider(overview: Overview) -> Section:
    budget, fault = overview.budget, overview.last_fault
    if budget is not None:
        remaining = f"{budget.remaining:,.2f} of {budget.limit:,.2f} {budget.currency}"
    else:
        remaining = UNKNOWN if overview.paid else "not paid for"
    p95 = f"{show_percentile(overview.service_p95_s)}{show_emulated(overview)}"
    rows = [
        (Cell("provider"), Cell(f"{overview.provider}{show_emulated(overview)}")),
        (
            Cell("breaker"),
            Cell(show_breaker(overview), overview.breaker is not BreakerState.CLOSED),
        ),
        (
            Cell("budget left"),
            Cell(remaining, is_nearly_spent(budget)),
        ),
        (Cell("jobs there now"), Cell(f"{overview.running}, at most {overview.lanes_limit}")),
        (Cell("predicted p95 of a job"), Cell(p95 if overview.service_p95_s else UNKNOWN)),
    ]
    if fault is not None:
        at = show_instant(fault.at_unix_s, overview.now_unix_s)
        rows.append((Cell("last fault"), Cell(f"{at} {fault.message}")))
    return Section("provider", "Provider", (), tuple(rows))


def _tenants(overview: Overview) -> tuple[Section, ...]:
    """What callers used, and may use; nothing where no paid job was accounted."""
    rows = []
    for tenant in overview.tenants:
        seconds, money = tenant.qpu_s_limit, tenant.money_limit
        rows.append(
            (
                Cell(tenant.caller or "unnamed"),
                Cell(tenant.period),
                Cell(f"{tenant.qpu_s:,.1f}", seconds is not None and tenant.qpu_s >= seconds),
                Cell("" if seconds is None else f"{seconds:,.1f}"),
                Cell(f"{tenant.money:,.2f}", money is not None and tenant.money >= money),
                Cell("" if money is None else f"{money:,.2f}"),
            )
        )
    if not rows:
        return ()
    currency = overview.tenants[0].currency
    columns = ("caller", "period", "QPU s", "of", currency, "of")
    title = "Paid usage, all orchestrators"
    return (Section("tenants", title, columns, tuple(rows), has_numbers=True),)


def _jobs(overview: Overview) -> Section:
    rows = [
        (Cell(state), Cell(f"{number:,}", state == LedgerState.PARKED and number > 0))
        for state, number in overview.ledger_rows.items()
    ]
    for job in overview.parked:
        since = show_span(overview.now_unix_s - job.changed_unix_s)
        rows.append((Cell(job.tag), Cell(f"parked for {since}: {job.note}")))
    if overview.ledger_stopped:
        rows.insert(0, (Cell("ledger"), Cell("cannot be written, until a restart", needs_attention=True)))
    empty = "the ledger cannot be read" if overview.paid else "this provider's jobs are not paid for"
    return Section("paid-jobs", "Paid jobs", (), tuple(rows), empty)


def _flags(flags: FlagReport) -> Section:
    is_current = flags.state not in {FlagState.STALE, FlagState.ERROR}
    source = str(flags.state) if is_current else f"{flags.state}: {flags.reason}"
    rows = (
        *((Cell(flag), Cell(setting)) for flag, setting in flags.settings.items()),
        (Cell("source"), Cell(source, not is_current)),
        (Cell("read"), Cell(f"{show_span(flags.age_s)} ago")),
    )
    empty = "no flags: every call may use the QPU"
    return Section("flags", "Flags", (), () if flags.state is FlagState.NONE else rows, empty)


def _certificate(overview: Overview) -> Section:
    dates = overview.certificate
    if dates is None:
        return Section("certificate", "Certificate", (), (), "no TLS: only this host can connect")
    remaining = dates.not_after_unix_s - overview.now_unix_s
    expiry = f"in {show_span(remaining)}" if remaining > 0 else f"expired {show_span(-remaining)} ago"
    is_due = remaining <= 0 or any("expire" in warning for warning in overview.warnings)
    rows = (
        (Cell("expires"), Cell(expiry, is_due)),
        (Cell("at"), Cell(show_instant(dates.not_after_unix_s, 0))),
        (Cell("age"), Cell(show_span(overview.now_unix_s - dates.not_before_unix_s))),
    )
    return Section("certificate", "Certificate", (), rows)


def _events(overview: Overview) -> Section:
    rows = tuple(
        (
            Cell(show_instant(event.at_unix_s, overview.now_unix_s)),
            Cell(event.source, event.level == "error"),
            Cell(event.text + (f" (×{event.count})" if event.count > 1 else "")),
        )
        for event in overview.events
    )
    return Section("events", "Recent events (UTC)", ("time", "of", "event"), rows, "nothing since the start")


def _service(overview: Overview) -> Section:
    rows = (
        (Cell("phase"), Cell(overview.phase, overview.phase is not Phase.READY)),
        (Cell("gRPC"), Cell(overview.address)),
        (Cell("calls finished"), Cell(f"{overview.finished:,} of {overview.accepted:,} accepted")),
        (Cell("up for"), Cell(show_span(overview.now_unix_s - overview.started_unix_s))),
        (Cell("version"), Cell(f"{overview.version}, Python {overview.python}")),
    )
    return Section("service", "Service", (), rows)
