"""The virtual-time rule: waits are skipped, order is kept, work for threads is done in place."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shotclock.domain.errors import SettingsError
from shotclock.runtime.virtual_loop import VirtualLoop


def make_frozen_loop() -> VirtualLoop:
    return VirtualLoop(base_ns=lambda: 0)


def test_an_hour_passes_and_timers_keep_their_order() -> None:
    loop = make_frozen_loop()
    fired: list[tuple[str, int]] = []

    async def nap(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        fired.append((name, round(loop.now_ns() / 1e9)))

    async def both() -> None:
        await asyncio.gather(nap("long", 3600), nap("short", 2), nap("middle", 60))

    loop.run(both())
    loop.close()
    assert fired == [("short", 2), ("middle", 60), ("long", 3600)]


def test_two_runs_on_a_frozen_base_are_the_same_to_the_nanosecond() -> None:
    def once() -> list[int]:
        loop = make_frozen_loop()
        stamps: list[int] = []

        async def work() -> None:
            for delay in (0.1, 1e-7, 0.333, 17.0):
                await asyncio.sleep(delay)
                stamps.append(loop.now_ns())

        loop.run(work())
        loop.close()
        return stamps

    assert once() == once()


def test_a_timeout_fires_at_its_virtual_instant() -> None:
    loop = make_frozen_loop()

    async def never() -> None:
        async with asyncio.timeout(30):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        loop.run(never())
    assert loop.now_ns() == pytest.approx(30e9, abs=1e6)
    loop.close()


def test_threads_and_standing_still_are_refused() -> None:
    loop = make_frozen_loop()
    with pytest.raises(RuntimeError, match="threads"):
        loop.call_soon_threadsafe(print)

    async def wait_forever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="nothing is scheduled"):
        loop.run(wait_forever())
    loop.close()


def test_with_the_real_clock_as_base_software_still_takes_its_time() -> None:
    loop = VirtualLoop()
    began = loop.now_ns()

    async def work() -> None:
        await asyncio.sleep(1000)
        threading.Event().wait(0.01)

    loop.run(work())
    assert loop.now_ns() - began >= 1_000_010_000_000
    loop.close()


def test_work_for_a_thread_is_done_on_the_spot_and_its_error_reaches_the_caller() -> None:
    loop = make_frozen_loop()
    own = threading.get_ident()

    def fail() -> None:
        raise ValueError("from the work")

    async def work() -> None:
        assert await asyncio.to_thread(threading.get_ident) == own
        with ThreadPoolExecutor(1) as pool:
            assert await asyncio.get_running_loop().run_in_executor(pool, threading.get_ident) == own
        async with asyncio.timeout(1):
            with pytest.raises(ValueError, match="from the work"):
                await asyncio.to_thread(fail)

    loop.run(work())
    assert loop.now_ns() == 0
    loop.close()


def test_an_answer_from_another_thread_ends_the_run_with_what_to_do() -> None:
    loop = make_frozen_loop()

    async def work() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run_coroutine_threadsafe, asyncio.sleep(0), loop).exception()
        await asyncio.sleep(3600)

    with pytest.raises(SettingsError, match=r"--clock virtual: .*asyncio\.to_thread .*--clock wall"):
        loop.run(work())
    assert loop.now_ns() == 0
    loop.run(asyncio.sleep(1))  # whoever closes the system still can
    loop.close()
