"""The flags of a service that has a source of them: they decide on calls; an operator changes them."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Protocol

from shotclock.domain.canary import CanaryReport, CanaryRequest
from shotclock.domain.errors import SettingsError, ShotclockError
from shotclock.domain.flags import FlagChange, FlagDecision, FlagReport, FlagRequest
from shotclock.domain.outcome import Outcome
from shotclock.domain.ports import Offload
from shotclock.rollout.document_flags import EVERY_S, DocumentFlags

READS_PER_LOOK = 4
"""The canary is judged once a second."""

log = logging.getLogger(__name__)


class Canary(Protocol):
    """What is asked of a canary; see `CanaryControl`."""

    def report(self) -> CanaryReport:
        """See `Flags.canary`."""

    def record_end(self, decision: FlagDecision, outcome: Outcome, duration_ns: int, budget_ns: int) -> None:
        """See `Flags.record_end`."""

    def record_value(self, decision: FlagDecision, value: float) -> None:
        """A value of the validation metric of a run on which the flags decide so."""

    async def start(self, request: CanaryRequest, caller: str) -> None:
        """See `Rollout.start_canary`."""

    async def abort(self, caller: str) -> None:
        """See `Rollout.abort_canary`."""

    async def advance(self) -> None:
        """Judges it; raises ShotclockError where its state cannot be written."""


class DocumentRollout:
    """Implements Flags and Rollout on a source; changes happen one after another, off the event loop."""

    def __init__(self, flags: DocumentFlags, canary: Canary, offload: Offload) -> None:
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
        """Reads the source again and again, and judges the canary, until it is cancelled."""
        while True:
            for _ in range(READS_PER_LOOK):
                await asyncio.sleep(EVERY_S)
                await self._offload.run(self._flags.reload)
            async with self._changing:
                try:
                    await self._canary.advance()
                except ShotclockError as error:  # the state's file: the canary goes on in memory
                    log.warning("canary: %s", error)
