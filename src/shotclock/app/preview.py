"""Pre-evaluation of a circuit: samples from the emulator's state vector, judged by `circuits.preview`."""

from __future__ import annotations

import hashlib

from shotclock.circuits.preview import preview
from shotclock.domain.circuit import DeviceCircuit, QaoaParameters
from shotclock.domain.outcome import PreEvaluation, SubmitDecision
from shotclock.domain.ports import Offload, Solver
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator.statevector import execute

SEED = 1
MAX_PREVIEWED = 20
"""A state vector of more variables takes longer than the QPU's shots."""


class LocalPreview:
    """A `PreEvaluator`: samples the bound circuit locally, without noise, in a worker process.

    incumbent: the solver whose answer the caller has at no cost; shots must beat it, and changing nothing.
    calibration: share of the vetoed calls to submit all the same, drawn from the subproblem's content, so
        that a retry and a repeated run decide alike.

    It cannot tell for a circuit that is not QAOA or is too wide for a quick state vector.
    """

    def __init__(self, offload: Offload, incumbent: Solver, shots: int, calibration: float) -> None:
        self._offload = offload
        self._incumbent = incumbent
        self._shots = shots
        self._calibration = calibration

    async def __call__(
        self, subproblem: Subproblem, circuit: DeviceCircuit, shots: int
    ) -> PreEvaluation | None:
        """Submits if the shots are expected to gain on the incumbent, and a share of the others."""
        parameters = circuit.parameters
        if not isinstance(parameters, QaoaParameters) or parameters.n > MAX_PREVIEWED:
            return None
        answer = subproblem.energy(self._incumbent.solve(subproblem))
        energy = min(subproblem.offset, answer)
        samples = await self._offload.run(execute, parameters, self._shots, 0.0, SEED)
        expected = preview(subproblem, samples, energy, shots)
        if expected.worth:
            return PreEvaluation(SubmitDecision.SUBMIT, expected.gain, energy)
        drawn = draw(subproblem) < self._calibration
        return PreEvaluation(SubmitDecision.CALIBRATE if drawn else SubmitDecision.VETO, 0.0, energy)


def draw(subproblem: Subproblem) -> float:
    """A number in [0, 1) from the subproblem's content."""
    digest = hashlib.sha256(b"calibration" + subproblem.fingerprint()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64
