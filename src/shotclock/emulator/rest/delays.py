"""How long a circuit's delays last, where the circuit says it. Imports Qiskit: for the worker."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, ControlFlowOp, ParameterExpression
from qiskit.circuit.classical import expr
from qiskit.exceptions import QiskitError

SECONDS = {"ps": 1e-12, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def check_delays(circuit: QuantumCircuit, dt_s: float) -> None:
    """Raises ValueError, one line, where a delay's length is not known, at whatever depth."""
    for one in delays_of(circuit):
        delay_s(one, dt_s)


def delay_s(one: CircuitInstruction, dt_s: float) -> float:
    """Length of a delay, seconds; raises ValueError, one line, where it is not known.

    QPY keeps no unit: a delay in SI units comes out as a number of dt that is not an integer, and one with a
    parameter as nothing that Qiskit accepts. A delay in dt is an integer.
    """
    try:
        duration, unit = one.operation.duration, one.operation.unit
    except QiskitError:
        raise ValueError(_explain_lost(one.params[0])) from None
    if unit == "expr":
        if not isinstance(duration, expr.Value):
            raise ValueError("stretches and expressions of durations are not emulated; give delays in dt")
        duration, unit = duration.value.value(), duration.value.unit()
    if isinstance(duration, ParameterExpression):
        raise ValueError(_explain_lost(duration))
    if unit == "dt" and not isinstance(one.params[0], Integral | expr.Expr):
        raise ValueError(_explain_lost(one.params[0]))
    length_s = float(duration) * SECONDS.get(unit, dt_s)
    if not 0.0 <= length_s < float("inf"):
        raise ValueError(f"a delay lasts {duration} {unit}")
    return length_s


def _explain_lost(duration: object) -> str:
    return (
        f"a delay of {duration} arrives without its unit, which QPY does not keep; give delays in dt, as "
        "transpiling for the backend does outside control flow, and bind their parameters first"
    )


def delays_of(circuit: QuantumCircuit) -> Iterator[CircuitInstruction]:
    """Every delay, at whatever depth."""
    for one in circuit.data:
        if one.name == "delay":
            yield one
        elif isinstance(one.operation, ControlFlowOp):
            for block in one.operation.blocks:
                yield from delays_of(block)
