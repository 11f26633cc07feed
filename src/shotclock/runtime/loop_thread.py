"""The orchestrator's event-loop thread and the caller through which synchronous training code uses it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from shotclock.domain.circuit_batch import CircuitBatch
from shotclock.domain.errors import MachineError
from shotclock.domain.outcome import CircuitOutcome, Decision, Outcome
from shotclock.domain.ports import Dispatcher, Pending, PendingBatch
from shotclock.domain.subproblem import Subproblem

T = TypeVar("T")


class SystemClock:
    """CLOCK_MONOTONIC, which all processes of a host share."""

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return time.monotonic_ns()


class LoopThread:
    """An asyncio loop on a daemon thread, which a process that is forked from this one does not have."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        self._is_closed = False
        self._thread = threading.Thread(target=self.loop.run_forever, name="shotclock-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop and waits for it, from another thread."""
        return self.submit(work).result()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Runs a coroutine on the loop. MachineError where the loop is closed, or is of another process."""
        why = ""
        if self._is_foreign():
            why = f"belongs to process {self._pid}, from which this one was forked; make one here"
        elif self._is_closed:
            why = "is closed; make another one"
        if why:
            work.close()
            raise MachineError(f"shotclock: the connection or orchestrator {why}")
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        """Cancels the running tasks, stops the loop and joins the thread; not in a forked process."""
        if self._is_foreign():
            return
        ending = self.submit(cancel_all())
        self._is_closed = True
        ending.result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _is_foreign(self) -> bool:
        return os.getpid() != self._pid


async def cancel_all() -> None:
    """Cancels every other task of the running loop and waits until they have ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class ThreadCaller:
    """A Caller whose dispatcher lives on a LoopThread."""

    def __init__(self, dispatcher: Dispatcher, thread: LoopThread) -> None:
        self._dispatcher = dispatcher
        self._thread = thread

    def ask(self, subproblem: Subproblem) -> Pending:
        """See `Caller.ask`."""
        return _FuturePending(self._thread.submit(self._dispatcher.solve(subproblem)))

    def record_decision(self, request_id: str, decision: Decision, *, stale: bool = False) -> None:
        """See `Caller.record_decision`."""
        self._thread.submit(self._dispatcher.record_decision(request_id, decision, stale=stale))


class ThreadCircuitCaller:
    """A CircuitCaller whose dispatcher lives on a LoopThread."""

    def __init__(self, dispatcher: Dispatcher, thread: LoopThread) -> None:
        self._dispatcher = dispatcher
        self._thread = thread

    def submit(self, batch: CircuitBatch) -> PendingBatch:
        """See `CircuitCaller.submit`."""
        return self._thread.submit(collect_batch(self._dispatcher, batch))


async def collect_batch(dispatcher: Dispatcher, batch: CircuitBatch) -> tuple[CircuitOutcome, ...]:
    """The outcome of every point, in order."""
    outcomes: dict[int, CircuitOutcome] = {}
    await dispatcher.execute_batch(batch, outcomes.__setitem__)
    return tuple(outcomes[index] for index in range(batch.points))


class _FuturePending:
    def __init__(self, future: Future[Outcome]) -> None:
        self._future = future

    def done(self) -> bool:
        return self._future.done()

    def result(self) -> Outcome:
        return self._future.result()
