"""`shotclock.connect`: Qiskit's primitives with an orchestrator in this process, or with a remote service."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from shotclock.app.embedded import embed_path
from shotclock.app.host import Host, WallHost, workers_policy
from shotclock.app.placed import PlacedDispatcher, PlacementName, connect_hosts
from shotclock.app.traces import open_tracer
from shotclock.bench.numbers import number
from shotclock.domain.accounting import NO_CHARGES, Allocation, Charges, MoneyLeft
from shotclock.domain.plural import count
from shotclock.domain.ports import Budgeted, Charged, CircuitCaller, Provider
from shotclock.domain.recorders import Recorder
from shotclock.domain.subproblem import Priority
from shotclock.domain.trace import Tracer
from shotclock.orchestrator.answers import Fallback as ClassicalAnswer
from shotclock.primitives import CallOptions, Estimator, Sampler
from shotclock.primitives.fallback import Fallback
from shotclock.settings import Settings, load
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.wire.channels import connect as open_channels
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.tls import ClientTls, Insecure

log = logging.getLogger(__name__)

WITHOUT_TLS = Insecure()
SERVICE = "shotclock-connect"


@dataclass(frozen=True, slots=True)
class Spent:
    """What a connection's provider has charged so far, where it runs in this process.

    charges: of jobs whose usage is final, of abandoned jobs, and of sessions.
    money_left: of `quantum.max_money_per_run`; None without a limit.
    """

    charges: Charges
    money_left: MoneyLeft | None

    def __str__(self) -> str:
        """One line."""
        charges, money = self.charges, self.money_left
        final = f"{number(charges.settled_s)} QPU s in {count(charges.settled, 'job')} whose usage is final"
        lines = [final]
        if charges.abandoned:
            unknown = f", of {charges.abandoned_untold} unknown" if charges.abandoned_untold else ""
            given_up = count(charges.abandoned, "abandoned job")
            lines.append(f"{number(charges.abandoned_s)} QPU s in {given_up}{unknown}")
        if charges.sessions:
            sessions = count(charges.sessions, "session")
            lines.append(f"{number(charges.sessions_s)} QPU s in {sessions}, jobs included")
        if money is not None:
            lines.append(f"{number(money.remaining)} of {number(money.limit)} {money.currency} left")
        return "; ".join(lines)


NOTHING_SPENT = Spent(NO_CHARGES, None)


def spend_nothing() -> Spent:
    """Of a remote service, whose figures are on its status page and in its metrics."""
    return NOTHING_SPENT


@dataclass(frozen=True, slots=True)
class Connection:
    """Makes primitives; a context manager. Primitives of one connection share its queue and its jobs.

    caller: takes the batches of circuits.
    metrics: counts every call; its `registry` is for Prometheus.
    where: the target, or the provider in this process.
    end: ends the orchestrator or the connection.
    spent: reads what the provider in this process has charged.
    """

    caller: CircuitCaller
    metrics: Metrics
    where: str
    end: Callable[[], None]
    spent: Callable[[], Spent] = spend_nothing

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

    def summary(self) -> Spent:
        """What the provider has charged so far; of a remote service nothing is known here."""
        return self.spent()

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
    target: str = "",
    *,
    security: ClientTls | Insecure = WITHOUT_TLS,
    placement: PlacementName = "rtt",
    settings: str | Path | None = None,
) -> Connection:
    """Connects primitives to a QPU behind a deadline.

    target: HOST:PORT of a `shotclock serve`; "" runs an orchestrator in this process. Of several, joined by
        commas, each call goes to one that answers.
    security: the certificates for a target.
    placement: how one of several targets is chosen.
    settings: the settings file of an orchestrator in this process; without one, the defaults (the EMULATED
        provider). A paid provider keeps its jobs in the ledger that `serve.ledger` names.

    Raises SettingsError, MachineError.
    """
    metrics = Metrics()
    recorder = PrometheusRecorder(metrics, "connect")
    tree = load(settings, {})
    host = WallHost() if target else WallHost(workers_policy(tree))
    ending = ExitStack()
    tracer, end_traces = open_tracer(tree.traces, SERVICE, host.clock)
    ending.callback(end_traces)
    ending.callback(host.close)
    spent = spend_nothing
    try:
        if target:
            caller = _open_remote(host, target, security, placement, recorder, tracer, ending)
        else:
            caller, provider = embed_orchestrator(host, tree, recorder, ending, tracer)
            spent = partial(_read_spent, provider)
    except BaseException:
        ending.close()
        raise
    # If the program ends without closing, for example on an error, asyncio must not warn of open tasks.
    pid = os.getpid()

    def close_here() -> None:
        if os.getpid() == pid:  # a forked process has nothing to close
            ending.close()

    atexit.register(close_here)
    ending.callback(atexit.unregister, close_here)
    where = target or f"{provider.name} in this process{', EMULATED' * provider.limits.emulated}"
    return Connection(caller, metrics, where, close_here, spent)


def _open_remote(
    host: WallHost,
    target: str,
    security: ClientTls | Insecure,
    placement: PlacementName,
    recorder: PrometheusRecorder,
    tracer: Tracer | None,
    ending: ExitStack,
) -> CircuitCaller:
    targets = [each.strip() for each in str(target).split(",") if each.strip()]

    async def open_dispatcher() -> GrpcDispatcher | PlacedDispatcher:
        if len(targets) > 1:
            return await connect_hosts(targets, security, placement, recorder=recorder, tracer=tracer)
        return GrpcDispatcher(
            open_channels(str(target), security),
            recorder=recorder,
            tracer=tracer,
            allocation=Allocation.of(os.environ),
        )

    dispatcher = host.run(open_dispatcher())
    ending.callback(lambda: host.run(dispatcher.close()))
    return host.circuit_caller(dispatcher)


def embed_orchestrator(
    host: Host, settings: Settings, recorder: Recorder, ending: ExitStack, tracer: Tracer | None = None
) -> tuple[CircuitCaller, Provider]:
    """An orchestrator for circuits on this host, and its provider; `ending` stops it. See `embed_path`."""
    path = embed_path(host, settings, recorder, ending, ClassicalAnswer.NONE, tracer)
    return host.circuit_caller(path.orchestrator), path.provider


def _read_spent(provider: Provider) -> Spent:
    return Spent(
        provider.charges() if isinstance(provider, Charged) else NO_CHARGES,
        provider.money_left() if isinstance(provider, Budgeted) else None,
    )
