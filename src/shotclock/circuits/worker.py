"""Functions for an Offload. They import Qiskit in the worker, not in the process that submits them.

Importing Qiskit takes one to two seconds, which would delay the process that schedules calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from shotclock.circuits.cache import ObtainedTemplate, TemplateRequest
from shotclock.circuits.native import DeviceMap, Pair
from shotclock.domain.circuit import Bound, DeviceCircuit
from shotclock.domain.errors import SettingsError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.transpiler import Target


def load_compiler(device: str, target_source: Callable[[str], Target]) -> None:
    """Imports what compiles and reads the device's target; both stay in memory."""
    from shotclock.circuits import line_sets, store  # noqa: F401, PLC0415

    target_source(device)


def load_readers() -> None:
    """Imports what reads user circuits, as far as it is installed."""
    from shotclock.circuits import user_circuits  # noqa: F401, PLC0415

    for name in ("openqasm3.parser", "qiskit_qasm3_import"):
        with suppress(ModuleNotFoundError):
            import_module(name)


def obtain(
    request: TemplateRequest, device: str, target_source: Callable[[str], Target], folder: Path | None
) -> ObtainedTemplate:
    """See `store.obtain`."""
    from shotclock.circuits import store  # noqa: PLC0415

    return store.obtain(request, device, target_source, folder)


def read(
    source: str | bytes | QuantumCircuit,
    values: Mapping[str, float],
    device: str,
    target_source: Callable[[str], Target],
) -> Bound:
    """See `user_circuits.read`."""
    from shotclock.circuits import user_circuits  # noqa: PLC0415

    return user_circuits.read(source, values, device, target_source(device))


def read_parametrised(
    source: str | bytes, names: tuple[str, ...], device: str, target_source: Callable[[str], Target]
) -> Bound:
    """See `user_circuits.read_parametrised`."""
    from shotclock.circuits import user_circuits  # noqa: PLC0415

    return user_circuits.read_parametrised(source, names, device, target_source(device))


def map_device(n: int, device: str, target_source: Callable[[str], Target]) -> DeviceMap | None:
    """See `native.map_device`; None where the device has fewer working qubits."""
    from shotclock.circuits import native  # noqa: PLC0415

    try:
        return native.map_device(target_source(device), n)
    except SettingsError:
        return None


def place(
    n: int, pairs: tuple[Pair, ...], device: str, target_source: Callable[[str], Target]
) -> tuple[int, ...]:
    """See `native.place`."""
    from shotclock.circuits import native  # noqa: PLC0415

    return native.place(target_source(device), n, pairs)


def lines(
    n: int, device: str, target_source: Callable[[str], Target], folder: Path | None
) -> tuple[tuple[int, ...], ...]:
    """Disjoint lines of n qubits, best first; empty if the device has none. See `line_sets.load_or_make`."""
    from shotclock.circuits import line_sets, templates  # noqa: PLC0415

    target = target_source(device)
    present = templates.calibration(target)
    try:
        if folder is None:
            return line_sets.compute(target, device, present, n).lines
        return line_sets.load_or_make(folder, target, device, present, n).lines
    except SettingsError:
        return ()


def calibration(device: str, target_source: Callable[[str], Target]) -> str:
    """The device's current calibration; see `templates.calibration`."""
    from shotclock.circuits import templates  # noqa: PLC0415

    return templates.calibration(target_source(device))


def bind_logical(circuit: DeviceCircuit) -> QuantumCircuit:
    """See `qaoa.bind_logical`; the builder for a provider that runs circuits itself, such as aer."""
    from shotclock.circuits import qaoa  # noqa: PLC0415

    return qaoa.bind_logical(circuit)
