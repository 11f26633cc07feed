"""Where a device's sparse subproblems run at one calibration, computed off the event loop and cached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shotclock.circuits import worker
from shotclock.circuits.cache import TemplateSpec
from shotclock.circuits.native import DeviceMap, Pair
from shotclock.domain.errors import SubproblemError, TooManyErrorsError
from shotclock.domain.ports import Offload

if TYPE_CHECKING:
    from qiskit.transpiler import Target

PLACEMENTS_CACHED = 256
"""Placements of subproblems beyond the patch that are kept; the oldest one goes first."""

Qubits = tuple[int, ...]


@dataclass(slots=True)
class Placements:
    """Qubits of sparse subproblems, and which sizes the line does not take.

    device: the device's name
    target_source: see `QaoaSynthesizer`
    offload: runs the searches
    maps: the patch that most sparse subproblems fit, by size; None on a smaller device
    fitted: qubits of those that do not fit it, by size and pairs; () where none are found
    refused: the sizes whose line has too many errors
    """

    device: str
    target_source: Callable[[str], Target]
    offload: Offload
    maps: dict[int, DeviceMap | None] = field(default_factory=dict)
    fitted: dict[tuple[int, tuple[Pair, ...]], Qubits] = field(default_factory=dict)
    refused: dict[int, TooManyErrorsError] = field(default_factory=dict)

    async def place(self, n: int, pairs: tuple[Pair, ...]) -> Qubits:
        """The qubits on whose couplings these pairs lie; () where none are found."""
        patch = await self.map(n)
        if patch is None or len(pairs) > len(patch.pairs):
            return ()
        if patch.has(pairs):
            return patch.qubits
        if (n, pairs) not in self.fitted:
            qubits = await self.offload.run(worker.place, n, pairs, self.device, self.target_source)
            while len(self.fitted) >= PLACEMENTS_CACHED:
                del self.fitted[next(iter(self.fitted))]
            self.fitted[n, pairs] = qubits
        return self.fitted[n, pairs]

    async def patch(self, n: int, layers: int = 1) -> TemplateSpec:
        """The native template on the patch of n qubits. Raises SubproblemError on a smaller device."""
        patch = await self.map(n)
        if patch is None:
            raise SubproblemError("n", f"{n} variables, more than {self.device} has working qubits")
        return TemplateSpec(n, layers, patch.qubits, native=True)

    async def map(self, n: int) -> DeviceMap | None:
        """See `native.map_device`; cached."""
        if n not in self.maps:
            self.maps[n] = await self.offload.run(worker.map_device, n, self.device, self.target_source)
        return self.maps[n]
