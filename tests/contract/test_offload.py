"""What every Offload promises: the result, the work's own error, and a caller who may leave."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from shotclock.domain.ports import Offload
from shotclock.providers.threads import ClientThreads
from shotclock.runtime.offload import InlineOffload, ProcessOffload, ThreadOffload


class Closing(Offload, Protocol):
    def close(self) -> None: ...


MAKE: list[Callable[[], Closing]] = [
    InlineOffload,
    ThreadOffload,
    ProcessOffload,
    lambda: ClientThreads("test", 2),
]


@pytest.fixture(params=MAKE, ids=["inline", "thread", "process", "client threads"])
def offload(request: pytest.FixtureRequest) -> Iterator[Closing]:
    instance: Closing = request.param()
    yield instance
    instance.close()


def test_the_result_comes_back(offload: Closing) -> None:
    assert asyncio.run(offload.run(sorted, [3, 1, 2], reverse=True)) == [3, 2, 1]


def test_the_works_own_error_comes_back(offload: Closing) -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(offload.run(divmod, 1, 0))


def test_each_caller_gets_its_own_result(offload: Closing) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*(offload.run(pow, number, 2) for number in range(50)))

    assert asyncio.run(main()) == [number**2 for number in range(50)]


def test_a_caller_who_leaves_takes_nothing_from_the_others(offload: Closing) -> None:
    async def main() -> int:
        leaving = [asyncio.create_task(offload.run(os.getpid)) for _ in range(10)]
        await asyncio.sleep(0)
        for caller in leaving:
            caller.cancel()
        return await offload.run(abs, -3)

    assert asyncio.run(main()) == 3


def log_warning() -> None:
    logging.getLogger("shotclock.test").warning("%s cannot be written", "the folder")


def test_a_warning_of_the_work_is_logged_once_in_the_owners_process(
    offload: Closing, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        await offload.run(log_warning)
        if isinstance(offload, ProcessOffload):
            await offload.run(log_warning)

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records if record.name == "shotclock.test"] == [
        "the folder cannot be written"
    ]
