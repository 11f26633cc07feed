"""`shotclock.solve` and `shotclock.run`: one call from a notebook, with or without an event loop.

The orchestrator, or the connection, is made by the first call and lives until the process ends. It has its
thread and loop, so that a call may block inside a running loop, as Jupyter's cells do.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from shotclock.app.embedded import embed_path
from shotclock.app.host import WallHost, workers_policy
from shotclock.app.models import read_model
from shotclock.app.quantum_path import QuantumPath
from shotclock.app.solution import CircuitResult, Solution
from shotclock.domain.budget import read_budget_ns
from shotclock.domain.call_errors import explain_missing
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.outcome import Degraded, Done, Executed, Outcome
from shotclock.domain.ports import Dispatcher
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.answers import Fallback
from shotclock.settings import load
from shotclock.solvers.fallback import Classical
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.tls import ClientTls, Insecure

WITHOUT_TLS = Insecure()


def solve(
    model: object,
    *,
    budget: str | float = "10s",
    penalty: float | None = None,
    target: str = "",
    security: ClientTls | Insecure = WITHOUT_TLS,
    settings: str | Path | None = None,
) -> Solution:
    """The best answer to the model by the deadline: the QPU's best sample against a classical solver's.

    model: a dimod BinaryQuadraticModel or ConstrainedQuadraticModel (minimised), a networkx or rustworkx
        graph (its largest cut; edges have `weight`, or 1), or a Subproblem.
    budget: the time until the answer, as "200ms", "2s" or in seconds. What a size compiles once, before its
        first call in this process, is not part of it.
    penalty: the weight of the constraints of a constrained model; without it, one above all that the
        objective can gain. The solution names each.
    target: HOST:PORT of a `shotclock serve`; "" is an orchestrator in this process.
    security: the certificates for a target.
    settings: the settings file of the orchestrator in this process; without one, the EMULATED provider.

    Raises SubproblemError on a model that cannot be solved, SettingsError, MachineError; CallError where
    there is no answer, not even a classical one.
    """
    budget_ns = read_budget_ns(budget)
    read = read_model(model, penalty)
    service = _find_service(target, security, settings)
    outcome = service.solve(replace(read.subproblem, budget_ns=budget_ns, request_id=service.name_request()))
    if not isinstance(outcome, Done | Degraded):
        raise explain_missing(outcome) or AssertionError(outcome)
    return Solution.of(read, outcome, budget_ns)


def run(
    circuit: object,
    *,
    shots: int = 1024,
    values: Mapping[object, float] | None = None,
    budget: str | float = "60s",
    target: str = "",
    security: ClientTls | Insecure = WITHOUT_TLS,
    settings: str | Path | None = None,
) -> CircuitResult:
    """How often a circuit gave each bit string, by the deadline.

    circuit: Qiskit's QuantumCircuit with measurements, OpenQASM 3 as text, or QPY as bytes.
    values: of its parameters, by Qiskit's Parameter or by name.
    budget, target, security, settings: as of `solve`; a circuit's compiling is part of the budget.

    Raises CircuitError on a circuit that cannot run, SettingsError, MachineError; DeadlineExceeded or
    another CallError where there are no samples.
    """
    budget_ns = read_budget_ns(budget)
    spec = CircuitSpec(circuit, shots, values or {}, budget_ns=budget_ns)  # type: ignore[arg-type]
    service = _find_service(target, security, settings)
    outcome = service.host.run(service.dispatcher.execute(replace(spec, request_id=service.name_request())))
    if not isinstance(outcome, Executed):
        raise explain_missing(outcome) or AssertionError(outcome)
    return CircuitResult(outcome, budget_ns)


@dataclass(slots=True)
class Service:
    """An orchestrator or a connection.

    host: its thread.
    dispatcher: takes the calls.
    path: what compiles in this process; None of a target.
    """

    host: WallHost
    dispatcher: Dispatcher
    path: QuantumPath | None
    _prepared: set[int] = field(default_factory=set)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def name_request(self) -> str:
        """A name that no other call of this host has."""
        return f"notebook-{os.getpid()}/{next(self._numbers)}"

    def solve(self, subproblem: Subproblem) -> Outcome:
        """Compiles what this size needs first, where it is compiled in this process."""
        if self.path is not None:
            with self._lock:
                if subproblem.n not in self._prepared:
                    self.host.run(self._prepare(self.path, subproblem))
                    self._prepared.add(subproblem.n)
        return self.host.run(self.dispatcher.solve(subproblem))

    async def _prepare(self, path: QuantumPath, subproblem: Subproblem) -> None:
        Classical().solve(subproblem)
        if subproblem.n <= path.provider.limits.max_qubits:
            await path.forecast.warm(subproblem)


@dataclass(slots=True)
class Owner:
    """pid: the process that has made the services."""

    pid: int


_Key = tuple[str, ClientTls | Insecure, str]
_services: dict[_Key, Service] = {}
_owner = Owner(os.getpid())
_making = threading.Lock()
_ending = ExitStack()


def close_services() -> None:
    """Ends every orchestrator and connection that calls have made; a later call makes them again."""
    with _making:
        _forget_others()
        _services.clear()
        _ending.close()


def _forget_others() -> None:
    """What the process made from which this one was forked: its threads are not here."""
    if _owner.pid != os.getpid():
        _owner.pid = os.getpid()
        _services.clear()
        _ending.pop_all()


def _find_service(target: str, security: ClientTls | Insecure, settings: str | Path | None) -> Service:
    key = (target, security, str(settings or ""))
    with _making:
        _forget_others()
        if key not in _services:
            _services[key] = _make_service(target, security, settings)
        return _services[key]


def _make_service(target: str, security: ClientTls | Insecure, settings: str | Path | None) -> Service:
    tree = load(settings or None, {})
    recorder = PrometheusRecorder(Metrics(), "notebook")
    host = WallHost() if target else WallHost(workers_policy(tree))
    ending = ExitStack()
    ending.callback(host.close)
    path: QuantumPath | None = None
    dispatcher: Dispatcher
    try:
        if target:

            async def open_client() -> GrpcDispatcher:
                return GrpcDispatcher(connect(str(target), security), recorder=recorder)

            client = host.run(open_client())
            ending.callback(lambda: host.run(client.close()))
            dispatcher = client
        else:
            path = embed_path(host, tree, recorder, ending, Fallback.RACE)
            dispatcher = path.orchestrator
    except BaseException:
        ending.close()
        raise
    if not _services:
        atexit.register(close_services)
    _ending.push(ending)
    return Service(host, dispatcher, path)
