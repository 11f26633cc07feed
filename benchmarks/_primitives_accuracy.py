"""How far Shotclock's primitives are from exact figures, and what a call adds to a direct local sampler."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import BaseEstimatorV2, BaseSamplerV2, StatevectorEstimator, StatevectorSampler
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_aer.primitives import SamplerV2 as AerSampler

import shotclock
from shotclock.app.connect import Connection

QUBITS, SHOTS, PRECISION = 4, 20_000, 1 / 64
OBSERVABLES = [["ZZII"], ["XXYY"], [SparsePauliOp(["IZZI", "XIIX", "IYIY"], [0.5, -0.75, 1.0])]]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The largest of all deviations, beside those of Qiskit's reference primitives at as many shots.

    tvd: total variation distance of a circuit's samples from the state's probabilities.
    sigma: distance of an expectation value from the exact one, in standard errors.
    """

    circuits: int
    values: int
    tvd: float
    reference_tvd: float
    sigma: float
    reference_sigma: float


@dataclass(frozen=True, slots=True)
class CallTime:
    """The median of one sampler's calls, milliseconds."""

    name: str
    p50_ms: float


@contextmanager
def connect_to_aer() -> Iterator[Connection]:
    """Primitives over Aer without noise, in this process and in real time."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "settings.toml"
        settings.write_text('[quantum]\nprovider = "aer"\n', encoding="utf-8")
        with shotclock.connect(settings=settings) as connection:
            yield connection


def measure_accuracy(connection: Connection, circuits: int) -> Accuracy:
    """Random circuits, sampled and estimated by both."""
    rng = np.random.default_rng(11)
    ansatz = make_ansatz()
    points = rng.uniform(-np.pi, np.pi, (circuits, ansatz.num_parameters))
    measured = ansatz.measure_all(inplace=False)
    exact = [Statevector(ansatz.assign_parameters(point)).probabilities_dict() for point in points]
    values = np.array(
        StatevectorEstimator(default_precision=0).run([(ansatz, OBSERVABLES, points)]).result()[0].data.evs
    )
    ours, reference = connection.sampler(budget="10min"), StatevectorSampler(seed=3)
    return Accuracy(
        circuits,
        values.size,
        *(_find_tvd(sampler, measured, points, exact) for sampler in (ours, reference)),
        *(
            _find_sigma(estimator, ansatz, points, values, least)
            for estimator, least in (
                (connection.estimator(budget="10min"), PRECISION**2),
                (StatevectorEstimator(seed=3), PRECISION),  # its noise, whose size it does not report
            )
        ),
    )


def _find_tvd(sampler: BaseSamplerV2, circuit: QuantumCircuit, points: Any, exact: list[Any]) -> float:
    bits = sampler.run([(circuit, points)], shots=SHOTS).result()[0].data.meas
    distances = []
    for index, probabilities in enumerate(exact):
        counts = bits.get_counts(index)
        words = counts.keys() | probabilities.keys()
        distances.append(
            sum(abs(counts.get(word, 0) / SHOTS - probabilities.get(word, 0.0)) for word in words) / 2
        )
    return float(max(distances))


def _find_sigma(
    estimator: BaseEstimatorV2, circuit: QuantumCircuit, points: Any, values: Any, least: float
) -> float:
    data = estimator.run([(circuit, OBSERVABLES, points)], precision=PRECISION).result()[0].data
    return float((np.abs(data.evs - values) / np.maximum(data.stds, least)).max())


def measure_overhead(connection: Connection, calls: int) -> list[CallTime]:
    """The same call of 100 shots by Shotclock over Aer, then by local samplers directly, in turns."""
    circuit = make_ansatz().measure_all(inplace=False)
    point = np.random.default_rng(5).uniform(-np.pi, np.pi, circuit.num_parameters)
    samplers: dict[str, BaseSamplerV2] = {
        "Shotclock over Aer": connection.sampler(),
        "Aer's `SamplerV2`": AerSampler(seed=5),
        "Qiskit's `StatevectorSampler`": StatevectorSampler(seed=5),
    }
    times: dict[str, list[int]] = {name: [] for name in samplers}
    for number in range(calls + 3):
        for name, sampler in samplers.items():
            began = time.perf_counter_ns()
            sampler.run([(circuit, point)], shots=100).result()
            if number >= 3:  # the first ones compile
                times[name].append(time.perf_counter_ns() - began)
    return [CallTime(name, float(np.median(took)) * 1e-6) for name, took in times.items()]


def find_direct(times: Sequence[CallTime]) -> CallTime:
    """The fastest of the local samplers."""
    return min(times[1:], key=lambda each: each.p50_ms)


def make_ansatz() -> QuantumCircuit:
    """Two layers in which no parameter commutes with another."""
    angles = iter(ParameterVector("a", 4 * QUBITS))
    circuit = QuantumCircuit(QUBITS)
    for _ in range(2):
        for qubit in range(QUBITS):
            circuit.ry(next(angles), qubit)
            circuit.rz(next(angles), qubit)
        for qubit in range(QUBITS - 1):
            circuit.cx(qubit, qubit + 1)
    return circuit


def markdown(accuracy: Accuracy, times: Sequence[CallTime]) -> list[str]:
    """Lines of the page."""
    lines = [
        f"The largest deviation from exact figures, of {accuracy.circuits} random circuits of {QUBITS} "
        f"qubits at {SHOTS:,} shots and of {accuracy.values} expectation values, over Aer without noise:",
        "",
        "| | Shotclock | Qiskit's reference primitive |",
        "|---|---|---|",
        f"| total variation distance of samples | {accuracy.tvd:.4f} | {accuracy.reference_tvd:.4f} |",
        f"| standard errors of a value | {accuracy.sigma:.2f} | {accuracy.reference_sigma:.2f} |",
        "",
        f"A call of one circuit and 100 shots; the software's part is the difference to the fastest local "
        f"sampler, {times[0].p50_ms - find_direct(times).p50_ms:.2f} ms:",
        "",
        "| | median |",
        "|---|---|",
    ]
    return lines + [f"| {each.name} | {each.p50_ms:.2f} ms |" for each in times]
