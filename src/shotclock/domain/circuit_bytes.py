"""A Qiskit circuit as bytes and back, with nothing lost: QPY alone forgets the unit of every delay.

QPY keeps a delay's number and reads it back in dt (Qiskit#8293, #10662), but it keeps an expression of a
duration whole. So each delay's number travels as such an expression. Registers that share bits may come
back in another order, bits never do: samples go by bits. Qiskit is imported on use.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shotclock.domain.errors import CircuitError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import CircuitInstruction, Delay


def dump_circuit(circuit: QuantumCircuit) -> bytes:
    """The circuit as QPY; `load_circuit` gives an equal one. see `check_delay`."""
    from qiskit import qpy  # noqa: PLC0415
    from qiskit.exceptions import QiskitError  # noqa: PLC0415

    content = io.BytesIO()
    try:
        qpy.dump(with_delays(circuit, _to_expression), content)
    except (QiskitError, TypeError, OverflowError) as error:
        raise CircuitError("source", f"cannot be written as QPY: {' '.join(str(error).split())}") from error
    return content.getvalue()


def load_circuit(content: bytes) -> QuantumCircuit:
    """The circuit that `dump_circuit` made these bytes of."""
    from qiskit import qpy  # noqa: PLC0415

    return with_delays(qpy.load(io.BytesIO(content))[0], _to_number)


def with_delays(circuit: QuantumCircuit, change: Callable[[CircuitInstruction], Delay]) -> QuantumCircuit:
    """The circuit with every delay replaced; the same object where it has none."""
    if not any(item.name == "delay" for item in circuit.data):
        return circuit
    changed = circuit.copy()
    for index, item in enumerate(circuit.data):
        if item.name == "delay":
            changed.data[index] = item.replace(operation=change(item))
    return changed


def bind_delays(
    circuit: QuantumCircuit, values: tuple[tuple[str, float], ...]
) -> tuple[QuantumCircuit, tuple[tuple[str, float], ...]]:
    """The circuit with the parameters of its delays filled in, and the values that are left to give.

    A unit belongs to a number: QPY has no place for the unit of a delay in symbols. Raises CircuitError
    on a parameter without a value and on a duration that Qiskit refuses.
    """
    from qiskit.exceptions import QiskitError  # noqa: PLC0415

    numbers = dict(values)
    symbols = {
        parameter
        for item in circuit.data
        if item.name == "delay"
        for parameter in getattr(item.params[0], "parameters", ())
    }
    if missing := sorted(parameter.name for parameter in symbols if parameter.name not in numbers):
        raise CircuitError("parameters", f"no value for {', '.join(missing)}")
    if not symbols:
        return circuit, values
    try:
        bound = circuit.assign_parameters({parameter: numbers[parameter.name] for parameter in symbols})
    except QiskitError as error:
        raise CircuitError("delay", " ".join(error.message.split())) from error
    names = {parameter.name for parameter in symbols}
    return bound, tuple((name, value) for name, value in values if name not in names)


def check_delay(item: CircuitInstruction) -> None:
    """Raises CircuitError on a delay in symbols, and on one that is negative, NaN or infinite."""
    from qiskit.circuit.classical import expr  # noqa: PLC0415
    from qiskit.exceptions import QiskitError  # noqa: PLC0415

    try:
        delay: Any = item.operation
    except QiskitError as error:  # its number was filled in after Qiskit had checked it
        raise CircuitError("delay", " ".join(error.message.split())) from error
    if isinstance(delay.duration, expr.Expr):
        return
    if getattr(delay.duration, "parameters", ()):
        raise CircuitError("delay", f"a delay of {delay.duration} has no value; give its parameters values")
    if not 0.0 <= float(delay.duration) < math.inf:
        raise CircuitError("delay", f"must be finite and at least 0 (got {delay.duration} {delay.unit})")


def _to_expression(item: CircuitInstruction) -> Delay:
    from qiskit.circuit import Delay, Duration  # noqa: PLC0415
    from qiskit.circuit.classical import expr  # noqa: PLC0415

    check_delay(item)
    delay: Any = item.operation
    if isinstance(delay.duration, expr.Expr):
        return Delay(delay.duration)
    value, unit = delay.duration, delay.unit
    if unit == "ps" and not hasattr(Duration, "ps"):  # before Qiskit 2.2
        value, unit = value / 1000, "ns"
    number = int(value) if unit == "dt" else float(value)
    return Delay(expr.lift(getattr(Duration, unit)(number)))


def _to_number(item: CircuitInstruction) -> Delay:
    from qiskit.circuit import Delay, Duration  # noqa: PLC0415
    from qiskit.circuit.classical import expr  # noqa: PLC0415

    duration: Any = item.params[0]
    if isinstance(duration, expr.Value) and isinstance(duration.value, Duration):
        return Delay(duration.value.value(), duration.value.unit())
    return item.operation
