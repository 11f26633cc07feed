"""Records paid jobs in the ledger: durable before the submit, closed by the model's decision.

A call waits only for its intent to be written: the job id is recorded while the QPU works, the result after
it was delivered. A crash in between leaves a job that is adopted by its tag.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from shotclock.domain.accounting import UNKNOWN_USAGE, JobAccount, JobUsage
from shotclock.domain.ledger import JobRecord, LedgerError, LedgerState
from shotclock.domain.outcome import Decision
from shotclock.domain.ports import Ledger
from shotclock.orchestrator.ledger.accounts import RepeatedCallError
from shotclock.orchestrator.ledger.lane_line import LaneLine
from shotclock.orchestrator.ledger.transitions import AdoptedError, LedgerBusyError

log = logging.getLogger(__name__)

UNDECIDED_LIMIT = 10_000
"""Results whose decision is awaited; beyond this the oldest is recorded as STALE."""


def no_report(why: str) -> None:
    """Reports nothing."""
    del why


class JobJournal(Protocol):
    """Where the pipeline reports its jobs. broken: why nothing can be written any more, or ""."""

    broken: str

    def is_lane_awaited(self) -> bool:
        """Whether jobs wait for a lane, so that the next one waits behind them."""

    async def wait_for_lane(self, *, has_waited: bool = False) -> None:
        """Returns when a lane seems free that other orchestrators use too; `intend` decides.

        has_waited: the job waited before, and another orchestrator was quicker.
        """

    async def intend(
        self, tag: str, requests: tuple[str, ...], shots: int, account: JobAccount | None = None
    ) -> None:
        """Records the intent, durable on return. After the first LedgerError, every call raises one.

        Not after a LedgerBusyError, such as LanesBusyError or OverBudgetError: the next call may succeed.
        """

    def record_submit(self, tag: str, job_id: str) -> None:
        """The provider accepted the job."""

    def record_failure(self, tag: str, note: str) -> None:
        """The job ended without samples, or nothing was submitted."""

    def charge(self, tag: str, usage: JobUsage) -> None:
        """The provider reported what the job is charged."""

    def park(self, tag: str, note: str) -> None:
        """Whether the job runs is unknown: a person must decide."""

    def result(self, tag: str, requests: tuple[str, ...], usage: JobUsage = UNKNOWN_USAGE) -> None:
        """Samples were returned; the decision on every call with a request id is now awaited."""

    def record_decision(self, request_id: str, decision: Decision) -> None:
        """The decision on a call's answer; the decision on its last call closes the job."""

    async def wait_settled(self) -> None:
        """Records undecided jobs as STALE and waits until everything is written."""


class FreeJobs:
    """A JobJournal that records nothing, for providers that cost nothing."""

    broken = ""

    def is_lane_awaited(self) -> bool:
        """See `JobJournal.is_lane_awaited`."""
        return False

    async def wait_for_lane(self, *, has_waited: bool = False) -> None:
        """See `JobJournal.wait_for_lane`."""

    async def intend(
        self, tag: str, requests: tuple[str, ...], shots: int, account: JobAccount | None = None
    ) -> None:
        """See `JobJournal.intend`."""

    def record_submit(self, tag: str, job_id: str) -> None:
        """See `JobJournal.record_submit`."""

    def record_failure(self, tag: str, note: str) -> None:
        """See `JobJournal.record_failure`."""

    def charge(self, tag: str, usage: JobUsage) -> None:
        """See `JobJournal.charge`."""

    def park(self, tag: str, note: str) -> None:
        """See `JobJournal.park`."""

    def result(self, tag: str, requests: tuple[str, ...], usage: JobUsage = UNKNOWN_USAGE) -> None:
        """See `JobJournal.result`."""

    def record_decision(self, request_id: str, decision: Decision) -> None:
        """See `JobJournal.record_decision`."""

    async def wait_settled(self) -> None:
        """See `JobJournal.wait_settled`."""


class SharedLanes(Protocol):
    """A provider's lanes, where several orchestrators use them."""

    async def wait_for_lane(self, provider: str) -> None:
        """Returns when one seems free."""


class PaidJobs:
    """Writes a provider's jobs into its ledger, each job's moves in order.

    on_trouble: called with what needs attention: each parked job, and once when nothing can be written.
    lanes: those that other orchestrators use too; None where this one is alone.
    """

    def __init__(
        self,
        ledger: Ledger,
        provider: str,
        on_trouble: Callable[[str], None] = no_report,
        lanes: SharedLanes | None = None,
    ) -> None:
        self._ledger = ledger
        self._provider = provider
        self._on_trouble = on_trouble
        self._lanes = lanes
        self._line = LaneLine(self._look_for_lane)
        self._writing: set[asyncio.Task[None]] = set()
        self._tag_of: OrderedDict[str, str] = OrderedDict()
        self._undecided: dict[str, set[str]] = {}
        self._applied: set[str] = set()
        self.broken = ""

    def is_lane_awaited(self) -> bool:
        """See `JobJournal.is_lane_awaited`."""
        return len(self._line) > 0

    async def wait_for_lane(self, *, has_waited: bool = False) -> None:
        """See `JobJournal.wait_for_lane`."""
        await self._line.wait(has_waited=has_waited)

    async def _look_for_lane(self) -> None:
        if self._lanes is not None:
            await self._lanes.wait_for_lane(self._provider)

    async def intend(
        self, tag: str, requests: tuple[str, ...], shots: int, account: JobAccount | None = None
    ) -> None:
        """See `JobJournal.intend`."""
        if self.broken:
            raise LedgerError(self.broken)
        if account is not None and self._lanes is None:
            for call in account.calls:
                if call.origin.repeats:  # whoever may have paid for it wrote into another ledger
                    raise RepeatedCallError(call, "this orchestrator shares its ledger with no other")
        log.debug("job intended", extra={"tag": tag, "request_ids": requests})
        try:
            await self._ledger.intend(JobRecord(tag, self._provider, requests, shots, account=account))
        except LedgerBusyError:
            raise
        except LedgerError as error:
            self._break(error)
            raise

    def record_submit(self, tag: str, job_id: str) -> None:
        """See `JobJournal.record_submit`."""
        self._write(self._ledger.move(tag, LedgerState.SUBMITTED, job_id=job_id))

    def record_failure(self, tag: str, note: str) -> None:
        """See `JobJournal.record_failure`."""
        self._write(self._ledger.move(tag, LedgerState.FAILED, note=note))

    def charge(self, tag: str, usage: JobUsage) -> None:
        """See `JobJournal.charge`."""
        if not self.broken:
            self._write(self._ledger.charge(tag, usage))

    def park(self, tag: str, note: str) -> None:
        """See `JobJournal.park`."""
        self._write(self._park(tag, note))

    def result(self, tag: str, requests: tuple[str, ...], usage: JobUsage = UNKNOWN_USAGE) -> None:
        """See `JobJournal.result`."""
        self._write(self._ledger.move(tag, LedgerState.RESULT))
        if usage != UNKNOWN_USAGE:
            self.charge(tag, usage)
        request_ids = {request for request in requests if request}
        for repeated in request_ids & self._tag_of.keys():
            self._forget(repeated, applied=False)
        self._undecided[tag] = request_ids
        self._tag_of.update(dict.fromkeys(request_ids, tag))
        if not request_ids:
            self._close(tag)
        while len(self._tag_of) > UNDECIDED_LIMIT:
            self._forget(next(iter(self._tag_of)), applied=False)

    def record_decision(self, request_id: str, decision: Decision) -> None:
        """See `JobJournal.record_decision`."""
        self._forget(request_id, applied=decision in {Decision.APPLIED, Decision.REVALIDATED})

    async def wait_settled(self) -> None:
        """See `JobJournal.wait_settled`."""
        for request_id in tuple(self._tag_of):
            self._forget(request_id, applied=False)
        while self._writing:
            await asyncio.wait(self._writing)

    def _forget(self, request_id: str, *, applied: bool) -> None:
        tag = self._tag_of.pop(request_id, None)
        if tag is None:
            return
        if applied:
            self._applied.add(tag)
        self._undecided[tag].discard(request_id)
        if not self._undecided[tag]:
            self._close(tag)

    def _close(self, tag: str) -> None:
        del self._undecided[tag]
        applied = tag in self._applied
        self._applied.discard(tag)
        state = LedgerState.APPLIED if applied else LedgerState.STALE
        self._write(self._ledger.move(tag, state, note="" if applied else "none of its answers was applied"))

    async def _park(self, tag: str, note: str) -> None:
        await self._ledger.move(tag, LedgerState.PARKED, note=note)
        if log.isEnabledFor(logging.DEBUG):
            for job in await self._ledger.jobs(LedgerState.PARKED):
                if job.tag == tag:
                    log.debug("job parked", extra={"tag": tag, "request_ids": job.requests, "note": note})
        self._on_trouble(f"{tag} is parked: {note}; look it up at the provider, then `shotclock jobs settle`")

    def _write(self, move: Coroutine[Any, Any, None]) -> None:
        """Does not wait for the writes before it: a ledger writes in the order of calls."""
        task = asyncio.ensure_future(self._await_write(move))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _await_write(self, move: Coroutine[Any, Any, None]) -> None:
        try:
            await move
        except AdoptedError as error:
            log.debug("the record of a job is left to another orchestrator: %s", error)
        except LedgerError as error:
            self._break(error)

    def _break(self, error: LedgerError) -> None:
        if not self.broken:
            self.broken = str(error)
            self._on_trouble(f"no more jobs are submitted: {error}")
