"""What crosses between synthesis and execution: a template with its parameters, as a PUB is."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from shotclock.domain.accounting import HERE, Origin
from shotclock.domain.circuit_bytes import bind_delays, dump_circuit
from shotclock.domain.errors import CircuitError
from shotclock.domain.subproblem import Bits, Float64s, Priority
from shotclock.domain.trace_context import TraceContext

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


MOST_SHOTS = 2**31 - 1
"""Of a user circuit; no QPU takes nearly as many."""


@dataclass(frozen=True, slots=True, eq=False)
class QaoaParameters:
    """Every angle of a QAOA circuit of p layers, radians.

    warm: θ of each qubit's initial RY, shape (n,); π/2 everywhere is the cold start.
    field: γ·h, shape (p, n); a layer applies RZ(2γh).
    coupling: γ·J, shape (p, n, n), each symmetric; a layer applies RZZ(2γJ) once a pair.
    mixer: β, shape (p,); a layer ends with RY(−θ)·RZ(2β)·RY(θ) in circuit order.
    """

    warm: Float64s
    field: Float64s
    coupling: Float64s
    mixer: Float64s

    @property
    def n(self) -> int:
        """Number of qubits."""
        return int(self.warm.shape[0])

    @property
    def layers(self) -> int:
        """Number of layers, p."""
        return int(self.mixer.shape[0])

    @classmethod
    def idle(cls, n: int) -> QaoaParameters:
        """One layer that leaves every qubit at 0: for warming and for timing."""
        return cls(np.zeros(n), np.zeros((1, n)), np.zeros((1, n, n)), np.zeros(1))


@dataclass(frozen=True, slots=True)
class Bound:
    """A user circuit in which every parameter has its value.

    qpy: the circuit by its definition, for whoever simulates it.
    qubits: how many it touches.
    n: its classical bits, the columns of its samples.
    names: the parameters that it still has.
    values: theirs; none in what is compiled once for all points.
    within: the physical qubits it may use, so that others may run beside it; () leaves the choice to the
        compiler, and the circuit alone in its PUB.
    """

    qpy: bytes
    qubits: int
    n: int
    names: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    within: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the circuit, hexadecimal: equal circuits are one."""
        return hashlib.sha256(self.qpy).hexdigest()

    def assign(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """The circuit, as defined or as compiled, with the values; compiling may have removed parameters.

        Raises CircuitError where an expression has no finite value at them.
        """
        from qiskit.exceptions import QiskitError  # noqa: PLC0415 - whoever has a circuit has imported it

        by_name = dict(zip(self.names, self.values, strict=True))
        try:
            return circuit.assign_parameters(
                {parameter: by_name[parameter.name] for parameter in circuit.parameters}
            )
        except (QiskitError, ArithmeticError, ValueError) as error:
            raise CircuitError("values", " ".join(str(error).split())) from error


@dataclass(frozen=True, slots=True)
class CircuitSpec:
    """A user circuit with its budget: OpenQASM 3 as text, QPY as bytes, or Qiskit's circuit.

    source: a QuantumCircuit becomes QPY bytes here, in which nothing is lost (see `circuit_bytes`).
    shots: how often the circuit is run, 1 or more.
    values: each parameter's value by its name, as pairs or as a mapping from names or Qiskit's Parameters;
        those of a QuantumCircuit's delays are filled in here.
    request_id: the caller's name for this request.
    budget_ns: what is left of the deadline when this object is handed over, nanoseconds, 0 or more.
    priority: which of a caller's calls is served first.
    caller: who asks, by the name in its certificate; the wire sets it, "" is this process itself.
    trace: the span that the call is part of; None without traces.
    origin: which allocation of a batch system it comes from, and whether it was sent elsewhere before.

    Raises CircuitError naming the field that cannot be used.
    """

    source: str | bytes | QuantumCircuit
    shots: int
    values: tuple[tuple[str, float], ...] = ()
    request_id: str = ""
    budget_ns: int = 0
    priority: Priority = Priority.NORMAL
    caller: str = ""
    trace: TraceContext | None = None
    origin: Origin = HERE

    def __post_init__(self) -> None:
        _check_count("shots", self.shots, 1)
        if self.shots > MOST_SHOTS:
            raise CircuitError("shots", f"must be at most {MOST_SHOTS:,} (got {self.shots:,})")
        _check_count("budget_ns", self.budget_ns, 0)
        values = _pairs(self.values)
        source = self.source
        if not isinstance(source, str | bytes):
            source, values = _serialize(source, values)
        if not source:
            raise CircuitError("source", "is empty; pass OpenQASM 3 as text or QPY as bytes")
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "values", values)

    @property
    def content(self) -> str | bytes:
        """The source as it is sent: OpenQASM 3 as text or QPY as bytes."""
        if not isinstance(self.source, str | bytes):
            raise TypeError("a QuantumCircuit is serialized when the spec is made")
        return self.source

    def values_by_name(self) -> dict[str, float]:
        """Each parameter's value. Raises CircuitError on a name with two."""
        for name, times in Counter(name for name, _ in self.values).items():
            if times > 1:
                raise CircuitError(f"values.{name}", f"is given {times} times")
        return dict(self.values)


@dataclass(frozen=True, slots=True)
class Template:
    """A circuit compiled once for one line of qubits of one device and calibration.

    key: content hash of what it was compiled from.
    device: name of the device.
    line: the physical qubits in use, for QAOA in the order of the line; of the variables if native.
    qpy: the ISA circuit, serialised.
    duration_s: scheduled length on the target, seconds, read-out included, reset not.
    two_qubit_gates: number of two-qubit gates.
    two_qubit_depth: depth of the circuit in two-qubit gates.
    native: whether it has gates on couplings alone, and no swaps.
    """

    key: str
    device: str
    line: tuple[int, ...]
    qpy: bytes
    duration_s: float
    two_qubit_gates: int
    two_qubit_depth: int
    native: bool = False

    @property
    def n(self) -> int:
        """Number of qubits."""
        return len(self.line)


@dataclass(frozen=True, slots=True, eq=False)
class DeviceCircuit:
    """A template and what fills it in one call; opened only by circuits and by whoever executes it."""

    template: Template
    parameters: QaoaParameters | Bound

    @property
    def qubits(self) -> int:
        """How many qubits it touches."""
        return self.parameters.qubits if isinstance(self.parameters, Bound) else self.parameters.n


@dataclass(frozen=True, slots=True, eq=False)
class QaoaCircuit(DeviceCircuit):
    """A device circuit that is known to be a subproblem's QAOA."""

    parameters: QaoaParameters


@dataclass(frozen=True, slots=True)
class Pub:
    """Circuits run side by side in every shot, on lines that share no qubit."""

    circuits: tuple[DeviceCircuit, ...]

    @property
    def duration_s(self) -> float:
        """The longest of the circuits, seconds."""
        return max(circuit.template.duration_s for circuit in self.circuits)

    @property
    def shared_qubits(self) -> tuple[int, ...]:
        """Physical qubits that two of the circuits use, ascending; there must be none."""
        used = Counter(qubit for circuit in self.circuits for qubit in circuit.template.line)
        return tuple(sorted(qubit for qubit, times in used.items() if times > 1))


STATE_VECTOR, MATRIX_PRODUCT_STATE = "state vector", "matrix product state"


@dataclass(frozen=True, slots=True)
class Simulation:
    """How emulated samples were computed.

    method: `STATE_VECTOR`, `MATRIX_PRODUCT_STATE`; "" of a QPU's samples, and where it is not known.
    bond_dimension: the largest of a matrix product state; 0 of another method.
    truncation_error: the sum of the weights that the bond dimension cut off; 0 is exact, None not known.
    """

    method: str = ""
    bond_dimension: int = 0
    truncation_error: float | None = 0.0

    def __str__(self) -> str:
        if not self.bond_dimension:
            return self.method
        lost = "not known" if self.truncation_error is None else f"{self.truncation_error:.1e}"
        return f"{self.method}, bond dimension {self.bond_dimension}, truncation error {lost}"


NOT_SIMULATED = Simulation()


def find_worst(simulations: Iterable[Simulation]) -> Simulation:
    """The least exact one: an unknown error, then the largest, then the largest bond dimension."""

    def rank(each: Simulation) -> tuple[bool, float, int, str]:
        lost = each.truncation_error
        return lost is None, lost or 0.0, each.bond_dimension, each.method

    return max(simulations, key=rank, default=NOT_SIMULATED)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The distinct bit strings that came back and how often, best use of one execution.

    pool: shape (m, n), uint8, column i is variable i.
    counts: shape (m,), int64.
    simulation: how an emulation computed them.
    """

    pool: Bits
    counts: np.ndarray[tuple[int], np.dtype[np.int64]]
    simulation: Simulation = NOT_SIMULATED

    @property
    def shots(self) -> int:
        """How many shots the counts add up to."""
        return int(self.counts.sum())

    @classmethod
    def none(cls, n: int) -> Samples:
        """No samples of n variables: what a purely classical answer brings."""
        return cls(np.empty((0, n), dtype=np.uint8), np.empty(0, dtype=np.int64))


def _check_count(field: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise CircuitError(field, f"must be a whole number (got {value!r})")
    if value < least:
        raise CircuitError(field, f"must be at least {least} (got {value})")


def _pairs(values: object) -> tuple[tuple[str, float], ...]:
    """Names and numbers; Qiskit's Parameter goes by its name."""
    pairs_in = values.items() if isinstance(values, Mapping) else values
    try:
        pairs = [(getattr(name, "name", name), value) for name, value in pairs_in]  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise CircuitError("values", f"must be pairs of a name and a number (got {values!r})") from error
    for name, value in pairs:
        if not isinstance(name, str):
            raise CircuitError("values", f"must go by the parameters' names (got {name!r})")
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise CircuitError(f"values.{name}", f"must be a finite number (got {value!r})")
    return tuple((name, float(value)) for name, value in pairs)


def _serialize(
    source: object, values: tuple[tuple[str, float], ...]
) -> tuple[bytes, tuple[tuple[str, float], ...]]:
    from qiskit import QuantumCircuit  # noqa: PLC0415 - whoever has one has imported it

    if not isinstance(source, QuantumCircuit):
        raise CircuitError(
            "source",
            f"must be OpenQASM 3 as text, QPY as bytes or a QuantumCircuit (got {type(source).__name__})",
        )
    circuit, unbound = bind_delays(source, values)
    return dump_circuit(circuit), unbound
