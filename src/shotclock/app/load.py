"""A load test from settings to load.json: starts target and generator, runs the plans or the sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, Protocol

from shotclock import __version__
from shotclock.app.check_user_circuit import check
from shotclock.app.host import VirtualHost
from shotclock.app.load_generator import FinishedRun, LoadTarget, ProcessGenerator, make_first_calls
from shotclock.app.measured_circuit import measure
from shotclock.app.placed import PlacementName, find_needs
from shotclock.app.quantum_path import PathPolicy, assemble, build_provider
from shotclock.app.service import Service
from shotclock.app.sizes import find_couplings
from shotclock.bench.load.arrivals import ArrivalPlan, instances
from shotclock.bench.load.circuit import CircuitFile
from shotclock.bench.load.generate import LoadGenerator, Request
from shotclock.bench.load.judge import judge
from shotclock.bench.load.knee import RatePoint, Search, Try
from shotclock.bench.load.records import Basis, CallRecord
from shotclock.bench.load.schema import Knee, LoadRun, LoadSummary
from shotclock.bench.load.summarise import LoadFacts, QpuPrice, summarise
from shotclock.bench.record.folder import environment
from shotclock.domain.circuit_batch import CircuitBatch
from shotclock.domain.errors import CircuitError
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import profile as profiles
from shotclock.orchestrator.answers import Fallback
from shotclock.settings import Settings
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.wire.tls import ClientTls, Insecure

DEDICATED = "a dedicated orchestrator, over loopback gRPC"
DEDICATED_VIRTUAL = "a dedicated orchestrator, in process"


@dataclass(frozen=True, slots=True)
class RemoteTarget:
    """Running orchestrators.

    targets: HOST:PORT of each; calls to several are placed.
    security: of the connections.
    placement: how the host of a call is chosen among several.
    """

    targets: tuple[str, ...]
    security: ClientTls | Insecure
    placement: PlacementName = "rtt"

    def __str__(self) -> str:
        if len(self.targets) == 1:
            return self.targets[0]
        return f"{len(self.targets)} hosts, placement {self.placement}: {', '.join(self.targets)}"


@dataclass(frozen=True, slots=True)
class LoadJob:
    """What `shotclock load` was asked for.

    plan: arrivals of the first run.
    basis: how runs are judged.
    runs: independent runs, each with a separate seed; with `sweep`, those that must confirm the knee.
    sweep: search for the knee instead of running the plan.
    clock: wall or virtual time.
    target: the orchestrator to load; None starts a dedicated one from the settings.
    circuit: the user circuit of every call; None: subproblems.
    """

    plan: ArrivalPlan
    basis: Basis
    runs: int
    sweep: bool
    clock: Literal["wall", "virtual"]
    target: RemoteTarget | None
    circuit: CircuitFile | None = None


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """Progress hooks: `phase(text)`, and `ran(plan, run)` after each run."""

    phase: Callable[[str], None]
    ran: Callable[[ArrivalPlan, LoadRun], None]


class _Generator(Protocol):
    def ready(self) -> LoadTarget: ...
    def run(self, plan: ArrivalPlan, number: int) -> FinishedRun: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _Runs:
    """The runs so far, in order, and their calls.

    judged: each run's figures.
    calls: the calls of all runs.
    interrupted: whether Ctrl-C ended the test.
    knee: what a sweep found; None until then, and without a sweep.
    """

    judged: list[LoadRun]
    calls: list[CallRecord]
    interrupted: bool = False
    knee: Knee | None = None


def run(settings: Settings, job: LoadJob, progress: LoadProgress) -> tuple[LoadSummary, list[CallRecord]]:
    """Generates load, judges the runs, and returns the summary and every call. Ctrl-C keeps what has run.

    Raises MachineError if the target does not answer, SettingsError if settings or circuit are invalid.
    """
    started_at = datetime.now(UTC)
    requests = _make_requests(settings, job)
    with ExitStack() as cleanup:
        progress.phase("starting the target and the load generator")
        generator, target = _start(settings, job, requests, cleanup)
        loaded = _wait_ready(generator, job)
        progress.phase(f"loading {target}")
        runs = _Runs([], [])
        take = _taker(generator, job, runs, progress)
        try:
            _take_all(job, take, runs)
        except KeyboardInterrupt:
            if not runs.judged:
                raise
            runs.interrupted = True  # Ctrl-C arrived between two runs
    facts = LoadFacts(
        shotclock=__version__,
        started_at=started_at.isoformat(),
        run_id=f"load-{started_at:%Y%m%d-%H%M%S}",
        interrupted=runs.interrupted,
        target=target,
        provider=loaded.provider,
        emulated=loaded.emulated,
        clock=job.clock,
        environment=environment(),
        basis=job.basis,
        knee=runs.knee,
        circuit=None if job.circuit is None else job.circuit.to_record(_count_bases(requests)),
        price=QpuPrice(settings.cost.currency, settings.cost.qpu_second),
    )
    return summarise(runs.judged, runs.calls, replace(job.plan, n=loaded.n), facts), runs.calls


def _wait_ready(generator: _Generator, job: LoadJob) -> LoadTarget:
    try:
        return generator.ready()
    except CircuitError as error:
        raise error if job.circuit is None else job.circuit.explain_refusal(error) from error


def _taker(
    generator: _Generator, job: LoadJob, runs: _Runs, progress: LoadProgress
) -> Callable[[ArrivalPlan], LoadRun]:
    def take(plan: ArrivalPlan) -> LoadRun:
        finished = generator.run(plan, len(runs.judged))
        judged = judge(finished.calls, plan, job.basis)
        runs.judged.append(judged)
        runs.calls.extend(finished.calls)
        runs.interrupted = runs.interrupted or finished.interrupted
        progress.ran(plan, judged)
        return judged

    return take


def _take_all(job: LoadJob, take: Callable[[ArrivalPlan], LoadRun], runs: _Runs) -> None:
    if job.sweep:
        _sweep(job, take, runs)
        return
    for number in range(job.runs):
        take(replace(job.plan, seed=job.plan.seed + number))
        if runs.interrupted:
            return


def _sweep(job: LoadJob, take: Callable[[ArrivalPlan], LoadRun], runs: _Runs) -> None:
    search = Search(job.plan.rate_per_s, job.plan.duration_s, confirmations=job.runs)
    points: list[RatePoint] = []
    while isinstance(step := search.next(points), Try):
        seed = job.plan.seed + len(points)
        plan = replace(job.plan, rate_per_s=step.rate_per_s, duration_s=step.duration_s, seed=seed)
        points.append(RatePoint.of(step.rate_per_s, take(plan), job.basis))
        if runs.interrupted:
            return
    runs.knee = step


def _make_requests(settings: Settings, job: LoadJob) -> tuple[Request, ...]:
    """What the calls ask, in turn. Raises SettingsError where a circuit of a dedicated target cannot run."""
    plan, circuit = job.plan, job.circuit
    if circuit is None:
        return instances(plan.n, plan.seed, couplings=find_couplings(settings.quantum.device, plan.n))
    if circuit.observables:
        return (measure(circuit, settings.quantum.device, settings.circuits.limits),)
    if job.target is None:
        check(circuit, settings.quantum.device, settings.circuits.limits)
    return (circuit.spec,)


def _count_bases(requests: tuple[Request, ...]) -> int:
    first = requests[0]
    return len(first.circuits) if isinstance(first, CircuitBatch) else 0


def _start(
    settings: Settings, job: LoadJob, requests: tuple[Request, ...], cleanup: ExitStack
) -> tuple[_Generator, str]:
    plan = job.plan
    if job.clock == "virtual":
        virtual = VirtualGenerator(_set_size(settings, plan.n), requests)
        cleanup.callback(virtual.close)
        return virtual, DEDICATED_VIRTUAL
    remote, target = job.target, ""
    if remote is None:
        service = Service(_dedicate(settings, plan.n))
        remote = RemoteTarget((f"127.0.0.1:{service.start().grpc_port}",), Insecure())
        cleanup.callback(service.close)  # after a failed start, everything is closed already
        target = DEDICATED
    needs = find_needs(settings)
    generator = ProcessGenerator(remote.targets, remote.security, requests, remote.placement, needs)
    cleanup.callback(generator.close)
    return generator, target or str(remote)


class VirtualGenerator:
    """Load and orchestrator on one virtual loop: waits are skipped, and software takes its real time."""

    def __init__(self, settings: Settings, requests: Sequence[Request]) -> None:
        quantum = settings.quantum
        profile = profiles.load(quantum.profile)
        self._host = host = VirtualHost()
        self._requests = requests
        self._provider = build_provider(host, settings, quantum, profile)
        policy = PathPolicy(True, Fallback(settings.serve.fallback), settings.orchestrator.batch_limit)
        recorder = PrometheusRecorder(Metrics(), "load")
        self._path = assemble(host, settings, quantum, self._provider, policy, recorder)
        samples = [request for request in requests[:1] if isinstance(request, Subproblem)]
        host.run(self._path.orchestrator.start(*samples))

    def ready(self) -> LoadTarget:
        """See `ProcessGenerator.ready`; for subproblems it is ready once created."""
        first = self._requests[0]
        if isinstance(first, Subproblem):
            n = first.n
        else:
            n = self._host.run(make_first_calls(self._path.orchestrator, self._requests, DEDICATED_VIRTUAL))
        return LoadTarget(self._provider.name, self._provider.limits.emulated, n)

    def run(self, plan: ArrivalPlan, number: int) -> FinishedRun:
        """Makes one run; Ctrl-C ends it early and keeps the calls that have ended."""
        load = LoadGenerator(plan, self._path.orchestrator, self._host.clock, self._requests, number)
        try:
            self._host.run(load.generate())
        except KeyboardInterrupt:
            return FinishedRun(load.calls, interrupted=True)
        return FinishedRun(load.calls, interrupted=False)

    def close(self) -> None:
        """Stops the orchestrator and ends the loop."""
        self._host.run(self._path.orchestrator.stop())
        self._host.close()


def _set_size(settings: Settings, n: int) -> Settings:
    """The settings with subproblems of n variables, so that the size of the load is warm."""
    return settings.model_copy(update={"kernel": settings.kernel.model_copy(update={"n": n})})


def _dedicate(settings: Settings, n: int) -> Settings:
    """The settings of a dedicated service, on free loopback ports."""
    serving = {
        "listen": "127.0.0.1:0",
        "metrics": "127.0.0.1:0",
        "insecure": True,
        "certificate": "",
        "private_key": "",
        "authorities": "",
        "sizes": (n,),
    }
    serve = settings.serve.model_copy(update=serving)
    return _set_size(settings, n).model_copy(update={"serve": serve})
