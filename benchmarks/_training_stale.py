"""What a late answer does to the model: applied blind, or scored again on the current model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from _training_arms import Interval, outcome
from shotclock.domain.circuit import Samples
from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.ports import Kernel
from shotclock.domain.subproblem import Subproblem
from shotclock.solvers.exact import Exact
from shotclock.solvers.pools import PerturbedGreedy
from shotclock.training.aggregator import Aggregator, OnStale
from shotclock.training.audit import WRITES
from shotclock.training.kernels.rounding import Rounding
from shotclock.training.layers.parameters import add
from shotclock.training.layers.rounded import RoundedLinear
from shotclock.training.loops.classifier import Classifier
from shotclock.training.loops.digits_mlp import build, build_rounded, digits

IN_FLIGHT = (0, 1, 4, 12)
STALE_STEPS = (0, 1, 5, 20)
CALLS_A_ROW, N = 24, 12
ROUNDED = 1e-6
"""A loss that rose by less than this share of itself did not rise: the weights are float32."""


@dataclass(frozen=True, slots=True)
class Training:
    """SGD before the first answer, and between an answer's asking and its coming."""

    steps: int
    rate: float
    momentum: float

    def of(self, workload: Classifier) -> Classifier:
        """The workload, trained so."""
        for group in workload.optimizer.param_groups:
            group["lr"], group["momentum"] = self.rate, self.momentum
        for _ in range(self.steps):
            workload.step()
        return workload


@dataclass(slots=True)
class Harm:
    """Applies, and those after which the surrogate on the model as it was then, or the task's loss, rose."""

    applied: int = 0
    to_surrogate: int = 0
    to_task: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of a stale answer, and whether the batch loss must fall."""

    on_stale: OnStale
    loss_check: bool

    def __str__(self) -> str:
        name = "blind" if self.on_stale == "blind" else "revalidated"
        return f"{name} + loss check" if self.loss_check else name


POLICIES = tuple(Policy(on_stale, check) for on_stale in ("blind", "revalidate") for check in (False, True))


@dataclass(frozen=True, slots=True)
class Stale:
    """One policy at one lag: the figure it leads to, with its interval, and the harm on the way."""

    policy: Policy
    lag: int
    figure: Interval
    harm: Harm


def in_flight(seeds: int, rows: int) -> list[Stale]:
    """K1: D calls under way on one row; the rows' loss ÷ nearest rounding's after 24 calls on each."""
    policies = Policy("blind", False), Policy("revalidate", False)
    return [
        rows_with(policy, lag, seeds, rows, lambda row: row.kernel)
        for policy in policies
        for lag in IN_FLIGHT
    ]


def rows_with(policy: Policy, lag: int, seeds: int, rows: int, asking: Callable[[Row], Kernel]) -> Stale:
    """One policy at one lag, each row asked by the kernel that `asking` gives for it."""
    harm, ratios = Harm(), []
    for seed in range(seeds):
        seed_rows = [Row(seed, number) for number in range(rows)]
        nearest = sum(row.loss() for row in seed_rows)
        for row in seed_rows:
            _call(policy, lag, row, asking(row), harm)
        ratios.append(sum(row.loss() for row in seed_rows) / nearest)
    return Stale(policy, lag, Interval.of(ratios), harm)


class Row:
    """A Target: one row of layer 2 alone, so that all its calls meet; the whole network hears of it."""

    def __init__(self, seed: int, number: int) -> None:
        self.seed = 100 * seed + number
        self._network = build_rounded(seed)
        whole = self._network.model.get_submodule("2")
        if not isinstance(whole, RoundedLinear):
            raise TypeError("layer 2 of digits-rounded is rounded")
        single = nn.Linear(whole.reference.shape[1], 1)
        with torch.no_grad():
            single.weight.copy_(whole.reference[number : number + 1])
            self._activations: Tensor = self._network.model.get_submodule("0")(digits().train_x).relu()
        self._alone = nn.Sequential(RoundedLinear(single, bits=2))
        self._into = whole.weight.detach()[number]
        self.kernel = Rounding(self._alone, self, N, self.seed)

    def inputs(self, layer: str) -> Tensor:
        """See `Activations.inputs`: what stands before the row never moves."""
        del layer
        return self._activations

    def loss(self) -> float:
        """eᵀHe."""
        return self.kernel.layer_loss("0")

    def losses(self) -> tuple[float, float]:
        """The row's, and the held-out cross-entropy of the whole network."""
        return self.loss(), self._network.evaluate()

    def probe(self, delta: Delta) -> float:
        """Never asked: the surrogate is exact."""
        raise NotImplementedError(delta.parameter)

    def apply(self, delta: Delta) -> None:
        """See `Target.apply`."""
        add(self._alone, delta)
        self._into.copy_(self._alone.get_parameter("0.weight").detach()[0])


def _call(policy: Policy, lag: int, row: Row, kernel: Kernel, harm: Harm) -> None:
    aggregator = Aggregator(row, kernel, policy.on_stale, loss_check=policy.loss_check)
    under_way: deque[Proposal] = deque()
    for call in range(CALLS_A_ROW + lag):
        if call < CALLS_A_ROW:
            under_way.append(kernel.propose(aggregator.version, 0))
        if call >= lag:
            _land(aggregator, under_way.popleft(), row, harm)


def _land(aggregator: Aggregator, proposal: Proposal, row: Row, harm: Harm) -> None:
    subproblem = proposal.subproblem
    before = row.losses()
    applied = aggregator.offer(proposal, outcome(subproblem, _pool(subproblem)))
    after = row.losses()
    if applied.decision in WRITES:
        harm.applied += 1
        harm.to_surrogate += after[0] > before[0] * (1.0 + ROUNDED)
        harm.to_task += after[1] > before[1]


def _pool(subproblem: Subproblem) -> Samples:
    """The optimum, and what 256 shots around the greedy answer would bring beside it."""
    drawn = PerturbedGreedy(256).sample(subproblem).pool
    rows = np.unique(np.vstack([Exact().solve(subproblem)[None], drawn]), axis=0)
    return Samples(rows, np.ones(len(rows), np.int64))


def stale_steps(seeds: int, training: Training, proposals: int, policies: Sequence[Policy]) -> list[Stale]:
    """K3, late in training: what an answer s steps old does to the training loss, × 10³; kept out is 0."""
    changes = {(policy, lag): [0.0] * seeds for policy in policies for lag in STALE_STEPS}
    harms = {key: Harm() for key in changes}
    for seed in range(seeds):
        workload = training.of(build(seed))
        kernel = workload.kernel("qat_flip", 16)
        for _ in range(proposals):
            proposal = kernel.propose(0, 0)
            answer = outcome(proposal.subproblem, _pool(proposal.subproblem))
            for step in range(max(STALE_STEPS) + 1):
                for policy, lag in [key for key in changes if key[1] == step]:
                    aggregator = Aggregator(workload, kernel, policy.on_stale, loss_check=policy.loss_check)
                    if lag:
                        aggregator.advance(to=lag)
                    weights = {name: value.clone() for name, value in workload.model.state_dict().items()}
                    before = _training_loss(workload.model)
                    applied = aggregator.offer(proposal, answer)
                    change = _training_loss(workload.model) - before
                    workload.model.load_state_dict(weights)
                    changes[policy, lag][seed] += 1e3 * change / proposals
                    harm = harms[policy, lag]
                    harm.applied += applied.decision in WRITES
                    harm.to_task += change > 0.0
                workload.step()
    return [
        Stale(policy, lag, Interval.of(by_seed), harms[policy, lag])
        for (policy, lag), by_seed in changes.items()
    ]


@torch.no_grad()
def _training_loss(model: nn.Module) -> float:
    return float(nn.functional.cross_entropy(model(digits().train_x), digits().train_y))
