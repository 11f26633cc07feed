"""Delays of user circuits: their duration, and whether a file gives the unit. For the worker."""

from __future__ import annotations

import warnings
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Delay, ParameterExpression
from qiskit.circuit.classical import expr
from qiskit.exceptions import QiskitError
from qiskit.transpiler import InstructionDurations, TranspilerError
from qiskit.transpiler.passes import TimeUnitConversion

from shotclock.domain.circuit_bytes import check_delay, with_delays
from shotclock.domain.errors import CircuitError

LONGEST_S = 7 * 86_400.0
"""The longest deadline that settings accept; no circuit with a longer delay can answer in time."""
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}
INTEGERS_ARE_DT = (2, 6)
"""Before this version Qiskit kept integers in any unit; since then an integer delay is in dt."""


def check_units(circuit: QuantumCircuit, content: bytes) -> None:
    """Raises CircuitError if the QPY bytes from which Qiskit read this circuit do not hold a delay's unit.

    Qiskit 2.6 writes integers only for dt, and duration expressions carry their unit. Qiskit reads any other
    delay as dt, whatever its unit was.
    """
    for item in circuit.data:
        if item.name == "delay" and not _has_unit(item, content):
            raise CircuitError(
                "delay",
                f"this QPY does not hold the unit of a delay of {_number(item.params[0])}; write the circuit "
                "as OpenQASM 3, or pass the QuantumCircuit to CircuitSpec",
            )


def resolve_delays(circuit: QuantumCircuit, dt: float | None) -> QuantumCircuit:
    """The circuit with every delay a number in its unit; an expression of both is evaluated in dt.

    dt: of the device, seconds. Raises CircuitError on a stretch, and on a delay that is negative, NaN,
    infinite or longer than a week.
    """
    if circuit.num_stretches:
        raise CircuitError("delay", "stretches are not supported; give each delay a duration")

    def resolve(item: CircuitInstruction) -> Delay:
        check_delay(item)
        duration: Any = item.operation.duration
        delay = _evaluate(duration, dt) if isinstance(duration, expr.Expr) else item.operation
        _check_length(delay, dt)
        return delay

    return with_delays(circuit, resolve)


def to_dt(circuit: QuantumCircuit, dt: float | None) -> QuantumCircuit:
    """The circuit with every delay in whole dt, to the nearest, as a device takes them.

    dt: seconds; None where the device has none, which raises CircuitError on a delay in seconds.
    """

    def convert(item: CircuitInstruction) -> Delay:
        delay: Any = item.operation
        if delay.unit == "dt":
            return Delay(int(delay.duration), "dt")
        if dt is None:
            raise CircuitError("delay", f"{delay.duration} {delay.unit}: the device does not define dt")
        return Delay(round(delay.duration * SECONDS[delay.unit] / dt), "dt")

    return with_delays(circuit, convert)


def _has_unit(item: CircuitInstruction, content: bytes) -> bool:
    try:
        delay: Any = item.operation
    except QiskitError:  # the number or expression cannot be in dt
        return False
    if delay.unit != "dt":
        return True
    written_by = (content[7], content[8])  # after the magic and QPY's own version
    return isinstance(_number(item.params[0]), int) and written_by >= INTEGERS_ARE_DT


def _number(duration: Any) -> Any:
    """Some versions of Qiskit read an integer as an expression without symbols."""
    if isinstance(duration, ParameterExpression) and not duration.parameters:
        return duration.numeric()
    return duration


def _evaluate(duration: expr.Expr, dt: float | None) -> Delay:
    alone = QuantumCircuit(1)
    alone.delay(duration, 0)
    try:
        return _unify(alone, None)
    except TranspilerError:  # seconds and dt together
        pass
    try:
        return _unify(alone, dt)
    except TranspilerError as error:
        raise CircuitError("delay", " ".join(error.message.split())) from error


def _unify(alone: QuantumCircuit, dt: float | None) -> Delay:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Qiskit warns that it rounds to whole dt
        converted = TimeUnitConversion(InstructionDurations(dt=dt))(alone)
    delay: Delay = converted.data[0].operation
    return delay


def _check_length(delay: Any, dt: float | None) -> None:
    seconds = delay.duration * (dt or 0.0 if delay.unit == "dt" else SECONDS[delay.unit])
    if not seconds <= LONGEST_S:
        raise CircuitError("delay", f"must be at most {LONGEST_S:.0f} s, a week (got {seconds:g} s)")
