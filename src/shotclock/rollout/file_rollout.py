"""Changes of a flag file by request, while a service reads it."""

from __future__ import annotations

import asyncio

from shotclock.domain.flags import FlagChange
from shotclock.domain.ports import Offload
from shotclock.rollout.flag_file import FlagFile


class FileRollout:
    """Implements Rollout on a flag file; changes happen one after another, off the event loop."""

    def __init__(self, flags: FlagFile, offload: Offload) -> None:
        self._flags = flags
        self._offload = offload
        self._changing = asyncio.Lock()

    async def set_flag(self, flag: str, setting: str) -> FlagChange:
        """See `Rollout.set_flag`."""
        async with self._changing:
            return await self._offload.run(self._flags.set_flag, flag, setting)
