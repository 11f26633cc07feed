"""Predicts how long a job takes on the provider, and how many shots fit a deadline."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from shotclock.domain.budget import Deadline
from shotclock.domain.circuit import DeviceCircuit, Pub
from shotclock.domain.errors import ProviderError, WorkerError
from shotclock.domain.outcome import Rejection
from shotclock.domain.ports import Clock, Job, Provider, Rehearsing, Synthesizer
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.health.latency import Slowness
from shotclock.orchestrator.planning import Fit, ShotLimits, fit_shots, fit_shots_and_delay

RETURN_MARGIN_NS = 5_000_000
"""Reserved when a job is fitted to a budget: for decoding, and for returning the answer to the caller."""


@dataclass(frozen=True, slots=True)
class ShotPolicy:
    """How a job is run.

    shots: as many as the budget allows within these limits; equal limits fix the number.
    rep_delay_s: seconds; None is the device's default.
    attempts: most submits per job.
    shorter_rep_delays_s: allowed if the default does not fit the budget, in descending order.
    """

    shots: ShotLimits
    rep_delay_s: float | None
    attempts: int
    shorter_rep_delays_s: tuple[float, ...] = ()


class Forecast:
    """Predicts a provider's jobs from one sample circuit of each size."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        provider: Provider,
        *,
        clock: Clock,
        policy: ShotPolicy,
        slowness: Slowness,
    ) -> None:
        self.synthesizer = synthesizer
        self.provider = provider
        self.policy = policy
        self._clock = clock
        self._slowness = slowness
        self._sample_circuits: dict[int, DeviceCircuit] = {}

    async def warm(self, sample: Subproblem) -> None:
        """Compiles the template of this size off the event loop, and rehearses a job where that is free."""
        await self.synthesizer.warm(sample.n)
        self._sample_circuits[sample.n] = await self.synthesizer.bind(sample)
        if isinstance(self.provider, Rehearsing):
            pubs = (self.representative_pub(sample.n),)
            job = _make_job(pubs, self.policy.shots.minimum, self.policy.rep_delay_s)
            with suppress(ProviderError, WorkerError):  # the first calls will report the same fault
                await self.provider.rehearse(job)

    def learn(self, n: int, circuit: DeviceCircuit) -> None:
        """Keeps the first circuit of a size that was not warmed as its sample."""
        self._sample_circuits.setdefault(n, circuit)

    def sample_job(self) -> Job:
        """A job of the first warmed sample alone."""
        if not self._sample_circuits:
            raise RuntimeError("no sample circuit: call warm first")
        first = next(iter(self._sample_circuits))
        return _make_job(
            (self.representative_pub(first),), self.policy.shots.minimum, self.policy.rep_delay_s
        )

    @property
    def calls_per_pub(self) -> int:
        """Calls per PUB, for the warmed size with the fewest lines; 1 before any size is warm."""
        return max(1, min((len(self.synthesizer.lines(n)) for n in self._sample_circuits), default=1))

    def representative_pub(self, n: int) -> Pub:
        """A PUB that takes as long as one of n variables: of the same size if known, else of the first."""
        return Pub((self._sample_circuits.get(n) or next(iter(self._sample_circuits.values())),))

    def predict_s(self, pubs: tuple[Pub, ...], shots: int) -> float:
        """p95 of submit to samples with an empty queue, at the policy's rep_delay, seconds."""
        return self._predict_at_s(pubs, shots, self.policy.rep_delay_s)

    def predict_p95_s(self) -> float:
        """p95 of the shortest allowed job with an empty queue, seconds; 0 before any size is warm.

        The provider's prediction plus the p95 of how much longer than predicted recent jobs took.
        """
        if not self._sample_circuits:
            return 0.0
        policy = self.policy
        delay = policy.shorter_rep_delays_s[-1] if policy.shorter_rep_delays_s else policy.rep_delay_s
        first = self.representative_pub(next(iter(self._sample_circuits)))
        predicted = self._predict_at_s((first,), policy.shots.minimum, delay)
        return max(0.0, predicted + self._slowness.p95_s(self._clock.now_ns()))

    def fix_shots(self, pubs: tuple[Pub, ...], shots: int) -> Fit:
        """Exactly these shots at the policy's rep_delay, whatever their predicted time."""
        return self._fit(shots, self.policy.rep_delay_s, self.predict_s(pubs, shots))

    def fit_to_deadline(
        self, pubs: tuple[Pub, ...], deadline: Deadline, ahead_ns: int, limits: ShotLimits
    ) -> Fit | Rejection:
        """How to run the job within its deadline after the jobs ahead of it, or why that is impossible."""
        policy = self.policy
        remaining = deadline.remaining_ns(self._clock.now_ns()) - RETURN_MARGIN_NS - ahead_ns
        if policy.shorter_rep_delays_s:
            default_s = self.provider.limits.rep_delay_default_s
            return fit_shots_and_delay(
                lambda shots, delay: self._predict_at_s(pubs, shots, delay),
                remaining,
                limits,
                (policy.rep_delay_s or default_s, *policy.shorter_rep_delays_s),
            )
        shots = fit_shots(lambda shots: self.predict_s(pubs, shots), remaining, limits)
        if isinstance(shots, Rejection):
            return shots
        return self.fix_shots(pubs, shots)

    def _fit(self, shots: int, rep_delay_s: float | None, predicted_s: float) -> Fit:
        default_s = self.provider.limits.rep_delay_default_s
        return Fit(shots, rep_delay_s, predicted_s, rep_delay_s is not None and rep_delay_s < default_s)

    def _predict_at_s(self, pubs: tuple[Pub, ...], shots: int, rep_delay_s: float | None) -> float:
        return self.provider.predict_s(_make_job(pubs, shots, rep_delay_s))


def _make_job(pubs: tuple[Pub, ...], shots: int, rep_delay_s: float | None) -> Job:
    """A job that is only predicted, never submitted."""
    return Job(pubs, shots, "prediction", rep_delay_s)
