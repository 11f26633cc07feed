"""Functions to hand to an Offload: they import Qiskit where they run, not where they are named.

Importing Qiskit takes a second or two, which the process that schedules calls must not pay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shotclock.domain.circuit import DeviceCircuit, Template

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.transpiler import Target


def compile_template(n: int, device: str, target_source: Callable[[str], Target]) -> Template:
    """See `templates.compile_template`."""
    from shotclock.circuits import templates  # noqa: PLC0415

    return templates.compile_template(n, device, target_source)


def bound_logical(circuit: DeviceCircuit) -> QuantumCircuit:
    """See `qaoa.bound_logical`; the builder for a provider that runs circuits itself, such as aer."""
    from shotclock.circuits import qaoa  # noqa: PLC0415

    return qaoa.bound_logical(circuit)
