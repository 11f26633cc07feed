"""Fault injection for drills: delayed answers, on virtual time that depends only on the seed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import numpy as np

from shotclock.app.host import VirtualHost
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.ports import Accepted, Execution, Job, Provider
from shotclock.runtime.virtual_loop import VirtualLoop

SPREAD = 0.5
"""σ of the logarithm of a delay's length."""


@dataclass(frozen=True, slots=True)
class Spikes:
    """Synthetic delays: this share of jobs returns late, by median_s in the median (lognormal, σ = 0.5)."""

    share: float
    median_s: float


class DelayInjectingProvider:
    """A Provider that delays some answers of another provider."""

    def __init__(self, provider: Provider, spikes: Spikes, seed: int) -> None:
        self._provider = provider
        self._spikes = spikes
        self._rng = np.random.default_rng(seed)
        self.name, self.limits = provider.name, provider.limits

    def predict_s(self, job: Job) -> float:
        """See `Provider.predict_s`; the delays are not predicted."""
        return self._provider.predict_s(job)

    async def submit(self, job: Job) -> Accepted:
        """See `Provider.submit`."""
        return await self._provider.submit(job)

    async def collect(self, accepted: Accepted) -> Execution:
        """See `Provider.collect`."""
        late_s = self._spikes.median_s * self._rng.lognormal(0.0, SPREAD)
        if self._rng.random() >= self._spikes.share:
            late_s = 0.0
        execution = await self._provider.collect(accepted)
        await asyncio.sleep(late_s)
        late_ns = round(late_s * NS_PER_S)
        return replace(
            execution,
            collected_at_ns=execution.collected_at_ns + late_ns,
            collect_emulated_ns=execution.collect_emulated_ns + late_ns,
        )

    async def cancel(self, accepted: Accepted) -> None:
        """See `Provider.cancel`."""
        await self._provider.cancel(accepted)

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        """See `Provider.find`."""
        return await self._provider.find(tag)

    async def ping(self) -> None:
        """See `Provider.ping`."""
        await self._provider.ping()

    async def close(self) -> None:
        """See `Provider.close`."""
        await self._provider.close()


class FrozenHost(VirtualHost):
    """Virtual time in which computing takes no time, so that a run depends only on its seed."""

    def __init__(self) -> None:
        super().__init__()
        self._loop.close()
        self._loop = VirtualLoop(base_ns=lambda: 0)
        self.clock = self._loop
