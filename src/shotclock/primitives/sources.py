"""Circuits as they are sent: with parameters of fixed names, so that equal circuits have equal bytes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers import BindingsArray

from shotclock.domain.circuit_bytes import dump_circuit
from shotclock.domain.errors import CircuitError
from shotclock.domain.subproblem import Float64s


@dataclass(eq=False)
class ParametrisedCircuit:
    """A circuit whose parameters are named by their place.

    circuit: with these parameters, without name and metadata.
    names: the parameters, in the order of the original's.
    """

    circuit: QuantumCircuit
    names: tuple[str, ...]
    _variants: dict[Hashable, bytes] = field(default_factory=dict)

    @functools.cached_property
    def source(self) -> bytes:
        """As it is sent: equal for equal circuits, whoever builds them."""
        return dump_circuit(self.circuit)

    def change(self, key: Hashable, change: Callable[[QuantumCircuit], QuantumCircuit]) -> bytes:
        """As `source`, of the circuit as `change` makes it, which is made once for each key."""
        if key not in self._variants:
            self._variants[key] = dump_circuit(change(self.circuit))
        return self._variants[key]


Known = dict[int, ParametrisedCircuit]
"""The circuits of one call by their identity: a gradient has the same circuit in every PUB."""


def parametrise(circuit: QuantumCircuit) -> ParametrisedCircuit:
    """The circuit with its parameters renamed; the user's stays as it is."""
    parameters = circuit.parameters
    renamed = circuit.assign_parameters(
        {parameter: _parameter(index) for index, parameter in enumerate(parameters)}
    )
    renamed.name, renamed.metadata = "circuit", {}
    return ParametrisedCircuit(renamed, tuple(_parameter(index).name for index in range(len(parameters))))


def has_open_delay(circuit: QuantumCircuit) -> bool:
    """Whether a delay depends on a parameter; its unit cannot be sent without a number."""
    return any(item.name == "delay" and getattr(item.params[0], "parameters", ()) for item in circuit.data)


def expand(
    circuit: QuantumCircuit, values: BindingsArray, known: Known
) -> list[tuple[ParametrisedCircuit, Float64s]]:
    """The circuit with its points as rows; one circuit a point where a delay depends on a parameter.

    Raises CircuitError naming a parameter whose value is not finite.
    """
    points = values.as_array(circuit.parameters).reshape(values.size, circuit.num_parameters)
    for row, column in np.argwhere(~np.isfinite(points)):
        name = circuit.parameters[int(column)].name
        raise CircuitError(f"values.{name}", f"must be a finite number (got {points[row, column]})")
    if has_open_delay(circuit):
        rows = [parametrise(each) for each in values.bind_all(circuit).ravel()]
        return [(each, np.zeros((1, 0))) for each in rows]
    if id(circuit) not in known:
        known[id(circuit)] = parametrise(circuit)
    return [(known[id(circuit)], points)]


@functools.cache
def _parameter(index: int) -> Parameter:
    """Qiskit tells parameters apart by their UUID, which is part of the bytes."""
    return Parameter(f"_shotclock_{index}", uuid=UUID(int=index))
