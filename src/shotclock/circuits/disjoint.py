"""Sets of lines that share no qubit, so that many templates run side by side on one chip.

Two searches run, and the better result is used. The greedy search takes the best remaining line each time:
few lines, but the best ones. The sweep packs: it goes from one end of the chip to the other, covers the
first open qubit by every line through it, and keeps the sets that strand the fewest qubits and have the
least expected error. On IBM's fake Torino, Fez and Marrakesh it finds, for n = 8, 12 and 16, as many lines
as an integer program proves possible, at up to 5 % more expected error (tests/unit/test_lines.py checks
Torino at 12).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from shotclock.circuits.lines import Layout, Line, best_line_of, layout
from shotclock.domain.errors import SettingsError

if TYPE_CHECKING:
    from qiskit.transpiler import Target

WIDTH = 200
# On a square lattice, whose qubits have four neighbours, thousands of lines pass through a qubit. There the
# sweep keeps fewer sets and tries only the best lines, so that it takes about as long as on a heavy-hex chip.
# On IBM's fake Miami it then places 19 of 20 lines of 6 qubits, 13 of 15 of 8 and 7 of 10 of 12.
HEAVY_HEX_NEIGHBOURS = 3
SQUARE_WIDTH = 20
SQUARE_LINES_THROUGH = 200
# Lines considered from one qubit: on a heavy-hex chip all of them up to about n = 28, above that the best.
LINES_FROM_A_QUBIT = 512
# How many consecutive open qubits the sweep may skip; each of them is stranded for this size.
SKIPS = 3
# Cost of a stranded qubit, in the units of Layout.cost: a low cost prefers good lines, a high one many lines.
STRANDED = (0.3, 1.0)

Lines = tuple[Line, ...]


def disjoint_lines(target: Target, n: int, at_most: int | None = None) -> Lines:
    """As many disjoint lines of n qubits as the searches find, in order of increasing expected error.

    at_most: the limit; fewer lines may be better ones. None: as many as fit. Deterministic for a target.
    Raises SettingsError if the device does not have such a line.
    """
    if n < 1 or (at_most is not None and at_most < 1):
        raise SettingsError(f"{at_most} lines of {n} qubits: both numbers must be at least 1")
    working = layout(target)
    number = len(working.readout) // n if at_most is None else at_most
    sets = [_greedy(working, n, number), *_sweeps(working, (n,) * number)]
    most = max(len(lines) for lines in sets)
    best = min(
        (lines for lines in sets if len(lines) == most),
        key=lambda lines: (sum(map(working.cost, lines)), lines),
    )
    return tuple(sorted(best, key=lambda line: (working.cost(line), line)))


def disjoint_lines_for(target: Target, sizes: Sequence[int]) -> Lines:
    """A line for each of these sizes, in their order; of equal sizes the first gets the better line.

    Places the largest first. Raises SettingsError if they do not all fit.
    """
    working = layout(target)
    order = sorted(range(len(sizes)), key=lambda index: -sizes[index])
    largest_first = tuple(sizes[index] for index in order)
    sets = [lines for lines in _sweeps(working, largest_first) if len(lines) == len(sizes)]
    if not sets:
        raise SettingsError(f"no room found for lines of {', '.join(map(str, sizes))} qubits side by side")
    best = min(sets, key=lambda lines: (sum(map(working.cost, lines)), lines))
    by_size = sorted(best, key=lambda line: (-len(line), working.cost(line), line))
    placed = dict(zip(order, by_size, strict=True))
    return tuple(placed[index] for index in range(len(sizes)))


def _greedy(working: Layout, n: int, number: int) -> Lines:
    """The best line, then the best of the remaining ones; raises SettingsError if no line exists."""
    lines = [best_line_of(working, n)]
    while len(lines) < number:
        working = working.without(lines[-1])
        try:
            lines.append(best_line_of(working, n))
        except SettingsError:
            break
    return tuple(lines)


def _sweeps(working: Layout, sizes: tuple[int, ...]) -> list[Lines]:
    """Sweeps in both directions at each cost of a stranded qubit; each places the first few sizes."""
    candidates = {n: _candidates(working, n) for n in set(sizes)}
    upward = sorted(working.readout)
    boards = [_Board.of(working, qubits, candidates) for qubits in (upward, upward[::-1])]
    if max(map(len, working.couplers.values()), default=0) > HEAVY_HEX_NEIGHBOURS:
        boards = [board.limit(SQUARE_LINES_THROUGH, SQUARE_WIDTH) for board in boards]
    return [board.sweep(sizes, stranded) for board in boards for stranded in STRANDED]


def _candidates(working: Layout, n: int) -> list[tuple[float, Line]]:
    """Lines of n qubits with their costs; of those on the same qubits the best."""
    gates = 1.5 * n
    best: dict[frozenset[int], tuple[float, Line]] = {}
    for first, readout in sorted(working.readout.items()):
        beam: list[tuple[float, Line]] = [(readout, (first,))]
        for _ in range(n - 1):
            longer = [
                (cost + gates * coupler + working.readout[after], (*line, after))
                for cost, line in beam
                for after, coupler in working.couplers[line[-1]].items()
                if after not in line
            ]
            beam = heapq.nsmallest(LINES_FROM_A_QUBIT, longer)
        for cost, line in beam:
            qubits = frozenset(line)
            best[qubits] = min(best.get(qubits, (cost, line)), (cost, line))
    return sorted(best.values())


@dataclass(frozen=True, slots=True)
class _Partial:
    """Lines placed so far.

    cost: sum of the lines' costs
    placed: bit mask of their qubits
    open: bit mask of the qubits that the next line may use
    lines: the lines
    """

    cost: float
    placed: int
    open: int
    lines: Lines


@dataclass(frozen=True, slots=True)
class _Board:
    """A layout in the order of the sweep: bit i of a mask is the i-th qubit.

    through: `through[n][i]`, the lines of n qubits through the i-th, as cost, mask and line, the best first
    reach: `reach[i]`, the mask of the i-th qubit's neighbours
    width: sets that the sweep keeps after each line
    """

    through: dict[int, list[list[tuple[float, int, Line]]]]
    reach: tuple[int, ...]
    width: int = WIDTH

    @classmethod
    def of(
        cls, working: Layout, qubits: Sequence[int], candidates: dict[int, list[tuple[float, Line]]]
    ) -> _Board:
        place = {qubit: index for index, qubit in enumerate(qubits)}
        through: dict[int, list[list[tuple[float, int, Line]]]] = {}
        for n, lines in candidates.items():
            through[n] = [[] for _ in qubits]
            for cost, line in lines:
                mask = sum(1 << place[qubit] for qubit in line)
                for qubit in line:
                    through[n][place[qubit]].append((cost, mask, line))
        reach = tuple(sum(1 << place[near] for near in working.couplers[qubit]) for qubit in qubits)
        return cls(through, reach)

    def limit(self, lines: int, width: int) -> _Board:
        """The board with only the best so many lines through a qubit."""
        through = {n: [each[:lines] for each in at] for n, at in self.through.items()}
        return _Board(through, self.reach, width)

    def sweep(self, sizes: tuple[int, ...], stranded: float) -> Lines:
        """Lines for as many of the sizes, from the first on, as fit."""
        everywhere = (1 << len(self.reach)) - 1
        partials = [_Partial(0.0, 0, 0, ())]
        for n, group in groupby(sizes):
            # A qubit that a longer line skipped may fit a shorter one.
            partials = [
                replace(each, open=self._keep_roomy(everywhere & ~each.placed, n)) for each in partials
            ]
            for _ in group:
                longer = self._extend(partials, n, stranded)
                if not longer:
                    return _cheapest(partials)
                partials = longer
        return _cheapest(partials)

    def _extend(self, partials: list[_Partial], n: int, stranded: float) -> list[_Partial]:
        """The best sets with one more line of n qubits; keeps one set for each mask of open qubits."""
        cheapest: dict[int, _Partial] = {}
        for partial in partials:
            for after in self._successors(partial, n):
                if after.open not in cheapest or after.cost < cheapest[after.open].cost:
                    cheapest[after.open] = after
        roomy: dict[int, _Partial] = {}
        for partial in cheapest.values():
            usable = self._keep_roomy(partial.open, n)
            if usable not in roomy or partial.cost < roomy[usable].cost:
                roomy[usable] = replace(partial, open=usable)
        # All sets of one round have placed the same number of qubits: fewer open ones means more stranded.
        return heapq.nsmallest(
            self.width,
            roomy.values(),
            key=lambda each: (each.cost - stranded * each.open.bit_count(), each.cost, each.lines),
        )

    def _successors(self, partial: _Partial, n: int) -> Iterator[_Partial]:
        """The set with each line through its first open qubit, or through one of the next SKIPS."""
        remaining = partial.open
        for _ in range(SKIPS + 1):
            if not remaining:
                return
            first = (remaining & -remaining).bit_length() - 1
            for cost, mask, line in self.through[n][first]:
                if not mask & ~remaining:
                    placed, lines = partial.placed | mask, (*partial.lines, line)
                    yield _Partial(partial.cost + cost, placed, remaining & ~mask, lines)
            remaining = self._keep_roomy(remaining & (remaining - 1), n)

    def _keep_roomy(self, remaining: int, n: int) -> int:
        """The open qubits without those in islands of fewer than n."""
        roomy, unseen = 0, remaining
        while unseen:
            island = edge = unseen & -unseen
            while edge:
                around = 0
                while edge:
                    around |= self.reach[(edge & -edge).bit_length() - 1]
                    edge &= edge - 1
                edge = around & unseen & ~island
                island |= edge
            unseen &= ~island
            if island.bit_count() >= n:
                roomy |= island
        return roomy


def _cheapest(sets: list[_Partial]) -> Lines:
    return min(sets, key=lambda each: (each.cost, each.lines)).lines
