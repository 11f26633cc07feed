"""`shotclock.attach` with an orchestrator in this process, or with a remote service."""

from __future__ import annotations

import atexit
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shotclock.app.host import WallHost, workers_policy
from shotclock.app.memory_watch import MemoryWatch
from shotclock.app.placed import PlacedDispatcher, PlacementName, connect_hosts, find_needs
from shotclock.app.quantum_path import PathPolicy, assemble, build_provider
from shotclock.app.traces import open_tracer
from shotclock.app.watched_calls import NO_WATCH, HostWatch
from shotclock.domain.accounting import Allocation
from shotclock.domain.errors import SettingsError
from shotclock.domain.iteration import CallCounts
from shotclock.domain.outcome import Answer, Decision
from shotclock.domain.ports import Caller, Clock, Dispatcher, Kernel, Pending
from shotclock.domain.recorders import ClientRecorder, Recorder
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.trace import Tracer
from shotclock.emulator import profile as profiles
from shotclock.orchestrator.answers import Fallback
from shotclock.orchestrator.race import classical
from shotclock.placement.rules import Needs
from shotclock.runtime.loop_thread import SystemClock
from shotclock.settings import Settings, TracesSettings, load
from shotclock.solvers.fallback import Classical, warm_solvers
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.training import hook
from shotclock.training.aggregator import UNBOUNDED, OnStale
from shotclock.training.audit import NO_AUDIT, Audit
from shotclock.training.calls import CallPolicy
from shotclock.training.distributed import DEFAULT_TIMEOUT_S, RefusingCaller, is_calling_rank
from shotclock.training.observe import CallObserver
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.tls import ClientTls, Insecure

WITHOUT_TLS = Insecure()

SERVICE = "shotclock-attach"
"""The name in the spans unless the settings have one."""


def ignore_value(value: float) -> None:
    """Where no service compares runs."""
    del value


@dataclass(frozen=True, slots=True)
class RunCaller:
    """A Caller whose request ids begin with the run's name, so that flags treat its calls alike."""

    caller: Caller
    run: str

    def ask(self, subproblem: Subproblem) -> Pending:
        """See `Caller.ask`."""
        return self.caller.ask(replace(subproblem, request_id=f"{self.run}/{subproblem.request_id}"))

    def record_decision(self, request_id: str, decision: Decision, *, stale: bool = False) -> None:
        """See `Caller.record_decision`."""
        self.caller.record_decision(f"{self.run}/{request_id}", decision, stale=stale)


@dataclass(frozen=True, slots=True)
class Quantum:
    """The handle that `attach` returns. `detach` leaves model and optimizer unchanged and ends the rest.

    training: steps, version, the present mode and the changes made by "auto".
    metrics: counts every call and decision, `stale_parameter_count` too; its `registry` is for Prometheus.
    end: ends the orchestrator or the connection.
    validate: reports a value of the validation metric to the service.
    """

    training: hook.Attached
    metrics: Metrics
    end: Callable[[], None]
    validate: Callable[[float], None] = ignore_value

    def __repr__(self) -> str:
        return f"<Quantum: {self.summary()}>"

    def flush(self) -> None:
        """Waits for calls in flight and applies their answers: at an epoch's end, before an evaluation."""
        self.training.flush()

    def summary(self) -> CallCounts:
        """How many calls fell due, how many were made, and why the others were not; `str` is one line."""
        return self.training.summary()

    def report_validation(self, value: float) -> None:
        """Reports the model's validation loss, or another metric of which less is better, to the service.

        A canary compares the runs on both of its sides by it. Needs `run` in `attach`, so that all calls of
        this run are on one side; without a service, and on ranks other than zero, nothing is reported.
        Raises SettingsError without a run, or on a value that is not finite.
        """
        if not math.isfinite(value):
            raise SettingsError(f"report_validation: the value must be finite (got {value:g})")
        self.validate(value)

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints that drop unknown keys of the optimizer's state (torch.distributed.checkpoint)."""
        return self.training.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resumes from what `state_dict` returned; if it does not fit, SettingsError and no change."""
        self.training.load_state_dict(state)

    def detach(self) -> None:
        """Removes the hooks, then ends the orchestrator or the connection. A second call does nothing."""
        self.training.detach()
        self.end()


def attach(
    optimizer: torch.optim.Optimizer,
    *,
    model: nn.Module,
    kernel: Kernel,
    settings: Path | None = None,
    target: str = "",
    security: ClientTls | Insecure = WITHOUT_TLS,
    placement: PlacementName = "rtt",
    policy: CallPolicy = hook.DEFAULT_POLICY,
    loss: Callable[[], float | Tensor] = hook.no_loss_check,
    on_stale: OnStale = "revalidate",
    stale_limit: int = UNBOUNDED,
    observers: Sequence[CallObserver] = (),
    audit: Audit = NO_AUDIT,
    ranks_timeout_s: float = DEFAULT_TIMEOUT_S,
    run: str = "",
) -> Quantum:
    """Makes calls from a user's training loop, which does not change; see `training.hook.attach`.

    target: HOST:PORT of a `shotclock serve`, or of several, separated by commas; "" runs an orchestrator in
        this process.
    placement: how the host of a call is chosen among several: by fabric, RTT, memory and load, or to compare.
    settings: the settings file; without one, the defaults (the EMULATED provider). With a target, only its
        `[traces]` and `[placement]` are used, and the sizes in `[kernel]` and `[quantum]` to bound calls by
        free memory.
    observers: called with each finished call; its `around` has what accelerators, RDMA ports and CXL memory
        of this host did meanwhile, where there are any.
    run: the name of this training run; flags keep its calls on one side of a share.

    Under torchrun all ranks must attach; only rank zero has an orchestrator or a connection. Raises
    SettingsError, MachineError, RunError.
    """

    if "/" in run:
        raise SettingsError(f"attach: run must have no slash (got '{run}')")
    metrics = Metrics()
    recorder = PrometheusRecorder(metrics, "attach")
    is_calling = is_calling_rank(os.environ)
    tree = load(settings, {})
    tracer, end_traces = open_tracer(tree.traces if is_calling else TracesSettings(), SERVICE, SystemClock())

    memory = MemoryWatch(tree)
    watch = HostWatch.open(Path(tree.placement.root)) if observers and is_calling else NO_WATCH

    def open_attachment(caller: Caller, clock: Clock) -> hook.Attached:
        return hook.attach(
            optimizer,
            model=model,
            kernel=kernel,
            caller=watch.wrap(RunCaller(caller, run) if run else caller, ""),
            clock=clock,
            policy=policy,
            loss=loss,
            on_stale=on_stale,
            stale_limit=stale_limit,
            observers=watch.inform(observers),
            audit=audit,
            recorder=recorder,
            tracer=tracer,
            ranks_timeout_s=ranks_timeout_s,
            memory=memory.limit,
        )

    if not is_calling:
        return Quantum(open_attachment(RefusingCaller(), SystemClock()), metrics, lambda: None)
    host = WallHost() if target else WallHost(workers_policy(tree))
    try:
        validate = ignore_value
        dispatcher: Dispatcher
        if target:
            needs = find_needs(tree)
            dispatcher, end = remote, _ = _remote(host, target, security, placement, needs, recorder, tracer)
            validate = partial(_report_value, host, remote, run, kernel.name)
        else:
            dispatcher, end = _embed_orchestrator(host, tree, kernel, recorder, tracer)
        memory.start()
        training = open_attachment(host.caller(dispatcher), host.clock)
    except BaseException:
        watch.close()
        memory.close()
        host.close()
        end_traces()
        raise

    # If the program ends without detaching, for example on an error, asyncio must not warn of open tasks.
    atexit.register(host.close)
    ending = ExitStack()
    ending.callback(end_traces)
    ending.callback(host.close)
    ending.callback(memory.close)
    ending.callback(watch.close)
    ending.callback(end)
    ending.callback(atexit.unregister, host.close)
    return Quantum(training, metrics, ending.close, validate)


def _report_value(
    host: WallHost, remote: GrpcDispatcher | PlacedDispatcher, run: str, kernel: str, value: float
) -> None:
    if not run:
        raise SettingsError(
            "report_validation: the run has no name, so a canary may have its calls on both sides; "
            "name it with attach(run=…)"
        )
    if isinstance(remote, PlacedDispatcher):
        raise SettingsError("report_validation: each target has its own canary; attach to one target")
    host.start(remote.report_validation(run, kernel, value))


def _remote(
    host: WallHost,
    target: str,
    security: ClientTls | Insecure,
    placement: PlacementName,
    needs: Needs,
    recorder: ClientRecorder,
    tracer: Tracer | None,
) -> tuple[GrpcDispatcher | PlacedDispatcher, Callable[[], None]]:
    """A remote dispatcher; if the service is lost, calls are answered classically in this process."""
    solver = Classical()
    host.run(host.threads.run(warm_solvers))

    def answer(subproblem: Subproblem) -> Answer:
        return classical(subproblem, solver)

    async def open_channels() -> GrpcDispatcher | PlacedDispatcher:
        targets = [each.strip() for each in target.split(",") if each.strip()]
        if len(targets) > 1:
            return await connect_hosts(
                targets,
                security,
                placement,
                needs=needs,
                fallback=answer,
                recorder=recorder,
                tracer=tracer,
            )
        return GrpcDispatcher(
            connect(target, security),
            fallback=answer,
            recorder=recorder,
            tracer=tracer,
            allocation=Allocation.of(os.environ),
        )

    dispatcher = host.run(open_channels())
    return dispatcher, lambda: host.run(dispatcher.close())


def _embed_orchestrator(
    host: WallHost, settings: Settings, kernel: Kernel, recorder: Recorder, tracer: Tracer | None
) -> tuple[Dispatcher, Callable[[], None]]:
    quantum = settings.quantum
    provider = build_provider(host, settings, quantum, profiles.load(quantum.profile))
    path_policy = PathPolicy(True, Fallback.RACE, settings.orchestrator.batch_limit)
    path = assemble(host, settings, quantum, provider, path_policy, recorder, tracer=tracer)
    n = settings.kernel.n
    host.run(path.orchestrator.start(Subproblem(np.zeros((n, n)), np.zeros(n), kind=kernel.name)))
    return path.orchestrator, lambda: host.run(path.orchestrator.stop())
