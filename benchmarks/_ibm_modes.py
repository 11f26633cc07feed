"""Job, batch and session mode compared: the same jobs, with idle time between them."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass

from _ibm_endpoint import PRICE_PER_S, EmulatedEndpoint, circuit_of
from shotclock.domain.ports import Job
from shotclock.providers.client import ExecutionMode
from shotclock.providers.workload import WorkloadPolicy

MODES: tuple[ExecutionMode, ...] = ("job", "batch", "session")
SHOTS, N = 1_000, 12
THINK_S = 4.0


@dataclass(frozen=True, slots=True)
class Mode:
    """Emulated seconds: of each call from submit to samples, billed in all, idle within what was billed."""

    mode: ExecutionMode
    latencies_s: tuple[float, ...]
    billed_s: float
    idle_s: float

    @property
    def money(self) -> float:
        """At the example price."""
        return self.billed_s * PRICE_PER_S


def measure(endpoint: EmulatedEndpoint, calls: int) -> tuple[Mode, ...]:
    """Each mode in turn."""
    return tuple(asyncio.run(_measure(endpoint, mode, calls)) for mode in MODES)


def markdown(modes: tuple[Mode, ...], queue: str) -> list[str]:
    """A row a mode."""
    rows = [
        f"| {mode.mode} | {mode.latencies_s[0]:.1f} | {statistics.median(mode.latencies_s[1:]):.1f} "
        f"| {mode.billed_s:.1f} | {mode.idle_s:.1f} | {mode.money:.2f} |"
        for mode in modes
    ]
    return [
        f"{len(modes[0].latencies_s)} calls of {SHOTS} shots, {THINK_S:g} s of thinking between them, "
        f"public-cloud with a queue of {queue} (median, p99; assumed), {PRICE_PER_S:.2f} USD/s (an example). "
        "All times EMULATED.",
        "",
        "| mode | first call, s | later calls p50, s | billed, s | of it idle, s | money, USD |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


async def _measure(endpoint: EmulatedEndpoint, mode: ExecutionMode, calls: int) -> Mode:
    before = endpoint.account()["consumed_seconds"]
    provider = endpoint.provider(WorkloadPolicy(mode, idle_s=60.0 / endpoint.speed))
    latencies = []
    for number in range(calls):
        began = time.monotonic()
        job = Job.of((circuit_of(N, number),), SHOTS, f"shotclock:{mode}{number}")
        await provider.collect(await provider.submit(job))
        latencies.append((time.monotonic() - began) * endpoint.speed)
        if number < calls - 1:
            await asyncio.sleep(THINK_S / endpoint.speed)
    await provider.close()
    await asyncio.sleep(3.0 / endpoint.speed)
    billed = endpoint.account()["consumed_seconds"] - before
    return Mode(mode, tuple(latencies), billed, sum(bill.idle_s for bill in provider.workload.bills))
