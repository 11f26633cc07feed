"""`memory-transfer`: a port of the host's RDMA adapter has errors, and the client's memory flips bits.

The errors rise in the file of the driver's counter, in a host's tree that the service reads instead of `/`.
The windows of bursts are settings, shortened as the rules' windows are.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from shotclock.app.drills.rehearse import Drill
from shotclock.app.drills.site import Site, SitePlan
from shotclock.app.host_failure import FailingMemory
from shotclock.domain import files

PORT = "sys/class/infiniband/mlx5_0/ports/1"
COUNTER = f"{PORT}/counters/symbol_error"
EVERY_S, ERRORS = 0.5, 100
MEMORY = FailingMemory(every=5)


class FailingPort:
    """A bad cable: a counter of errors that rises until `end`."""

    def __init__(self) -> None:
        self._failing: asyncio.Task[None] | None = None

    async def begin(self, site: Site) -> None:
        """Returns at once."""
        MEMORY.is_failing = True
        self._failing = asyncio.create_task(self._fail(site))

    async def end(self, site: Site) -> None:
        """The cable and the memory are replaced; the counter stays where it is."""
        del site
        MEMORY.is_failing = False
        if self._failing is not None:
            self._failing.cancel()
            with suppress(asyncio.CancelledError):
                await self._failing

    async def _fail(self, site: Site) -> None:
        total = 0
        while True:
            total += ERRORS
            files.write_text(site.host_tree / COUNTER, f"{total}\n")
            await asyncio.sleep(EVERY_S)


FAILING = FailingPort()
DRILL = Drill(
    "memory-transfer",
    FAILING.begin,
    SitePlan(
        host_files={
            "proc/sys/kernel/hostname": "drill",
            f"{PORT}/state": "4: ACTIVE",
            COUNTER: "0",
        },
        settings={
            "placement": {
                "metrics": ["fabric"],
                "sample_s": 1.0,
                "burst_errors": 100,
                "burst_window_s": 5.0,
                "burst_quiet_s": 10.0,
            }
        },
    ),
    end=FAILING.end,
    ends_before="shotclock resume",
    memory=MEMORY,
)
