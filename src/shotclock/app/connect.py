"""`shotclock.connect`: Qiskit's primitives with an orchestrator in this process, or with a remote service."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from shotclock.app.host import Host, WallHost, workers_policy
from shotclock.app.quantum_path import PathPolicy, assemble, build_provider
from shotclock.domain.ports import CircuitCaller
from shotclock.domain.recorders import Recorder
from shotclock.domain.subproblem import Priority
from shotclock.emulator import profile as profiles
from shotclock.orchestrator.answers import Fallback as ClassicalAnswer
from shotclock.primitives import CallOptions, Estimator, Sampler
from shotclock.primitives.fallback import Fallback
from shotclock.settings import Settings, load
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.wire.channels import connect as open_channels
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.tls import ClientTls, Insecure

WITHOUT_TLS = Insecure()


@dataclass(frozen=True, slots=True)
class Connection:
    """Makes primitives; a context manager. Primitives of one connection share its queue and its jobs.

    caller: takes the batches of circuits.
    metrics: counts every call; its `registry` is for Prometheus.
    where: the target, or the provider in this process.
    end: ends the orchestrator or the connection.
    """

    caller: CircuitCaller
    metrics: Metrics
    where: str
    end: Callable[[], None]

    def __repr__(self) -> str:
        return f"<Connection: {self.where}>"

    def sampler(
        self,
        *,
        shots: int = 1024,
        budget: str | float = "60s",
        priority: Priority = Priority.NORMAL,
        fallback: Fallback[SamplerPub] = "",
        run: str = "sampler",
    ) -> Sampler:
        """A `BaseSamplerV2`; see `Sampler` and `CallOptions`."""
        options = CallOptions(budget, priority, run)
        return Sampler(self.caller, default_shots=shots, options=options, fallback=fallback)

    def estimator(
        self,
        *,
        precision: float = 0.015625,
        budget: str | float = "60s",
        priority: Priority = Priority.NORMAL,
        fallback: Fallback[EstimatorPub] = "",
        run: str = "estimator",
    ) -> Estimator:
        """A `BaseEstimatorV2`; see `Estimator` and `CallOptions`."""
        options = CallOptions(budget, priority, run)
        return Estimator(self.caller, default_precision=precision, options=options, fallback=fallback)

    def close(self) -> None:
        """Ends the orchestrator or the connection, and the calls in progress. A second call does nothing."""
        self.end()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(
    target: str = "", *, security: ClientTls | Insecure = WITHOUT_TLS, settings: Path | None = None
) -> Connection:
    """Connects primitives to a QPU behind a deadline.

    target: HOST:PORT of a `shotclock serve`; "" runs an orchestrator in this process.
    security: the certificates for a target.
    settings: the settings file of an orchestrator in this process; without one, the defaults (the EMULATED
        provider).

    Raises SettingsError, MachineError.
    """
    metrics = Metrics()
    recorder = PrometheusRecorder(metrics, "connect")
    tree = load(settings, {})
    host = WallHost() if target else WallHost(workers_policy(tree))
    ending = ExitStack()
    ending.callback(host.close)
    try:
        caller = (
            _open_remote(host, target, security, recorder, ending)
            if target
            else embed_orchestrator(host, tree, recorder, ending)
        )
    except BaseException:
        ending.close()
        raise
    # If the program ends without closing, for example on an error, asyncio must not warn of open tasks.
    atexit.register(ending.close)
    ending.callback(atexit.unregister, ending.close)
    where = target or f"{tree.quantum.provider} in this process"
    return Connection(caller, metrics, where, ending.close)


def _open_remote(
    host: WallHost,
    target: str,
    security: ClientTls | Insecure,
    recorder: PrometheusRecorder,
    ending: ExitStack,
) -> CircuitCaller:
    async def open_dispatcher() -> GrpcDispatcher:
        return GrpcDispatcher(open_channels(target, security), recorder=recorder)

    dispatcher = host.run(open_dispatcher())
    ending.callback(lambda: host.run(dispatcher.close()))
    return host.circuit_caller(dispatcher)


def embed_orchestrator(
    host: Host, settings: Settings, recorder: Recorder, ending: ExitStack
) -> CircuitCaller:
    """An orchestrator for circuits on this host; `ending` stops it."""
    quantum = settings.quantum
    provider = build_provider(host, settings, quantum, profiles.load(quantum.profile))
    policy = PathPolicy(True, ClassicalAnswer.NONE, settings.orchestrator.batch_limit)
    orchestrator = assemble(host, settings, quantum, provider, policy, recorder).orchestrator
    host.run(orchestrator.start())  # no subproblem is prepared: circuits compile on their first call
    ending.callback(lambda: host.run(orchestrator.stop()))
    return host.circuit_caller(orchestrator)
