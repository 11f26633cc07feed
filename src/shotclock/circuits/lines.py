"""Chooses the line of physical qubits a template runs on. Imports no Qiskit: the target is an argument."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from shotclock.domain.errors import SettingsError

if TYPE_CHECKING:
    from qiskit.transpiler import Target

BEAM = 512
"""Partial lines that the search keeps at each length."""
TWO_QUBIT_GATES = ("cz", "ecr", "cx")

Line = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Working qubits and couplers with their costs, −ln(1 − error); dead ones are omitted."""

    readout: dict[int, float]
    couplers: dict[int, dict[int, float]]

    def without(self, used: Collection[int]) -> Layout:
        """The layout without these qubits."""
        readout = {qubit: cost for qubit, cost in self.readout.items() if qubit not in used}
        couplers = {
            qubit: {near: cost for near, cost in self.couplers[qubit].items() if near not in used}
            for qubit in readout
        }
        return Layout(readout, couplers)

    def cost(self, line: Line) -> float:
        """−ln of the probability that no error occurs in a template of one layer on this line.

        3n/2 two-qubit gates on each coupler (n swap-network layers, every second one uses it) and one
        read-out on each qubit. Raises KeyError if the line uses a dead qubit or coupler.
        """
        gates = sum(self.couplers[a][b] for a, b in pairwise(line))
        return sum(self.readout[qubit] for qubit in line) + 1.5 * len(line) * gates


def layout(target: Target) -> Layout:
    """The target's working part: a coupler or qubit whose error is unknown or 1 is dead."""
    readout = {
        qubits[0]: -math.log1p(-properties.error)
        for qubits, properties in target["measure"].items()
        if properties is not None and properties.error is not None and properties.error < 1.0
    }
    couplers: dict[int, dict[int, float]] = {qubit: {} for qubit in readout}
    gate = next(name for name in TWO_QUBIT_GATES if name in target.operation_names)
    for (a, b), properties in target[gate].items():
        if properties is None or properties.error is None or properties.error >= 1.0:
            continue
        if a in readout and b in readout:
            cost = -math.log1p(-properties.error)
            couplers[a][b] = max(cost, couplers[b].get(a, 0.0))
            couplers[b][a] = couplers[a][b]
    return Layout(readout, couplers)


def best_line(target: Target, n: int) -> Line:
    """A line of n neighbouring qubits with little expected error; deterministic for a target.

    Raises SettingsError if the device has no such line.
    """
    return best_line_of(layout(target), n)


def best_line_of(working: Layout, n: int) -> Line:
    """`best_line` of a layout: a beam search from every qubit at once, by `Layout.cost`."""
    gates = 1.5 * n
    beam: list[tuple[float, Line]] = [(cost, (qubit,)) for qubit, cost in sorted(working.readout.items())]
    for _ in range(n - 1):
        longer = (
            (cost + gates * coupler + working.readout[after], (*line, after))
            for cost, line in beam
            for after, coupler in working.couplers[line[-1]].items()
            if after not in line
        )
        beam = heapq.nsmallest(BEAM, longer)
    if not beam:
        raise SettingsError(f"the device has no line of {n} working qubits")
    return min(beam)[1]
