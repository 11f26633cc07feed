"""EstimatorV2's mitigation with a layer noise model (PEC), sent with the job or learned. For the worker."""

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
    """The source of the layers' noise. provided: the model sent with the job; None to learn it."""

    facts: DeviceFacts
    provided: tuple[LayerError, ...] | None
    learning: LayerNoiseLearningOptionsModel


def model_layers(
    pubs: Sequence[EstimatorPub], options: EstimatorOptions, source: NoiseSource
) -> tuple[list[tuple[CircuitInstruction, PauliLindbladMap]], tuple[Learning, ...]]:
    """The noise of each unique layer of the PUBs and the circuits that learn it; empty without PEC.

    A layer that is neither provided nor learned counts as noiseless.
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
    if source.provided is not None:
        errors = {Layer(error.circuit, tuple(error.qubits)).key: error for error in source.provided}
        return [(box, _find_provided(layer, errors)) for box, layer in zip(boxes, layers, strict=True)], ()
    # Learn the first layers, up to the limit.
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
    return list(zip(boxes, maps, strict=True)), tuple(item for learning in circuits for item in learning)


def _layer(box: CircuitInstruction) -> Layer:
    return layer_of(box, {qubit: qubit._index for qubit in box.qubits})


def _find_provided(layer: Layer, errors: dict[str, LayerError]) -> PauliLindbladMap:
    layer_error = errors.get(layer.key)
    n = len(layer.qubits)
    if layer_error is None or layer_error.error is None:
        return PauliLindbladMap.identity(n)
    place = {qubit: number for number, qubit in enumerate(layer.qubits)}
    terms = []
    for label, rate in zip(layer_error.error.generators.to_labels(), layer_error.error.rates, strict=True):
        # A label's last letter belongs to the first qubit.
        letters = [(letter, qubit) for letter, qubit in zip(reversed(label), layer_error.qubits, strict=True)]
        factors = [(letter, place[qubit]) for letter, qubit in letters if letter != "I"]
        terms.append(
            ("".join(letter for letter, _ in factors), [number for _, number in factors], float(rate))
        )
    return PauliLindbladMap.from_sparse_list(terms, n)
