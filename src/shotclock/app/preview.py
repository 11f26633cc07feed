"""Pre-evaluation of a circuit: samples from the emulator's state vector, judged by `circuits.preview`."""

from __future__ import annotations

import math

from shotclock.circuits.preview import preview
from shotclock.domain.circuit import DeviceCircuit, QaoaParameters
from shotclock.domain.ports import Offload
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator.statevector import MAX_QUBITS, execute

SEED = 1


class Preview:
    """A `GainEstimator`: samples the bound circuit locally, without noise, in the worker process.

    It makes no estimate for a circuit that is not QAOA or is too wide for a state vector, and vetoes none.
    """

    def __init__(self, offload: Offload, shots: int) -> None:
        self._offload = offload
        self._shots = shots

    async def __call__(
        self, subproblem: Subproblem, circuit: DeviceCircuit, incumbent_energy: float, shots: int
    ) -> float:
        """The gain expected of the shots over the incumbent energy, in units of E."""
        parameters = circuit.parameters
        if not isinstance(parameters, QaoaParameters) or parameters.n > MAX_QUBITS:
            return math.inf
        samples = await self._offload.run(execute, parameters, self._shots, 0.0, SEED)
        expected = preview(subproblem, samples, incumbent_energy, shots)
        return expected.gain if expected.worth else 0.0
