"""The flags of a service that has a flag file: they decide on calls, and change when an operator says so."""

from __future__ import annotations

import asyncio
import logging
import math

from shotclock.domain.canary import CanaryReport, CanaryRequest
from shotclock.domain.errors import SettingsError, ShotclockError
from shotclock.domain.flags import FlagChange, FlagDecision, FlagReport, FlagRequest
from shotclock.domain.outcome import Outcome
from shotclock.domain.ports import Offload
from shotclock.rollout.canary_control import CanaryControl
from shotclock.rollout.flag_file import EVERY_S, FlagFile

READS_PER_LOOK = 4
"""The canary is judged once a second."""

log = logging.getLogger(__name__)


class FileRollout:
    """Implements Flags and Rollout on a flag file; changes happen one after another, off the event loop."""

    def __init__(self, flags: FlagFile, canary: CanaryControl, offload: Offload) -> None:
        self._flags = flags
        self._canary = canary
        self._offload = offload
        self._changing = asyncio.Lock()

    def decide(self, request: FlagRequest) -> FlagDecision:
        """See `Flags.decide`."""
        return self._flags.decide(request)

    def report(self) -> FlagReport:
        """See `Flags.report`."""
        return self._flags.report()

    def canary(self) -> CanaryReport:
        """See `Flags.canary`."""
        return self._canary.report()

    def record_end(self, decision: FlagDecision, outcome: Outcome, duration_ns: int, budget_ns: int) -> None:
        """See `Flags.record_end`."""
        self._canary.record_end(decision, outcome, duration_ns, budget_ns)

    async def set_flag(self, flag: str, setting: str) -> FlagChange:
        """See `Rollout.set_flag`."""
        async with self._changing:
            return await self._offload.run(self._flags.set_flag, flag, setting)

    async def start_canary(self, request: CanaryRequest, caller: str) -> None:
        """See `Rollout.start_canary`."""
        async with self._changing:
            await self._canary.start(request, caller)

    async def abort_canary(self, caller: str) -> None:
        """See `Rollout.abort_canary`."""
        async with self._changing:
            await self._canary.abort(caller)

    async def record_validation(self, run: str, kernel: str, value: float, caller: str) -> None:
        """See `Rollout.record_validation`."""
        if not math.isfinite(value):
            raise SettingsError(f"validation: the value must be finite (got {value:g})")
        self._canary.record_value(self._flags.decide(FlagRequest.of(f"{run}/", kernel, caller)), value)

    async def keep_current(self) -> None:
        """Reads the file again and again, and judges the canary, until it is cancelled."""
        while True:
            for _ in range(READS_PER_LOOK):
                await asyncio.sleep(EVERY_S)
                await self._offload.run(self._flags.reload)
            async with self._changing:
                try:
                    await self._canary.advance()
                except ShotclockError as error:  # the state's file: the canary goes on in memory
                    log.warning("canary: %s", error)
