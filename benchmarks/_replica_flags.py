"""How soon services that share a PostgreSQL ledger follow a flag that one of them sets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
FOLLOWERS = 3
POLL_S = 0.002


async def measure_flags(url: str, changes: int) -> list[float]:
    """Seconds from the answer to the operator until the last of the services decides by the flag, a change.

    Each has a connection and reads four times a second; all are in this process.
    """
    from shotclock.domain.flags import FlagRequest  # noqa: PLC0415 - with the extra

    call = FlagRequest.of("run/1", "qat_flip", "trainer")
    delays = []
    with ThreadPoolExecutor(FOLLOWERS + 1) as threads:
        rollouts = [_open(url, threads) for _ in range(FOLLOWERS)]
        tasks = [asyncio.create_task(rollout.keep_current()) for rollout in rollouts]
        for number in range(changes):
            await asyncio.sleep(0.13 * (number % 3))  # anywhere between two reads
            setting = "on" if number % 2 else "off"
            await rollouts[0].set_flag("quantum_path", setting)
            began_s = time.perf_counter()
            expected = "quantum_path" if setting == "off" else ""
            while any(each.decide(call).kept_by != expected for each in rollouts):  # noqa: ASYNC110 - it measures
                await asyncio.sleep(POLL_S)
            delays.append(time.perf_counter() - began_s)
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return delays


def _open(url: str, threads: ThreadPoolExecutor) -> Any:
    from flag_files import NO_PROFILES  # noqa: PLC0415 - the tests' folder is on the path only now
    from shotclock.orchestrator.ledger.ledger_flags import LedgerFlags  # noqa: PLC0415 - an extra
    from shotclock.rollout.document_flags import DocumentFlags  # noqa: PLC0415
    from shotclock.rollout.document_rollout import DocumentRollout  # noqa: PLC0415
    from shotclock.rollout.no_canary import NoCanary  # noqa: PLC0415
    from shotclock.runtime.loop_thread import SystemClock  # noqa: PLC0415

    flags = DocumentFlags(LedgerFlags(url), _Uncounted(), print, SystemClock(), NO_PROFILES)
    return DocumentRollout(flags, NoCanary(), _Threads(threads))


class _Uncounted:
    def record_flag(self, flag: str, reason: str) -> None:
        """Nothing is counted."""


class _Threads:
    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """In one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))
