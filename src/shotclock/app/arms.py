"""Builds the arms of a run from one tree of settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shotclock.app.check_names import refuse_unknown_workload, workloads
from shotclock.app.host import Host
from shotclock.app.ledger_factory import LedgerFactory
from shotclock.app.quantum_path import PathPolicy, assemble, build_provider, device_of
from shotclock.bench.judge.metrics import Prices
from shotclock.bench.judge.summarise import ArmFacts
from shotclock.bench.record.arm_runs import Arm
from shotclock.bench.record.drive import Lane
from shotclock.bench.schema import Component, ProfileSummary
from shotclock.domain import plugin
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.errors import ProviderError
from shotclock.domain.ports import (
    NO_CHARGES,
    Charged,
    Charges,
    Dispatcher,
    Kernel,
    Provider,
    Recorder,
    Trainer,
    Workload,
)
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import profile as profiles
from shotclock.emulator.profile import Profile
from shotclock.emulator.provider import EmulatedProvider
from shotclock.orchestrator.answers import Fallback
from shotclock.orchestrator.control import ClassicalDispatcher
from shotclock.orchestrator.forecast import Forecast
from shotclock.settings import QuantumSettings, Settings
from shotclock.solvers.fallback import Classical, warm_solvers
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.training.aggregator import Aggregator
from shotclock.training.scheduler import CallPolicy, PlainTrainer, Scheduler

WORKLOAD = "bench.workload"


@dataclass(frozen=True, slots=True)
class RunningArm:
    """An arm ready to train: its lane for the driver, its facts for the summary.

    stop: ends it, and tells what its jobs and sessions cost beside what rows say.
    """

    lane: Lane
    facts: ArmFacts
    profile: ProfileSummary | None
    predicted_p95_s: float
    stop: Callable[[], Charges]


def workload_factory(name: str) -> Callable[[int], Workload]:
    """A workload by entry point or "module:factory"; SettingsError when it does not exist."""
    if ":" not in name:
        refuse_unknown_workload(name)
        factory: Callable[[int], Workload] = workloads()[name].load()
        return factory
    own = plugin.load(WORKLOAD, name)

    def make_workload(seed: int) -> Workload:
        workload: Any = plugin.call_plugin(WORKLOAD, name, lambda: own(seed))
        plugin.check(WORKLOAD, name, workload, Workload)
        return workload  # type: ignore[no-any-return]

    return make_workload


class Builder:
    """Builds arms on one host from one tree of settings.

    slow_every: the cadence of arms that show a QPU slower than the budget; None: the kernel's own.
    """

    def __init__(self, settings: Settings, host: Host, metrics: Metrics, slow_every: int | None) -> None:
        self._settings = settings
        self._host = host
        self._metrics = metrics
        self._slow_every = slow_every
        self._workload = workload_factory(settings.bench.workload)
        self._solver = Classical()
        self._books = LedgerFactory(settings.serve.ledger_file)
        # the first proposal of a process pays for imports and caches of torch; no measured call does
        first, kernel = self._workload(0), settings.kernel
        asking = plugin.call_plugin(
            WORKLOAD, settings.bench.workload, lambda: first.kernel(kernel.name, kernel.n)
        )
        plugin.check(WORKLOAD, settings.bench.workload, asking, Kernel)
        asking.propose(0, 0)
        self.samples_per_step = first.samples_per_step

    def close(self) -> None:
        """Closes the ledger of paid jobs; after every arm has stopped."""
        self._books.close()

    def arm(self, arm: Arm) -> RunningArm:
        """The arm, started: templates compiled, lanes open."""
        if not arm.calls:
            facts = self._facts(arm, None, None, None, None)
            return RunningArm(Lane(arm.name, self._plain), facts, None, 0.0, _nothing)
        recorder = PrometheusRecorder(self._metrics, arm.name)
        quantum = self._settings.quantum_for(arm.name)
        if not arm.quantum:
            return self._control(arm, quantum, recorder)
        return self._hybrid(arm, quantum, recorder)

    def _control(self, arm: Arm, quantum: QuantumSettings, recorder: Recorder) -> RunningArm:
        dispatcher = ClassicalDispatcher(self._solver, self._host.clock, recorder)
        self._host.run(self._host.threads.run(warm_solvers))
        self._host.run(dispatcher.solve(self._sample()))
        policy = CallPolicy(self._every(arm, 0.0), "inline", round(quantum.budget_ms * NS_PER_MS))
        lane = self._calling(arm, dispatcher, lambda: policy, quantum, recorder)
        facts = self._facts(arm, None, self._solver.name, policy, None)
        return RunningArm(lane, facts, None, 0.0, _nothing)

    def _hybrid(self, arm: Arm, quantum: QuantumSettings, recorder: Recorder) -> RunningArm:
        host, settings = self._host, self._settings
        profile = self._profile(arm, quantum)
        provider = build_provider(host, settings, quantum, profile)
        # a training loop has one call under way: there is nothing to pack
        path_policy = PathPolicy(arm.protected, Fallback.RACE if arm.race else Fallback.NONE, batch_limit=1)
        book = self._books.of(provider)
        host.run(self._books.recover(provider))
        path = assemble(host, settings, quantum, provider, path_policy, recorder, book=book)
        orchestrator, forecast = path.orchestrator, path.forecast
        host.run(orchestrator.start(self._sample()))
        predicted_s = forecast.predict_p95_s()
        policy = self._policy(arm, quantum, predicted_s)

        def as_known_now() -> CallPolicy:
            """A later seed starts from what the earlier ones have shown of the provider."""
            return replace(policy, predicted_p95_s=forecast.predict_p95_s())

        lane = self._calling(arm, orchestrator, as_known_now, quantum, recorder)
        emulated = isinstance(provider, EmulatedProvider)
        facts = self._facts(arm, profile if emulated else None, provider.name, policy, provider)
        device, calibration = device_of(provider, quantum)
        facts = replace(facts, device=device, calibration=calibration)
        described = _describe_profile(provider, forecast) if isinstance(provider, EmulatedProvider) else None

        def stop() -> Charges:
            with suppress(ProviderError):  # what could not be ended well has no bill; the rows are kept
                host.run(orchestrator.stop())
            return provider.charges() if isinstance(provider, Charged) else NO_CHARGES

        return RunningArm(lane, facts, described, predicted_s, stop)

    def _profile(self, arm: Arm, quantum: QuantumSettings) -> Profile:
        """The arm's own table first, then what its name says, then `[quantum]`."""
        own = self._settings.arm.get(arm.name)
        if own is not None and own.profile is not None:
            return profiles.load(own.profile)
        common = profiles.load(quantum.profile)
        return common if arm.profile in {None, common.name} else profiles.load(str(arm.profile))

    def _policy(self, arm: Arm, quantum: QuantumSettings, predicted_s: float) -> CallPolicy:
        """Measuring arms wait for the QPU as it is, unless their own table says otherwise; the others keep
        the iteration's budget while they wait.
        """
        own = self._settings.arm.get(arm.name)
        wanted = quantum.mode if arm.protected else ((own.mode if own else None) or "inline")
        as_it_is = not arm.protected and wanted == "inline"
        return CallPolicy(
            self._every(arm, predicted_s),
            wanted,
            round((quantum.wait_limit_ms if as_it_is else quantum.budget_ms) * NS_PER_MS),
            wait_limit_ns=round(quantum.wait_limit_ms * NS_PER_MS),
            in_flight=1,
            predicted_p95_s=predicted_s,
        )

    def _every(self, arm: Arm, predicted_s: float) -> int:
        own = self._settings.arm.get(arm.name)
        if own is not None and own.every is not None:
            return own.every
        slow = not arm.protected and predicted_s * 1e3 > self._settings.quantum.budget_ms
        return self._slow_every if slow and self._slow_every is not None else self._settings.kernel.every

    def _calling(
        self,
        arm: Arm,
        dispatcher: Dispatcher,
        policy: Callable[[], CallPolicy],
        quantum: QuantumSettings,
        recorder: Recorder,
    ) -> Lane:
        host, kernel = self._host, self._settings.kernel

        def make(seed: int) -> tuple[Trainer, Callable[[], float]]:
            workload = self._warm_workload(seed)
            asking = workload.kernel(kernel.name, kernel.n)
            aggregator = Aggregator(
                workload, asking, quantum.on_stale, recorder, loss_check=asking.loss_check
            )
            caller = host.caller(dispatcher)
            trainer = Scheduler(workload, aggregator, caller=caller, clock=host.clock, policy=policy())
            return trainer, workload.evaluate

        return Lane(arm.name, make)

    def _plain(self, seed: int) -> tuple[Trainer, Callable[[], float]]:
        workload = self._warm_workload(seed)
        return PlainTrainer(workload, self._host.clock), workload.evaluate

    def _warm_workload(self, seed: int) -> Workload:
        workload = self._workload(seed)
        for _ in range(self._settings.bench.warmup_steps):
            workload.step()
        return workload

    def _sample(self) -> Subproblem:
        """Stands for the kernel's subproblems while the path is warmed."""
        n = self._settings.kernel.n
        rng = np.random.default_rng(0)
        upper = np.triu(rng.normal(size=(n, n)), 1)
        return Subproblem(upper + upper.T, rng.normal(size=n), kind=self._settings.kernel.name)

    def _facts(
        self,
        arm: Arm,
        profile: Profile | None,
        solver_or_provider: str | None,
        policy: CallPolicy | None,
        provider: Provider | None,
    ) -> ArmFacts:
        cost = self._settings.cost
        session = profile is not None and profile.execution_mode.startswith("session")
        return ArmFacts(
            arm=arm,
            profile=profile.name if profile else None,
            provider=solver_or_provider,
            mode=policy.mode if policy else None,
            emulated=provider is not None and provider.limits.emulated,
            deadline_ms=_deadline_ns(policy) / NS_PER_MS if policy else None,
            call_every=policy.every if policy else None,
            prices=Prices(cost.currency, cost.qpu_second, cost.gpu_hour, session),
        )


def _deadline_ns(policy: CallPolicy) -> int:
    """Of a call that is waited for; of every call where none is."""
    return policy.wait_limit_ns if policy.mode in {"overlap", "offline"} else policy.budget_ns


def _nothing() -> Charges:
    """An arm without a dispatcher has nothing to stop."""
    return NO_CHARGES


def _describe_profile(provider: EmulatedProvider, forecast: Forecast) -> ProfileSummary:
    found = provider.components(forecast.sample_job())
    return ProfileSummary(
        title=found.title,
        components=tuple(
            Component(
                name=named.name,
                value=named.figure.value,
                unit=named.figure.unit,
                tag=named.figure.tag,
                source=named.figure.source,
            )
            for named in found.components
        ),
        mean_by_component_ms={part.name: part.mean_ms for part in found.mean_by_component},
        predicted_mean_ms=found.mean_ms,
        predicted_p95_ms=found.p95_ms,
        sanity=found.sanity.text if found.sanity else None,
        sanity_mean_ms=found.sanity.mean.ms if found.sanity else None,
        sanity_p95_ms=found.sanity.p95.ms if found.sanity and found.sanity.p95 else None,
        not_modelled=tuple(f"{omission.component}: {omission.reason}" for omission in found.not_modelled),
    )
