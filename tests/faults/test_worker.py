"""Worker processes that die, hang, take too much or lose their callers; the others' work goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile_work import (
    KEPT,
    eat,
    fail,
    fault,
    keep,
    panic,
    recall,
    remember,
    spin_in_c,
    write_pid_and_spin,
)
from shotclock.app.host import WallHost
from shotclock.app.quantum_path import prepare_workers
from shotclock.domain.errors import FaultKind, ProviderError, WorkerError, WorkerFault
from shotclock.runtime.fork_server import WorkerLimits
from shotclock.runtime.offload import ProcessOffload
from shotclock.runtime.worker_pool import PoolLimits, WorkerPool
from shotclock.runtime.worker_process import EndedError, ForkServer
from shotclock.settings import QuantumSettings

LIMITS = PoolLimits(workers=1, queue=2, limit_s=3_600.0, memory_mib=64)
HANG_S = 300.0


class Host:
    """A pool of one worker process, and why it was replaced how often."""

    def __init__(self, limits: PoolLimits = LIMITS) -> None:
        self.server = ForkServer()
        self.restarts: Counter[str] = Counter()
        self.pool = self.add(limits)

    def add(self, limits: PoolLimits) -> WorkerPool:
        pool = WorkerPool("the work", self.server, limits)
        pool.on_restart = lambda reason: self.restarts.update([reason])
        return pool

    def close(self) -> None:
        self.pool.stop()
        self.server.stop()
        self.pool.join()
        self.server.close()


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def wait_gone(pid: int) -> None:
    """Returns when there is no such process, not even a dead one."""
    async with asyncio.timeout(HANG_S):
        while exists(pid):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


def _text_of(file: Path) -> str:
    return file.read_text() if file.exists() else ""


async def wait_written(file: Path) -> int:
    """What the work wrote, once it has."""
    async with asyncio.timeout(HANG_S):
        while not (text := _text_of(file)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    return int(text)


async def fault_of(pool: WorkerPool, *work: object) -> WorkerFault:
    function, *arguments = work
    assert callable(function)
    async with asyncio.timeout(HANG_S):
        with pytest.raises(WorkerError) as caught:
            await pool.run(function, *arguments)
    return caught.value.fault


def test_one_that_was_never_used_closes() -> None:
    ProcessOffload().close()


def test_one_process_does_the_work_of_several_loops(host: Host) -> None:
    first, second = (asyncio.run(host.pool.run(os.getpid)) for _ in range(2))
    assert first == second != os.getpid()


@pytest.mark.parametrize("work", [write_pid_and_spin, spin_in_c])
def test_work_whose_caller_leaves_is_killed(host: Host, tmp_path: Path, work: object) -> None:
    async def main() -> None:
        before = await host.pool.run(os.getpid)
        assert callable(work)
        task = asyncio.create_task(host.pool.run(work, tmp_path / "pid"))
        assert await wait_written(tmp_path / "pid") == before
        task.cancel()
        await wait_gone(before)
        assert await host.pool.run(os.getpid) != before

    asyncio.run(main())
    assert host.restarts == {"abandoned": 1}


def test_work_that_ends_soon_after_its_caller_left_costs_no_process(host: Host) -> None:
    async def main() -> tuple[int, int]:
        before = await host.pool.run(os.getpid)
        for _ in range(20):
            task = asyncio.create_task(host.pool.run(os.getpid))
            await asyncio.sleep(0)
            task.cancel()
        return before, await host.pool.run(os.getpid)

    before, after = asyncio.run(main())
    assert before == after
    assert not host.restarts


def test_work_that_waits_is_never_begun_once_its_caller_left(host: Host, tmp_path: Path) -> None:
    async def main() -> None:
        running = asyncio.create_task(host.pool.run(write_pid_and_spin, tmp_path / "pid"))
        await wait_written(tmp_path / "pid")
        waiting = [asyncio.create_task(host.pool.run(Path.touch, tmp_path / "begun")) for _ in range(2)]
        await asyncio.sleep(0)
        for task in (*waiting, running):
            task.cancel()
        await asyncio.wait({*waiting, running})
        await host.pool.run(os.getpid)

    asyncio.run(main())
    assert not (tmp_path / "begun").exists()


def test_as_many_wait_as_may_and_the_next_is_refused(host: Host, tmp_path: Path) -> None:
    async def main() -> None:
        running = asyncio.create_task(host.pool.run(write_pid_and_spin, tmp_path / "pid"))
        await wait_written(tmp_path / "pid")
        waiting = [asyncio.create_task(host.pool.run(os.getpid)) for _ in range(LIMITS.queue)]
        await asyncio.sleep(0)
        assert await fault_of(host.pool, os.getpid) is WorkerFault.QUEUE
        running.cancel()
        assert len(set(await asyncio.gather(*waiting))) == 1

    asyncio.run(main())


def test_a_killed_worker_costs_its_caller_alone(host: Host, tmp_path: Path) -> None:
    async def main() -> None:
        for number in range(5):
            pid = tmp_path / f"{number}"
            lost = asyncio.create_task(fault_of(host.pool, write_pid_and_spin, pid))
            os.kill(await wait_written(pid), signal.SIGKILL)
            assert await lost is WorkerFault.DIED
            # and one that has nothing to do costs nobody
            idle = await host.pool.run(os.getpid)
            os.kill(idle, signal.SIGKILL)
            assert await host.pool.run(os.getpid) != idle

    asyncio.run(main())
    assert host.restarts == {"died": 10}


def test_work_over_its_time_is_killed(host: Host, tmp_path: Path) -> None:
    brief = host.add(PoolLimits(1, 2, 1.0, 64))
    try:
        assert asyncio.run(fault_of(brief, spin_in_c, tmp_path / "pid")) is WorkerFault.TIME
    finally:
        brief.stop()
    assert host.restarts == {"time": 1}
    assert not exists(int((tmp_path / "pid").read_text()))


def test_a_worker_keeps_its_processor_time_without_its_owner(host: Host, tmp_path: Path) -> None:
    worker = host.server.fork(WorkerLimits(memory_mib=64, cpu_s=0.1))
    with pytest.raises(EndedError):
        worker.call((spin_in_c, (tmp_path / "pid",), {}), HANG_S)
    status = worker.end()
    assert status is not None
    assert os.WTERMSIG(status) == signal.SIGXCPU


def test_work_over_its_memory_is_refused_and_never_has_more(host: Host, tmp_path: Path) -> None:
    assert asyncio.run(fault_of(host.pool, eat, tmp_path / "mib")) is WorkerFault.MEMORY
    assert 16 <= int((tmp_path / "mib").read_text()) <= LIMITS.memory_mib
    assert host.restarts == {"memory": 1}


def test_a_process_that_aborts_ran_out_of_memory_and_one_that_faults_died(host: Host) -> None:
    async def main() -> tuple[WorkerFault, WorkerFault]:
        return await fault_of(host.pool, os.abort), await fault_of(host.pool, fault)

    assert asyncio.run(main()) == (WorkerFault.MEMORY, WorkerFault.DIED)


def test_a_process_that_has_grown_is_replaced_before_its_next_work(host: Host) -> None:
    assert len({asyncio.run(host.pool.run(keep)) for _ in range(3)}) == 3
    assert host.restarts == {"grown": 3}


def test_a_killed_server_of_forks_is_replaced_and_its_workers_go_on(host: Host) -> None:
    async def main() -> None:
        before = await host.pool.run(os.getpid)
        os.kill(await host.pool.run(os.getppid), signal.SIGKILL)
        assert await host.pool.run(os.getpid) == before
        os.kill(before, signal.SIGKILL)
        assert await host.pool.run(os.getpid) != before

    asyncio.run(main())
    assert host.server.failure == ""


def test_workers_that_cannot_be_started_are_reported_until_they_can(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(server: ForkServer) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(ForkServer, "_start", refuse)
        assert asyncio.run(fault_of(host.pool, os.getpid)) is WorkerFault.START
        assert "Resource temporarily unavailable" in host.server.failure
    # nobody asks, and yet it is tried again: a service that is not ready is asked by nobody
    until = time.monotonic() + HANG_S
    while host.server.failure:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("work", [write_pid_and_spin, spin_in_c])
def test_closing_waits_for_no_work(tmp_path: Path, work: object) -> None:
    host = Host()

    async def main() -> int:
        assert callable(work)
        running = asyncio.create_task(fault_of(host.pool, work, tmp_path / "pid"))
        waiting = asyncio.create_task(fault_of(host.pool, os.getpid))
        pid = await wait_written(tmp_path / "pid")
        await asyncio.to_thread(host.close)
        assert [await running, await waiting] == [WorkerFault.START] * 2
        assert await fault_of(host.pool, os.getpid) is WorkerFault.START
        return pid

    assert not exists(asyncio.run(main()))


def test_what_is_prepared_is_in_the_memory_of_every_worker(host: Host) -> None:
    host.pool.prepare(remember)

    async def main() -> list[int]:
        recalled = []
        for _ in range(2):
            recalled.append(await host.pool.run(recall))
            os.kill(await host.pool.run(os.getpid), signal.SIGKILL)
        return recalled

    assert asyncio.run(main()) == [8, 8]
    assert not KEPT


def test_an_error_of_the_work_itself_comes_back_as_it_was(host: Host) -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(host.pool.run(divmod, 1, 0))
    error = ProviderError(FaultKind.AMBIGUOUS, "half done")
    with pytest.raises(ProviderError) as caught:
        asyncio.run(host.pool.run(fail, error))
    assert (caught.value.kind, str(caught.value)) == (FaultKind.AMBIGUOUS, "half done")


def test_an_error_that_cannot_be_sent_comes_back_in_words(host: Host) -> None:
    before = asyncio.run(host.pool.run(os.getpid))
    with pytest.raises(RuntimeError, match="Panic: no such gate"):
        asyncio.run(host.pool.run(panic))
    assert asyncio.run(host.pool.run(os.getpid)) == before


def test_work_that_cannot_be_sent_is_its_callers_mistake(host: Host) -> None:
    with pytest.raises(Exception, match="pickle"):
        asyncio.run(host.pool.run(lambda: None))
    assert asyncio.run(host.pool.run(os.getpid)) > 0


def test_the_server_of_forks_has_one_thread_with_everything_in_memory() -> None:
    host = WallHost()
    prepare_workers(host, QuantumSettings())
    pools = host.workers.templates, host.workers.samples, host.workers.circuits, host.workers.circuit_samples
    try:
        servers = {host.run(pool.run(os.getppid)) for pool in pools}
        (server,) = servers
        assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1
    finally:
        host.close()
