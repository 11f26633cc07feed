"""The warm-started QAOA circuit of p layers, on a line, on couplings and in logical form. Imports Qiskit.

In circuit order: RY(θ); a layer's RZ(2γh) and RZZ(2γJ) of every pair; its RY(−θ)·RZ(2β)·RY(θ); at the
end, measurement. θ = π/2 everywhere is the cold start, so one circuit serves both. Except for θ, parameters
are gate angles: `theta` (n) and, layer by layer, `field` = 2γh (n per layer), `coupling` = 2γJ (one per
pair, in the order (0,1), (0,2), …, (n−2,n−1)) and `mixer` = 2β (one per layer). On couplings alone, a pair's
2γJ is the single parameter `pair_LAYER_I_J`, so that the absent pairs need none.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.parametervector import ParameterVectorElement

from shotclock.circuits.native import Pair, colour
from shotclock.domain.circuit import Bound, DeviceCircuit, QaoaParameters
from shotclock.domain.circuit_bytes import load_circuit
from shotclock.domain.subproblem import Float64s

PAIR = "pair_"


@dataclass(frozen=True, slots=True)
class _Angles:
    """The circuit's parameter vectors; the module's docstring defines them.

    theta: warm-start angles, one per variable
    field: 2γh, n per layer
    coupling: 2γJ, one per pair and layer
    mixer: 2β, one per layer
    """

    theta: ParameterVector
    field: ParameterVector
    coupling: ParameterVector
    mixer: ParameterVector

    @classmethod
    def symbols(cls, n: int, layers: int, *, dense: bool = True) -> _Angles:
        return cls(
            ParameterVector("theta", n),
            ParameterVector("field", layers * n),
            ParameterVector("coupling", layers * n * (n - 1) // 2 if dense else 0),
            ParameterVector("mixer", layers),
        )


def parameter_names(n: int, layers: int = 1) -> set[str]:
    """The names of the parameters of `line_circuit`."""
    angles = _Angles.symbols(n, layers)
    vectors = (angles.theta, angles.field, angles.coupling, angles.mixer)
    return {parameter.name for vector in vectors for parameter in vector}


def native_parameter_names(n: int, layers: int, pairs: tuple[Pair, ...]) -> set[str]:
    """The names of the parameters of `native_circuit`."""
    angles = _Angles.symbols(n, layers, dense=False)
    names = {parameter.name for vector in (angles.theta, angles.field, angles.mixer) for parameter in vector}
    return names | {_pair_name(layer, pair) for layer in range(layers) for pair in pairs}


def native_circuit(n: int, layers: int, pairs: tuple[Pair, ...]) -> QuantumCircuit:
    """The circuit with an RZZ for each of these pairs alone, in as few steps as their colouring has.

    Its depth depends on the most pairs that a variable has, and not on n.
    """
    circuit, angles = QuantumCircuit(n, n), _Angles.symbols(n, layers, dense=False)
    at = list(range(n))
    _warm_start(circuit, angles, at)
    for layer in range(layers):
        _fields(circuit, angles, at, layer)
        for pair in itertools.chain.from_iterable(colour(n, pairs)):
            circuit.rzz(Parameter(_pair_name(layer, pair)), *pair)
        _mix(circuit, angles, at, layer)
    _measure(circuit, at)
    return circuit


def line_circuit(n: int, layers: int = 1) -> QuantumCircuit:
    """The circuit with every two-qubit gate between neighbours of a line 0, 1, …, n−1.

    n alternating layers of RZZ·SWAP let every pair meet exactly once and reverse the order of the
    variables (Kivlichan et al., arXiv 1711.04789); classical bit i remains variable i. RZZ·SWAP
    takes three CX: CX(a,b) RZ_b CX(b,a) CX(a,b), because the middle two of five cancel.
    """
    circuit, angles = QuantumCircuit(n, n), _Angles.symbols(n, layers)
    at = list(range(n))  # at[position] is the variable held there
    _warm_start(circuit, angles, at)
    for layer in range(layers):
        _fields(circuit, angles, at, layer)
        first = layer * n * (n - 1) // 2
        for swap in range(n):
            for a in range(swap % 2, n - 1, 2):
                b = a + 1
                circuit.cx(a, b)
                circuit.rz(angles.coupling[first + _pair(at[a], at[b], n)], b)
                circuit.cx(b, a)
                circuit.cx(a, b)
                at[a], at[b] = at[b], at[a]
        _mix(circuit, angles, at, layer)
    _measure(circuit, at)
    return circuit


def logical_circuit(n: int, layers: int = 1) -> QuantumCircuit:
    """The same circuit in logical form: gates act on any two qubits, and qubit i is variable i."""
    circuit, angles = QuantumCircuit(n, n), _Angles.symbols(n, layers)
    at = list(range(n))
    _warm_start(circuit, angles, at)
    for layer in range(layers):
        _fields(circuit, angles, at, layer)
        for pair, (i, j) in enumerate(itertools.combinations(range(n), 2)):
            circuit.rzz(angles.coupling[layer * n * (n - 1) // 2 + pair], i, j)
        _mix(circuit, angles, at, layer)
    _measure(circuit, at)
    return circuit


def parameter_values(circuit: QuantumCircuit, parameters: QaoaParameters) -> Float64s:
    """The parameters' values in the order of `circuit.parameters`, shape (len(circuit.parameters),).

    Values are assigned by name, because Qiskit sorts vectors by name and transpiling may remove some.
    """
    rows, columns = np.triu_indices(parameters.n, k=1)
    vectors = {
        "theta": parameters.warm,
        "field": 2.0 * parameters.field.ravel(),
        "coupling": 2.0 * parameters.coupling[:, rows, columns].ravel(),
        "mixer": 2.0 * parameters.mixer,
    }

    def value(parameter: Parameter) -> float:
        if isinstance(parameter, ParameterVectorElement):
            return float(vectors[parameter.vector.name][parameter.index])
        layer, i, j = map(int, parameter.name.removeprefix(PAIR).split("_"))
        return 2.0 * float(parameters.coupling[layer, i, j])

    return np.array([value(parameter) for parameter in circuit.parameters])


def bind_logical(circuit: DeviceCircuit) -> QuantumCircuit:
    """The call's logical circuit with its angles bound, for a simulator."""
    angles = circuit.parameters
    if isinstance(angles, Bound):
        return angles.assign(_load_circuit(angles.qpy)) if angles.names else load_circuit(angles.qpy)
    logical = logical_circuit(angles.n, angles.layers)
    return logical.assign_parameters(parameter_values(logical, angles))


def bind_isa(circuit: DeviceCircuit) -> QuantumCircuit:
    """The call's circuit in the device's instructions with its angles bound."""
    isa = _load_circuit(circuit.template.qpy)
    if isinstance(circuit.parameters, Bound):
        return circuit.parameters.assign(isa) if circuit.parameters.names else isa.copy()
    return isa.assign_parameters(parameter_values(isa, circuit.parameters))


@functools.lru_cache(maxsize=64)
def _load_circuit(content: bytes) -> QuantumCircuit:
    """A template's circuit, cached because loading takes longer than binding; callers must not change it."""
    return load_circuit(content)


def _warm_start(circuit: QuantumCircuit, angles: _Angles, at: list[int]) -> None:
    for position, variable in enumerate(at):
        circuit.ry(angles.theta[variable], position)


def _fields(circuit: QuantumCircuit, angles: _Angles, at: list[int], layer: int) -> None:
    for position, variable in enumerate(at):
        circuit.rz(angles.field[layer * len(at) + variable], position)


def _mix(circuit: QuantumCircuit, angles: _Angles, at: list[int], layer: int) -> None:
    for position, variable in enumerate(at):
        circuit.ry(-angles.theta[variable], position)
        circuit.rz(angles.mixer[layer], position)
        circuit.ry(angles.theta[variable], position)


def _measure(circuit: QuantumCircuit, at: list[int]) -> None:
    for position, variable in enumerate(at):
        circuit.measure(position, variable)


def _pair_name(layer: int, pair: Pair) -> str:
    return f"{PAIR}{layer}_{pair[0]}_{pair[1]}"


def _pair(i: int, j: int, n: int) -> int:
    """Index of the pair {i, j} among all pairs of n in lexical order."""
    i, j = min(i, j), max(i, j)
    return i * n - i * (i + 1) // 2 + j - i - 1
