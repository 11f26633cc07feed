"""Late answers and desynchronized versions: `stale-updates` on virtual time, protections off and on.

The production path runs from kernel to model (calls, orchestrator, EMULATED provider, aggregator) on virtual
time. Only the delays are synthetic: a share of the jobs returns seconds late.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from shotclock.app.fault_injection import DelayInjectingProvider, FrozenHost, Spikes
from shotclock.app.quantum_path import PathPolicy, assemble, build_provider
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.delta import Delta
from shotclock.domain.errors import RunError
from shotclock.domain.iteration import FinishedCall
from shotclock.domain.ports import Kernel
from shotclock.emulator import profile as profiles
from shotclock.orchestrator.answers import Fallback
from shotclock.settings import load
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.training.aggregator import Aggregator, OnStale, UpdateTarget
from shotclock.training.audit import WRITES
from shotclock.training.calls import CallPolicy, Calls
from shotclock.training.kernels.rounding import Rounding
from shotclock.training.layers.activations import Calibrated
from shotclock.training.layers.parameters import add
from shotclock.training.layers.rounded import RoundedLinear
from shotclock.training.loops.digits_mlp import build, build_rounded, digits

SPIKES = Spikes(share=0.3, median_s=3.0)
STEP_S = 0.12
"""One training iteration of the specification's medium model."""
N, ROWS, IN_FLIGHT = 12, 2, 12
ROUNDING_STEPS = 40
FLIPPING_STEPS, TRAINED, LOOK_EVERY = 120, 400, 10
ROUNDED = 1e-6
"""A loss that rose by less than this share counts as unchanged, because the weights are float32."""
ENOUGH = 10.0
"""The unprotected loss ÷ the protected one above which the failure has been demonstrated."""

Arm = Literal["unprotected", "protected", "no calls"]


@dataclass(frozen=True, slots=True)
class Protections:
    """The protections of the model against late answers.

    arm: the arm they belong to.
    on_stale: how the aggregator treats stale answers.
    loss_check: whether a kernel's loss check is made.
    path: admission and fallback of the orchestrator.
    budget_ms: each call's budget, milliseconds.
    """

    arm: Arm
    on_stale: OnStale
    loss_check: bool
    path: PathPolicy
    budget_ms: float


OFF = Protections("unprotected", "blind", False, PathPolicy(False, Fallback.NONE, 8, caches=False), 600_000.0)
ON = Protections("protected", "revalidate", True, PathPolicy(True, Fallback.RACE, 8, caches=False), 200.0)


@dataclass(frozen=True, slots=True)
class RoundingResult:
    """K1 in one arm.

    arm: the arm.
    loss_ratio: the layer's final loss ÷ that of nearest rounding.
    course: the same ratio at every step.
    calls: calls made.
    answers: calls by how they ended.
    applied: answers applied.
    harmful: applied answers that raised the loss, which here is the surrogate itself.
    answered_p50_ms: median time from the step boundary to the training thread.
    answered_longest_ms: longest such time.
    """

    arm: Arm
    loss_ratio: float
    course: tuple[float, ...]
    calls: int
    answers: dict[str, int]
    applied: int
    harmful: int
    answered_p50_ms: float
    answered_longest_ms: float


@dataclass(frozen=True, slots=True)
class FlippingResult:
    """K3 in one arm.

    arm: the arm.
    course: the held-out loss every LOOK_EVERY steps, the first before any call.
    calls: calls made.
    applied: answers applied.
    """

    arm: Arm
    course: tuple[float, ...]
    calls: int
    applied: int


@dataclass(frozen=True, slots=True)
class StaleUpdates:
    """The drill's results; all EMULATED."""

    seed: int
    rounding: tuple[RoundingResult, RoundingResult]
    flipping: tuple[FlippingResult, ...]

    @property
    def ratio(self) -> float:
        """K1's unprotected loss ÷ the protected one."""
        unprotected, protected = self.rounding
        return unprotected.loss_ratio / protected.loss_ratio

    @property
    def has_passed(self) -> bool:
        """Whether the failure was demonstrated, and the protections prevented every harmful change."""
        return self.ratio > ENOUGH and self.rounding[1].harmful == 0

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        unprotected, protected = self.rounding
        if self.ratio <= ENOUGH:
            return (
                f"INCONCLUSIVE: K1's unprotected layer loss ended at {self.ratio:.1f} times the protected "
                f"one, under the {ENOUGH:g} that demonstrate the failure; try another seed"
            )
        failure = (
            f"Without protections {unprotected.harmful} of {unprotected.applied} applied answers raised K1's "
            f"layer loss, which ended at {self.ratio:.0f} times the protected one"
        )
        if protected.harmful:
            return f"FAILED: {failure}; with them {protected.harmful} still did"
        return f"PROTECTED: {failure}; with them none of {protected.applied} did. EMULATED, on virtual time"


class _Rows:
    """A Target: ROWS rows of a rounded layer, which measures its loss before and after every write."""

    def __init__(self, seed: int) -> None:
        network = build_rounded(seed).model
        whole = network.get_submodule("2")
        if not isinstance(whole, RoundedLinear):
            raise TypeError("layer 2 of digits-rounded is rounded")
        rows = nn.Linear(whole.reference.shape[1], ROWS)
        with torch.no_grad():
            rows.weight.copy_(whole.reference[:ROWS])
        self._model = nn.Sequential(network.get_submodule("0"), nn.ReLU(), RoundedLinear(rows, bits=2))
        self.kernel = Rounding(self._model, Calibrated(self._model, digits().train_x), N, seed)
        self.harmful = 0

    def loss(self) -> float:
        return self.kernel.layer_loss("2")

    def probe(self, delta: Delta) -> float:
        raise RunError(f"rounding: its surrogate is exact, {delta.parameter} needs no loss check")

    def apply(self, delta: Delta) -> None:
        before = self.loss()
        add(self._model, delta)
        self.harmful += self.loss() > before * (1.0 + ROUNDED)


def stale_updates(seed: int, report: Callable[[str], None]) -> StaleUpdates:
    """Runs the drill; calls `report` with one line per phase."""
    rounding = []
    for protections in (OFF, ON):
        report(f"K1 rounding, {protections.arm}")
        rounding.append(_round_weights(protections, seed))
    report("K3 qat_flip, no calls")
    flipping = [_train_alone(seed)]
    for protections in (OFF, ON):
        report(f"K3 qat_flip, {protections.arm}")
        flipping.append(_flip_weights(protections, seed))
    return StaleUpdates(seed, (rounding[0], rounding[1]), tuple(flipping))


def _round_weights(how: Protections, seed: int) -> RoundingResult:
    layer = _Rows(seed)
    nearest, course = layer.loss(), []
    calls = _run(
        how, seed, layer.kernel, layer, ROUNDING_STEPS, lambda: course.append(layer.loss() / nearest)
    )
    answered_ms = [(call.received_ns - call.boundary_ns) / NS_PER_MS for call in calls]
    return RoundingResult(
        how.arm,
        layer.loss() / nearest,
        tuple(course),
        len(calls),
        dict(Counter(type(call.outcome).__name__ for call in calls)),
        _count_applied(calls),
        layer.harmful,
        float(np.median(answered_ms)),
        max(answered_ms),
    )


def _flip_weights(how: Protections, seed: int) -> FlippingResult:
    workload = build(seed)
    for _ in range(TRAINED):
        workload.step()
    losses = [workload.evaluate()]

    def step() -> None:
        workload.step()
        losses.append(workload.evaluate())

    calls = _run(how, seed, workload.kernel("qat_flip", N), workload, FLIPPING_STEPS, step)
    return FlippingResult(how.arm, tuple(losses[::LOOK_EVERY]), len(calls), _count_applied(calls))


def _train_alone(seed: int) -> FlippingResult:
    workload = build(seed)
    losses = []
    for _ in range(TRAINED + FLIPPING_STEPS):
        workload.step()
        losses.append(workload.evaluate())
    return FlippingResult("no calls", tuple(losses[TRAINED - 1 :: LOOK_EVERY]), 0, 0)


def _run(
    how: Protections, seed: int, kernel: Kernel, target: UpdateTarget, steps: int, step: Callable[[], None]
) -> list[FinishedCall]:
    """Trains for this many iterations with calls at every step, up to IN_FLIGHT in flight."""
    host = FrozenHost()
    try:
        settings = load(None, {})
        quantum = settings.quantum
        provider = build_provider(host, settings, quantum, profiles.load(quantum.profile))
        recorder = PrometheusRecorder(Metrics(), "drill")
        path = assemble(
            host, settings, quantum, DelayInjectingProvider(provider, SPIKES, seed), how.path, recorder
        )
        host.run(path.orchestrator.start(kernel.propose(0, 0).subproblem))
        loss_check = how.loss_check and kernel.loss_check
        aggregator = Aggregator(target, kernel, how.on_stale, loss_check=loss_check)
        policy = CallPolicy(
            1, "overlap", round(how.budget_ms * NS_PER_MS), at_once=IN_FLIGHT, in_flight=IN_FLIGHT
        )
        finished: list[FinishedCall] = []
        calls = Calls(
            aggregator,
            caller=host.caller(path.orchestrator),
            clock=host.clock,
            policy=policy,
            ended=finished.append,
        )
        for number in range(steps):
            calls.run_boundary(number, host.clock.now_ns())
            aggregator.run_step(step)
            # Slept on the virtual loop, so that events within the iteration happen at their own instants.
            host.run(asyncio.sleep(STEP_S))
        calls.flush()
        host.run(path.orchestrator.stop())
        return finished
    finally:
        host.close()


def _count_applied(calls: list[FinishedCall]) -> int:
    return sum(call.applied.decision in WRITES for call in calls)
