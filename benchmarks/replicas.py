"""Several orchestrators: what their ledger costs, how soon a dead one's jobs are adopted, and who is served.

An intent on PostgreSQL, on SQLite, a bare commit and a bare fsync, in turn; kills of replicas with a separate
account of what was paid for; 10,000 clients (3,000 under --quick) before three orchestrators on virtual time.

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
from _replica_adoption import TERM_S as TERM_S_ADOPTION
from _replica_adoption import kill_replicas
from _replica_fairness import BALANCED, CLIENTS, SKEWED, UNEVEN, simulate_fairness
from _replica_flags import measure_flags
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
FEW_KILLS = 10
"""Fewer are the quick measurement."""
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
    words = make_parser(__doc__, "under a minute").parse_args()
    sys.path.insert(0, str(TESTS))
    series, rates, adoption = measure(100 if words.quick else 1_000, 4 if words.quick else 100)
    served = 1 if words.quick else 3
    clients = 3_000 if words.quick else CLIENTS
    fairness = {"jain_index": simulate_fairness(BALANCED, served, clients)}
    if not words.quick:
        fairness["jain_index_uneven"] = simulate_fairness(UNEVEN, served, clients)
        fairness["jain_index_skewed"] = simulate_fairness(SKEWED, served, clients)
    if words.json:
        figures = {f"{name}_paid_overhead_p50_ms": series[name].quantile_ms(0.5) for name in series}
        figures |= {f"{name}_intents_per_s": rate for name, rate in rates.items()}
        figures |= adoption | {name: index for name, (index, _) in fairness.items()}
        figures["clients"] = clients
        print(json.dumps(figures, indent=2))
    else:
        print(markdown(series, rates))
        print(markdown_replicas(adoption, fairness, clients))


def measure(intents: int, kills: int) -> tuple[dict[str, Series], dict[str, float], dict[str, float]]:
    """Latencies by way, in blocks, the rates of the two ledgers, and the figures of adoptions."""
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
        delays_s = asyncio.run(measure_flags(cluster.url(), 10 if kills < FEW_KILLS else 60))
        adoption = asyncio.run(kill_replicas(cluster, Path(folder), kills))
        adoption |= {"flag_changes": len(delays_s), "flags_follow_max_s": max(delays_s)}
    return series, rates, adoption


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


def markdown_replicas(
    adoption: dict[str, float], fairness: dict[str, tuple[float, list[float]]], clients: int
) -> str:
    """The section on several orchestrators."""
    lines = [
        "",
        "## Several orchestrators",
        "",
        f"Replicas killed (SIGKILL) {adoption['adoptions']:.0f} times with jobs open, "
        f"lease {TERM_S_ADOPTION:g} s: "
        f"{adoption['jobs_paid']:,.0f} jobs paid for, {adoption['lost']:.0f} lost, "
        f"{adoption['paid_twice']:.0f} paid twice, lanes exceeded by {adoption['lanes_oversubscribed']:.0f}. "
        f"Adopted within {adoption['adoption_p50_s']:.2f} s (p50), {adoption['adoption_p99_s']:.2f} s (p99), "
        "nearest ranks without a bound. [The soak](soak-replicas.md) kills whole orchestrators.",
        "",
        f"{clients:,} clients, each with one call after the other, before three orchestrators that share "
        "three lanes, on virtual time, EMULATED:",
        "",
        "| clients of the three | Jain's index | calls served a client of each |",
        "|---|---|---|",
    ]
    names = {"jain_index": "alike", "jain_index_uneven": "3 : 2 : 1", "jain_index_skewed": "10 : 1 : 1"}
    for name, (index, served) in fairness.items():
        lines.append(f"| {names[name]} | {index:.4f} | {', '.join(f'{each:.2f}' for each in served)} |")
    lines += [
        "",
        "Each orchestrator shares its lanes among its callers; a lane goes to any of the orchestrators that "
        "wait for it, whatever their number of callers.",
        "",
        "A flag that is set at one of three is in force in all after at most "
        f"{adoption['flags_follow_max_s']:.2f} s ({adoption['flag_changes']:.0f} changes).",
    ]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "too few" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    _extras.run(main)
