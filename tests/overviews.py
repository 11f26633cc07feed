"""Overviews of a service for tests of the status page: one that is well, one that is not."""

from __future__ import annotations

from dataclasses import replace

from shotclock.domain.accounting import MoneyLeft
from shotclock.domain.flags import FlagReport, FlagState
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.domain.overview import (
    CertificateDates,
    Event,
    Interval,
    Overview,
    ProviderFaultSeen,
    RecentCalls,
    TenantUsage,
)
from shotclock.domain.status import BreakerState, Phase

NOW = 1_796_000_000.0
DAY_S = 86_400.0

WELL = Overview(
    phase=Phase.READY,
    provider="emulated",
    emulated=True,
    breaker=BreakerState.CLOSED,
    waiting=3,
    running=1,
    lanes_limit=5,
    service_p95_s=0.126,
    accepted=12_120,
    finished=12_116,
    address="127.0.0.1:7443",
    version="0.1.0",
    python="3.11.2",
    now_unix_s=NOW,
    started_unix_s=NOW - 3 * DAY_S,
    window_s=300.0,
    everybody=RecentCalls("", 2_460, 2_400, 60, 0, {"expected_gain": 40}, 2_460, 0.035, 0.12, 0.182),
    callers=(
        RecentCalls("vision-train", 2_400, 2_350, 50, 0, {"expected_gain": 40}, 2_400, 0.035, 0.11, 0.18),
        RecentCalls("nlp-train", 60, 50, 10, 0, {}, 60, 0.041, None, None),
    ),
    intervals=tuple(Interval(NOW - 300 + 10 * number, 70 + number, number % 4) for number in range(30)),
    certificate=CertificateDates(NOW - 60 * DAY_S, NOW + 30 * DAY_S),
    events=(Event(NOW - 3 * DAY_S, "info", "service", "ready"),),
)

HOSTILE = '<img src=x onerror="document.title=1">&amp;'
"""A caller's name, a vendor's message and the like, as somebody may send it."""

ILL = replace(
    WELL,
    provider="ibm",
    emulated=False,
    breaker=BreakerState.HALF_OPEN,
    waiting=412,
    reasons=("tls.pem: expired on 2026-11-30 08:00 UTC; ask for a new one",),
    warnings=("tls.pem: expired on 2026-11-30 08:00 UTC; ask for a new one",),
    everybody=RecentCalls(
        "", 90_540, 1_200, 88_000, 73, {"breaker": 61_000, "remaining_budget": 2_530}, 8_200, 0.03, 0.4, 1.2
    ),
    callers=(
        RecentCalls(
            HOSTILE,
            90_500,
            1_200,
            87_960,
            73,
            {"breaker": 61_000, "remaining_budget": 2_530},
            8_192,
            0.03,
            0.4,
            1.2,
        ),
        RecentCalls(
            "spiffe://example.org/ns/training/sa/vision-transformer-large", 40, 0, 40, 0, {}, 40, 0.02
        ),
    ),
    intervals=tuple(Interval(NOW - 300 + 10 * number, 0, 2_900, 40 * number) for number in range(30)),
    last_fault=ProviderFaultSeen(NOW - 12, f"the vendor cannot be reached: {HOSTILE}"),
    paid=True,
    budget=MoneyLeft(100.0, 4.2, "USD"),
    ledger_rows={str(state): 7 for state in LedgerState},
    ledger_stopped=True,
    parked=tuple(
        JobRecord(
            f"shotclock:20261130-{number:032x}",
            "ibm",
            ("r1",),
            256,
            LedgerState.PARKED,
            note="no job carries this tag, or not yet",
            changed_unix_s=NOW - 4_000,
        )
        for number in range(10)
    ),
    flags=FlagReport(
        {"quantum_path": "on", "quantum_share": "25 %", "shots": "any"},
        FlagState.STALE,
        95.0,
        "flags.json: cannot be read: No such file or directory",
    ),
    tenants=(
        TenantUsage(
            "spiffe://example.org/ns/training/sa/vision-transformer-large",
            "month",
            3_599.9,
            5_200.5,
            "USD",
            3_600.0,
            6_000.0,
        ),
        TenantUsage("nlp-train", "ever", 12.0, 19.2, "USD", 10.0),
        TenantUsage("", "day", 0.4, 0.64, "USD"),
    ),
    certificate=CertificateDates(NOW - 90 * DAY_S, NOW - 600),
    events=tuple(
        Event(NOW - 60 * number, "warning", "audit", f"denied caller={HOSTILE} method=/Solve", number + 1)
        for number in range(20)
    ),
)
