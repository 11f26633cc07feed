"""What a shared ledger costs: an intent on PostgreSQL, on SQLite, a bare commit and a bare fsync, in turn.

A call waits for its intent and for nothing else of a ledger. All four write to the same disk, the server on
loopback; each finds it idle. The rates are of intents, eight in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import _extras
from _machine import machine
from _options import make_parser
from _orchestrator_series import BLOCKS, Series
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.domain.ports import Ledger
from shotclock.orchestrator.ledger.limits import SharedLimits
from shotclock.orchestrator.ledger.sqlite import SqliteLedger

ON_DISK = Path("/var/tmp")
"""Kept across reboots, hence on a disk; /tmp can be memory."""
FRAME_BYTES = 24 + 4096
"""A page with its header in SQLite's write-ahead log: the least a commit writes."""
IN_FLIGHT = 8
WARM_UP = 16
TERM_S = 600.0
TESTS = Path(__file__).parents[1] / "tests"
NAMES = {
    "sqlite": "intent, SQLite",
    "postgres": "intent, PostgreSQL, lanes and rate shared",
    "commit": "bare INSERT and commit, PostgreSQL",
    "fsync": f"bare write of {FRAME_BYTES} bytes + fsync",
}
LIMITS = SharedLimits(lanes=1_000_000, submissions_per_minute=1e9)
"""All the work of sharing, and no wait for it."""


def main() -> None:
    """Prints the figures as JSON, or the section of docs/benchmarks.md."""
    words = make_parser(__doc__, "half a minute").parse_args()
    sys.path.insert(0, str(TESTS))
    series, rates = measure(100 if words.quick else 1_000)
    if words.json:
        figures = {f"{name}_paid_overhead_p50_ms": series[name].quantile_ms(0.5) for name in series}
        figures |= {f"{name}_intents_per_s": rate for name, rate in rates.items()}
        print(json.dumps(figures, indent=2))
    else:
        print(markdown(series, rates))


def measure(intents: int) -> tuple[dict[str, Series], dict[str, float]]:
    """Latencies by way, in blocks, and the rates of the two ledgers."""
    import psycopg  # noqa: PLC0415 - an extra

    from postgres_cluster import run_cluster  # noqa: PLC0415 - the tests' folder is on the path only now
    from shotclock.orchestrator.ledger.postgres import PostgresLedger  # noqa: PLC0415

    with (
        tempfile.TemporaryDirectory(dir=ON_DISK) as folder,
        run_cluster(ON_DISK) as cluster,
        contextlib.closing(SqliteLedger(Path(folder) / "ledger.db", time.time)) as sqlite,
        contextlib.closing(PostgresLedger(cluster.url(), time.time, term_s=TERM_S)) as postgres,
        psycopg.connect(cluster.url(), autocommit=True) as connection,
        (Path(folder) / "bare").open("ab", buffering=0) as log,
    ):
        postgres.limit("scripted", LIMITS)
        connection.execute("CREATE TABLE bare (tag text)")

        async def commit() -> None:
            connection.execute("INSERT INTO bare VALUES ('shotclock:000000000000000000000000')")

        async def sync() -> None:
            log.write(bytes(FRAME_BYTES))
            os.fsync(log.fileno())

        tags = map("shotclock:{:024x}".format, itertools.count())
        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "sqlite": lambda: sqlite.intend(_record(next(tags))),
            "postgres": lambda: postgres.intend(_record(next(tags))),
            "commit": commit,
            "fsync": sync,
        }
        series = asyncio.run(_take_turns(ways, intents))
        ledgers: dict[str, Ledger] = {"sqlite": sqlite, "postgres": postgres}
        rates = {name: asyncio.run(_rate(ledger, tags, intents)) for name, ledger in ledgers.items()}
    return series, rates


async def _take_turns(ways: dict[str, Callable[[], Awaitable[None]]], intents: int) -> dict[str, Series]:
    series = {name: Series(NAMES[name]) for name in ways}
    for _ in range(WARM_UP):
        for write in ways.values():
            await write()
    for _ in range(BLOCKS):
        latencies: dict[str, list[int]] = {name: [] for name in ways}
        for _ in range(intents // BLOCKS):
            for name, write in ways.items():
                began_ns = time.perf_counter_ns()
                await write()
                latencies[name].append(time.perf_counter_ns() - began_ns)
        for name, block in latencies.items():
            series[name].blocks.append(block)
    return series


async def _rate(ledger: Ledger, tags: itertools.count[int] | map[str], intents: int) -> float:
    """Jobs a second: an intent, and the move that closes it."""

    async def work() -> None:
        for _ in range(intents // IN_FLIGHT):
            tag = str(next(tags))
            await ledger.intend(_record(tag))
            await ledger.move(tag, LedgerState.FAILED)

    began_s = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return intents / (time.perf_counter() - began_s)


def _record(tag: str) -> JobRecord:
    return JobRecord(tag, "scripted", ("r1",), 256)


def markdown(series: dict[str, Series], rates: dict[str, float]) -> str:
    """The section of docs/benchmarks.md."""
    lines = [
        "## The shared ledger",
        "",
        "What a call of a paid provider waits for before its submit, ms: measured in turn on the same disk,",
        f"the PostgreSQL server on loopback. Machine: {machine()}.",
        "",
        "| | p50 | p95 | p99 | worst block's p50 | n |",
        "|---|---|---|---|---|---|",
    ]
    for each in series.values():
        cells = [each.quantile_ms(0.5), each.quantile_ms(0.95), each.quantile_ms(0.99), each.worst_ms(0.5)]
        lines.append(f"| {each.what} | {' | '.join(map(_cell, cells))} | {each.n} |")
    rows = [f"{NAMES[name]}: {rate:,.0f} jobs/s" for name, rate in rates.items()]
    lines += ["", f"Recorded and closed, {IN_FLIGHT} jobs in flight: {'; '.join(rows)}."]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "too few" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    _extras.run(main)
