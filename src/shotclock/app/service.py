"""A running service: orchestrator, gRPC, HTTP and ledger from one tree of settings."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from shotclock import __version__
from shotclock.app.flags import open_flags
from shotclock.app.host import WallHost, workers_policy
from shotclock.app.host_figures import start_sampler
from shotclock.app.host_health import HostHealth, check_host
from shotclock.app.host_report import HostReport
from shotclock.app.ledger_factory import LedgerFactory
from shotclock.app.memory_watch import MemoryWatch
from shotclock.app.overview import OverviewSource, log_breaker
from shotclock.app.quantum_path import PathPolicy, QuantumPath, assemble, build_provider
from shotclock.app.sizes import check_width, make_sample
from shotclock.app.spending import SpendingWatch, read_rules
from shotclock.app.traces import do_nothing, open_tracer
from shotclock.circuits.worker import load_readers
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import ProviderError, SettingsError
from shotclock.domain.overview import CertificateDates, to_json
from shotclock.domain.ports import Provider
from shotclock.domain.status import Drained, Status
from shotclock.emulator import profile as profiles
from shotclock.emulator.user_circuits import load_simulator
from shotclock.orchestrator.answers import Fallback
from shotclock.orchestrator.ledger.job_journal import JobJournal, no_report
from shotclock.orchestrator.ledger.recovery import Recovered
from shotclock.placement.topology import HostView
from shotclock.rollout.fixed import FixedFlags
from shotclock.runtime import http_server
from shotclock.runtime.descriptors import raise_limit
from shotclock.runtime.http_connections import Connections, HttpLimits, Reason
from shotclock.runtime.offload import InlineWorkers, ProcessWorkers
from shotclock.runtime.service_manager import NO_MANAGER, READY, STOPPING, ServiceManager
from shotclock.settings import ServeSettings, Settings
from shotclock.telemetry import web
from shotclock.telemetry.canary_facts import CanaryFacts
from shotclock.telemetry.events import EventLog
from shotclock.telemetry.host_figures import HostFigures
from shotclock.telemetry.logs import ShedSummary
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.telemetry.recent import RecentWindow
from shotclock.telemetry.service_facts import ServiceFacts, watch_lag
from shotclock.wire import certificates
from shotclock.wire import server as wire
from shotclock.wire.authorization import Policy
from shotclock.wire.callers import CallerLimits
from shotclock.wire.certificate_checks import Purpose
from shotclock.wire.certificates import TlsFiles
from shotclock.wire.rollout import NO_ROLLOUT
from shotclock.wire.service import UNNAMED
from shotclock.wire.service_limits import ServiceLimits
from shotclock.wire.tls import Insecure, ServerTls, is_loopback, refuse_unless_loopback, split_address

if TYPE_CHECKING:
    from shotclock.rollout.document_rollout import DocumentRollout

GRACE_S = 2.0
"""For the answers of handed-back calls to leave."""


@dataclass(frozen=True, slots=True)
class Started:
    """A service that accepts calls.

    grpc_port: the port of the gRPC server.
    http_port: the port of the status page and the metrics.
    provider: the provider's name.
    emulated: whether the provider is emulated.
    sizes: the subproblem sizes that are compiled already, in variables.
    recovered: the jobs an earlier stop left open.
    warnings: one line each for what works now and should be changed.
    """

    grpc_port: int
    http_port: int
    provider: str
    emulated: bool
    sizes: tuple[int, ...]
    recovered: Recovered
    warnings: tuple[str, ...] = ()


def _ignore_ports(grpc_port: int, http_port: int) -> None:
    del grpc_port, http_port


class Service:
    """Everything `shotclock serve` runs. `start`, then `close`, both from the main thread.

    on_trouble: called from another thread with each problem that needs attention while calls are answered.
    manager: what started the process and waits for its reports.
    """

    def __init__(
        self,
        settings: Settings,
        on_trouble: Callable[[str], None] = no_report,
        manager: ServiceManager = NO_MANAGER,
    ) -> None:
        self._root = Path(settings.placement.root)
        self._health = HostHealth(settings, self._root)
        self._memory = MemoryWatch(settings)
        self._settings = settings
        self._manager = manager
        self._host = WallHost(workers_policy(settings))
        self._metrics = Metrics(settings.deadlines_s)
        for limit in get_args(Reason):
            self._metrics.closed_connections.labels(limit)
        self._shed = ShedSummary()
        self._recent = RecentWindow()
        self._events = EventLog()
        self._on_trouble = on_trouble
        self._ledgers = LedgerFactory(
            settings.serve.ledger_file,
            self._trouble,
            lease_s=settings.serve.lease_s,
            parked_grace_s=settings.serve.parked_grace_s,
        )
        self._server: wire.Server | None = None
        self._beside: list[asyncio.Task[None]] = []
        self._end_traces: Callable[[], None] = do_nothing
        self._stops: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def start(self, listening: Callable[[int, int], None] = _ignore_ports) -> Started:
        """Opens the ports, then compiles; ready when it returns. Closes everything again on failure."""
        try:
            return self._start(listening)
        except BaseException:
            self.close()
            raise

    def _status(self) -> Status:
        warnings = self._server.warnings() if self._server is not None else ()
        return replace(self._orchestrator.status(), warnings=(*warnings, *self._health.warnings()))

    def _certificate(self) -> CertificateDates | None:
        return self._server.certificate() if self._server is not None else None

    def _overview(
        self, provider: Provider, journal: JobJournal, spending: SpendingWatch | None
    ) -> OverviewSource:
        def read_stopped() -> bool | None:
            return bool(journal.broken) if provider.limits.paid else None

        return OverviewSource(
            self._status,
            self._impediments,
            self._certificate,
            provider,
            spending,
            self._ledgers.rows_by_name,
            read_stopped,
            lambda: self._ledgers.parked,
            self._recent,
            self._events,
            self._address,
        )

    def _address(self) -> str:
        """With the port in use, where the settings leave its choice to the system."""
        listen = self._settings.serve.listen
        return f"{listen.rpartition(':')[0]}:{self._server.port}" if self._server is not None else listen

    def _impediments(self) -> tuple[str, ...]:
        unreachable = self._server.impediments() if self._server is not None else ()
        impediments = (*unreachable, *self._health.impediments())
        return (*impediments, *filter(None, [self._host.workers.impediment()]))

    def _trouble(self, what: str) -> None:
        self._metrics.troubles.inc()
        self._events.add("error", "trouble", what)
        self._on_trouble(what)

    def _count_closed(self, limit: str) -> None:
        self._metrics.closed_connections.labels(limit).inc()

    def _start(self, listening: Callable[[int, int], None]) -> Started:
        settings, host, serve = self._settings, self._host, self._settings.serve
        self._events.attach()
        # Report errors here before minutes are spent on connecting to a vendor.
        _check_addresses(serve)
        check_host(settings, self._root)
        descriptors = raise_limit()
        security = _security(serve, self._trouble)
        quantum = settings.quantum
        provider = build_provider(host, settings, quantum, profiles.load(quantum.profile))
        for n in serve.sizes:
            check_width("serve.sizes", n, provider)
        rules = read_rules(settings, quantum)
        journal = self._ledgers.of(provider, rules)
        spending = self._ledgers.watch_spending(provider, rules)
        policy = PathPolicy(True, Fallback(serve.fallback), settings.orchestrator.batch_limit)
        recorder = PrometheusRecorder(
            self._metrics,
            UNNAMED,
            clients=serve.trainers,
            on_rejection=self._shed.record,
            on_breaker=log_breaker,
            recent=self._recent,
        )
        flags = open_flags(settings, provider, recorder, self._trouble, host.clock, host.threads)
        tracer, self._end_traces = open_tracer(settings.traces, "shotclock-serve", host.clock)
        path = assemble(
            host,
            settings,
            quantum,
            provider,
            policy,
            recorder,
            journal=journal,
            flags=flags,
            tracer=tracer,
            memory=self._memory.limit,
            refuse_by_host=self._health.refuse,
        )
        orchestrator = self._orchestrator = path.orchestrator
        overview = self._overview(provider, journal, spending)
        self._metrics.registry.register(
            ServiceFacts(
                __version__,
                overview.read_not_after,
                overview.read_money_left,
                overview.ledger_rows,
                overview.ledger_stopped,
                lambda: self._memory.point,
                overview.read_tenants,
                lambda: self._ledgers.xmin_age,
            )
        )
        report = HostReport(settings, orchestrator.status, self._health.problems, self._health.refusals)

        def observe(view: HostView) -> None:
            report.observe(view)
            self._health.observe(view)
            self._memory.observe(view.host.accelerators)

        self._stops.append(start_sampler(settings, self._metrics.registry, observe, self._root))
        self._metrics.registry.register(HostFigures(self._health.families))
        self._metrics.registry.register(CanaryFacts(flags.canary))
        http_host, http_port = split_address(serve.metrics)
        application = web.application(
            self._metrics.registry, overview.read, overview.read_reasons, self._health.degradations
        )
        listening_http = http_server.listen(http_host, http_port, "serve.metrics")
        connections = Connections(_http_limits(serve), self._count_closed)
        page = host.run(http_server.serve(application, listening_http, connections, self._trouble))
        self._stops.append(page.stop)
        server = self._server = host.run(
            wire.serve(
                orchestrator,
                orchestrator,
                serve.listen,
                security,
                ServiceLimits(callers=CallerLimits(refusals_per_s=serve.refusals_per_s)),
                _grpc_limits(serve),
                recorder.record_report,
                NO_ROLLOUT if isinstance(flags, FixedFlags) else flags,
                lambda: to_json(overview.read()),
                traced=tracer is not None,
                read_host=report.read,
                on_damage=recorder.record_integrity_failure,
                describe_host=report.describe,
            )
        )
        self._stops.append(partial(server.stop, GRACE_S))
        listening(server.port, page.port)
        recovered = host.run(self._ledgers.recover(provider))
        host.run(orchestrator.start(*(make_sample(n) for n in serve.sizes)))
        self._stops.append(orchestrator.stop)
        host.run(_start_circuit_workers(host.workers))
        host.run(self._run_beside(path, provider, recovered, report))
        host.run(self._watch_flags(flags))
        if spending is not None:
            host.run(self._watch_spending(spending))
        # Imports and compiled circuits stay for good: later collections skip their 140,000 objects.
        gc.collect()
        gc.freeze()
        self._events.add("info", "service", "ready")
        unreported = self._manager.notify(READY)
        return Started(
            server.port,
            page.port,
            provider.name,
            provider.limits.emulated,
            serve.sizes,
            recovered,
            (*find_warnings(serve, descriptors), *filter(None, [unreported])),
        )

    def drain(self) -> Drained:
        """Ends every accepted call within `serve.drain_s`."""
        self._manager.notify(STOPPING)
        return self._host.run(self._orchestrator.drain(round(self._settings.serve.drain_s * NS_PER_S)))

    def close(self) -> None:
        """Closes what was opened, the last first."""
        self._host.run(self._wait_stopped())
        self._host.close()
        self._ledgers.close()
        self._events.close()
        self._end_traces()

    async def _wait_stopped(self) -> None:
        # On the loop, so that the last reference to the gRPC server goes there: freed on another thread it
        # closes a socket that the loop may be reading ("Exception in callback PollerCompletionQueue…").
        self._server = None
        while self._stops:
            try:
                await self._stops.pop()()
            except ProviderError as error:  # the rest must still be closed
                self._trouble(f"closing the provider failed: {error}")

    async def _run_beside(
        self, path: QuantumPath, provider: Provider, recovered: Recovered, report: HostReport
    ) -> None:
        """Starts the background tasks; `WallHost.close` cancels them."""
        settings, ledgers = self._settings, self._ledgers
        for work in (
            path.synthesizer.keep_calibrated(settings.circuits.check_calibration_s),
            ledgers.collect(provider, recovered.submitted),
            ledgers.adopt(provider),
            ledgers.review_parked(provider, settings.serve.parked_grace_s),
            ledgers.count_rows(),
            watch_lag(self._metrics),
            report.keep_current(),
            self._shed.run(),
            self._manager.keep_watchdog(),
        ):
            self._beside.append(asyncio.create_task(work))

    async def _watch_spending(self, spending: SpendingWatch) -> None:
        self._beside.append(asyncio.create_task(spending.run()))

    async def _watch_flags(self, flags: FixedFlags | DocumentRollout) -> None:
        if not isinstance(flags, FixedFlags):
            self._beside.append(asyncio.create_task(flags.keep_current()))


def _http_limits(serve: ServeSettings) -> HttpLimits:
    return HttpLimits(serve.http_connections, serve.http_header_s, serve.http_idle_s)


def _grpc_limits(serve: ServeSettings) -> wire.ConnectionLimits:
    return wire.ConnectionLimits(connections=serve.grpc_connections, handshake_s=serve.grpc_handshake_s)


def find_warnings(serve: ServeSettings, descriptors: int) -> Iterator[str]:
    """What works, and should not stay so: one line each."""
    if not is_loopback(serve.metrics):
        yield (
            f"serve.metrics: {serve.metrics} is read without TLS by whoever reaches it; "
            f"use a loopback address, or let a firewall or a proxy decide who does"
        )
    if descriptors < serve.descriptors:
        yield (
            f"serve: {serve.descriptors} file descriptors may be needed and {descriptors} are allowed; "
            f"raise the hard limit (`ulimit -Hn`), or lower serve.grpc_connections"
        )


async def _start_circuit_workers(workers: ProcessWorkers | InlineWorkers) -> None:
    """The first user circuit is to wait for no import."""
    await asyncio.gather(workers.circuits.run(load_readers), workers.circuit_samples.run(load_simulator))


def _check_addresses(serve: ServeSettings) -> None:
    try:
        _, grpc_port = split_address(serve.listen)
        if serve.insecure:
            refuse_unless_loopback(serve.listen)
    except SettingsError as error:
        raise SettingsError(f"serve.listen: {error}") from error
    try:
        split_address(serve.metrics)
    except SettingsError as error:
        raise SettingsError(f"serve.metrics: {error}") from error
    if grpc_port and serve.listen == serve.metrics:
        raise SettingsError(
            f"serve.metrics: must differ from serve.listen (got {serve.metrics} for both); use another port"
        )


def _security(serve: ServeSettings, on_refused: Callable[[str], None]) -> ServerTls | Insecure:
    files = (serve.certificate, serve.private_key, serve.authorities)
    if serve.insecure:
        if any(files):
            raise SettingsError("serve.insecure: cannot be combined with certificates; remove one of the two")
        return Insecure()
    missing = [
        name
        for name, value in zip(("certificate", "private_key", "authorities"), files, strict=True)
        if not value
    ]
    if missing:
        raise SettingsError(
            f"serve.{missing[0]}: mutual TLS needs certificate, private_key and authorities (PEM files); "
            f"`insecure = true` serves loopback without them"
        )
    policy = Policy.of(frozenset(serve.trainers), frozenset(serve.operators), frozenset(serve.probes))
    tls_files = TlsFiles(*map(Path, files))
    certificates.load(tls_files, certificates.utc_now(), Purpose.SERVER)
    return ServerTls(tls_files, policy, on_refused, certificates.utc_now)
