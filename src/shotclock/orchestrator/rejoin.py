"""Answers a repeated call from the job that an orchestrator submitted for it before it was lost.

Nothing is submitted here, and the job's record is left to whoever adopts it: samples are read by its tag.
"""

from __future__ import annotations

import asyncio

from shotclock.domain.accounting import UNKNOWN_USAGE, AccountEntry
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.outcome import ProviderFault
from shotclock.domain.ports import Accepted, Clock, Provider
from shotclock.domain.stages import Stage, StageTiming
from shotclock.orchestrator.call import Call, Sampled, UserCircuits
from shotclock.orchestrator.job_plan import BoundJob
from shotclock.orchestrator.ledger.accounts import RepeatedCallError
from shotclock.orchestrator.ledger.charges import read_usage
from shotclock.orchestrator.ledger.job_journal import JobJournal
from shotclock.orchestrator.provider_answers import answer_of

PAUSE_S = 0.1
"""Between two searches: the job may be on its way to the provider, and requests are limited."""


class Rejoining:
    """The calls that wait for a job of another orchestrator, each until its deadline."""

    def __init__(self, provider: Provider, journal: JobJournal, clock: Clock) -> None:
        self._provider = provider
        self._journal = journal
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, bound: BoundJob, error: RepeatedCallError) -> BoundJob:
        """The job without the call that it must not submit; the call waits for the earlier job, if any."""
        for call in bound.calls:
            if call.work.request_id == error.request_id and call.caller == error.caller:
                bound = bound.without(call)
                if error.earlier is None:
                    call.end(ProviderFault(str(error)))
                else:
                    self._start(call, error.earlier)
        return bound

    def close(self) -> None:
        """Gives all up."""
        for task in self._tasks:
            task.cancel()

    def _start(self, call: Call, earlier: AccountEntry) -> None:
        task = asyncio.ensure_future(self._rejoin(call, earlier))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        call.ended.add_done_callback(lambda _: task.cancel())

    async def _rejoin(self, call: Call, earlier: AccountEntry) -> None:
        began = self._clock.now_ns()
        try:
            accepted = await self._find(earlier.tag)
            ended = await self._collect(call, earlier, accepted)
        except ProviderError as error:
            call.end(ProviderFault(f"submitted before as {earlier.tag}, and not again: {error}"))
            return
        call.progress.job_id = accepted.job_id
        call.progress.record_stage(StageTiming(Stage.COLLECT, began, self._clock.now_ns() - began))
        call.end(ended)

    async def _find(self, tag: str) -> Accepted:
        while True:
            try:
                listed = await answer_of(self._provider.name, "find", self._provider.find(tag))
            except ProviderError as error:
                if error.kind is FaultKind.PERMANENT:
                    raise
            else:
                if len(listed) == 1:
                    return listed[0]
            await asyncio.sleep(PAUSE_S)

    async def _collect(
        self, call: Call, earlier: AccountEntry, accepted: Accepted
    ) -> Sampled | ProviderFault:
        execution = await answer_of(self._provider.name, "collect", self._provider.collect(accepted))
        if (usage := read_usage(self._provider, execution)) != UNKNOWN_USAGE:
            self._journal.charge(earlier.tag, usage)
        first = 0
        for each in earlier.account.calls:
            if each.request_id == call.work.request_id and each.caller == call.caller:
                break
            first += each.circuits
        total = sum(each.circuits for each in earlier.account.calls)
        own = execution.samples[first : first + each.circuits]
        if len(execution.samples) != total or [samples.pool.shape[1] for samples in own] != _widths(call):
            return ProviderFault(f"the samples of {earlier.tag} cannot be separated by another orchestrator")
        return Sampled(own, execution.collected_at_ns)


def _widths(call: Call) -> list[int]:
    """The bits of each circuit of the call."""
    if isinstance(call.work, UserCircuits):
        return [circuit.parameters.n for circuit in call.work.circuits]
    return [call.work.n]
