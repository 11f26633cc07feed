"""Items of a quantum program with random parameters: the executor's twirling. For the worker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from qiskit import QuantumCircuit
from qiskit_ibm_runtime.fake_provider.executor.broadcast_sample import broadcast_sample
from samplomatic.quantum_program import SamplexItem

from shotclock.domain.subproblem import Float64s

Flips = dict[str, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]


@dataclass(frozen=True, slots=True, eq=False)
class Twirled:
    """A template circuit and the samplex that draws its parameters once per randomization."""

    circuit: QuantumCircuit
    shots: int
    item: SamplexItem

    @property
    def shape(self) -> tuple[int, ...]:
        """Randomizations and sweep, without shots."""
        return tuple(self.item.shape)

    def values(self, rng: np.random.Generator) -> tuple[Float64s, Flips]:
        """See `Item.values`; the flips are the samplex's other outputs, which the client undoes."""
        self.item.samplex.finalize()
        outputs = broadcast_sample(self.item.samplex, self.item.samplex_arguments, self.shape, rng)
        values = outputs.pop("parameter_values", np.empty((*self.shape, 0)))
        return values, outputs
