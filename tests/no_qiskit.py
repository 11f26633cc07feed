"""`shotclock` with a synthesizer that needs no Qiskit, so that it starts in no time: for tests that kill it.

Everything else is the real thing. It imports, says so, and waits for a line on stdin before it begins:
the next process warms up while the present one lives.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import shotclock.app.service as _imported_before_the_line
from shotclock import cli
from shotclock.app import quantum_path
from shotclock.circuits.decoding import decode
from shotclock.domain.circuit import DeviceCircuit, QaoaParameters, Samples, Template
from shotclock.domain.circuit_batch import CircuitPoints
from shotclock.domain.errors import CircuitError
from shotclock.domain.outcome import Answer
from shotclock.domain.subproblem import Subproblem

WIDTH = 4


class WarmSynthesizer:
    """Stands where QaoaSynthesizer stands: circuits without content, on four lines."""

    def __init__(self, device: str, **words: Any) -> None:
        self._device = device

    async def warm(self, n: int) -> None:
        """Nothing to compile."""

    async def keep_calibrated(self, every_s: float) -> None:
        await asyncio.Event().wait()

    def lines(self, n: int) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(range(n * number, n * number + n)) for number in range(WIDTH))

    async def bind(self, subproblem: Subproblem, line: tuple[int, ...] = ()) -> DeviceCircuit:
        n = subproblem.n
        template = Template("key", self._device, line or tuple(range(n)), b"", 6e-6, 0, 0)
        return DeviceCircuit(template, QaoaParameters.idle(n))

    async def bind_circuit(self, source: str | bytes, values: Mapping[str, float]) -> DeviceCircuit:
        raise CircuitError("source", "is not taken here")

    async def bind_points(self, circuit: CircuitPoints) -> tuple[DeviceCircuit, ...]:
        template = Template("points", self._device, tuple(range(WIDTH)), b"", 6e-6, 0, 0)
        return (DeviceCircuit(template, QaoaParameters.idle(WIDTH)),) * len(circuit.points)

    def decode(self, subproblem: Subproblem, samples: Samples) -> Answer:
        return decode(subproblem, samples)


if __name__ == "__main__":
    assert _imported_before_the_line
    assert "opentelemetry" not in sys.modules
    vars(sys)["modules"]["opentelemetry"] = None  # without traces, nothing imports it
    vars(quantum_path)["QaoaSynthesizer"] = WarmSynthesizer
    if sys.stdin.readline():
        cli.main()
