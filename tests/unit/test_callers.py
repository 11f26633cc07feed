"""The pace of refusals, on virtual time."""

from __future__ import annotations

import asyncio

from shotclock.runtime.virtual_loop import VirtualLoop
from shotclock.wire.callers import CallerLimits, RefusalPace

LIMITS = CallerLimits(refusals_per_s=4.0, refusal_burst=3, longest_hold_s=1.0, held_answers=2)


def test_refusals_after_a_burst_are_answered_at_their_rate_and_for_no_caller_but_theirs() -> None:
    loop = VirtualLoop(lambda: 0)

    async def main() -> list[float]:
        pace = RefusalPace(LIMITS, loop.time, asyncio.Event())
        answered = []
        for remaining_s in (None, None, None, None, 10.0, 0.1):
            await pace.hold("one", remaining_s)
            answered.append(round(loop.time(), 6))
        await pace.hold("other", None)
        answered.append(round(loop.time(), 6))
        await asyncio.sleep(60.0)
        await pace.hold("one", None)  # which has its burst again
        return [*answered, round(loop.time(), 6)]

    assert loop.run(main()) == [0.0, 0.0, 0.0, 0.25, 0.5, 0.55, 0.55, 60.55]
    loop.close()


def test_no_refusal_is_held_back_longer_than_its_limit_nor_more_of_them_at_once() -> None:
    loop = VirtualLoop(lambda: 0)

    async def main() -> list[float]:
        pace = RefusalPace(LIMITS, loop.time, asyncio.Event())

        async def hold() -> float:
            await pace.hold("one", None)
            return round(loop.time(), 6)

        first = await asyncio.gather(*(hold() for _ in range(40)))
        return sorted([*first, await hold()])

    answered = loop.run(main())
    assert answered.count(0.0) == 38
    assert answered[38:] == [0.25, 0.5, 1.25]
    loop.close()
