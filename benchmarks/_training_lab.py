"""The lab's recipes where ours differ: one factor at a time, until its figures come out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from _training_arms import Ask, Interval
from _training_kernels import UNITS, Fitted, pruning
from _training_stale import IN_FLIGHT, STALE_STEPS, Policy, Row, Stale, Training, rows_with, stale_steps
from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.training.kernels.rounding import Block, Rounding
from shotclock.training.loops.digits_mlp import DIGITS

BLIND = Policy("blind", False)
PLAIN_SGD = Training(1000, 0.05, 0.0)
MOMENTUM = Training(1000, 0.01, 0.9)
PRUNED = ("exact", "greedy", "magnitude")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A row: what was changed, and its figures in the table's columns."""

    words: str
    figures: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class Ladder:
    """Rows that each change one thing more; the lab's figures stand below them. words: what is shown."""

    name: str
    words: str
    columns: tuple[str, ...]
    lab: tuple[float, ...]
    rows: tuple[Recipe, ...]


class DrawnBlocks:
    """A Kernel: `rounding` of one row, each call's columns drawn at random instead of in sweeps.

    toggles: a chosen bit flips its weight's level at the time the answer arrives; `rounding`'s bit names the
    level to set.
    """

    name = "rounding"
    loss_check = False

    def __init__(self, kernel: Rounding, seed: int, *, toggles: bool) -> None:
        self._kernel = kernel
        self._toggles = toggles
        self._rng = np.random.default_rng(seed)

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        """See `Kernel.propose`."""
        proposed = self._kernel.propose(base_version, budget_ns)
        block = _block(proposed)
        layer = self._kernel.layers[block.layer]
        width = layer.weight.shape[1]
        columns = np.sort(self._rng.permutation(width)[: len(block.columns)])
        draw_kernels = Block(block.layer, 0, columns, 1.0 - layer.above_floor(0, torch.from_numpy(columns)))
        proposal = Proposal(proposed.subproblem, draw_kernels)
        return Proposal(self._kernel.rebuild(proposal, base_version), draw_kernels)

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """See `Kernel.rebuild`."""
        return self._kernel.rebuild(proposal, version)

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """See `Kernel.delta`."""
        if not self._toggles:
            return self._kernel.delta(proposal, bits, version)
        block = _block(proposal)
        layer = self._kernel.layers[block.layer]
        standing = layer.above_floor(0, torch.from_numpy(block.columns)).numpy()
        chosen = bits.astype(bool)
        steps = (1.0 - 2.0 * standing[chosen]) * float(layer.scale[0])
        return Delta(version, f"{block.layer}.weight", block.columns[chosen], steps.astype(np.float32))


def ladders(
    in_flight: list[Stale],
    after_steps: list[Stale],
    settled: Training,
    arms: dict[str, Ask],
    seeds: int,
    rows: int,
) -> list[Ladder]:
    """One a kernel; what the late answers' tables hold (K3's after `settled`) is not measured again."""
    return [
        _calls_in_flight(in_flight, seeds, rows),
        _run_pruning(arms, seeds),
        _stale(after_steps, settled, seeds),
    ]


def _calls_in_flight(in_flight: list[Stale], seeds: int, rows: int) -> Ladder:
    def draw_kernels(toggles: bool) -> tuple[Interval, ...]:
        def asking(row: Row) -> DrawnBlocks:
            return DrawnBlocks(row.kernel, row.seed, toggles=toggles)

        return tuple(rows_with(BLIND, lag, seeds, rows, asking).figure for lag in IN_FLIGHT)

    return Ladder(
        "K1, blind",
        "K1's rows with answers applied blind. A bit of ours names the level its weight goes to, so late "
        "answers of one block push the same way again and again; a bit that toggles undoes the one before, "
        "which bounds the harm.",
        tuple(f"D = {lag}" for lag in IN_FLIGHT),
        (0.038, 0.60, 1.15, 1.98),
        (
            Recipe("ours: blocks in sweeps, a bit names a level", _blind(in_flight)),
            Recipe("each block drawn at random", draw_kernels(toggles=False)),
            Recipe("and a bit toggles", draw_kernels(toggles=True)),
        ),
    )


def _run_pruning(arms: dict[str, Ask], seeds: int) -> Ladder:
    def prune(fitted: Fitted) -> tuple[Interval, ...]:
        by_arm = [[pruning(DIGITS, arms.get(arm), seed, fitted) for seed in range(seeds)] for arm in PRUNED]
        return tuple(
            Interval.of([figure[name] for figure in figures]) for figures in by_arm for name in figures[0]
        )

    return Ladder(
        "K2",
        f"K2, 10 of {UNITS} units, held-out cross-entropy: the network that is pruned decides. After few, "
        "large, full-batch steps of Adam its units differ more: a poor choice costs more, and SGD mends it "
        "sooner.",
        tuple(f"{arm}, {when}" for arm in PRUNED for when in ("pruned", "tuned")),
        (0.351, 0.212, 0.485, 0.231, 1.06, 0.272),
        (
            Recipe("Adam at 0.01, 150 full-batch steps, then SGD", prune("full batch")),
            Recipe("Adam at 0.001, 1,000 mini-batches: the table above", prune("mini-batches")),
        ),
    )


def _stale(after_steps: list[Stale], settled: Training, seeds: int) -> Ladder:
    def train(training: Training) -> tuple[Interval, ...]:
        return _blind(stale_steps(seeds, training, 4, (BLIND,)))

    return Ladder(
        "K3, blind",
        "K3's answers applied blind, change of the training loss × 10³. Momentum decides whether an answer "
        "one step old still helps (the smaller rate that goes with it does not); training longer makes every "
        "change smaller.",
        tuple(f"s = {lag}" for lag in STALE_STEPS),
        (-2.4, -0.5, 7.4, 7.0),
        (
            Recipe("SGD at 0.05, 1,000 steps", train(PLAIN_SGD)),
            Recipe("momentum 0.9 at 0.01, 1,000 steps", train(MOMENTUM)),
            Recipe(f"and {settled.steps:,} steps: the table above", _blind(after_steps)),
        ),
    )


def _blind(stale_rows: list[Stale]) -> tuple[Interval, ...]:
    return tuple(stale.figure for stale in stale_rows if stale.policy == BLIND)


def _block(proposal: Proposal) -> Block:
    if not isinstance(proposal.context, Block):
        raise TypeError("not a proposal of rounding")
    return proposal.context
