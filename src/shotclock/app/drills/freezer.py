"""A host that stops a process now and then, as one that is throttled or swaps does."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

from shotclock.app.drills.site import Site


class Freezer:
    """Freezes the service's process for frozen_s, lets it run for running_s, again and again; seconds."""

    def __init__(self, frozen_s: float, running_s: float) -> None:
        self._frozen_s = frozen_s
        self._running_s = running_s
        self._freezing: asyncio.Task[None] | None = None

    async def begin(self, site: Site) -> None:
        """Returns at once."""
        self._freezing = asyncio.create_task(self._freeze(site))

    async def end(self, site: Site) -> None:
        """Lets the process run."""
        if self._freezing is not None:
            self._freezing.cancel()
            with suppress(asyncio.CancelledError):
                await self._freezing
        site.signal_service(signal.SIGCONT)

    async def _freeze(self, site: Site) -> None:
        while True:
            site.signal_service(signal.SIGSTOP)
            await asyncio.sleep(self._frozen_s)
            site.signal_service(signal.SIGCONT)
            await asyncio.sleep(self._running_s)
