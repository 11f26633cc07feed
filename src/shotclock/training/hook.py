"""Shotclock in a user's training loop: attach it to a torch optimizer, and detach it again.

    handle = attach(optimizer, model=model, kernel=kernel, caller=caller, clock=clock)
    ...            # the loop does not change
    handle.detach()

It uses torch's own optimizer hooks: after each `step`, arrived answers are applied and due calls are made
(closures and gradient accumulation included: optimizer steps count, backward passes do not). The optimizer's
`state_dict` gains one key, `shotclock`, which an optimizer without Shotclock ignores: the counters, the
kernel's state (`stateful`), and the calls in flight. Loading a checkpoint decides each such call `dropped`.
Under torchrun, rank zero makes the calls and every rank applies its decisions at the same step
(`distributed`).
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.delta import Delta
from shotclock.domain.errors import KernelError, RunError, SettingsError
from shotclock.domain.iteration import CallCounts, FinishedCall
from shotclock.domain.memory import NO_LIMIT, MemoryLimit
from shotclock.domain.ports import Caller, Clock, Kernel
from shotclock.domain.recorders import StageRecorder
from shotclock.domain.trace import Tracer
from shotclock.training.aggregator import UNBOUNDED, Aggregator, OnStale
from shotclock.training.audit import NO_AUDIT, Audit
from shotclock.training.calls import UNCOUNTED, CallPolicy, Calls
from shotclock.training.distributed import DEFAULT_TIMEOUT_S, Ranks, join_ranks
from shotclock.training.layers.parameters import add, apply_temporarily, check_attachable, evaluation_mode
from shotclock.training.mode import Mode, ModeSwitch
from shotclock.training.observe import CallObserver, rank
from shotclock.training.optimizer_state import OptimizerState
from shotclock.training.optimizers import ATTACHED, find_hookable, is_dry_step, is_inner_step

KEY = "shotclock"
SCHEMA = 2

log = logging.getLogger(__name__)


DEFAULT_POLICY = CallPolicy(
    every=20,
    mode="auto",
    budget_ns=200 * NS_PER_MS,
    wait_limit_ns=30_000 * NS_PER_MS,
    # Calls overlap with training until they are measured to be fast enough to wait for.
    predicted_p95_s=math.inf,
)


def no_loss_check() -> float:
    """The default: no loss check; the kernel's surrogate alone decides on answers."""
    return math.nan


class _Failures:
    """A kernel that fails stops no training: failures are logged, the 1st, 2nd, 4th, 8th and so on."""

    def __init__(self) -> None:
        self._count = 0

    def record(self, error: KernelError) -> None:
        self._count += 1
        if self._count & (self._count - 1) == 0:
            log.warning("attach: %s (failure %d; training continues without this call)", error, self._count)


class _Target:
    """A Target: a model with its optimizer's state, and the loss that a change of the model must lower."""

    def __init__(self, model: nn.Module, state: OptimizerState, loss: Callable[[], float | Tensor]) -> None:
        self._model = model
        self._state = state
        self._loss = loss
        self._written: list[Delta] = []

    def take_applied(self) -> list[Delta]:
        """The deltas applied since the last call, in order."""
        applied, self._written = self._written, []
        return applied

    @torch.no_grad()
    def probe(self, delta: Delta) -> float:
        with evaluation_mode(self._model):
            before = self._number()
            with apply_temporarily(self._model, delta):
                return self._number() - before

    def apply(self, delta: Delta) -> None:
        self._state.adjust(add(self._model, delta))
        self._written.append(delta)

    def observe_step(self) -> None:
        """After each step of the optimizer."""
        self._state.observe_step()

    def _number(self) -> float:
        loss = self._loss()
        if isinstance(loss, Tensor) and loss.numel() != 1:
            raise RunError(f"attach: loss must return one number (got a tensor of shape {tuple(loss.shape)})")
        try:
            return float(loss)
        except (TypeError, ValueError) as error:
            raise RunError(f"attach: loss must return one number (got {type(loss).__name__})") from error


class Attached:
    """What `attach` returns; `detach` removes every hook and leaves model and optimizer unchanged."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        target: _Target,
        calls: Calls,
        aggregator: Aggregator,
        clock: Clock,
        ranks: Ranks,
    ) -> None:
        self._calls = calls
        self._aggregator = aggregator
        self._clock = clock
        self._trained = model
        self._target = target
        self._ranks = ranks
        self._model = _fingerprint(model)
        self._step = 0
        self._restored: Mapping[str, Any] = {}
        self._optimizer = optimizer
        ATTACHED.add(optimizer)
        self._hooks = [
            # Compiled into the loop's graph, the hook would run only while it is traced.
            optimizer.register_step_post_hook(torch.compiler.disable(self._after_step)),  # type: ignore[no-untyped-call]
            optimizer.register_state_dict_post_hook(self._save_state),
            optimizer.register_load_state_dict_pre_hook(self._check_state),
            optimizer.register_load_state_dict_post_hook(self._after_load),
        ]

    @property
    def version(self) -> int:
        """The model's present version."""
        return self._aggregator.version

    @property
    def steps(self) -> int:
        """Optimizer steps seen, those before a restored checkpoint included."""
        return self._step

    @property
    def mode(self) -> Mode:
        """How calls meet training now; on ranks other than zero, the initial mode."""
        return self._calls.chooser.mode

    @property
    def mode_changes(self) -> list[ModeSwitch]:
        """The changes made by "auto", in order."""
        return self._calls.chooser.changes

    def summary(self) -> CallCounts:
        """How many calls fell due since `attach`, how many were made, and why the others were not.

        Counted on rank zero, which makes the calls; all zero on the other ranks.
        """
        return self._calls.counts

    @torch.inference_mode(False)
    def flush(self) -> None:
        """Waits for calls in flight and applies their answers: at an epoch's end, before an evaluation.

        With several ranks, all of them must flush, after the same step. Does nothing once detached.
        """
        if not self._hooks:
            return
        if self._ranks.rank == 0:
            self._calls.flush()
        self._share(f"the flush after step {self._step}")
        self._ranks.check_same(self._trained, f"the flush after step {self._step}")

    def detach(self) -> None:
        """Removes the hooks; answers still in flight are not applied. A second call does nothing.

        With several ranks, all of them must detach, after the same step.
        """
        if not self._hooks:
            return
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._calls.end_spans()
        if self._calls.counts.skipped or self._calls.counts.failed_answers:
            log.warning("attach: %s", self._calls.counts)
        ATTACHED.discard(self._optimizer)
        self._ranks.close()

    @torch.inference_mode(False)
    def _after_step(self, *_: object) -> None:
        if is_inner_step(self._optimizer) or is_dry_step(self._optimizer):
            return
        boundary = self._clock.now_ns()
        self._aggregator.advance()
        self._step += 1
        self._target.observe_step()
        if self._ranks.rank == 0:
            self._calls.run_boundary(self._step, boundary)
        self._share(f"step {self._step}")

    def _share(self, when: str) -> None:
        """Applies rank zero's deltas on every rank; RunError if the models then differ."""
        shared = self._ranks.share(self._target.take_applied())
        for delta in shared if self._ranks.rank else ():
            if not self._aggregator.compare_and_swap(delta):
                raise RunError(
                    f"distributed: at {when}, rank {self._ranks.rank} is at version {self.version} and "
                    f"rank zero changed version {delta.base_version}; "
                    f"step, load and flush alike on every rank"
                )
        if shared:
            self._ranks.check_same(self._trained, when)

    def state_dict(self) -> dict[str, Any]:
        """What the optimizer's `state_dict` holds under the key `shotclock`, in plain values.

        For checkpoints that drop unknown keys, as torch.distributed.checkpoint's do.
        """
        # Plain values, so that torch.load(weights_only=True) can read them.
        return {
            "schema": SCHEMA,
            "model": self._model,
            "version": self.version,
            "step": self._step,
            "kernel": self._calls.kernel_state(),
            "in_flight": self._calls.in_flight(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resumes from what `state_dict` returned; if it does not fit, SettingsError and no change."""
        self._check(state)
        self._load()

    def _save_state(self, _: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        state[KEY] = self.state_dict()

    def _check_state(self, _: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """Runs before torch loads anything, so that a checkpoint that does not fit changes nothing."""
        self._check(state.get(KEY, {}))

    def _check(self, state: Any) -> None:
        if state and not isinstance(state, dict):
            raise SettingsError(f"checkpoint: '{KEY}' is {type(state).__name__}, not what Shotclock wrote")
        if state and state.get("schema") != SCHEMA:
            raise SettingsError(
                f"checkpoint: '{KEY}.schema' is {state.get('schema')!r}, this version reads {SCHEMA}; "
                f"load it with the Shotclock that wrote it, or delete the key '{KEY}' to restart the counters"
            )
        if state and state.get("model") != self._model:
            raise SettingsError(
                "checkpoint: was written for another model (names or shapes of its parameters differ); build "
                "the model it was written for before loading it"
            )
        for field in ("version", "step"):
            if state and not (isinstance(state.get(field), int) and state[field] >= 0):
                raise SettingsError(f"checkpoint: '{KEY}.{field}' is {state.get(field)!r}, not a count")
        if state:
            self._check_calls(state)
        self._restored = state

    def _check_calls(self, state: Mapping[str, Any]) -> None:
        kernel, lost = state.get("kernel"), state.get("in_flight")
        if not (isinstance(kernel, dict) and kernel.keys() >= {"name", "state"}):
            raise SettingsError(f"checkpoint: '{KEY}.kernel' is {kernel!r}, not a kernel's name and state")
        if not (isinstance(lost, list) and all(isinstance(call, list) and len(call) == 2 for call in lost)):
            raise SettingsError(f"checkpoint: '{KEY}.in_flight' is {lost!r}, not calls and their versions")
        self._calls.try_kernel_state(kernel)

    def _after_load(self, _: torch.optim.Optimizer) -> None:
        self._load()

    def _load(self) -> None:
        """Resumes from the checked state. The model has changed, so calls in flight are stale."""
        # After step 0 this handle knows its own calls; only a new handle takes those of the ended process.
        lost = self._restored.get("in_flight", []) if self._step == 0 and self._ranks.rank == 0 else []
        self._step = int(self._restored.get("step", self._step))
        self._aggregator.advance(to=int(self._restored.get("version", 0)))
        if self._restored:
            self._calls.load_kernel_state(self._restored["kernel"])
        self._calls.drop(lost)


def attach(
    optimizer: torch.optim.Optimizer,
    *,
    model: nn.Module,
    kernel: Kernel,
    caller: Caller,
    clock: Clock,
    policy: CallPolicy = DEFAULT_POLICY,
    loss: Callable[[], float | Tensor] = no_loss_check,
    on_stale: OnStale = "revalidate",
    stale_limit: int = UNBOUNDED,
    observers: Sequence[CallObserver] = (),
    audit: Audit = NO_AUDIT,
    recorder: StageRecorder = UNCOUNTED,
    tracer: Tracer | None = None,
    environ: Mapping[str, str] = os.environ,
    ranks_timeout_s: float = DEFAULT_TIMEOUT_S,
    memory: MemoryLimit = NO_LIMIT,
) -> Attached:
    """Makes a call every `policy.every` optimizer steps and applies each answer where it still holds.

    model: holds the parameters that the kernel's deltas name; without the wrapper of DDP or torch.compile.
    policy: the default overlaps with training until the measured p95 fits 200 ms, then waits inline.
    loss: returns one number, evaluated before and after a change on data of the caller's choice; a change
        must lower it. Without it the kernel's surrogate alone decides: enough for `rounding`, not for
        `qat_flip`.
    observers: called with each finished call on rank zero.
    tracer: makes a span of each call; None without traces.
    ranks_timeout_s: how long a rank waits for another rank at a step boundary, seconds.
    memory: bounds the calls in flight, in addition to the policy.

    Raises SettingsError if the optimizer steps no parameter of the model, has Shotclock attached already, or
    several ranks have no process group; RunError if the ranks start from different parameters. A kernel that
    fails later is logged and counted (`summary`), and never ends a step.
    """
    outer, optimizer = optimizer, find_hookable(optimizer)
    moved = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not any(id(parameter) in moved for parameter in model.parameters()):
        raise SettingsError(
            "attach: the optimizer steps no parameter of this model; pass the model it trains"
        )
    if optimizer in ATTACHED:
        raise SettingsError("attach: Shotclock is attached to this optimizer already; detach that one first")
    if not callable(loss):
        raise SettingsError(f"attach: loss must be a function without arguments (got {type(loss).__name__})")
    check_attachable(model)
    target = _Target(model, OptimizerState(outer), loss)
    aggregator = Aggregator(
        target,
        kernel,
        on_stale,
        stale_limit=stale_limit,
        loss_check=loss is not no_loss_check,
        audit=audit,
    )
    active_observers = tuple(observers) if rank(environ) == 0 else ()
    ranks = join_ranks(model, environ, ranks_timeout_s)

    def notify_observers(call: FinishedCall) -> None:
        for observer in active_observers:
            observer(call)

    calls = Calls(
        aggregator,
        caller=caller,
        clock=clock,
        policy=policy,
        ended=notify_observers,
        failed=_Failures().record,
        recorder=recorder,
        tracer=tracer,
        memory=memory,
    )
    return Attached(optimizer, model, target, calls, aggregator, clock, ranks)


def _fingerprint(model: nn.Module) -> str:
    """SHA-256 of the names and shapes of the parameters."""
    shapes = "\n".join(f"{name} {tuple(value.shape)}" for name, value in model.named_parameters())
    return hashlib.sha256(shapes.encode()).hexdigest()
