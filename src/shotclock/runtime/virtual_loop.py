"""Virtual time: an event loop that skips waits instead of sleeping through them.

Time is the base clock plus everything skipped. With the real clock as base, software takes its real
time and only waiting is free (`bench --clock virtual`); with a frozen base, a run is a pure function of
its seed. Nothing may happen outside the loop meanwhile: work for the loop's executor runs immediately on
the caller's thread, and an answer from any other thread is refused.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from types import FrameType
from typing import Any, TypeVar

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit_batch import CircuitBatch
from shotclock.domain.errors import SettingsError
from shotclock.domain.outcome import CircuitOutcome, Decision, Outcome
from shotclock.domain.ports import Dispatcher, Pending, PendingBatch
from shotclock.domain.subproblem import Subproblem
from shotclock.runtime.loop_thread import collect_batch

T = TypeVar("T")


class _SkippingSelector(selectors.DefaultSelector):
    """Never sleeps: passes the timeout that the loop would have waited for to `skip`."""

    def __init__(self, skip: Callable[[float | None], None]) -> None:
        super().__init__()
        self._skip = skip

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events and (timeout is None or timeout > 0):
            self._skip(timeout)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on virtual time; also a Clock."""

    def __init__(self, base_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._base_ns = base_ns
        self._skipped_ns = 0
        self._own_thread = threading.get_ident()
        self._has_intruder = False
        super().__init__(_SkippingSelector(self._skip))

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return self._base_ns() + self._skipped_ns

    def time(self) -> float:
        """Virtual seconds, as asyncio reads them."""
        return self.now_ns() / NS_PER_S

    def run_in_executor(self, _executor: object, func: Callable[..., T], *args: object) -> asyncio.Future[T]:
        """Runs the work immediately on this thread: virtual time would skip over work in another one."""

        async def work() -> T:
            return func(*args)

        return self.create_task(work())

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        """As `call_soon` on the loop's own thread. A call from another thread is refused there and, because
        that error may go unnoticed, also by the loop before it skips a wait or ends a run.
        """
        if self.is_running() and threading.get_ident() == self._own_thread:
            return self.call_soon(callback, *args, context=context)
        self._has_intruder = threading.get_ident() != self._own_thread
        raise RuntimeError("threads are not allowed under the virtual clock")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end, skipping every wait."""
        return self.run_until_complete(work)

    def run_until_complete(self, future: Awaitable[T]) -> T:  # type: ignore[override]
        """As asyncio's, except that Ctrl-C cancels the work, and KeyboardInterrupt is raised after it ended.

        By default Python raises it inside whichever task is running, and everything that awaits that task
        later, above all the code that closes the system, would raise it again.
        """
        task = asyncio.ensure_future(future, loop=self)
        with _cancel_on_interrupt(task) as was_interrupted:
            try:
                result = super().run_until_complete(task)
                self._refuse_intruder()
                return result
            except asyncio.CancelledError:
                if was_interrupted():
                    raise KeyboardInterrupt from None
                raise

    def advance(self, ns: int) -> None:
        """Moves time forward by the duration of work that is simulated, not done."""
        self._skipped_ns += ns

    def _refuse_intruder(self) -> None:
        if self._has_intruder:
            self._has_intruder = False  # report once: closing the system runs the loop again
            raise SettingsError(
                "--clock virtual: the provider answers from its own thread, which virtual time cannot wait "
                "for; use asyncio.to_thread or loop.run_in_executor in the provider, or pass --clock wall"
            )

    def _skip(self, timeout: float | None) -> None:
        self._refuse_intruder()
        if timeout is None:
            raise RuntimeError("virtual time cannot advance: nothing is scheduled")
        # round up, by at least 1 ns: the timer must be due afterwards
        self.advance(max(1, math.ceil(timeout * NS_PER_S)))


@contextmanager
def _cancel_on_interrupt(task: asyncio.Future[Any]) -> Iterator[Callable[[], bool]]:
    """Lets the first Ctrl-C cancel the task; yields a predicate for whether one came. Does nothing where
    another handler is set, or outside the main thread.
    """
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:
            signal.default_int_handler(number, frame)
        interrupted = True
        task.cancel()

    can_install = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if can_install:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield lambda: interrupted
    finally:
        if can_install:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class VirtualCaller:
    """A Caller on a virtual loop, which advances only while the caller asks, polls or waits."""

    def __init__(self, dispatcher: Dispatcher, loop: VirtualLoop) -> None:
        self._dispatcher = dispatcher
        self._loop = loop

    def ask(self, subproblem: Subproblem) -> Pending:
        """See `Caller.ask`."""
        pending = _TaskPending(self._loop, self._loop.create_task(self._dispatcher.solve(subproblem)))
        pending.done()
        return pending

    def record_decision(self, request_id: str, decision: Decision, *, stale: bool = False) -> None:
        """See `Caller.record_decision`."""
        self._loop.run_until_complete(self._dispatcher.record_decision(request_id, decision, stale=stale))


class VirtualCircuitCaller:
    """A CircuitCaller on a virtual loop."""

    def __init__(self, dispatcher: Dispatcher, loop: VirtualLoop) -> None:
        self._dispatcher = dispatcher
        self._loop = loop

    def submit(self, batch: CircuitBatch) -> PendingBatch:
        """See `CircuitCaller.submit`."""
        return _TaskBatch(self._loop, self._loop.create_task(collect_batch(self._dispatcher, batch)))


class _TaskBatch:
    def __init__(self, loop: VirtualLoop, task: asyncio.Task[tuple[CircuitOutcome, ...]]) -> None:
        self._loop = loop
        self._task = task

    def done(self) -> bool:
        """Runs what is due now without skipping time."""
        self._loop.run_until_complete(asyncio.sleep(0))
        return self._task.done()

    def result(self) -> tuple[CircuitOutcome, ...]:
        return self._loop.run_until_complete(self._task)

    def cancel(self) -> bool:
        return self._task.cancel()


class _TaskPending:
    def __init__(self, loop: VirtualLoop, task: asyncio.Task[Outcome]) -> None:
        self._loop = loop
        self._task = task

    def done(self) -> bool:
        """Runs what is due now without skipping time."""
        for _ in range(16):  # more loop turns than a call needs between two waits
            self._loop.run_until_complete(asyncio.sleep(0))
        return self._task.done()

    def result(self) -> Outcome:
        return self._loop.run_until_complete(self._task)
