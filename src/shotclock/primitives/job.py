"""A primitive's job, as Qiskit defines it, over batches in progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import NoReturn

from qiskit.primitives import BasePrimitiveJob, PrimitiveResult
from qiskit.providers import JobStatus

from shotclock.domain.errors import CallCancelledError, CallFailedError, ShotclockError
from shotclock.domain.outcome import CircuitOutcome, Executed
from shotclock.domain.ports import PendingBatch

Finish = Callable[[Sequence[CircuitOutcome]], PrimitiveResult]
"""Makes the result of the outcomes of all points; raises CallError where one is missing."""


LOOK_S = 0.005
"""Between two looks for a result that is waited for with a timeout."""


class Job(BasePrimitiveJob[PrimitiveResult, JobStatus]):  # type: ignore[misc] # Qiskit has no types
    """A call in progress. `result` waits at most until the call's deadline, plus the time of a fallback."""

    def __init__(
        self, job_id: str, batches: Sequence[PendingBatch], finish: Finish, *, has_fallback: bool
    ) -> None:
        super().__init__(job_id)
        self._batches = batches
        self._finish = finish
        self._has_fallback = has_fallback
        self._is_cancelled = False
        self._lock = threading.Lock()
        self._result: PrimitiveResult | None = None

    def __repr__(self) -> str:
        return f"<Job {self._job_id}: {self.status().name}>"

    def summary(self) -> str:
        """Its status and, once it has ended, how many points have samples, and the first one's provenance."""
        if not self.in_final_state() or self.cancelled():
            return repr(self)
        try:
            outcomes = self._outcomes()
        except ShotclockError as error:
            return f"{self!r}\n  {error}"
        if not outcomes:
            return f"{self!r}\n  no circuit had to run"
        answered = sum(isinstance(outcome, Executed) for outcome in outcomes)
        lines = [repr(self), f"  {answered} of {len(outcomes)} points have samples; the first:"]
        return "\n".join((*lines, *(f"  {line}" for line in outcomes[0].summary().splitlines())))

    def result(self, timeout: float | None = None) -> PrimitiveResult:
        """The result; raises DeadlineExceeded or another CallError without one, CircuitError.

        timeout: how long it is waited for, seconds; then TimeoutError is raised, and the call goes on. None:
            until the call's deadline.
        """
        if timeout is not None:
            self._wait(timeout)
        with self._lock:
            if self._result is None:
                self._result = self._finish(self._outcomes())
            return self._result

    def status(self) -> JobStatus:
        """RUNNING, then DONE, ERROR or CANCELLED."""
        if self._is_cancelled:
            return JobStatus.CANCELLED
        if not all(batch.done() for batch in self._batches):
            return JobStatus.RUNNING
        try:
            answered = all(isinstance(outcome, Executed) for outcome in self._outcomes())
        except Exception:  # noqa: BLE001 - whatever `result` raises is an error here
            return JobStatus.ERROR
        return JobStatus.DONE if answered or self._has_fallback else JobStatus.ERROR

    def done(self) -> bool:
        """Whether it has a result."""
        return self.status() is JobStatus.DONE

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status() is JobStatus.RUNNING

    def cancelled(self) -> bool:
        """Whether it was cancelled before it ended."""
        return self.status() is JobStatus.CANCELLED

    def in_final_state(self) -> bool:
        """Whether it has ended."""
        return self.status() is not JobStatus.RUNNING

    def cancel(self) -> bool:
        """Gives the call up, with its jobs; False if it has ended."""
        # every batch, also after one that has ended
        stopped = [batch.cancel() for batch in self._batches]
        self._is_cancelled |= any(stopped)
        return any(stopped)

    def __reduce__(self) -> NoReturn:
        raise TypeError("job: cannot be pickled, as it belongs to a connection; pickle its result")

    def _wait(self, timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        while not all(batch.done() for batch in self._batches):
            if time.monotonic() >= until_s:
                raise TimeoutError(
                    f"job {self._job_id}: no result within {timeout_s:g} s; it goes on until its deadline"
                )
            time.sleep(LOOK_S)

    def _outcomes(self) -> list[CircuitOutcome]:
        try:
            return [outcome for batch in self._batches for outcome in batch.result()]
        except CancelledError:
            if self._is_cancelled:
                why = f"cancelled: job {self._job_id} was cancelled before it had ended"
                raise CallCancelledError(why) from None
            raise CallFailedError("failed: the connection was closed before the call had ended") from None
