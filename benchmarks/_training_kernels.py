"""What each kernel is worth to its model, by arm: K1, K2, K3 and the inference workload, with controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from torch import nn

from _training_arms import Ask, Interval, Uncounted, best, one, outcome
from shotclock.domain.circuit import Samples
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.tabu import Tabu
from shotclock.training.aggregator import Aggregator
from shotclock.training.kernels.prune_mask import PruneMask
from shotclock.training.kernels.rounding import Rounding
from shotclock.training.loops import digits_mlp, mnist_mlp
from shotclock.training.loops.classifier import Classifier, Split, gated
from shotclock.training.loops.rerank import build as build_requests
from shotclock.training.price import resized
from shotclock.training.surrogate import Quadratic

Figures = dict[str, float]

N, UNITS, KEPT, FINE_TUNING = 12, 20, 10, 100
FLIPS_EVERY = 20


@dataclass(frozen=True, slots=True)
class Effort:
    """How much: seeds; sweeps of K1 over all blocks; steps with K3, after `before` plain ones; requests.

    mnist: whether the three training kernels run on MNIST's subset too.
    """

    seeds: int
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


@dataclass(frozen=True, slots=True)
class _Data:
    """A data set and its reference networks; features of one input, steps of training before pruning."""

    name: str
    split: Callable[[], Split]
    ternary: Callable[[int], Classifier]
    rounded: Callable[[int], Classifier]
    features: int
    pretraining: int


_DIGITS = _Data(
    "digits", digits_mlp.digits, digits_mlp.build, digits_mlp.build_rounded, 64, digits_mlp.PRETRAINING
)
_MNIST = _Data("MNIST", mnist_mlp.mnist, mnist_mlp.build, mnist_mlp.build_rounded, 784, mnist_mlp.PRETRAINING)


def rows(arms: dict[str, Ask], effort: Effort) -> Iterator[Row]:
    """Kernel after kernel; whole-problem controls stand at the end of each."""
    every = {"nothing": _nothing} | arms
    for data in (_DIGITS, _MNIST) if effort.mnist else (_DIGITS,):
        for arm, ask in every.items():
            yield _row(f"rounding, {data.name}", arm, effort, partial(_rounding, data, ask, N, effort.sweeps))
        yield _row(
            f"rounding, {data.name}", "tabu on whole rows", effort, partial(_rounding, data, _tabu, 32, 1)
        )
        for arm, ask in arms.items():
            yield _row(f"prune_mask, {data.name}", arm, effort, partial(_pruning, data, ask))
        yield _row(f"prune_mask, {data.name}", "magnitude", effort, partial(_pruning, data, _nothing))
        for arm, ask in every.items():
            yield _row(
                f"qat_flip, {data.name}",
                arm,
                effort,
                partial(_flipping, data, ask, effort.before, effort.steps),
            )
        twice = partial(_flipping, data, _nothing, effort.before, 2 * effort.steps)
        yield _row(f"qat_flip, {data.name}", "twice the steps", effort, twice)
    for arm, ask in every.items():
        yield _row("diverse_rerank, digits", arm, effort, partial(_showing, ask, effort.requests))


def _row(kernel: str, arm: str, effort: Effort, run: Callable[[int], Figures]) -> Row:
    found = [run(seed) for seed in range(effort.seeds)]
    return Row(kernel, arm, {name: tuple(each[name] for each in found) for name in found[0]})


def _nothing(subproblem: Subproblem, seed: int) -> Samples:
    del seed
    return one(np.zeros(subproblem.n, np.uint8))


def _tabu(subproblem: Subproblem, seed: int) -> Samples:
    return one(Tabu(seed).solve(subproblem))


def _rounding(data: _Data, ask: Ask, n: int, sweeps: int, seed: int) -> Figures:
    """Layer losses against nearest rounding, and the held-out cross-entropy; no training between."""
    workload = data.rounded(seed)
    kernel = Rounding(workload.model, workload.activations, n, seed)
    aggregator = Aggregator(workload, kernel, "revalidate", Uncounted(), loss_check=False)
    nearest = {name: kernel.layer_loss(name) for name in kernel.layers}
    blocks = sum(layer.weight.shape[0] * -(-layer.weight.shape[1] // n) for layer in kernel.layers.values())
    for call in range(sweeps * blocks):
        proposal = kernel.propose(aggregator.version, 0)
        aggregator.offer(proposal, outcome(proposal.subproblem, ask(proposal.subproblem, call)))
    found = {
        f"loss of layer {number} ÷ nearest": kernel.layer_loss(name) / nearest[name]
        for number, name in enumerate(kernel.layers, start=2)
    }
    return found | {"held-out CE": workload.evaluate()}


def _pruning(data: _Data, ask: Ask, seed: int) -> Figures:
    """10 of 20 units kept, once: held-out cross-entropy at once, and after fine-tuning.

    An answer of another size is brought to 10 by the cheapest units, so that all arms prune alike;
    an arm that asks for nothing prunes the units of smallest weight.
    """
    split = data.split()
    workload = deepcopy(_unpruned(data, seed))
    kernel = PruneMask(workload.model, split.train_x, split.train_y, UNITS, seed, KEPT / UNITS)
    kernel.propose(0, 0)  # its first turn is the first hidden layer's; the second one's is wanted
    proposal = kernel.propose(0, 0)
    asked = proposal.subproblem
    bits = best(asked, ask(asked, seed))
    objective = Quadratic(asked.quadratic, asked.linear)
    bits = resized(objective, bits, UNITS - KEPT) if bits.any() else _thin(workload)
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


def _flipping(data: _Data, ask: Ask, before: int, steps: int, seed: int) -> Figures:
    """A call every 20 steps, late in training; the batch loss must fall for a flip to stay."""
    workload = deepcopy(_unflipped(data, before, seed))
    kernel = workload.kernel("qat_flip", N)
    aggregator = Aggregator(workload, kernel, "revalidate", Uncounted())
    for step in range(steps):
        if step % FLIPS_EVERY == 0:
            proposal = kernel.propose(aggregator.version, 0)
            aggregator.offer(proposal, outcome(proposal.subproblem, ask(proposal.subproblem, step)))
        aggregator.moved(workload.step)
    return {"held-out CE": workload.evaluate()}


@cache
def _unpruned(data: _Data, seed: int) -> Classifier:
    """Trained, once for all arms."""
    workload = Classifier("pruned", data.split(), lambda: gated(data.features, 32, UNITS, 10), seed)
    workload.pretrain(data.pretraining)
    return workload


@cache
def _unflipped(data: _Data, before: int, seed: int) -> Classifier:
    """Trained so many steps, once for all arms."""
    workload = data.ternary(seed)
    for _ in range(before):
        workload.step()
    return workload


def _showing(ask: Ask, requests: int, seed: int) -> Figures:
    """Mean loss of the requests served, each with its answer."""
    workload = build_requests(seed)
    kernel = workload.kernel("diverse_rerank", N)
    aggregator = Aggregator(workload, kernel, "revalidate", Uncounted())
    for number in range(requests):
        proposal = kernel.propose(aggregator.version, 0)
        aggregator.offer(proposal, outcome(proposal.subproblem, ask(proposal.subproblem, number)))
        aggregator.moved(workload.step)
    return {"loss a request": workload.evaluate()}
