"""Jobs wait for a shared lane in their order: a new one takes none from those before it."""

from __future__ import annotations

import asyncio

import pytest

from harness import run_virtual
from shotclock.orchestrator.ledger.lane_line import LaneLine


def test_jobs_have_their_turn_in_order_and_the_one_that_lost_is_the_next_again() -> None:
    async def main() -> list[str]:
        free = asyncio.Semaphore(0)
        line, turns = LaneLine(free.acquire), []

        async def wait(name: str, *, has_waited: bool = False) -> None:
            await line.wait(has_waited=has_waited)
            turns.append(name)

        tasks = [asyncio.create_task(wait(name)) for name in "abcd"]
        await asyncio.sleep(1.0)
        assert (len(line), turns) == (4, [])
        tasks[2].cancel()
        free.release()
        await asyncio.sleep(1.0)
        assert turns == ["a"]
        tasks.append(asyncio.create_task(wait("a again", has_waited=True)))
        for _ in range(3):
            free.release()
            await asyncio.sleep(1.0)
        with pytest.raises(asyncio.CancelledError):
            await tasks[2]
        assert len(line) == 0
        return turns

    # b looks for a lane already when a comes back
    assert run_virtual(main()) == ["a", "b", "a again", "d"]
