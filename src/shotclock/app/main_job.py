"""The main job: arms side by side, from settings to a run folder."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import tomli_w
import torch

from shotclock import __version__
from shotclock.app.arms import Builder, RunningArm, match_arms, match_kernel
from shotclock.app.arms_on_hosts import describe_placement
from shotclock.app.check_names import list_profiles, parse_arm
from shotclock.app.circuit_workloads import takes_connection
from shotclock.app.host import Host, VirtualHost, WallHost
from shotclock.app.host_health import check_host
from shotclock.app.memory_watch import MemoryWatch
from shotclock.app.representative import measure_iteration
from shotclock.app.site import Site
from shotclock.app.watched_calls import HostWatch, name_call
from shotclock.bench.columns import mark_origin
from shotclock.bench.judge.gates import Threshold, resolve
from shotclock.bench.judge.summarise import ArmFacts, RunFacts, summarise
from shotclock.bench.record.arm_runs import HOSTS, Arm
from shotclock.bench.record.drive import DrivePlan, Log, Surroundings, drive
from shotclock.bench.record.folder import RunFolder, environment
from shotclock.bench.record.hdr import write_hdr
from shotclock.bench.record.rows import table
from shotclock.bench.record.samples import MOST_SAMPLES, SAMPLES, write_samples
from shotclock.bench.record.trace import write_trace
from shotclock.bench.replication import Replication
from shotclock.bench.report.run.page import write_report
from shotclock.bench.schema import CIRCUITS, Summary
from shotclock.domain.accounting import Charges
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.emulator import profile as profiles
from shotclock.settings import DEFAULT_ARMS, QUICK_LEAVES_OUT, ArmSettings, Settings, nearest
from shotclock.solvers.control_ladder import controls, warm_controls
from shotclock.telemetry.metrics import Metrics
from shotclock.wire.tls import ClientTls, Insecure

WITHOUT_TLS = Insecure()
QUICK_SLOW_CALLS = 5
"""Calls of `--quick` for an arm that waits for a slow real QPU: enough for a FAIL, not for a percentile."""

PRIVATE = ("credentials_file", "instance")
"""Settings of `[quantum]` that name an account: run folders are shared, and it was not measured."""

ITERATION_GUESS_S = 0.004
"""For the estimate of a run's duration: an iteration without a call, with its share of a proposal."""


@dataclass(frozen=True, slots=True)
class MainJob:
    """What `shotclock bench` was asked for, besides its settings.

    folder: the run folder.
    quick: fewer steps and arms.
    clock: wall or virtual time.
    metrics_port: the port of Prometheus metrics; None does not expose them.
    surroundings: facts of the environment in addition to those that every run records.
    beside: additional files of the run folder, name to text.
    security: of connections to `bench.hosts`.
    budget: see `Builder`.
    """

    folder: Path
    quick: bool
    clock: Literal["wall", "virtual"]
    metrics_port: int | None
    surroundings: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    security: ClientTls | Insecure = WITHOUT_TLS
    budget: str = ""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Progress hooks: `phase(text)`, `plan(steps by arm, estimate)`, `advance(arm, steps)`."""

    phase: Callable[[str], None]
    plan: Callable[[dict[str, int], float], None]
    advance: Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known of a run before anything starts.

    settings: with what the workload asks for.
    arms: these are compared.
    thresholds: of the user.
    """

    settings: Settings
    arms: tuple[Arm, ...]
    thresholds: tuple[Threshold, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """What the arms did: facts of the run without its rows, and the rows."""

    facts: RunFacts
    log: Log


def run(settings: Settings, job: MainJob, progress: JobProgress) -> tuple[Summary, RunFolder]:
    """Runs the arms, writes the run folder, returns the summary. Ctrl-C keeps what has run, and marks it."""
    prepared = prepare(settings, job)
    folder = RunFolder.create(job.folder)

    def begin(cadenced: Settings) -> None:
        write_setup(folder, cadenced, job)

    try:
        measured = measure(prepared, job, progress, begin, range(prepared.settings.bench.seeds))
    finally:
        folder.discard_if_empty()
    return write_run(folder, measured, progress, samples=prepared.settings.bench.samples), folder


def prepare(settings: Settings, job: MainJob) -> Prepared:
    """Checks names and thresholds; raises SettingsError."""
    named = settings.bench.arms != DEFAULT_ARMS
    settings = match_arms(_without_slowest(settings) if job.quick else settings, named=named)
    arms = parse_arms(settings)
    settings = match_kernel(settings)
    return Prepared(settings, tuple(arms), parse_thresholds(settings, arms))


def write_setup(folder: RunFolder, settings: Settings, job: MainJob) -> None:
    """The files of the run folder that are known before the first step."""
    folder.write_settings(lock(settings))
    folder.write_machine(surroundings(job))
    folder.write_beside(job.beside)


def measure(
    prepared: Prepared,
    job: MainJob,
    progress: JobProgress,
    begin: Callable[[Settings], None],
    seeds: range,
) -> Measured:
    """Runs these seeds of the arms in this process.

    begin: is called with the settings in force when all arms are ready, before the first step.
    """
    settings = prepared.settings
    warnings = _warn_of_host(settings, progress)
    torch.set_num_threads(
        1
    )  # leaves the other core to the emulated QPU; a small model gains nothing from two
    metrics = Metrics(settings.deadlines_s)
    with ExitStack() as cleanup:
        if job.metrics_port is not None:
            cleanup.enter_context(metrics.expose(job.metrics_port))
        host: Host = VirtualHost() if job.clock == "virtual" else WallHost()
        cleanup.callback(host.close)
        progress.phase("starting the QPU and compiling templates")
        watch, memory = _open_watches(settings, cleanup)
        slow_every = _slow_every(settings, job)
        builder = Builder(settings, host, metrics, slow_every, watch, job.security, memory.limit, job.budget)
        cleanup.callback(builder.close)
        running: list[RunningArm] = []
        charges: dict[str, Charges] = {}
        for arm in prepared.arms:
            running.append(builder.arm(arm))
            cleanup.callback(_stop, running[-1], charges)
        warm_controls()
        progress.phase("timing a classical iteration of a medium model")
        iteration = measure_iteration(host.clock)
        settings = set_cadences(settings, job.clock, tuple(arm.facts for arm in running))
        begin(settings)
        steps = len(seeds) * settings.bench.steps
        progress.plan({arm.name: steps for arm in prepared.arms}, _estimate_s(settings, running, len(seeds)))
        began, started_at = host.clock.now_ns(), datetime.now(UTC)
        began_s = time.monotonic()
        lanes = [arm.lane for arm in running]
        log = drive(lanes, _plan(settings, seeds), progress.advance, controls, _describe_surroundings(watch))
        duration_s = (host.clock.now_ns() - began) / NS_PER_S
        wall_s = time.monotonic() - began_s
    running = [_add_charges(arm, charges, log) for arm in running]
    samples_per_step, thresholds = builder.samples_per_step, prepared.thresholds
    facts = _facts(settings, job, running, thresholds, log, samples_per_step, started_at, duration_s)
    facts = replace(facts, representative_iteration=iteration)
    facts = replace(facts, wall_s=wall_s, request_budget_ms=builder.request_budget_ms)
    facts = replace(
        facts,
        accelerators=watch.accelerators,
        accelerators_because=watch.because,
        host_warnings=warnings,
        blocking_point=memory.point,
    )
    return Measured(facts, log)


def write_run(
    folder: RunFolder,
    measured: Measured,
    progress: JobProgress,
    *,
    samples: bool,
    replication: Replication | None = None,
) -> Summary:
    """Judges the rows and writes all other files. Raises MachineError where they cannot be written."""
    progress.phase("writing the run folder and its report")
    try:
        facts = replace(measured.facts, replication=replication)
        return _write(folder, facts, measured.log, progress, samples=samples)
    except OSError as error:
        reason = error.strerror or str(error)
        raise MachineError(f"{folder.path}: cannot write the run folder: {reason}") from error


def _warn_of_host(settings: Settings, progress: JobProgress) -> tuple[str, ...]:
    """Warnings of the host's health; raises MachineError where the settings refuse one."""
    warnings = check_host(settings, Path(settings.placement.root))
    for warning in warnings:
        progress.phase(f"warning: {warning}")
    return warnings


def _open_watches(settings: Settings, cleanup: ExitStack) -> tuple[HostWatch, MemoryWatch]:
    """What is read around calls, and of free memory."""
    watch = HostWatch.open(Path(settings.placement.root))
    cleanup.callback(watch.close)
    memory = MemoryWatch(settings)
    cleanup.callback(memory.close)
    memory.start()
    return watch, memory


def _describe_surroundings(watch: HostWatch) -> Surroundings:
    """For the driver."""
    return Surroundings(len(watch.accelerators), lambda *call: watch.take(name_call(*call)))


def _stop(arm: RunningArm, charges: dict[str, Charges]) -> None:
    charges[arm.facts.arm.name] = arm.stop()


def _add_charges(arm: RunningArm, charges: Mapping[str, Charges], log: Log) -> RunningArm:
    """The arm with its charges, skipped and compared calls, which are known only when it has stopped."""
    name = arm.facts.arm.name
    compared = tuple(call for call in log.compared if call.arm == name)
    skipped = log.skipped.get(name, {})
    facts = replace(arm.facts, charges=charges[name], skipped=skipped, compared=compared)
    placement = None if arm.placed is None else describe_placement(arm.placed)
    return replace(arm, facts=replace(facts, placement=placement))


def surroundings(job: MainJob) -> dict[str, str]:
    """The environment that results depend on: machine, packages, accelerators, and the job's additions."""
    return {**environment(), **Site().facts(), **job.surroundings}


def parse_arms(settings: Settings) -> list[Arm]:
    """The run's arms; raises SettingsError on an unknown or repeated name, profile or `[arm.NAME]` table."""
    profile_names = list_profiles(settings)
    arms: list[Arm] = []
    for name in settings.bench.arms:
        arm = parse_arm(name, profile_names)
        if arm in arms:
            raise SettingsError(f"bench.arms: '{name}' is named twice")
        arms.append(arm)
    _refuse_unpaced(arms)
    _refuse_unused_hosts(settings, arms)
    for name, overrides in settings.arm.items():
        if name not in settings.bench.arms:
            raise SettingsError(f"arm.{name}: no such arm in this run{nearest(name, settings.bench.arms)}")
        if overrides.profile is not None:
            profiles.load(overrides.profile)
    return arms


def _refuse_unused_hosts(settings: Settings, arms: list[Arm]) -> None:
    if settings.bench.hosts and not any(arm.profile == HOSTS for arm in arms):
        raise SettingsError(
            "bench.hosts: no arm of this run calls them; add hybrid-hosts or hybrid-hosts-protected"
        )


def _refuse_unpaced(arms: list[Arm]) -> None:
    names = [arm.name for arm in arms]
    for arm in arms:
        if arm.as_long_as is not None and arm.as_long_as not in names:
            raise SettingsError(
                f"bench.arms: '{arm.name}' trains for as long as '{arm.as_long_as}', "
                f"which is not in this run; add it"
            )


def parse_thresholds(settings: Settings, arms: list[Arm]) -> tuple[Threshold, ...]:
    """The user's thresholds; raises SettingsError on a metric that no arm of the run has."""
    thresholds = []
    for entry in settings.threshold:
        limit, direction = (entry.max, "max") if entry.max is not None else (entry.min, "min")
        if limit is None:
            raise RuntimeError("settings accepted a threshold without a limit")
        threshold = Threshold(entry.metric, limit, "max" if direction == "max" else "min")
        resolve(threshold, arms)
        thresholds.append(threshold)
    return tuple(thresholds)


def lock(settings: Settings) -> str:
    """The settings in force as TOML, from which they load again, without the `PRIVATE` ones."""
    values: dict[str, Any] = settings.model_dump(mode="json", exclude_none=True, by_alias=True)
    values["quantum"] = {key: value for key, value in values["quantum"].items() if key not in PRIVATE}
    return tomli_w.dumps({key: value for key, value in values.items() if value not in ({}, [])})


def _without_slowest(settings: Settings) -> Settings:
    if settings.bench.arms != DEFAULT_ARMS:
        return settings
    arms = tuple(arm for arm in DEFAULT_ARMS if arm != QUICK_LEAVES_OUT)
    return settings.model_copy(update={"bench": settings.bench.model_copy(update={"arms": arms})})


def _slow_every(settings: Settings, job: MainJob) -> int | None:
    """The cadence of `--quick` for a real QPU slower than the budget; None under the virtual clock."""
    return quick_cadence(settings) if job.quick and job.clock == "wall" else None


def quick_cadence(settings: Settings) -> int:
    """Steps between two calls of a slow arm under `--quick`."""
    calls_a_seed = -(-QUICK_SLOW_CALLS // settings.bench.seeds)
    return max(settings.kernel.every, settings.bench.steps // calls_a_seed)


def set_cadences(
    settings: Settings, clock: Literal["wall", "virtual"], arms: tuple[ArmFacts, ...]
) -> Settings:
    """The settings with each arm's cadence and clock in its table: the lock file reproduces the run."""
    tables = dict(settings.arm)
    for facts in arms:
        every, name = facts.call_every, facts.arm.name
        if every is not None and every != settings.kernel.every:
            tables[name] = tables.get(name, ArmSettings()).model_copy(update={"every": every})
        if clock == "wall" and facts.clock == "virtual":
            tables[name] = tables.get(name, ArmSettings()).model_copy(update={"clock": "virtual"})
    return settings.model_copy(update={"arm": tables})


def _plan(settings: Settings, seeds: range) -> DrivePlan:
    bench = settings.bench
    interleaved = bench.order == "interleaved"
    return DrivePlan(
        len(seeds), bench.steps, settings.kernel.every, interleaved, bench.samples, first_seed=seeds.start
    )


def _estimate_s(settings: Settings, running: list[RunningArm], seeds: int) -> float:
    bench = settings.bench
    steps = seeds * (bench.steps + bench.warmup_steps)
    seconds = len(running) * steps * ITERATION_GUESS_S
    for arm in running:
        every = arm.facts.call_every
        calls = seeds * -(-bench.steps // every) if every is not None else 0
        limit_ms, mode = arm.facts.deadline_ms or 0.0, arm.facts.mode
        waits = mode == "inline" or (mode == "auto" and arm.predicted_p95_s * 1e3 <= limit_ms)
        seconds += (
            calls * min(arm.predicted_p95_s, limit_ms / 1e3) if waits and arm.facts.clock == "wall" else 0.0
        )
    return seconds


def _facts(
    settings: Settings,
    job: MainJob,
    running: list[RunningArm],
    thresholds: tuple[Threshold, ...],
    log: Log,
    samples_per_step: int,
    started_at: datetime,
    duration_s: float,
) -> RunFacts:
    described = {arm.facts.profile: arm.profile for arm in running}
    return RunFacts(
        run_id=f"{started_at:%Y%m%d}-{random.SystemRandom().getrandbits(32):08x}",
        shotclock=__version__,
        clock=job.clock,
        quick=job.quick,
        workload=settings.bench.workload,
        samples_per_step=samples_per_step,
        kernel=CIRCUITS if takes_connection(settings.bench.workload) else settings.kernel.name,
        n=settings.kernel.n,
        shots=settings.quantum.shots,
        started_at=started_at.isoformat(timespec="seconds"),
        duration_s=duration_s,
        interrupted=log.interrupted,
        failure=log.failure,
        environment=surroundings(job),
        arms=tuple(arm.facts for arm in running),
        profiles={name: profile for name, profile in described.items() if name and profile},
        thresholds=thresholds,
    )


def _write(folder: RunFolder, facts: RunFacts, log: Log, progress: JobProgress, *, samples: bool) -> Summary:
    emulated = tuple(arm.arm.name for arm in facts.arms if arm.emulated)
    origin = mark_origin(facts.run_id, emulated=bool(emulated), arms=emulated)
    folder.write_steps(log.steps, origin)
    if samples:
        about = {arm.arm.name: (arm.device, arm.profile or "") for arm in facts.arms}
        if left_out := write_samples(log.samples, about, folder.path / SAMPLES, origin):
            progress.phase(f"{SAMPLES}: {left_out:,} calls left out, beyond {MOST_SAMPLES:,} rows")
    summary = summarise(log.steps, facts)
    folder.write_summary(summary)
    write_hdr(log.steps, folder.path / "latency.hlog")
    write_trace(log.steps, folder.path / "trace.pftrace")
    write_report(summary, table(log.steps), folder.path)
    return summary
