"""Places user circuits beside each other in one PUB, where they were compiled for that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from shotclock.domain.circuit import Bound, DeviceCircuit

T = TypeVar("T")


def group_side_by_side(
    items: Iterable[T], circuit_of: Callable[[T], DeviceCircuit]
) -> tuple[tuple[T, ...], ...]:
    """The items by the PUB of their circuits, in their order: a provider's samples have it too.

    A circuit joins the last PUB if all in it were compiled to have others beside them, and none uses its
    qubits. Others may overlap by chance, and their caller did not ask for neighbours.
    """
    pubs: list[list[T]] = []
    used: set[int] = set()
    is_open = False
    for item in items:
        circuit = circuit_of(item)
        line, can_share = circuit.template.line, _can_share(circuit)
        if is_open and can_share and used.isdisjoint(line):
            pubs[-1].append(item)
            used.update(line)
        else:
            pubs.append([item])
            used, is_open = set(line), can_share
    return tuple(map(tuple, pubs))


def _can_share(circuit: DeviceCircuit) -> bool:
    return isinstance(circuit.parameters, Bound) and bool(circuit.parameters.within)
