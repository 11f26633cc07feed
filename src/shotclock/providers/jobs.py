"""Jobs that run as tasks of the event loop, for providers in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.ports import Accepted, Execution, Job, ProviderLimits


class TaskJobs:
    """Holds jobs by id from submit to collect or cancel."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Future[Execution]] = {}
        self._tags: dict[str, str] = {}

    def start(self, job_id: str, tag: str, work: Coroutine[Any, Any, Execution]) -> Accepted:
        """Runs the work in a new task."""
        self._tasks[job_id] = asyncio.create_task(work)
        self._tags[job_id] = tag
        return Accepted(job_id)

    def add_finished(self, job_id: str, tag: str, execution: Execution) -> Accepted:
        """Adds a job whose samples are known already."""
        self._tasks[job_id] = asyncio.get_running_loop().create_future()
        self._tasks[job_id].set_result(execution)
        self._tags[job_id] = tag
        return Accepted(job_id)

    def find(self, tag: str) -> tuple[Accepted, ...]:
        """The jobs with this tag that are neither collected nor cancelled."""
        return tuple(Accepted(job_id) for job_id, job_tag in self._tags.items() if job_tag == tag)

    async def collect(self, accepted: Accepted) -> Execution:
        """Waits for the job; a collect that is cancelled leaves it running."""
        task = self._tasks.get(accepted.job_id)
        if task is None:
            raise ProviderError(FaultKind.PERMANENT, f"no job {accepted.job_id}: collected or cancelled")
        if not task.done():
            # asyncio.wait distinguishes a cancelled job (the task) from a cancelled caller (this coroutine).
            await asyncio.wait({task})
        self._forget(accepted)
        if task.cancelled():
            raise ProviderError(FaultKind.PERMANENT, f"job {accepted.job_id} was cancelled")
        return task.result()

    async def cancel(self, accepted: Accepted) -> None:
        """Cancels the job; raises nothing if it has ended."""
        task = self._forget(accepted)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _forget(self, accepted: Accepted) -> asyncio.Future[Execution] | None:
        self._tags.pop(accepted.job_id, None)
        return self._tasks.pop(accepted.job_id, None)


def check_limits(job: Job, limits: ProviderLimits) -> None:
    """Raises ProviderError(PERMANENT) on a job that is empty, too wide, or has too many shots."""
    widest = max((circuit.qubits for circuit in job.circuits), default=0)
    if not 1 <= widest <= limits.max_qubits:
        raise ProviderError(
            FaultKind.PERMANENT,
            f"qubits: must be 1 to {limits.max_qubits} (got {widest}); use a smaller subproblem or circuit",
        )
    if not 1 <= job.shots <= limits.max_shots:
        raise ProviderError(FaultKind.PERMANENT, f"shots: must be 1 to {limits.max_shots} (got {job.shots})")
