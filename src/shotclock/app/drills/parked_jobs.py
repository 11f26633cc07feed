"""`parked-jobs`: the connection of every submit is cut before it takes effect, so that no job has its tag."""

from __future__ import annotations

import asyncio

from shotclock.app.drills.rehearse import Drill
from shotclock.app.drills.site import Site, SitePlan


async def cut_submits(site: Site) -> None:
    """Until a job is parked; then the network is well again, and the job still parked."""
    await site.add_fault("drop-before:1.0")
    async with asyncio.timeout(120.0):
        while await site.read_metric('shotclock_ledger_rows{state="parked"}') < 1:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.5)
    await site.clear_faults()


DRILL = Drill("parked-jobs", cut_submits, SitePlan(has_endpoint=True))
