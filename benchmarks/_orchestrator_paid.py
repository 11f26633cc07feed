"""What durability costs: a paid call with its ledger, a free one, and a bare write and fsync, in turn."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from _orchestrator_series import BLOCKS, Rate, Series
from _orchestrator_system import System, in_flight, instances, system
from shotclock.domain.outcome import Decision, Outcome
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.ledger.job_journal import PaidJobs
from shotclock.orchestrator.ledger.sqlite import SqliteLedger

ON_DISK = Path("/var/tmp")
"""Kept across reboots, hence on a disk; /tmp can be memory."""
FRAME_BYTES = 24 + 4096
"""A page with its header in SQLite's write-ahead log: the least a commit writes."""
WARM_UP = 16
PAID = "in process, a paid provider, its ledger on disk"


@dataclass(frozen=True, slots=True)
class Durable:
    """The three ways, and the rate of paid calls with eight in flight, whose intents share their fsyncs."""

    paid: Series
    free: Series
    fsync: Series
    rate: Rate


def measure(free: System, calls: int) -> Durable:
    """Rounds of the three ways; each finds the disk idle, for what the one before wrote is written."""
    three_series = (
        Series(PAID),
        Series("in process, a free provider, in the same rounds"),
        Series(f"bare write of {FRAME_BYTES} bytes + fsync"),
    )
    with _open_paid() as (paid, log):
        for subproblem in instances(WARM_UP):
            paid.host.run(_call(paid, subproblem))
        for _ in range(BLOCKS):
            _block(three_series, free, paid, log, instances(calls // BLOCKS))
        rate = paid.host.run(in_flight(PAID, _Deciding(paid).solve, instances(), calls))
    return Durable(*three_series, rate)


def _block(
    three_series: tuple[Series, Series, Series],
    free: System,
    paid: System,
    log: int,
    subproblems: list[Subproblem],
) -> None:
    latencies: dict[str, list[int]] = {"free": [], "paid": []}
    outcomes: dict[str, list[Outcome]] = {"free": [], "paid": []}
    synced = []
    for subproblem in subproblems:
        for name, path in (("free", free), ("paid", paid)):
            took, ended = path.host.run(_call(path, subproblem))
            latencies[name] += took
            outcomes[name] += ended
        synced.append(_sync_ns(log))
    three_series[0].add(latencies["paid"], outcomes["paid"])
    three_series[1].add(latencies["free"], outcomes["free"])
    three_series[2].blocks.append(synced)


async def _call(on: System, subproblem: Subproblem) -> tuple[list[int], list[Outcome]]:
    """One timed call; then, untimed, the decision that closes its record, until that is written."""
    timed = await on.time_calls([subproblem])
    await on.path.orchestrator.record_decision(subproblem.request_id, Decision.APPLIED)
    await on.path.pipeline.journal.wait_settled()
    return timed


class _Deciding:
    """Calls whose answers are all applied."""

    def __init__(self, on: System) -> None:
        self._orchestrator = on.path.orchestrator

    async def solve(self, subproblem: Subproblem) -> Outcome:
        outcome = await self._orchestrator.solve(subproblem)
        await self._orchestrator.record_decision(subproblem.request_id, Decision.APPLIED)
        return outcome


def _sync_ns(log: int) -> int:
    began_ns = time.perf_counter_ns()
    os.write(log, bytes(FRAME_BYTES))
    os.fsync(log)
    return time.perf_counter_ns() - began_ns


@contextmanager
def _open_paid() -> Iterator[tuple[System, int]]:
    """A paid provider's system, and a file beside its ledger."""
    with tempfile.TemporaryDirectory(dir=ON_DISK) as folder:
        ledger = SqliteLedger(Path(folder) / "ledger.db", time.time)
        log = os.open(Path(folder) / "bare", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            with system(PaidJobs(ledger, "scripted")) as running:
                yield running, log
        finally:
            os.close(log)
            ledger.close()
