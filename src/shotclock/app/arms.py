"""Builds the arms of a run from one tree of settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from shotclock.app.arms_on_hosts import open_hosts
from shotclock.app.check_names import refuse_unknown_workload, workloads
from shotclock.app.circuit_workloads import CircuitArms, takes_connection
from shotclock.app.host import Host, VirtualHost
from shotclock.app.ledger_factory import LedgerFactory
from shotclock.app.placed import PlacedDispatcher, find_needs
from shotclock.app.quantum_path import (
    FEWEST_FITTED_SHOTS,
    PathPolicy,
    assemble,
    build_provider,
    device_of,
)
from shotclock.app.sizes import find_native_pairs, make_sample
from shotclock.app.spending import read_rules
from shotclock.app.watched_calls import HostWatch, name_call
from shotclock.bench.judge.metrics import Prices
from shotclock.bench.judge.summarise import ArmFacts
from shotclock.bench.record.arm_runs import BASELINE, HOSTS, HYBRID, Arm
from shotclock.bench.record.drive import ArmLane
from shotclock.bench.schema import Component, ProfileSummary
from shotclock.domain import plugin
from shotclock.domain.accounting import NO_CHARGES, Charges
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.errors import ProviderError, SettingsError
from shotclock.domain.memory import MemoryLimit
from shotclock.domain.ports import Charged, Dispatcher, Kernel, Provider, Trainer, Workload
from shotclock.domain.recorders import Recorder
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import profile as profiles
from shotclock.emulator.profile import Profile
from shotclock.emulator.provider import EmulatedProvider
from shotclock.orchestrator.answers import Fallback
from shotclock.orchestrator.control import ClassicalDispatcher
from shotclock.orchestrator.forecast import Forecast
from shotclock.settings import QuantumSettings, Settings
from shotclock.solvers.control_ladder import answer_with
from shotclock.solvers.fallback import Classical, warm_solvers
from shotclock.solvers.greedy import Greedy
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.training.aggregator import Aggregator
from shotclock.training.checked import rehearse
from shotclock.training.kernels.sparsified import Sparsified
from shotclock.training.scheduler import CallPolicy, PlainTrainer, Scheduler
from shotclock.wire.tls import ClientTls, Insecure

Pair = tuple[int, int]
WORKLOAD = "bench.workload"
MOST_TIMED = 20
"""Variables up to which computing emulated samples fits into the time of the job that they emulate."""


@dataclass(frozen=True, slots=True)
class RunningArm:
    """An arm ready to train.

    lane: for the driver.
    facts: for the summary.
    profile: the emulated provider's profile; None for any other.
    predicted_p95_s: the predicted p95 of a call, seconds.
    stop: ends the arm and returns what its jobs and sessions cost in addition to the rows.
    placed: places the calls of an arm that asks several hosts.
    """

    lane: ArmLane
    facts: ArmFacts
    profile: ProfileSummary | None
    predicted_p95_s: float
    stop: Callable[[], Charges]
    placed: PlacedDispatcher | None = None


def workload_factory(name: str) -> Callable[[int], Workload]:
    """The factory of a workload by entry point or "module:factory"; raises SettingsError if unknown."""
    if ":" not in name:
        refuse_unknown_workload(name)
        factory: Callable[[int], Workload] = workloads()[name].load()
        return factory
    user_factory = plugin.load(WORKLOAD, name)

    def make_workload(seed: int) -> Workload:
        workload: Any = plugin.call_plugin(WORKLOAD, name, lambda: user_factory(seed))
        plugin.check(WORKLOAD, name, workload, Workload)
        return workload  # type: ignore[no-any-return]

    return make_workload


def match_arms(settings: Settings, *, named: bool) -> Settings:
    """Without the arms that a workload of circuits cannot have; SettingsError where arms were named."""
    if not takes_connection(settings.bench.workload):
        return settings
    arms = tuple(arm for arm in settings.bench.arms if arm == BASELINE or arm.startswith(HYBRID))
    if named and settings.bench.arms != arms:
        unfit = next(arm for arm in settings.bench.arms if arm not in arms)
        raise SettingsError(
            f"bench.arms: '{unfit}' answers subproblems, and {settings.bench.workload} calls circuits; "
            f"use {BASELINE} and {HYBRID}…"
        )
    return settings.model_copy(update={"bench": settings.bench.model_copy(update={"arms": arms})})


def match_kernel(settings: Settings) -> Settings:
    """The settings with what the workload's `kernel_…` and `request_budget_ms` ask, if unset."""
    if takes_connection(settings.bench.workload):
        return settings
    workload = workload_factory(settings.bench.workload)(0)
    kernel_fields = {
        field: value
        for field, kind in (("name", str), ("n", int), ("every", int), ("sparse", bool))
        if field not in settings.kernel.model_fields_set
        and isinstance(value := getattr(workload, f"kernel_{field}", None), kind)
    }
    matched = {"kernel": settings.kernel.model_copy(update=kernel_fields), "quantum": settings.quantum}
    budget_ms = find_request_budget_ms(workload)
    if budget_ms is not None:
        # An answer that comes after its request was served is of no use, so requests wait for theirs.
        requirements = {"budget_ms": budget_ms, "mode": "inline"}
        own = settings.quantum.model_fields_set
        unset = {name: value for name, value in requirements.items() if name not in own}
        matched["quantum"] = settings.quantum.model_copy(update=unset)
    return settings.model_copy(update=matched)


def find_request_budget_ms(workload: Workload) -> float | None:
    """How long a request of an inference workload may wait; None of a workload that trains."""
    budget_ms = getattr(workload, "request_budget_ms", None)
    return float(budget_ms) if isinstance(budget_ms, int | float) else None


def is_untimed(settings: Settings) -> bool:
    """Whether emulated samples of this size stand outside the timed path: on the virtual clock."""
    return settings.kernel.n > MOST_TIMED


class Builder:
    """Builds arms on one host from one tree of settings.

    slow_every: under --quick, the cadence of arms that wait for a real QPU slower than the budget; such arms
        with an emulated one run on the virtual clock, with all their calls. None is the kernel's cadence.
    watch: what is read around calls.
    security: of connections to `bench.hosts`.
    memory: bounds the calls in flight.
    budget: under which the ledger counts the money of each paid arm; "" for new ones.
    """

    def __init__(
        self,
        settings: Settings,
        host: Host,
        metrics: Metrics,
        slow_every: int | None,
        watch: HostWatch,
        security: ClientTls | Insecure,
        memory: MemoryLimit,
        budget: str = "",
    ) -> None:
        self._budget = budget
        self._memory = memory
        self._watch = watch
        self._security = security
        self._settings = settings
        self._host = host
        self._metrics = metrics
        self._slow_every = slow_every
        self._virtual_host: VirtualHost | None = None
        self._solver = Classical()
        self._ledgers = LedgerFactory(settings.serve.ledger_file, lease_s=settings.serve.lease_s)
        self._couplings: dict[str, tuple[Pair, ...]] = {}
        self._circuits: CircuitArms | None = None
        self.request_budget_ms: float | None = None
        if takes_connection(settings.bench.workload):
            recorder = PrometheusRecorder(metrics, "local")
            self._circuits = CircuitArms(settings.bench.workload, settings.bench.warmup_steps, host, recorder)
            self.samples_per_step = self._circuits.samples_per_step
            return
        self._workload = workload_factory(settings.bench.workload)
        # A process's first proposal includes imports and caches of torch; no measured call must.
        first, branch = self._workload(0), settings.kernel
        kernel = plugin.call_plugin(
            WORKLOAD, settings.bench.workload, lambda: first.kernel(branch.name, branch.n)
        )
        plugin.check(WORKLOAD, settings.bench.workload, kernel, Kernel)
        sparsified = self._sparsify(kernel, settings.quantum.device)
        budget_ns = round(settings.quantum.budget_ms * NS_PER_MS)
        rehearse(first, sparsified, branch.name, branch.n, budget_ns)
        self.samples_per_step = first.samples_per_step
        self.request_budget_ms = find_request_budget_ms(first)

    def close(self) -> None:
        """Closes the ledger of paid jobs and the virtual clock; to be called after every arm has stopped."""
        self._ledgers.close()
        if self._virtual_host is not None:
            self._virtual_host.close()

    def arm(self, arm: Arm) -> RunningArm:
        """Builds and starts the arm: templates compiled, lanes open."""
        if not arm.calls:
            facts = self._facts(arm, None, None, None, None, self._host)
            lane = ArmLane(arm.name, self._plain, arm.as_long_as)
            return RunningArm(lane, facts, None, 0.0, _stop_nothing)
        recorder = PrometheusRecorder(self._metrics, arm.name, arm=arm.name)
        quantum = self._settings.quantum_for(arm.name)
        if not arm.quantum:
            return self._control(arm, quantum, recorder)
        table = self._settings.arm.get(arm.name)
        host = self._start_virtual_host() if table is not None and table.clock else self._host
        if arm.profile == HOSTS:
            return self._on_hosts(arm, quantum, recorder, host)
        return self._hybrid(arm, quantum, recorder, host)

    def _on_hosts(
        self, arm: Arm, quantum: QuantumSettings, recorder: PrometheusRecorder, host: Host
    ) -> RunningArm:
        """An arm whose orchestrators run elsewhere, with the settings that they have there."""
        bench = self._settings.bench
        if isinstance(host, VirtualHost):
            raise SettingsError(f"{arm.name}: the virtual clock cannot skip the waits of other processes")
        host.run(host.threads.run(warm_solvers))
        needs = find_needs(self._settings)
        opened = host.run(
            open_hosts(bench.hosts, self._security, bench.placement, recorder, self._sample(), needs)
        )
        policy = self._policy(arm, quantum, opened.predicted_p95_s)
        lane = self._calling(arm, opened.dispatcher, lambda: policy, quantum, recorder, host)
        facts = self._facts(arm, None, opened.provider, policy, None, host)
        facts = replace(facts, emulated=opened.emulated)

        def stop() -> Charges:
            host.run(opened.dispatcher.close())
            return NO_CHARGES

        return RunningArm(lane, facts, None, opened.predicted_p95_s, stop, opened.dispatcher)

    def _start_virtual_host(self) -> Host:
        """The host of arms on the virtual clock: the run's where that is virtual already."""
        if isinstance(self._host, VirtualHost):
            return self._host
        if self._virtual_host is None:
            self._virtual_host = VirtualHost()
        return self._virtual_host

    def _control(self, arm: Arm, quantum: QuantumSettings, recorder: Recorder) -> RunningArm:
        shots = FEWEST_FITTED_SHOTS if quantum.shots == "fit" else quantum.shots
        solver = answer_with(arm.solver, shots) if arm.solver else self._solver
        dispatcher = ClassicalDispatcher(solver, self._host.clock, recorder)
        self._host.run(self._host.threads.run(warm_solvers))
        self._host.run(dispatcher.solve(self._sample()))
        policy = CallPolicy(self._every(arm, 0.0), "inline", round(quantum.budget_ms * NS_PER_MS))
        lane = self._calling(arm, dispatcher, lambda: policy, quantum, recorder, self._host)
        facts = self._facts(arm, None, solver.name, policy, None, self._host)
        return RunningArm(lane, facts, None, 0.0, _stop_nothing)

    def _hybrid(self, arm: Arm, quantum: QuantumSettings, recorder: Recorder, host: Host) -> RunningArm:
        settings = self._settings
        profile = self._profile(arm, quantum)
        provider = build_provider(host, settings, quantum, profile)
        is_emulated = isinstance(provider, EmulatedProvider)
        if isinstance(host, VirtualHost) and host is not self._host and not is_emulated:
            raise SettingsError(
                f"arm.{arm.name}.clock: the virtual clock needs the emulated provider (got {provider.name}); "
                f"leave it out"
            )
        # A training loop has one call in flight, so there is nothing to pack.
        fallback = Fallback.RACE if arm.race else Fallback.NONE
        path_policy = PathPolicy(
            arm.protected, fallback, batch_limit=1, previews=arm.protected, caches=arm.protected
        )
        run_budget = f"{self._budget}/{arm.name}" if self._budget else ""
        journal = self._ledgers.of(provider, read_rules(settings, quantum, run_budget))
        host.run(self._ledgers.recover(provider))
        path = assemble(host, settings, quantum, provider, path_policy, recorder, journal=journal)
        orchestrator, forecast = path.orchestrator, path.forecast
        host.run(orchestrator.start(self._sample()))
        predicted_s = forecast.predict_p95_s()
        long_run = self._slow_every is not None and self._is_slow(arm, predicted_s)
        if is_emulated and not isinstance(host, VirtualHost) and (long_run or is_untimed(settings)):
            host.run(orchestrator.stop())
            return self._hybrid(arm, quantum, recorder, self._start_virtual_host())
        policy = self._policy(arm, quantum, predicted_s)

        def current_policy() -> CallPolicy:
            """The policy with the present forecast: a later seed uses what earlier seeds measured."""
            return replace(policy, predicted_p95_s=forecast.predict_p95_s())

        lane = self._calling(arm, orchestrator, current_policy, quantum, recorder, host)
        facts = self._facts(arm, profile if is_emulated else None, provider.name, policy, provider, host)
        device, calibration = device_of(provider, quantum)
        caches = path_policy.caches and settings.orchestrator.result_cache > 0
        facts = replace(facts, device=device, calibration=calibration, caches=caches)
        described = _describe_profile(provider, forecast) if isinstance(provider, EmulatedProvider) else None

        def stop() -> Charges:
            with suppress(ProviderError):  # a failed stop must not cost the rows; its charges stay unknown
                host.run(orchestrator.stop())
            return provider.charges() if isinstance(provider, Charged) else NO_CHARGES

        return RunningArm(lane, facts, described, predicted_s, stop)

    def _profile(self, arm: Arm, quantum: QuantumSettings) -> Profile:
        """The profile of the arm's table, else of its name, else of `[quantum]`."""
        table = self._settings.arm.get(arm.name)
        if table is not None and table.profile is not None:
            return profiles.load(table.profile)
        common = profiles.load(quantum.profile)
        return common if arm.profile in {None, common.name} else profiles.load(str(arm.profile))

    def _policy(self, arm: Arm, quantum: QuantumSettings, predicted_s: float) -> CallPolicy:
        """The arm's policy; a measuring arm waits up to `wait_limit_ms`, unless its table names a mode."""
        table = self._settings.arm.get(arm.name)
        mode = quantum.mode if arm.protected else ((table.mode if table else None) or "inline")
        if self._circuits is not None:
            mode = "inline"
        unlimited = not arm.protected and mode == "inline"
        return CallPolicy(
            self._every(arm, predicted_s),
            mode,
            round((quantum.wait_limit_ms if unlimited else quantum.budget_ms) * NS_PER_MS),
            wait_limit_ns=round(quantum.wait_limit_ms * NS_PER_MS),
            in_flight=1,
            predicted_p95_s=predicted_s,
        )

    def _every(self, arm: Arm, predicted_s: float) -> int:
        table = self._settings.arm.get(arm.name)
        if self._circuits is not None:
            return 1  # a workload of circuits calls as it likes
        if table is not None and table.every is not None:
            return table.every
        real = self._settings.quantum_for(arm.name).provider != "emulated"
        slow = real and self._is_slow(arm, predicted_s)
        return self._slow_every if slow and self._slow_every is not None else self._settings.kernel.every

    def _is_slow(self, arm: Arm, predicted_s: float) -> bool:
        return not arm.protected and predicted_s * 1e3 > self._settings.quantum.budget_ms

    def _calling(
        self,
        arm: Arm,
        dispatcher: Dispatcher,
        policy: Callable[[], CallPolicy],
        quantum: QuantumSettings,
        recorder: Recorder,
        host: Host,
    ) -> ArmLane:
        if (circuits := self._circuits) is not None:
            circuit_caller, budget_ns = host.circuit_caller(dispatcher), policy().budget_ns
            return ArmLane(
                arm.name,
                lambda seed: circuits.make_calling(seed, circuit_caller, host, budget_ns, self._metrics),
            )
        branch = self._settings.kernel

        def make(seed: int) -> tuple[Trainer, Callable[[], float]]:
            workload = self._warm_workload(seed)
            kernel = self._sparsify(workload.kernel(branch.name, branch.n), quantum.device)
            aggregator = Aggregator(workload, kernel, quantum.on_stale, loss_check=kernel.loss_check)
            trainer = Scheduler(
                workload,
                aggregator,
                caller=self._watch.wrap(host.caller(dispatcher), name_call(arm.name, seed, "")),
                clock=host.clock,
                policy=policy(),
                recorder=recorder,
                memory=self._memory,
            )
            return trainer, workload.evaluate

        return ArmLane(arm.name, make)

    def _sparsify(self, kernel: Kernel, device: str) -> Kernel:
        """The kernel, or under `kernel.sparse` one with terms on the device's couplings alone."""
        if not self._settings.kernel.sparse:
            return kernel
        if device not in self._couplings:
            self._couplings[device] = find_native_pairs(device, self._settings.kernel.n)
        return Sparsified(kernel, self._couplings[device], Greedy())

    def _plain(self, seed: int) -> tuple[Trainer, Callable[[], float]]:
        if self._circuits is not None:
            return self._circuits.make_plain(seed)
        workload = self._warm_workload(seed)
        return PlainTrainer(workload, self._host.clock), workload.evaluate

    def _warm_workload(self, seed: int) -> Workload:
        workload = self._workload(seed)
        for _ in range(self._settings.bench.warmup_steps):
            workload.step()
        return workload

    def _sample(self) -> Subproblem:
        """A random subproblem of the kernel's size, used to warm the path."""
        return make_sample(self._settings.kernel.n, self._settings.kernel.name)

    def _facts(
        self,
        arm: Arm,
        profile: Profile | None,
        solver_or_provider: str | None,
        policy: CallPolicy | None,
        provider: Provider | None,
        host: Host,
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
            clock="virtual" if isinstance(host, VirtualHost) else "wall",
        )


def _deadline_ns(policy: CallPolicy) -> int:
    """The deadline of calls that training waits for, or of all calls if it waits for none."""
    return policy.wait_limit_ns if policy.mode in {"overlap", "offline"} else policy.budget_ns


def _stop_nothing() -> Charges:
    """The `stop` of an arm without an orchestrator."""
    return NO_CHARGES


def _describe_profile(provider: EmulatedProvider, forecast: Forecast) -> ProfileSummary:
    described = provider.components(forecast.sample_job())
    return ProfileSummary(
        title=described.title,
        components=tuple(
            Component(
                name=figure_named.name,
                value=figure_named.figure.value,
                unit=figure_named.figure.unit,
                tag=figure_named.figure.tag,
                source=figure_named.figure.source,
            )
            for figure_named in described.components
        ),
        mean_by_component_ms={part.name: part.mean_ms for part in described.mean_by_component},
        predicted_mean_ms=described.mean_ms,
        predicted_p95_ms=described.p95_ms,
        sanity=described.sanity.text if described.sanity else None,
        sanity_mean_ms=described.sanity.mean.ms if described.sanity else None,
        sanity_p95_ms=described.sanity.p95.ms if described.sanity and described.sanity.p95 else None,
        not_modelled=tuple(f"{omission.component}: {omission.reason}" for omission in described.not_modelled),
    )
