"""One replica of the adoption's measurement: writes intents, pays, and adopts, until it is killed.

Its vendor is a file that all replicas append to: a line a paid job, with the instants of its begin and end.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from shotclock.domain.ledger import JobRecord, LedgerError, LedgerState
from shotclock.orchestrator.ledger.limits import SharedLimits
from shotclock.orchestrator.ledger.postgres import PostgresLedger
from shotclock.orchestrator.ledger.transitions import LanesBusyError

WORKERS = 4
RUN_S = 0.03
GONE_S = 0.5
"""A job that the vendor does not list so long after its replica's lease has ended was never paid for."""


async def main(url: str, term_s: float, lanes: int, account: Path) -> None:
    """Works until the process is killed, or its stdin ends; then it closes."""
    ledger = PostgresLedger(url, time.time, term_s=term_s)
    ledger.limit("vendor", SharedLimits(lanes=lanes, parked_s=600.0))
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    ended = loop.create_task(asyncio.to_thread(sys.stdin.read))
    adopting = loop.create_task(_adopt(ledger, account, term_s))
    await asyncio.gather(*(_pay(ledger, account, ended) for _ in range(WORKERS)))
    await asyncio.sleep(2 * term_s)  # what is adopted is settled
    adopting.cancel()
    ledger.close()


async def _pay(ledger: PostgresLedger, account: Path, ended: asyncio.Task[str]) -> None:
    while not ended.done():
        tag = f"t{os.urandom(8).hex()}"
        try:
            await ledger.intend(JobRecord(tag, "vendor", (f"r-{tag}",), 64))
        except LanesBusyError:
            await ledger.wait_for_lane("vendor")
            continue
        except LedgerError:
            await asyncio.sleep(0.05)
            continue
        _append(account, tag)
        await asyncio.sleep(RUN_S)
        with suppress(LedgerError):
            await _close(ledger, tag)


async def _close(ledger: PostgresLedger, tag: str) -> None:
    await ledger.move(tag, LedgerState.SUBMITTED, job_id=f"job-{tag}")
    await ledger.move(tag, LedgerState.RESULT)
    await ledger.move(tag, LedgerState.STALE)


async def _adopt(ledger: PostgresLedger, account: Path, term_s: float) -> None:
    while True:
        await asyncio.sleep(term_s / 4)
        with suppress(LedgerError):
            for job in await ledger.adopt("vendor"):
                await _settle(ledger, job, account)


async def _settle(ledger: PostgresLedger, job: JobRecord, account: Path) -> None:
    """As a recovery does: a job that the vendor lists is collected, another one was never paid for."""
    for _ in range(2):
        if job.tag in await asyncio.to_thread(account.read_text):
            await asyncio.sleep(RUN_S)
            if job.state is LedgerState.INTENT:
                await ledger.move(job.tag, LedgerState.SUBMITTED, job_id=f"job-{job.tag}")
            if job.state in {LedgerState.INTENT, LedgerState.SUBMITTED}:
                await ledger.move(job.tag, LedgerState.RESULT)
            await ledger.move(job.tag, LedgerState.STALE)
            return
        await asyncio.sleep(GONE_S)
    await ledger.move(job.tag, LedgerState.FAILED, note="never paid for")


def _append(account: Path, tag: str) -> None:
    now_s = time.monotonic()
    line = json.dumps({"tag": tag, "began_s": now_s, "ended_s": now_s + RUN_S})
    with account.open("a") as file:
        file.write(f"{line}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
