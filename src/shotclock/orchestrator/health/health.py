"""One provider's health: breaker, concurrency limit, retry budget and job latency."""

from __future__ import annotations

import asyncio
import random

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.outcome import Rejection
from shotclock.domain.ports import Clock, Provider
from shotclock.domain.recorders import Recorder
from shotclock.orchestrator.health.breaker import Breaker
from shotclock.orchestrator.health.bucket import TokenBucket
from shotclock.orchestrator.health.concurrency import ConcurrencyLimit
from shotclock.orchestrator.health.latency import Slowness
from shotclock.orchestrator.health.retry import RetryBudget

STALLED_NS = 10_000_000
"""A deadline noticed this much too late was missed by the event loop."""

PROBE_LIMIT_S = 5.0
"""A status call that takes longer has failed."""


class Health:
    """Learns from every job of a provider. `probe` runs beside the jobs and closes the breaker again."""

    def __init__(self, provider: Provider, clock: Clock, rng: random.Random, recorder: Recorder) -> None:
        self._provider = provider
        self._clock = clock
        self._recorder = recorder
        self._opened = asyncio.Event()
        self.breaker = Breaker(rng)
        self.lanes = ConcurrencyLimit(provider.limits.lanes)
        self.retries = RetryBudget()
        self.slowness = Slowness()
        self._submissions = TokenBucket(provider.limits.submissions_per_minute)

    @property
    def submissions(self) -> TokenBucket:
        """At the provider's present rate, which the profile of an emulated one may change."""
        self._submissions.set_rate(self._provider.limits.submissions_per_minute)
        return self._submissions

    def refuses(self) -> Rejection | None:
        """Why no job may be submitted now, if so."""
        now = self._clock.now_ns()
        if self.breaker.allows(now):
            return None
        wait_s = self.breaker.retry_after_ns(now) / NS_PER_S
        return Rejection("breaker", 0, 1, "provider marked unhealthy", wait_s)

    def record_finish(self, began_ns: int, predicted_s: float, inflight: int, *, first_attempt: bool) -> None:
        """A job returned its samples."""
        now = self._clock.now_ns()
        self.slowness.observe((now - began_ns) / NS_PER_S - predicted_s, now)
        self.lanes.record_finish(inflight, now - began_ns, round(predicted_s * NS_PER_S))
        self.breaker.record_success(now)
        if first_attempt:
            self.retries.record_first_success()

    def record_success(self) -> None:
        """A job brought its samples, in a time that says nothing of other jobs'."""
        self.breaker.record_success(self._clock.now_ns())

    def record_failure(self, error: ProviderError) -> None:
        """A submit or collect failed."""
        # A permanent fault is caused by the job itself and says nothing about the provider.
        if error.kind is not FaultKind.PERMANENT:
            self._suspect()

    def record_timeout(self, waited_ns: int, predicted_s: float, late_ns: int) -> None:
        """A job was abandoned at its deadline; it counts as a failure if it took longer than predicted.

        late_ns: time past the job's last deadline. If this process noticed its timer late, the process itself
        stalled, and counting that would blame every running job at once.
        """
        if waited_ns > predicted_s * NS_PER_S and late_ns < STALLED_NS:
            self._suspect()

    def _suspect(self) -> None:
        now = self._clock.now_ns()
        before = self.breaker.state(now)
        self.lanes.record_overload()
        self.breaker.record_failure(now)
        after = self.breaker.state(now)
        if after is not before:
            self._recorder.breaker(after)
            self._opened.set()

    async def probe(self) -> None:
        """Makes a status call whenever one is due; runs until it is cancelled."""
        while True:
            await self._opened.wait()
            self._opened.clear()
            while not self.breaker.allows(self._clock.now_ns()):
                await asyncio.sleep(self.breaker.retry_after_ns(self._clock.now_ns()) / NS_PER_S)
                if self.breaker.probe_due(self._clock.now_ns()):
                    self.breaker.record_probe(await self._answers(), self._clock.now_ns())
                    self._recorder.breaker(self.breaker.state(self._clock.now_ns()))

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_LIMIT_S):
                await self._provider.ping()
        except (ProviderError, TimeoutError):
            return False
        except Exception as error:  # noqa: BLE001 - unreported, the breaker would stay half open for ever
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{self._provider.name}: the status call raised an error", "exception": error}
            )
            return False
        return True
