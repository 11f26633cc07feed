"""Times the ways of `same_host.py`, in turns; medians of blocks, so that a stall spoils one of them."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from _same_host_service import TRIVIAL, WAYS, WHOLE, Trips, open_ways, run_service
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.outcome import Done
from shotclock.domain.subproblem import Subproblem
from shotclock.wire.certificates import TlsFiles

WIDE = 127
"""Variables of a request of 65 KB."""
BATCH = 64

Medians = dict[str, dict[str, list[float]]]
"""By load and way, the median of each block, milliseconds."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is timed: calls of n variables, so many at a time, in a block so many times."""

    name: str
    service: str
    n: int
    at_once: int
    calls: int
    echo_bytes: int = 0


LOADS = (
    Load("echo of 1 KB", TRIVIAL, 12, 1, 200, 1024),
    Load("echo of 64 KB", TRIVIAL, WIDE, 1, 100, 65_536),
    Load("call of 1 KB", TRIVIAL, 12, 1, 200),
    Load("call of 64 KB", TRIVIAL, WIDE, 1, 60),
    Load("batch of 64 calls of 1 KB", TRIVIAL, 12, BATCH, 8),
    Load("call of 1 KB, whole orchestrator", WHOLE, 12, 1, 150),
)


def measure(blocks: int) -> Medians:
    """Every load on every way."""
    with tempfile.TemporaryDirectory() as folder, run_service(Path(folder)) as (connection, files, memory):
        return asyncio.run(_measure(Path(folder), connection, files, memory, blocks))


def markdown(medians: Medians) -> Iterator[str]:
    """The section of the page."""
    yield "## Two processes of one host"
    yield ""
    yield (
        "The same calls on four ways, medians in milliseconds. The service answers at once, or is the whole "
        "orchestrator over a scripted provider (no QPU, no emulation). Frames and shared memory are "
        "prototypes without identity, authorization and limits. The last column is the median of the "
        "blocks' ratios of the first three ways to shared memory, and their range."
    )
    yield ""
    yield f"| what | {' | '.join(WAYS)} | shared memory is faster by |"
    yield "|---|" + "---|" * (len(WAYS) + 1)
    for name, by_way in medians.items():
        middle = {way: sorted(values)[len(values) // 2] for way, values in by_way.items()}
        ratios = []
        for way in WAYS[:-1]:
            each = sorted(a / b for a, b in zip(by_way[way], by_way[WAYS[-1]], strict=True))
            ratios.append(f"{each[len(each) // 2]:.2f} ({each[0]:.2f} to {each[-1]:.2f})")
        cells = [f"{middle[way]:.3f}" for way in WAYS]
        yield f"| {name} | {' | '.join(cells)} | {', '.join(ratios)} |"


async def _measure(
    folder: Path, connection: Connection, files: TlsFiles, memory: Any, blocks: int
) -> Medians:
    """Per load and way, the median of each block, milliseconds; the ways take turns in random order."""
    medians: Medians = {load.name: {way: [] for way in WAYS} for load in LOADS}
    order = random.Random(0)
    async with open_ways(folder, connection.recv(), files, memory) as trips:
        for load in LOADS:
            print(load.name, file=sys.stderr)
            for way in WAYS:
                await _time(trips[way, load.service], load, max(2, load.calls // 2))
            for _ in range(blocks):
                for way in order.sample(WAYS, len(WAYS)):
                    took = sorted(await _time(trips[way, load.service], load, load.calls))
                    medians[load.name][way].append(took[len(took) // 2] * 1e-6)
    return medians


async def _time(trips: Trips, load: Load, calls: int) -> list[int]:

    subproblem, payload, took = _subproblem(load.n), b"e" + bytes(load.echo_bytes), []
    for number in range(calls):
        calls_at_once = [replace(subproblem, request_id=f"{number}-{each}") for each in range(load.at_once)]
        began_ns = time.perf_counter_ns()
        if load.echo_bytes:
            await trips.echo(payload)
        else:
            outcomes = await asyncio.gather(*map(trips.solve, calls_at_once))
        took.append(time.perf_counter_ns() - began_ns)
        if not load.echo_bytes and not all(isinstance(outcome, Done) for outcome in outcomes):
            raise RuntimeError(f"{load.name}: a call ended otherwise: {outcomes[0]}")
    return took


def _subproblem(n: int) -> Subproblem:

    rng = np.random.default_rng(n)
    upper = np.triu(rng.normal(size=(n, n)), k=1)
    return Subproblem(upper + upper.T, rng.normal(size=n), budget_ns=10 * NS_PER_S, fresh=True)
