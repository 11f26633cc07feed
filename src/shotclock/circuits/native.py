"""Places sparse subproblems on a device's own couplings. Imports no Qiskit: the target is an argument.

A subproblem whose quadratic terms all lie on couplings needs no swaps: each layer takes one RZZ on each
coupling, in as many steps as the couplings have colours (3 on heavy-hex, 4 on a square lattice), whatever n
is. The others take the line of `lines`, whose depth grows with n.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import rustworkx

from shotclock.circuits.lines import Layout, layout
from shotclock.domain.errors import SettingsError
from shotclock.domain.subproblem import Subproblem

if TYPE_CHECKING:
    from qiskit.transpiler import Target

Pair = tuple[int, int]

MOST_COUPLINGS = 4
"""Of a qubit on a square lattice; heavy-hex has 3."""

SEARCH_STEPS = 200_000
"""Most states of a search for a placement; it takes about a second."""


@dataclass(frozen=True, slots=True)
class DeviceMap:
    """Where sparse subproblems of n variables run on a device, if their terms allow.

    qubits: variable i is on the i-th qubit; they ascend
    pairs: the variables whose qubits have a coupling, each i < j, in order
    """

    qubits: tuple[int, ...]
    pairs: tuple[Pair, ...]

    def has(self, pairs: Collection[Pair]) -> bool:
        """Whether all these pairs of variables, each i < j, are coupled."""
        return set(self.pairs).issuperset(pairs)


def find_pairs(subproblem: Subproblem) -> tuple[Pair, ...]:
    """The pairs i < j with a quadratic term, in order; () where no device could have all of them."""
    n = subproblem.n
    if np.count_nonzero(subproblem.quadratic) >= min(MOST_COUPLINGS * n + 1, n * (n - 1)):
        return ()
    rows, columns = np.nonzero(np.triu(subproblem.quadratic))
    return tuple(zip(rows.tolist(), columns.tolist(), strict=True))


def map_device(target: Target, n: int) -> DeviceMap:
    """The map for n variables; raises SettingsError where the device has fewer working qubits."""
    working = layout(target)
    qubits = choose_patch(working, n)
    return DeviceMap(qubits, couplings_of(working, qubits))


def choose_patch(working: Layout, n: int) -> tuple[int, ...]:
    """n working qubits with many couplings between them and, of such, little error; ascending.

    Greedy from every qubit: the next one has the most couplings with those chosen, then the least error.
    """
    if n > len(working.readout):
        raise SettingsError(f"the device has {len(working.readout)} working qubits (got {n} variables)")
    patches = (_grow(working, first, n) for first in sorted(working.readout))
    return min((_rank(working, patch), tuple(sorted(patch))) for patch in patches)[1]


def _grow(working: Layout, first: int, n: int) -> set[int]:
    patch, degree = {first}, dict.fromkeys(working.couplers[first], 1)
    while len(patch) < n:
        near = degree or dict.fromkeys(working.readout.keys() - patch, 0)
        after = min(near, key=lambda qubit: (-near[qubit], working.readout[qubit], qubit))
        degree.pop(after, None)
        patch.add(after)
        for other in working.couplers[after].keys() - patch:
            degree[other] = degree.get(other, 0) + 1
    return patch


def _rank(working: Layout, patch: set[int]) -> tuple[int, float]:
    pairs = couplings_of(working, tuple(sorted(patch)))
    order = sorted(patch)
    gates = sum(working.couplers[order[i]][order[j]] for i, j in pairs)
    return -len(pairs), 2.0 * gates + sum(working.readout[qubit] for qubit in order)


def couplings_of(working: Layout, qubits: tuple[int, ...]) -> tuple[Pair, ...]:
    """The pairs i < j of positions in `qubits` that have a working coupler, in order."""
    place = {qubit: i for i, qubit in enumerate(qubits)}
    return tuple(
        sorted(
            (i, place[near])
            for i, qubit in enumerate(qubits)
            for near in working.couplers[qubit]
            if place.get(near, -1) > i
        )
    )


def place(target: Target, n: int, pairs: Collection[Pair]) -> tuple[int, ...]:
    """Qubits for n variables so that each pair has a coupler; () where a bounded search finds none."""
    working = layout(target)
    qubits = sorted(working.readout)
    device = rustworkx.PyGraph()
    device.add_nodes_from(qubits)
    device.add_edges_from_no_data(list(couplings_of(working, tuple(qubits))))
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from_no_data(list(pairs))
    mappings = rustworkx.vf2_mapping(
        device, graph, subgraph=True, induced=False, id_order=False, call_limit=SEARCH_STEPS
    )
    for mapping in mappings:
        at = {variable: qubits[index] for index, variable in mapping.items()}
        return tuple(at[variable] for variable in range(n))
    return ()


def colour(n: int, pairs: Collection[Pair]) -> tuple[tuple[Pair, ...], ...]:
    """The pairs in steps of disjoint ones; in a bipartite graph as many as a qubit has pairs at most."""
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from_no_data(list(pairs))
    by_edge = (
        rustworkx.graph_bipartite_edge_color(graph)
        if rustworkx.is_bipartite(graph)
        else rustworkx.graph_misra_gries_edge_color(graph)
    )
    steps: dict[int, list[Pair]] = {}
    for edge, step in by_edge.items():
        i, j = graph.get_edge_endpoints_by_index(edge)
        steps.setdefault(step, []).append((min(i, j), max(i, j)))
    return tuple(tuple(sorted(steps[step])) for step in sorted(steps))
