"""An orchestrator over a scripted provider on virtual time: what the tests of the promise share."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from certificates import TRAINER
from harness import Inline, LoopClock, random_subproblem, run_virtual
from shotclock.circuits.decoding import decode
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.circuit import Bound, DeviceCircuit, QaoaParameters, Samples, Template
from shotclock.domain.circuit_batch import CircuitPoints
from shotclock.domain.data_policy import ANYWHERE, DataPolicy
from shotclock.domain.errors import CircuitError
from shotclock.domain.outcome import Answer, Outcome, Rejection
from shotclock.domain.ports import Flags, Ledger, Offload
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.trace import Tracer
from shotclock.domain.trace_context import TraceContext
from shotclock.orchestrator.admission import AdmissionPolicy, admit_all
from shotclock.orchestrator.answers import Answers, Fallback
from shotclock.orchestrator.dispatcher import Orchestrator
from shotclock.orchestrator.forecast import Forecast, ShotPolicy
from shotclock.orchestrator.health.health import Health
from shotclock.orchestrator.health.latency import FallbackTime
from shotclock.orchestrator.job_planner import BatchPolicy
from shotclock.orchestrator.ledger.job_journal import FreeJobs, PaidJobs, SharedLanes
from shotclock.orchestrator.pipeline import Pipeline, PreEvaluator, submit_always
from shotclock.orchestrator.planning import ShotLimits
from shotclock.orchestrator.quotas import DEFAULT_QUOTA, CallerQuota
from shotclock.orchestrator.results import ResultCache
from shotclock.providers.scripted import UNLIMITED, Fail, Never, Reply, ScriptedProvider
from shotclock.rollout.fixed import FixedFlags
from shotclock.solvers.fallback import Classical
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder

T = TypeVar("T")
N = 6
FIXED = ShotLimits(64, 64)
INLINE = Inline()


class NullSynthesizer:
    """A Synthesizer without Qiskit: the scripted provider needs no circuit. width lines of every size."""

    def __init__(self, width: int = 1) -> None:
        self._width = width

    async def warm(self, n: int) -> None:
        """Nothing to compile."""

    def lines(self, n: int) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(range(n * number, n * number + n)) for number in range(self._width))

    async def bind(self, subproblem: Subproblem, line: tuple[int, ...] = ()) -> DeviceCircuit:
        n = subproblem.n
        template = Template("key", "scripted", line or tuple(range(n)), b"", 6e-6, 0, 0)
        return DeviceCircuit(template, QaoaParameters.idle(n))

    async def bind_circuit(self, source: str | bytes, values: Mapping[str, float]) -> DeviceCircuit:
        if source == "nonsense":
            raise CircuitError("source", "is no OpenQASM 3")
        return DeviceCircuit(Template("own", "scripted", (0, 1), b"", 6e-6, 0, 0), Bound(b"", 2, 2))

    async def bind_points(self, circuit: CircuitPoints) -> tuple[DeviceCircuit, ...]:
        return tuple([await self.bind_circuit(circuit.source, {}) for _ in circuit.points])

    def decode(self, subproblem: Subproblem, samples: Samples) -> Answer:
        return decode(subproblem, samples)


class System:
    """An orchestrator over a scripted provider, with its metrics."""

    def __init__(
        self,
        provider: ScriptedProvider,
        *,
        protected: bool = False,
        fallback: Fallback = Fallback.RACE,
        queue_limit: int = 4,
        shots: ShotLimits = FIXED,
        pre_evaluator: PreEvaluator = submit_always,
        batch_limit: int = 1,
        lines: int = 0,
        batch_age_ms: float = 0.0,
        results: int = 0,
        shorter_rep_delays_s: tuple[float, ...] = (),
        ledger: Ledger | None = None,
        lanes: SharedLanes | None = None,
        seed: int = 1,
        overload_wait_ms: float = 1e6,
        synthesizer: NullSynthesizer | None = None,
        offload: Offload = INLINE,
        quota: CallerQuota = DEFAULT_QUOTA,
        tracer: Tracer | None = None,
        rollout: Flags | None = None,
        data: DataPolicy = ANYWHERE,
        refuse_by_host: Callable[[], Rejection | None] = admit_all,
    ) -> None:
        self.provider = provider
        self.metrics = Metrics()
        recorder = PrometheusRecorder(self.metrics, "test", clients=(TRAINER,))
        clock, rng = LoopClock(), random.Random(seed)
        synthesizer = synthesizer or NullSynthesizer(lines or batch_limit)
        health = Health(provider, clock, rng, recorder)
        forecast = Forecast(
            synthesizer,
            provider,
            clock=clock,
            policy=ShotPolicy(shots, None, attempts=3, shorter_rep_delays_s=shorter_rep_delays_s),
            slowness=health.slowness,
        )
        self.pipeline = Pipeline(
            forecast,
            health,
            clock=clock,
            journal=FreeJobs() if ledger is None else PaidJobs(ledger, provider.name, lanes=lanes),
            recorder=recorder,
            rng=rng,
            pre_evaluator=pre_evaluator,
            tracer=tracer,
        )
        answers = Answers(
            synthesizer=synthesizer,
            solver=Classical(),
            offload=offload,
            clock=clock,
            policy=fallback,
            provider=provider.name,
            limits=provider.limits,
            rng=rng,
            time=FallbackTime(),
        )
        self.flags = FixedFlags()
        self.orchestrator = Orchestrator(
            self.pipeline,
            forecast,
            health,
            answers,
            clock=clock,
            policy=AdmissionPolicy(
                queue_limit,
                protected,
                overload_wait_ns=round(overload_wait_ms * NS_PER_MS),
                seed_policy="shared" if results else "fresh",
                quota=quota,
                data=data,
                refuse_by_host=refuse_by_host,
            ),
            flags=self.flags if rollout is None else rollout,
            recorder=recorder,
            batch=BatchPolicy(batch_limit, round(batch_age_ms * NS_PER_MS), protected),
            results=ResultCache(results),
            tracer=tracer,
        )

    def value(self, name: str, **labels: str) -> float:
        """Of the caller without a name, or of what callers share."""
        value = self.metrics.registry.get_sample_value
        for common in ({"client": "test"}, {"arm": ""}):
            if (sample_value := value(name, {**common, **labels})) is not None:
                return sample_value
        raise AssertionError(f"{name} {labels} is not exported")


def make_subproblem(seed: int = 0, budget_ms: float = 200, trace: TraceContext | None = None) -> Subproblem:
    return replace(
        random_subproblem(N, seed),
        request_id=f"r{seed}",
        base_version=7,
        budget_ns=round(budget_ms * NS_PER_MS),
        trace=trace,
    )


def simulate(make: Callable[[], System], work: Callable[[System], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        system = make()
        await system.orchestrator.start(make_subproblem())
        try:
            return await work(system)
        finally:
            await system.orchestrator.stop()

    return run_virtual(main())


def make_scripted(*steps: Reply | Fail | Never, **words: Any) -> Callable[[], System]:
    afterwards = words.pop("afterwards", Reply(delay_s=0.05))
    predicted_s = words.pop("predicted_s", 0.05)
    limits = words.pop("limits", UNLIMITED)
    return lambda: System(
        ScriptedProvider(LoopClock(), steps, afterwards=afterwards, predicted_s=predicted_s, limits=limits),
        **words,
    )


def one(make: Callable[[], System], budget_ms: float = 200) -> Outcome:
    return simulate(make, lambda system: system.orchestrator.solve(make_subproblem(budget_ms=budget_ms)))
