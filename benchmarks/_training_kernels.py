"""What each kernel is worth to its model, by arm: K1, K2, K3 and the inference workload, with controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from _training_arms import Ask, Interval, best, one, outcome
from shotclock.domain.circuit import Samples
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.tabu import Tabu
from shotclock.training.aggregator import Aggregator
from shotclock.training.kernels.price import resize
from shotclock.training.kernels.prune_mask import PruneMask
from shotclock.training.kernels.rounding import Rounding
from shotclock.training.kernels.surrogate import Quadratic
from shotclock.training.layers.rounded import RoundedLinear
from shotclock.training.loops.classifier import CALIBRATION, Classifier, build_gated
from shotclock.training.loops.digits_mlp import DIGITS
from shotclock.training.loops.reference import ReferenceNetwork
from shotclock.training.loops.rerank import build as build_requests

Figures = dict[str, float]
Fitted = Literal["mini-batches", "full batch"]
"""How a network was trained before it is pruned, by Adam: 1,000 steps at 0.001, or few at 0.01."""

N, UNITS, KEPT, FINE_TUNING = 12, 20, 10, 100
FLIPS_EVERY = 20


@dataclass(frozen=True, slots=True)
class Effort:
    """How much: seeds; sweeps of K1 over all blocks; steps with K3, after `before` plain ones; requests.

    more: seeds of K2, K3 and the requests, whose seeds differ more and cost less. mnist: whether the three
    training kernels run on MNIST's subset too.
    """

    seeds: int
    more: int
    sweeps: int
    before: int
    steps: int
    requests: int
    mnist: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel by one arm: each figure's values, a seed each, in the seeds' order."""

    kernel: str
    arm: str
    values: dict[str, tuple[float, ...]]

    def interval(self, figure: str) -> Interval:
        """Over the seeds."""
        return Interval.of(list(self.values[figure]))

    def less(self, other: Row, figure: str) -> Interval:
        """This arm's figure less another's, seed by seed."""
        pairs = zip(self.values[figure], other.values[figure], strict=True)
        return Interval.of([mine - theirs for mine, theirs in pairs])


def _choose_data(effort: Effort) -> tuple[ReferenceNetwork, ...]:
    if not effort.mnist:
        return (DIGITS,)
    from shotclock.training.loops.mnist_mlp import MNIST  # noqa: PLC0415 - needs the extra `mnist`

    return (DIGITS, MNIST)


def rows(arms: dict[str, Ask], effort: Effort) -> Iterator[Row]:
    """Kernel after kernel; whole-problem controls stand at the end of each."""
    every = {"nothing": _nothing} | arms
    for data in _choose_data(effort):
        yield from _run_rounding(data, every, effort)
        pruned, flipped = f"prune_mask, {data.name}", f"qat_flip, {data.name}"
        for arm, ask in [*arms.items(), ("magnitude", None)]:
            yield _row(pruned, arm, effort.more, partial(pruning, data, ask))
        for arm, ask in every.items():
            yield _row(flipped, arm, effort.more, partial(_flipping, data, ask, effort.before, effort.steps))
        twice = partial(_flipping, data, _nothing, effort.before, 2 * effort.steps)
        yield _row(flipped, "twice the steps", effort.more, twice)
    for arm, ask in every.items():
        yield _row("diverse_rerank, digits", arm, effort.more, partial(_showing, ask, effort.requests))


def _run_rounding(data: ReferenceNetwork, arms: dict[str, Ask], effort: Effort) -> Iterator[Row]:
    name = f"rounding, {data.name}"
    for arm, ask in arms.items():
        yield _row(name, arm, effort.seeds, partial(_rounding, data, ask, N, effort.sweeps))
    yield _row(name, "tabu on whole rows", effort.seeds, partial(_rounding, data, _tabu, 32, 1))


def _row(kernel: str, arm: str, seeds: int, run: Callable[[int], Figures]) -> Row:
    figures = [run(seed) for seed in range(seeds)]
    return Row(kernel, arm, {name: tuple(each[name] for each in figures) for name in figures[0]})


class _Upstream:
    """Activations as far as deltas reach: what stands before the first rounded layer is kept."""

    def __init__(self, model: nn.Module, inputs: Tensor) -> None:
        self._layers = dict(model.named_children())
        self._first = next(name for name, layer in self._layers.items() if isinstance(layer, RoundedLinear))
        self._before = self._run(inputs[:CALIBRATION], "", self._first)

    def inputs(self, layer: str) -> Tensor:
        """See `Activations.inputs`."""
        return self._run(self._before, self._first, layer)

    @torch.no_grad()
    def _run(self, tensor: Tensor, begin: str, end: str) -> Tensor:
        names = list(self._layers)
        for name in names[names.index(begin) if begin else 0 : names.index(end)]:
            tensor = self._layers[name](tensor)
        return tensor


def _nothing(subproblem: Subproblem, seed: int) -> Samples:
    del seed
    return one(np.zeros(subproblem.n, np.uint8))


def _tabu(subproblem: Subproblem, seed: int) -> Samples:
    return one(Tabu(seed).solve(subproblem))


def _rounding(data: ReferenceNetwork, ask: Ask, n: int, sweeps: int, seed: int) -> Figures:
    """Layer losses against nearest rounding, and the held-out cross-entropy; no training between."""
    workload = data.build_rounded(seed)
    kernel = Rounding(workload.model, _Upstream(workload.model, data.split().train_x), n, seed)
    aggregator = Aggregator(workload, kernel, "revalidate", loss_check=False)
    nearest = {name: kernel.layer_loss(name) for name in kernel.layers}
    blocks = sum(layer.weight.shape[0] * -(-layer.weight.shape[1] // n) for layer in kernel.layers.values())
    for call in range(sweeps * blocks):
        proposal = kernel.propose(aggregator.version, 0)
        aggregator.offer(proposal, outcome(proposal.subproblem, ask(proposal.subproblem, call)))
    figures = {
        f"loss of layer {number} ÷ nearest": kernel.layer_loss(name) / nearest[name]
        for number, name in enumerate(kernel.layers, start=2)
    }
    return figures | {"held-out CE": workload.evaluate()}


def pruning(data: ReferenceNetwork, ask: Ask | None, seed: int, fitted: Fitted = "mini-batches") -> Figures:
    """10 of 20 units kept, once: held-out cross-entropy at once, and after fine-tuning.

    An answer of another size is brought to 10 by the cheapest units, so that all arms prune alike. Without
    anyone to ask, the units of smallest weight go.
    """
    split = data.split()
    workload = deepcopy(_train_unpruned(data, seed, fitted))
    kernel = PruneMask(workload.model, split.train_x, split.train_y, UNITS, seed, KEPT / UNITS)
    kernel.propose(0, 0)  # its first turn is the first hidden layer's; the second one's is wanted
    proposal = kernel.propose(0, 0)
    subproblem = proposal.subproblem
    bits = _thin(workload) if ask is None else best(subproblem, ask(subproblem, seed))
    bits = resize(Quadratic(subproblem.quadratic, subproblem.linear), bits, UNITS - KEPT)
    workload.apply(kernel.delta(proposal, bits, 0))
    pruned = workload.evaluate()
    for _ in range(FINE_TUNING):
        workload.step()
    return {"held-out CE, pruned": pruned, f"after {FINE_TUNING} steps": workload.evaluate()}


def _thin(workload: Classifier) -> Bits:
    """The units of smallest incoming weight."""
    layer = [module for module in workload.model.modules() if isinstance(module, nn.Linear)][1]
    bits = np.zeros(UNITS, np.uint8)
    bits[layer.weight.detach().norm(dim=1).argsort()[: UNITS - KEPT].numpy()] = 1
    return bits


def _flipping(data: ReferenceNetwork, ask: Ask, before: int, steps: int, seed: int) -> Figures:
    """A call every 20 steps, late in training; the batch loss must fall for a flip to stay."""
    workload = deepcopy(_train_unflipped(data, before, seed))
    kernel = workload.kernel("qat_flip", N)
    aggregator = Aggregator(workload, kernel, "revalidate")
    for step in range(steps):
        if step % FLIPS_EVERY == 0:
            proposal = kernel.propose(aggregator.version, 0)
            aggregator.offer(proposal, outcome(proposal.subproblem, ask(proposal.subproblem, step)))
        aggregator.run_step(workload.step)
    return {"held-out CE": workload.evaluate()}


@cache
def _train_unpruned(data: ReferenceNetwork, seed: int, fitted: Fitted) -> Classifier:
    """Trained, once for all arms; it goes on as it was trained, from all data by SGD."""
    layers = partial(build_gated, data.widths[0], 32, UNITS, data.widths[-1])
    workload = Classifier("pruned", data.split(), layers, seed)
    if fitted == "full batch":
        workload.pretrain(data.pretraining)
    else:
        workload.optimizer = torch.optim.Adam(workload.model.parameters(), lr=0.001)
        for _ in range(1000):
            workload.step()
    return workload


@cache
def _train_unflipped(data: ReferenceNetwork, before: int, seed: int) -> Classifier:
    """Trained so many steps, once for all arms."""
    workload = data.ternary(seed)
    for _ in range(before):
        workload.step()
    return workload


def _showing(ask: Ask, requests: int, seed: int) -> Figures:
    """Mean loss of the requests served, each with its answer."""
    workload = build_requests(seed)
    kernel = workload.kernel("diverse_rerank", N)
    aggregator = Aggregator(workload, kernel, "revalidate")
    for number in range(requests):
        proposal = kernel.propose(aggregator.version, 0)
        aggregator.offer(proposal, outcome(proposal.subproblem, ask(proposal.subproblem, number)))
        aggregator.run_step(workload.step)
    return {"loss a request": workload.evaluate()}
