"""Durations of a circuit's delays, if the circuit holds them. Imports Qiskit: for the worker."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, ControlFlowOp, ParameterExpression
from qiskit.circuit.classical import expr
from qiskit.exceptions import QiskitError

SECONDS = {"ps": 1e-12, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def check_delays(circuit: QuantumCircuit, dt_s: float) -> None:
    """Raises ValueError (one line) if a delay's length is unknown, also inside control flow."""
    for delay in delays_of(circuit):
        delay_s(delay, dt_s)


def delay_s(item: CircuitInstruction, dt_s: float) -> float:
    """Length of a delay, seconds; raises ValueError (one line) if it is unknown.

    QPY does not store units: a delay in SI units is read as a non-integer number of dt, and Qiskit rejects
    one with a parameter. A delay in dt is an integer.
    """
    try:
        duration, unit = item.operation.duration, item.operation.unit
    except QiskitError:
        raise ValueError(_explain_lost(item.params[0])) from None
    if unit == "expr":
        if not isinstance(duration, expr.Value):
            raise ValueError("stretches and expressions of durations are not emulated; give delays in dt")
        duration, unit = duration.value.value(), duration.value.unit()
    if isinstance(duration, ParameterExpression):
        raise ValueError(_explain_lost(duration))
    if unit == "dt" and not isinstance(item.params[0], Integral | expr.Expr):
        raise ValueError(_explain_lost(item.params[0]))
    length_s = float(duration) * SECONDS.get(unit, dt_s)
    if not 0.0 <= length_s < float("inf"):
        raise ValueError(f"a delay lasts {duration} {unit}")
    return length_s


def _explain_lost(duration: object) -> str:
    return (
        f"a delay of {duration} arrives without its unit, which QPY does not store; give delays in dt, as "
        "transpiling for the backend does outside control flow, and bind their parameters first"
    )


def delays_of(circuit: QuantumCircuit) -> Iterator[CircuitInstruction]:
    """Every delay, also inside control flow."""
    for item in circuit.data:
        if item.name == "delay":
            yield item
        elif isinstance(item.operation, ControlFlowOp):
            for block in item.operation.blocks:
                yield from delays_of(block)
