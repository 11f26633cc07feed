"""The drills by name, and how to run them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

from shotclock.app.drills import (
    budget_exhausted,
    canary_rolled_back,
    certificate_expiry,
    compile_storm,
    deadlines_missed,
    ledger_stopped,
    memory_transfer,
    parked_jobs,
    qpu_unresponsive,
    queue_length,
    service_down,
    stale_updates,
    tail_latency,
)
from shotclock.app.drills.record import DrillRecord
from shotclock.app.drills.rehearse import Drill, Report, rehearse

DRILLS = {
    module.DRILL.name: module.DRILL
    for module in (
        budget_exhausted,
        canary_rolled_back,
        certificate_expiry,
        compile_storm,
        deadlines_missed,
        ledger_stopped,
        memory_transfer,
        parked_jobs,
        qpu_unresponsive,
        queue_length,
        service_down,
        stale_updates,
        tail_latency,
    )
}


def run_drill(name: str, report: Report) -> DrillRecord:
    """Runs one drill, on a site that exists for as long. Raises MachineError where something is missing."""
    (record,) = run_drills((name,), report)
    return record


def run_drills(names: Sequence[str], report: Report) -> tuple[DrillRecord, ...]:
    """Runs drills one after the other on one site; they must have the same plan of it.

    SIGTERM is a KeyboardInterrupt too, so that every process of the site ends.
    """
    try:
        return asyncio.run(_run_interruptibly(tuple(DRILLS[name] for name in names), report))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _run_interruptibly(drills: tuple[Drill, ...], report: Report) -> tuple[DrillRecord, ...]:
    running = asyncio.ensure_future(rehearse(drills, report))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        return await running
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def run_each(names: Sequence[str], report: Report) -> tuple[DrillRecord, ...]:
    """Runs drills one after the other, each on a new site, for whoever counts those that passed."""
    return tuple(run_drill(name, report) for name in names)
