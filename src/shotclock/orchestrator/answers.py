"""Turns samples into an outcome: decoding, the race with the classical answer, provenance."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from enum import StrEnum

from shotclock.domain.circuit import DeviceCircuit, Samples
from shotclock.domain.errors import ProviderError
from shotclock.domain.outcome import (
    Answer,
    Cause,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    Outcome,
    Provenance,
    ProviderFault,
    Shed,
    end_without_answer,
    incumbent,
)
from shotclock.domain.ports import Clock, Offload, ProviderLimits, Solver, Synthesizer
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.call import CallProgress, Sampled
from shotclock.orchestrator.health.latency import FallbackTime
from shotclock.orchestrator.race import best, classical

SOLVED_IN_PLACE = 16
"""Up to this many variables, solving takes less time than handing it to another thread."""

EXERCISED = 0.01
"""Share of successful calls whose standby answer is computed anyway (O12)."""


class Fallback(StrEnum):
    """When the classical answer is computed."""

    RACE = "race"
    """For every call; it competes with the samples."""
    STANDBY = "standby"
    """Only if no samples arrive, and for one call in a hundred to check that it works."""
    NONE = "none"
    """Never: calls without samples are shed, late or failed."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Computes classical answers and builds outcomes for one provider.

    synthesizer: decodes samples.
    solver: finds classical answers.
    offload: solves subproblems of more than 16 variables off the event loop.
    clock: times the stages.
    policy: when the classical answer is computed.
    provider: the provider's name, for provenance.
    limits: the provider's limits, for provenance.
    rng: selects the calls whose standby answer is checked.
    time: durations of classical answers.
    """

    synthesizer: Synthesizer
    solver: Solver
    offload: Offload
    clock: Clock
    policy: Fallback
    provider: str
    limits: ProviderLimits
    rng: random.Random
    time: FallbackTime

    async def prepare_fallback(self, subproblem: Subproblem, within_s: float) -> Answer | None:
        """The classical answer computed on arrival; None if the policy does not require it now.

        Large subproblems are solved one at a time; one that is not solved within_s changes nothing.
        """
        needed = self.policy is Fallback.RACE or (
            self.policy is Fallback.STANDBY and self.rng.random() < EXERCISED
        )
        if not needed:
            return None
        if subproblem.n <= SOLVED_IN_PLACE:
            return await self.solve(subproblem)
        try:
            async with asyncio.timeout(within_s):
                return await self.solve(subproblem)
        except TimeoutError:
            return incumbent(subproblem)

    async def solve(self, subproblem: Subproblem) -> Answer:
        """The classical answer, timed."""
        began = self.clock.now_ns()
        if subproblem.n <= SOLVED_IN_PLACE:
            answer = classical(subproblem, self.solver)
        else:
            answer = await self.offload.run(classical, subproblem, self.solver)
        self.time.observe(self.clock.now_ns() - began)
        return answer

    def race(
        self, subproblem: Subproblem, fallback: Answer | None, sampled: Sampled, progress: CallProgress
    ) -> Done | ProviderFault:
        """The best of samples, classical answer and no change; a fault if the samples cannot be decoded."""
        began = self.clock.now_ns()
        try:
            raw = self.synthesizer.decode(subproblem, sampled.samples)
        except ProviderError as error:
            return ProviderFault(str(error))
        nothing = incumbent(subproblem)
        answer = best(subproblem, (nothing, *((fallback,) if fallback else ()), raw))
        now = self.clock.now_ns()
        progress.record_stage(StageTiming(Stage.POSTPROC_TIME, began, now - began))
        if (evaluation := progress.pre_evaluation) is not None:
            beats = raw.energy < evaluation.incumbent_energy - subproblem.tie_tolerance()
            progress.pre_evaluation = replace(evaluation, beats_incumbent=beats)
        provenance = self.provenance(
            subproblem, fallback, progress, sampled, raw_gain=nothing.energy - raw.energy
        )
        return Done(answer, sampled.samples, fallback, provenance)

    async def fall_back(
        self, subproblem: Subproblem, fallback: Answer | None, cause: Cause, progress: CallProgress
    ) -> Outcome:
        """The outcome of a call without samples: the classical answer, or the reason alone."""
        if fallback is None and self.policy is Fallback.STANDBY:
            fallback = await self.solve(subproblem)
        provenance = self.provenance(subproblem, fallback, progress)
        if fallback is not None:
            return Degraded(best(subproblem, (incumbent(subproblem), fallback)), cause, provenance)
        return end_without_answer(cause, provenance)

    def answer_executed(self, sampled: Sampled, progress: CallProgress) -> Executed:
        """The outcome of a user circuit that ran."""
        return Executed(sampled.samples, self._provenance(progress, sampled.samples, sampled.at_ns))

    def answer_points(
        self, sampled: Sampled, circuits: tuple[DeviceCircuit, ...], progress: CallProgress
    ) -> list[Executed]:
        """The outcome of each circuit of a call that ran, with its share of the call's QPU time."""
        return [
            Executed(
                samples,
                replace(
                    self._provenance(progress, samples, sampled.at_ns),
                    qpu_s=progress.qpu_s / len(circuits),
                    template_key=circuit.template.key,
                ),
            )
            for circuit, samples in zip(circuits, sampled.of_circuits, strict=True)
        ]

    def answer_unexecuted(self, cause: Cause, progress: CallProgress) -> Shed | Late | Failed:
        """The outcome of a user circuit that did not run; it has no classical answer."""
        return end_without_answer(cause, self._provenance(progress, Samples.none(0), 0))

    def provenance(
        self,
        subproblem: Subproblem,
        fallback: Answer | None,
        progress: CallProgress,
        sampled: Sampled | None = None,
        *,
        raw_gain: float = 0.0,
    ) -> Provenance:
        """The provenance of this call's outcome."""
        return self._provenance(
            progress,
            sampled.samples if sampled else Samples.none(0),
            sampled.at_ns if sampled else 0,
            base_version=subproblem.base_version,
            raw_gain=raw_gain,
            classical_gain=subproblem.offset - fallback.energy if fallback else 0.0,
        )

    def _provenance(
        self,
        progress: CallProgress,
        samples: Samples,
        at_ns: int,
        *,
        base_version: int = 0,
        raw_gain: float = 0.0,
        classical_gain: float = 0.0,
    ) -> Provenance:
        return Provenance(
            provider=self.provider,
            emulated=self.limits.emulated,
            base_version=base_version,
            stages=tuple(progress.stages),
            job_id=progress.job_id,
            attempts=progress.attempts,
            template_key=progress.template_key,
            shots=samples.shots,
            qpu_s=progress.qpu_s,
            raw_gain=raw_gain,
            classical_gain=classical_gain,
            samples_at_ns=at_ns,
            emulator_overrun=progress.emulator_overrun,
            sharers=progress.sharers,
            cached=progress.cached,
            penalised=progress.penalised,
            simulation=samples.simulation,
            pre_evaluation=progress.pre_evaluation,
        )
