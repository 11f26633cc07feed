"""How long jobs of a killed replica stay without an owner, on a real server, and what was paid for.

The replicas are processes that hold the ledger alone, so that kills are cheap; `make soak-replicas` kills
whole orchestrators under calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from shotclock.domain.ledger import TERMINAL, LedgerState
from shotclock.orchestrator.ledger.places import find_place

REPLICAS = 3
LANES = 4
TERM_S = 1.0
POLL_S = 0.01


async def kill_replicas(cluster: Any, folder: Path, kills: int, seed: int = 1) -> dict[str, float]:
    """The figures over so many kills, one after the other, each once all replicas work."""
    account, url = folder / "account.jsonl", cluster.create("adoption")
    account.touch()
    rng, adoptions = random.Random(seed), list[float]()
    async with _run_replicas(url, account) as replicas:
        while len(adoptions) < kills:
            await asyncio.sleep(rng.uniform(0.1, 0.3))
            victim = rng.choice(replicas)
            epochs = await asyncio.to_thread(_read_epochs, cluster, victim.pid)
            victim.kill()
            killed_s = time.monotonic()
            await victim.wait()
            if await _wait_adopted(cluster, epochs):
                adoptions.append(time.monotonic() - killed_s)
            replicas[replicas.index(victim)] = await _start(url, account)
    return {**_judge(url, account), "adoptions": len(adoptions), **_quantiles(sorted(adoptions))}


def _quantiles(adoptions: list[float]) -> dict[str, float]:
    """Nearest ranks, without a bound."""
    ranks = {"p50": 0.5, "p99": 0.99}
    return {
        f"adoption_{name}_s": adoptions[math.ceil(share * len(adoptions)) - 1]
        for name, share in ranks.items()
        if adoptions
    }


@contextlib.asynccontextmanager
async def _run_replicas(url: str, account: Path) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    replicas = list(await asyncio.gather(*(_start(url, account) for _ in range(REPLICAS))))
    try:
        yield replicas
        for replica in replicas:
            assert replica.stdin is not None
            replica.stdin.close()
        await asyncio.gather(*(replica.wait() for replica in replicas))
    finally:
        for replica in replicas:
            if replica.returncode is None:
                replica.kill()


async def _start(url: str, account: Path) -> asyncio.subprocess.Process:
    program = str(Path(__file__).with_name("_replica_process.py"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, program, url, str(TERM_S), str(LANES), str(account)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process


def _read_epochs(cluster: Any, pid: int) -> list[int]:
    with cluster.connect("adoption") as connection:
        query = "SELECT epoch FROM shotclock.leases WHERE incarnation LIKE %s"
        return [epoch for (epoch,) in connection.execute(query, (f"%-{pid}-%",))]


async def _wait_adopted(cluster: Any, epochs: list[int]) -> bool:
    """Whether jobs were left open, once nothing is owned by these leases."""
    waited = False
    with cluster.connect("adoption") as connection:
        query = "SELECT count(*) FROM shotclock.open_jobs WHERE epoch = ANY(%s)"
        while connection.execute(query, (epochs,)).fetchone()[0]:
            waited = True
            await asyncio.sleep(POLL_S)
    return waited


def _judge(url: str, account: Path) -> dict[str, float]:
    paid = [json.loads(line) for line in account.read_text().splitlines()]
    tags = Counter(entry["tag"] for entry in paid)
    records = {record.tag: record for record in find_place(url).read_jobs()}
    edges = sorted(
        [(entry["began_s"], 1) for entry in paid] + [(entry["ended_s"], -1) for entry in paid],
        key=lambda edge: (edge[0], edge[1]),
    )
    at_once = most = 0
    for _, change in edges:
        at_once += change
        most = max(most, at_once)
    denied = [tag for tag in tags if tag in records and records[tag].state is LedgerState.FAILED]
    unfinished = [record for record in records.values() if record.state not in TERMINAL]
    return {
        "jobs_paid": len(paid),
        "lost": len(tags.keys() - records.keys()) + len(denied) + len(unfinished),
        "paid_twice": sum(count > 1 for count in tags.values()),
        "lanes_oversubscribed": max(0, most - LANES),
    }
