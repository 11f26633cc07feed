"""A second client that misbehaves while a drill runs: floods the queue, or sends sizes never seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from shotclock.app.drills.load import BUDGET_S, run_load
from shotclock.app.drills.site import SECOND_TRAINER, N, Site


class SecondClient:
    """Makes calls beside the honest client's.

    rate: calls a second.
    size: variables of its n-th call.
    budget_s: of a call.
    """

    def __init__(
        self, rate: float, size: Callable[[int], int] = lambda _: N, budget_s: float = BUDGET_S
    ) -> None:
        self._rate = rate
        self._size = size
        self._budget_s = budget_s
        self._calling: asyncio.Task[None] | None = None

    async def begin(self, site: Site) -> None:
        """Starts it; the runbooks call it by `$caller`."""
        site.variables["caller"] = SECOND_TRAINER
        self._calling = asyncio.create_task(self._call(site))

    async def end(self, site: Site) -> None:
        """Ends it."""
        del site
        if self._calling is not None:
            self._calling.cancel()
            with suppress(asyncio.CancelledError):
                await self._calling

    async def _call(self, site: Site) -> None:
        async with run_load(
            site.target,
            site.identity(SECOND_TRAINER),
            rate=self._rate,
            size=self._size,
            fallback=False,
            budget_s=self._budget_s,
        ):
            await asyncio.Event().wait()
