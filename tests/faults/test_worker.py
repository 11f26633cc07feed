"""The emulated QPU's process dies for real; calls go on."""

from __future__ import annotations

import asyncio
import errno
import os
import signal

import pytest

from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.runtime.offload import ProcessOffload
from shotclock.runtime.pipe_worker import SPAWN


@pytest.fixture(params=["semaphores", "read-only /dev/shm"], autouse=True)
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With POSIX semaphores, and without: where /dev/shm is read-only they cannot be made."""

    def refuse() -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    if request.param != "semaphores":
        monkeypatch.setattr(SPAWN, "Lock", refuse)


def test_work_runs_in_one_other_process() -> None:
    offload = ProcessOffload()
    try:
        first, second = (asyncio.run(offload.run(os.getpid)) for _ in range(2))
    finally:
        offload.close()
    assert first == second != os.getpid()


def test_a_worker_that_was_never_used_closes() -> None:
    ProcessOffload().close()


def test_a_killed_worker_is_a_transient_fault_and_is_replaced_once() -> None:
    offload = ProcessOffload()

    async def main() -> tuple[int, int, list[object]]:
        first = await offload.run(os.getpid)
        # three callers wait on the worker when it dies
        waiting = [asyncio.create_task(offload.run(signal.pause)) for _ in range(3)]
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        lost: list[object] = list(await asyncio.gather(*waiting, return_exceptions=True))
        return first, await offload.run(os.getpid), lost

    try:
        first, second, lost = asyncio.run(main())
    finally:
        offload.close()
    assert first != second
    assert all(isinstance(error, ProviderError) and error.kind is FaultKind.TRANSIENT for error in lost)


def test_an_error_of_the_work_itself_comes_back_as_it_was() -> None:
    offload = ProcessOffload()
    try:
        with pytest.raises(ZeroDivisionError):
            asyncio.run(offload.run(divmod, 1, 0))
        error = ProviderError(FaultKind.AMBIGUOUS, "half done")
        with pytest.raises(ProviderError) as caught:
            asyncio.run(offload.run(_raise, error))
    finally:
        offload.close()
    assert (caught.value.kind, str(caught.value)) == (FaultKind.AMBIGUOUS, "half done")


def _raise(error: Exception) -> None:
    raise error
