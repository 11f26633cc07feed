"""A user circuit with observables, as the measured circuits that an estimator would send in one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np

from shotclock.bench.load.circuit import CircuitFile
from shotclock.circuits import user_circuits
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints
from shotclock.domain.circuit_bytes import dump_circuit
from shotclock.domain.circuit_source import source_check
from shotclock.domain.errors import CircuitError, SettingsError, WorkerError
from shotclock.emulator import device as devices
from shotclock.primitives.grouping import group, read_terms
from shotclock.runtime.offload import ProcessOffload
from shotclock.settings.circuit_limits import CircuitLimitsSettings

Sum = tuple[tuple[str, float], ...]
"""An observable's Pauli strings with their coefficients."""


def measure(circuit: CircuitFile, device: str, limits: CircuitLimitsSettings) -> CircuitBatch:
    """The batch of one call: a circuit for each basis in which terms are measured together.

    The file is read in a separate process, because a damaged QPY file can end the reading process. Raises
    SettingsError where circuit and observables do not fit, MachineError if a package is not installed.
    """
    offload = ProcessOffload()
    spec = circuit.spec
    sums = tuple(observable.terms for observable in circuit.observables)
    try:
        facts = asyncio.run(offload.run(devices.describe, device))
        source_check.check(spec.content, limits.for_device(device, facts.n_qubits))
        work = offload.run(measure_source, spec.content, spec.values_by_name(), spec.shots, sums, device)
        return asyncio.run(work)
    except CircuitError as error:
        raise circuit.explain_refusal(error) from error
    except WorkerError as error:
        raise SettingsError(f"--circuit {circuit.file}: is damaged; reading it ended the process") from error
    finally:
        offload.close()


def measure_source(
    source: str | bytes, values: Mapping[str, float], shots: int, sums: tuple[Sum, ...], device: str
) -> CircuitBatch:
    """See `measure`; raises CircuitError."""
    circuit = user_circuits.read_unmeasured(source, values, device, devices.target(device))
    width = circuit.num_qubits
    for terms in sums:
        if len(terms[0][0]) != width:
            raise CircuitError(
                "observables", f"have {len(terms[0][0])} letters, and the circuit has {width} qubits"
            )
    read = [read_terms(_add_up(terms), width) for terms in sums]
    bases = group(term for terms in read for term in terms)
    if not bases:
        raise CircuitError("observables", "add up to constants, which no circuit measures")
    point = np.zeros((1, 0))
    return CircuitBatch(
        tuple(CircuitPoints(dump_circuit(basis.apply(circuit)), shots, (), point) for basis in bases)
    )


def _add_up(terms: Sum) -> dict[str, float]:
    """A string that is named twice counts twice."""
    added: dict[str, float] = {}
    for label, coefficient in terms:
        added[label] = added.get(label, 0.0) + coefficient
    return added
