"""A user's workload that calls circuits through primitives: what it is handed in each arm of a benchmark.

Its factory takes a connection besides the seed, and it needs no kernel.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from shotclock.app.connect import Connection
from shotclock.app.host import Host
from shotclock.domain import plugin
from shotclock.domain.ports import CircuitCaller, CircuitWorkload, Trainer
from shotclock.domain.recorders import Recorder
from shotclock.orchestrator.control import ClassicalDispatcher
from shotclock.primitives import Estimator, Sampler
from shotclock.solvers.fallback import Classical
from shotclock.telemetry.metrics import Metrics
from shotclock.training.circuit_calls import CircuitTrainer, CountedCircuits
from shotclock.training.scheduler import PlainTrainer

WORKLOAD = "bench.workload"


class LocalConnection(Connection):
    """Primitives that are simulated in this process, exactly: the arm without a QPU."""

    def sampler(self, **options: Any) -> Sampler:
        """See `Connection.sampler`."""
        return super().sampler(**(options | {"fallback": "local"}))

    def estimator(self, **options: Any) -> Estimator:
        """See `Connection.estimator`."""
        return super().estimator(**(options | {"fallback": "local"}))


def make_workload(name: str, seed: int, connection: Connection) -> CircuitWorkload:
    """The user's workload; raises SettingsError where its factory fails or returns something else."""
    factory: Callable[..., object] = plugin.load(WORKLOAD, name)
    workload: Any = plugin.call_plugin(WORKLOAD, name, lambda: factory(seed, connection))
    plugin.check(WORKLOAD, name, workload, CircuitWorkload)
    return workload  # type: ignore[no-any-return]


def takes_connection(name: str) -> bool:
    """Whether the factory of a "module:factory" takes a connection besides the seed."""
    if ":" not in name:
        return False
    factory = plugin.load(WORKLOAD, name)
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # of some functions in C nothing is known
        return False
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    needed = [each for each in parameters if each.kind in positional and each.default is each.empty]
    return len(needed) == 2


class CircuitArms:
    """Makes the trainers of a workload's arms."""

    def __init__(self, name: str, warmup_steps: int, host: Host, recorder: Recorder) -> None:
        self._name = name
        self._warmup_steps = warmup_steps
        self._host = host
        refusing = ClassicalDispatcher(Classical(), host.clock, recorder)
        caller = host.circuit_caller(refusing)
        self._local = LocalConnection(caller, Metrics(), "simulated here", _end_nothing)
        self.samples_per_step = make_workload(name, 0, self._local).samples_per_step

    def make_plain(self, seed: int) -> tuple[Trainer, Callable[[], float]]:
        """Of the arm without a QPU; its circuits are simulated and not counted."""
        workload = self._warm(make_workload(self._name, seed, self._local))
        return PlainTrainer(workload, self._host.clock), workload.evaluate

    def make_calling(
        self, seed: int, caller: CircuitCaller, host: Host, budget_ns: int, metrics: Metrics
    ) -> tuple[Trainer, Callable[[], float]]:
        """Of an arm with a QPU behind the caller."""
        circuits = CountedCircuits(caller, host.clock, budget_ns)
        connection = Connection(circuits, metrics, "the benchmark's orchestrator", _end_nothing)
        workload = self._warm(make_workload(self._name, seed, connection))
        return CircuitTrainer(workload, circuits), workload.evaluate

    def _warm(self, workload: CircuitWorkload) -> CircuitWorkload:
        for _ in range(self._warmup_steps):
            workload.step()
        return workload


def _end_nothing() -> None:
    """The arm ends its orchestrator."""
