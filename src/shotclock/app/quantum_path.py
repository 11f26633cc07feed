"""Builds a quantum path from the settings: provider, synthesizer, pipeline, orchestrator."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from shotclock.app import remote_providers as vendors
from shotclock.app.host import Host
from shotclock.app.preview import LocalPreview
from shotclock.app.sizes import check_width
from shotclock.circuits.preview import SHORT_SHOTS
from shotclock.circuits.synthesizer import QaoaSynthesizer
from shotclock.circuits.worker import bind_logical, load_compiler, load_readers
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.errors import ProviderError, SettingsError
from shotclock.domain.memory import NO_LIMIT, MemoryLimit
from shotclock.domain.outcome import Rejection
from shotclock.domain.ports import Flags, Provider
from shotclock.domain.recorders import Recorder
from shotclock.domain.trace import Tracer
from shotclock.emulator import device as devices
from shotclock.emulator.profile import Profile
from shotclock.emulator.provider import EmulatedProvider
from shotclock.emulator.statevector import load_kernels
from shotclock.emulator.user_circuits import load_simulator
from shotclock.orchestrator.admission import AdmissionPolicy, admit_all
from shotclock.orchestrator.answers import Answers, Fallback
from shotclock.orchestrator.dispatcher import Orchestrator
from shotclock.orchestrator.forecast import Forecast, ShotPolicy
from shotclock.orchestrator.health.health import Health
from shotclock.orchestrator.health.latency import FallbackTime
from shotclock.orchestrator.job_planner import BatchPolicy
from shotclock.orchestrator.ledger.job_journal import FreeJobs, JobJournal
from shotclock.orchestrator.pipeline import Pipeline, PreEvaluator, submit_always
from shotclock.orchestrator.planning import ShotLimits
from shotclock.orchestrator.quotas import CallerQuota
from shotclock.orchestrator.results import ResultCache
from shotclock.providers import registry
from shotclock.rollout.fixed import FixedFlags
from shotclock.settings import QuantumSettings, Settings
from shotclock.settings.tenants import OTHERS
from shotclock.solvers.fallback import Classical, warm_solvers
from shotclock.solvers.greedy import Greedy

FEWEST_FITTED_SHOTS = 64
"""With fewer shots, samples of 12 variables seldom contain the optimum; `shots = "fit"` rejects the call."""


FREE = FreeJobs()
ALL_CALLS = FixedFlags()


@dataclass(frozen=True, slots=True)
class PathPolicy:
    """What differs between a measuring arm, a protected one and a service.

    protected: refuse calls on arrival, and all calls while the breaker is open.
    fallback: when the classical answer runs.
    batch_limit: calls per job; 1 where the caller has one call at a time, so that nothing can be packed.
    previews: whether `preview_shots = "auto"` is on.
    caches: whether equal calls may share samples; not where each call is to show the QPU.
    """

    protected: bool
    fallback: Fallback
    batch_limit: int
    previews: bool = False
    caches: bool = True


@dataclass(frozen=True, slots=True)
class QuantumPath:
    """The parts of a path that `app` uses directly.

    provider: runs the jobs.
    synthesizer: compiles and binds the circuits.
    forecast: predicts job times.
    pipeline: takes one job from binding to samples.
    orchestrator: the dispatcher in front of them.
    """

    provider: Provider
    synthesizer: QaoaSynthesizer
    forecast: Forecast
    pipeline: Pipeline
    orchestrator: Orchestrator


def build_provider(host: Host, settings: Settings, quantum: QuantumSettings, profile: Profile) -> Provider:
    """The provider these settings name, ready for jobs. Raises SettingsError on invalid settings."""
    prepare_workers(host, quantum)
    if quantum.provider == "emulated":
        provider = _build_emulated(host, settings, quantum, profile)
    elif quantum.provider in vendors.REMOTE:
        provider = vendors.remote(host, settings, quantum, profile)
    elif quantum.provider == "aer":
        provider = _aer(host)
    else:
        provider = vendors.build_user_provider(host, quantum)
    check_width("kernel.n", settings.kernel.n, provider)
    limits = provider.limits
    if limits.paid and quantum.max_money_per_run == 0:
        raise SettingsError(
            f"quantum.provider: '{quantum.provider}' is paid and quantum.max_money_per_run is 0; "
            f"set the most a run may spend"
        )
    if quantum.shots != "fit" and quantum.shots > limits.max_shots:
        raise SettingsError(
            f"quantum.shots: must be at most the device's {limits.max_shots} (got {quantum.shots})"
        )
    return provider


def prepare_workers(host: Host, quantum: QuantumSettings) -> None:
    """What workers find in memory, so that one that is killed is replaced in milliseconds."""
    workers = host.workers
    for pool in (workers.templates, workers.circuits):
        pool.prepare(load_compiler, quantum.device, devices.target)
    workers.circuits.prepare(load_readers)
    workers.circuit_samples.prepare(load_simulator)
    if quantum.provider == "emulated":
        workers.samples.prepare(load_kernels)


def device_of(provider: Provider, quantum: QuantumSettings) -> tuple[str, str]:
    """The device's name and its current calibration, "" if not reported; makes a few requests to a vendor."""
    if isinstance(provider, EmulatedProvider):
        return provider.device.name, provider.device.calibration_id
    if quantum.provider not in vendors.REMOTE:
        return "", ""
    from shotclock.providers.device_facts import identify  # noqa: PLC0415 - imports Qiskit

    try:
        device = identify(provider)
    except ProviderError:
        return quantum.backend, ""
    return device.backend, device.calibration


def assemble(
    host: Host,
    settings: Settings,
    quantum: QuantumSettings,
    provider: Provider,
    policy: PathPolicy,
    recorder: Recorder,
    *,
    journal: JobJournal = FREE,
    flags: Flags = ALL_CALLS,
    tracer: Tracer | None = None,
    memory: MemoryLimit = NO_LIMIT,
    refuse_by_host: Callable[[], Rejection | None] = admit_all,
) -> QuantumPath:
    """The path on this host, not yet started; its solvers are compiled already, as no call has time for that.

    journal: the journal of a paid provider's jobs.
    flags: decide at each call's arrival whether it may use the QPU.
    tracer: makes the spans of calls and jobs; None without traces.
    memory: bounds the calls in progress.
    refuse_by_host: refuses every call while the host's health requires that.
    """
    bounds, limits = settings.orchestrator, provider.limits
    if limits.paid and isinstance(journal, FreeJobs):
        raise SettingsError(f"quantum.provider: '{quantum.provider}' is paid and needs a ledger")
    host.run(host.threads.run(warm_solvers))
    facts = host.run(host.workers.templates.run(devices.describe, quantum.device))
    rng = random.Random() if limits.paid else random.Random(0)  # tags of paid jobs are unique for ever
    synthesizer = QaoaSynthesizer(
        quantum.device,
        target_source=devices.target,
        offload=host.workers.templates,
        circuit_offload=host.workers.circuits,
        incumbent=Greedy(),
        cache_size=max(settings.circuits.memory_templates, 4 * policy.batch_limit),
        store=settings.circuits.store_folder,
        most_lines=policy.batch_limit,
        limits=settings.circuits.limits.for_device(facts.name, facts.n_qubits),
        side_by_side=settings.circuits.side_by_side,
        recorder=recorder,
    )
    host.workers.report_restarts(recorder.record_worker_restart)
    health = Health(provider, host.clock, rng, recorder)
    forecast = Forecast(
        synthesizer,
        provider,
        clock=host.clock,
        policy=ShotPolicy(
            _limit_shots(quantum, provider),
            quantum.rep_delay_s,
            bounds.attempts,
            quantum.shorter_rep_delays_s,
        ),
        slowness=health.slowness,
    )
    pipeline = Pipeline(
        forecast,
        health,
        clock=host.clock,
        journal=journal,
        recorder=recorder,
        rng=rng,
        pre_evaluator=_pre_evaluator(host, quantum, policy),
        tracer=tracer,
    )
    answers = Answers(
        synthesizer=synthesizer,
        solver=Classical(),
        offload=host.threads,
        clock=host.clock,
        policy=policy.fallback,
        provider=provider.name,
        limits=limits,
        rng=rng,
        time=FallbackTime(),
    )
    orchestrator = Orchestrator(
        pipeline,
        forecast,
        health,
        answers,
        clock=host.clock,
        policy=AdmissionPolicy(
            bounds.queue_limit,
            policy.protected,
            overload_wait_ns=round(bounds.overload_wait_ms * NS_PER_MS),
            seed_policy="shared" if policy.caches and bounds.result_cache else "fresh",
            quota=_caller_quota(settings),
            data=vendors.data_policy(settings, quantum, provider.name),
            memory=memory,
            refuse_by_host=refuse_by_host,
        ),
        flags=flags,
        recorder=recorder,
        batch=BatchPolicy(policy.batch_limit, round(bounds.batch_age_ms * NS_PER_MS), policy.protected),
        results=ResultCache(bounds.result_cache),
        tracer=tracer,
    )
    return QuantumPath(provider, synthesizer, forecast, pipeline, orchestrator)


def _caller_quota(settings: Settings) -> CallerQuota:
    bounds, tenants = settings.orchestrator, settings.tenants
    others = tenants.get(OTHERS)
    return CallerQuota(
        bounds.caller_calls if others is None or others.calls is None else others.calls,
        bounds.caller_bytes,
        settings.workers.circuit_workers,
        {name: tenant.share for name, tenant in tenants.items()},
        {name: tenant.calls for name, tenant in tenants.items() if tenant.calls is not None},
    )


def _pre_evaluator(host: Host, quantum: QuantumSettings, policy: PathPolicy) -> PreEvaluator:
    shots = quantum.preview_shots
    if shots == "auto":
        shots = SHORT_SHOTS if policy.previews else 0
    if not shots:
        return submit_always
    host.workers.samples.prepare(load_kernels)
    host.run(host.workers.samples.run(load_kernels))  # starts the worker, which no call has time for
    return LocalPreview(host.workers.samples, Greedy(), shots, quantum.preview_calibration)


def _build_emulated(host: Host, settings: Settings, quantum: QuantumSettings, profile: Profile) -> Provider:
    workers = host.workers
    facts = host.run(workers.templates.run(devices.describe, quantum.device))
    for delay in (quantum.rep_delay_s, *quantum.shorter_rep_delays_s):
        devices.check_rep_delay(facts, delay)
    provider = EmulatedProvider(
        facts, profile, workers.emulation, host.clock, seed=0, circuit_offload=workers.circuit_samples
    )
    host.run(provider.warm(settings.kernel.n))
    return provider


def _aer(host: Host) -> Provider:
    factory = registry.load("aer")
    workers = host.workers
    return factory(
        circuit_builder=bind_logical,
        offload=workers.samples,
        circuit_offload=workers.circuit_samples,
        clock=host.clock,
        seed=0,
    )


def _limit_shots(quantum: QuantumSettings, provider: Provider) -> ShotLimits:
    """A fixed number of shots, or as many as fit a call's budget, up to the device's limit."""
    if quantum.shots == "fit":
        return ShotLimits(FEWEST_FITTED_SHOTS, provider.limits.max_shots)
    return ShotLimits(quantum.shots, quantum.shots)
