"""Ctrl-C on virtual time: it ends the work that was asked for, and nothing beside it."""

from __future__ import annotations

import asyncio
import signal

import pytest

from shotclock.runtime.virtual_loop import VirtualLoop


def test_ctrl_c_in_another_task_cancels_the_work_and_leaves_that_task_alive() -> None:
    loop, events = VirtualLoop(base_ns=lambda: 0), list[str]()

    async def beside() -> None:
        await asyncio.sleep(3)
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(3)
        events.append("beside")

    async def work() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            events.append("cancelled")

    other = loop.create_task(beside())
    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert events == ["cancelled"]
    assert loop.time() == pytest.approx(3, abs=0.01)
    loop.run_until_complete(other)
    assert events == ["cancelled", "beside"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    loop.close()
