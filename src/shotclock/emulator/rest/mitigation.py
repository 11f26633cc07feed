"""EstimatorV2's mitigation by a layer noise model (PEC), given with the job or learned. For the worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ibm_quantum_schemas.estimator.version_0_1 import LayerNoiseLearningOptionsModel
from qiskit.circuit import CircuitInstruction
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import PauliLindbladMap
from qiskit_ibm_runtime.executor_estimator.finalize_options import finalize_estimator_options
from qiskit_ibm_runtime.executor_estimator.prepare import choose_task_class
from qiskit_ibm_runtime.executor_estimator.utils import estimator_options_to_boxing_options
from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions
from qiskit_ibm_runtime.results.noise_learner import LayerError
from qiskit_mitigation import PEC, find_combined_unique_layers  # type: ignore[import-untyped]

from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.rest.layer_noise import Effort, Layer, Learning, layer_of, learn, learnings


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSource:
    """Where the noise of layers is from. given: what came with the job, None where it is to be learned."""

    facts: DeviceFacts
    given: tuple[LayerError, ...] | None
    learning: LayerNoiseLearningOptionsModel


def model_layers(
    pubs: Sequence[EstimatorPub], options: EstimatorOptions, source: NoiseSource
) -> tuple[list[tuple[CircuitInstruction, PauliLindbladMap]], tuple[Learning, ...]]:
    """The noise of each unique layer of the PUBs, and the circuits that learn it; nothing where none is used.

    A layer that is neither given nor learned counts as noiseless.
    """
    finalized = finalize_estimator_options(options)
    task = choose_task_class(finalized.resilience)
    if task is not PEC:
        return [], ()
    boxing = estimator_options_to_boxing_options(
        finalized.twirling, bool(finalized.resilience.measure_mitigation), inject_noise=True
    )
    boxes = find_combined_unique_layers(
        [pub.circuit for pub in pubs], [task() for _ in pubs], boxing, box_types="gates"
    )
    layers = [_layer(box) for box in boxes]
    if source.given is not None:
        known = {Layer(one.circuit, tuple(one.qubits)).key: one for one in source.given}
        return [(box, _find_given(layer, known)) for box, layer in zip(boxes, layers, strict=True)], ()
    # All of the layers that come first, as many as are to be learned.
    most = source.learning.max_layers_to_learn
    chosen = [layer for layer in layers if layer.two_qubit_depth > 0][:most]
    effort = Effort(
        tuple(source.learning.layer_pair_depths),
        source.learning.num_randomizations,
        source.learning.shots_per_randomization,
    )
    keys = {layer.key for layer in chosen}
    maps = [
        learn(layer, source.facts) if layer.key in keys else PauliLindbladMap.identity(len(layer.qubits))
        for layer in layers
    ]
    circuits = (learnings(layer, effort, source.facts.n_qubits) for layer in chosen)
    return list(zip(boxes, maps, strict=True)), tuple(item for one in circuits for item in one)


def _layer(box: CircuitInstruction) -> Layer:
    return layer_of(box, {qubit: qubit._index for qubit in box.qubits})


def _find_given(layer: Layer, known: dict[str, LayerError]) -> PauliLindbladMap:
    found = known.get(layer.key)
    n = len(layer.qubits)
    if found is None or found.error is None:
        return PauliLindbladMap.identity(n)
    place = {qubit: number for number, qubit in enumerate(layer.qubits)}
    terms = []
    for label, rate in zip(found.error.generators.to_labels(), found.error.rates, strict=True):
        # A label's last letter is of the first qubit.
        letters = [(letter, qubit) for letter, qubit in zip(reversed(label), found.qubits, strict=True)]
        kept = [(letter, place[qubit]) for letter, qubit in letters if letter != "I"]
        terms.append(("".join(one for one, _ in kept), [number for _, number in kept], float(rate)))
    return PauliLindbladMap.from_sparse_list(terms, n)
