"""Programs of NoiseLearner and NoiseLearnerV3. Imports Qiskit: for the worker."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ibm_quantum_schemas.noise_learner_v2.version_0_1 import OptionsModel, ParamsModel
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction
from qiskit.quantum_info import PauliList
from qiskit.transpiler import Target
from qiskit_ibm_runtime.json import RuntimeEncoder
from qiskit_ibm_runtime.noise_learner_v3.converters import version_0_1, version_0_2, version_0_3
from qiskit_ibm_runtime.noise_learner_v3.find_learning_protocol import find_learning_protocol
from qiskit_ibm_runtime.noise_learner_v3.params_converters import NOISE_LEARNER_V3_PARAMS_CONVERTERS
from qiskit_ibm_runtime.noise_learner_v3.validation import validate_instruction
from qiskit_ibm_runtime.results.noise_learner import LayerError, PauliLindbladError
from qiskit_ibm_runtime.results.noise_learner_v3 import NoiseLearnerV3Result, NoiseLearnerV3Results
from samplomatic.transpiler import generate_boxing_pass_manager
from samplomatic.utils import find_unique_box_instructions, undress_box

from shotclock.emulator import device
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.rest.client_program import ClientProgram, check_isa, on_physical_qubits
from shotclock.emulator.rest.layer_noise import (
    Effort,
    Layer,
    generators_of,
    layer_of,
    learn,
    learnings,
    rates_of,
)
from shotclock.emulator.rest.programs import BadProgramError, read_circuit

Json = Any  # a JSON document
V3_RESULTS = {
    "v0.1": version_0_1.noise_learner_v3_result_to_0_1,
    "v0.2": version_0_2.noise_learner_v3_result_to_0_2,
    "v0.3": version_0_3.noise_learner_v3_result_to_0_3,
}


def read(document: Json, target: Target, name: str) -> ClientProgram:
    """The program of a job's params, for the named device. Raises as `estimator.read`."""
    facts = device.describe(name)
    if isinstance(document, dict) and "schema_version" in document:
        return _read_v3(document, target, facts)
    model = ParamsModel.model_validate(document)
    if model.options.experimental:
        raise BadProgramError("options.experimental is not emulated; remove it")
    circuits = [on_physical_qubits(read_circuit(circuit_model)) for circuit_model in model.circuits]
    for number, circuit in enumerate(circuits):
        check_isa(number, circuit, target)
    layers = _layers(circuits, model.options)
    options = model.options
    effort = Effort(
        tuple(options.layer_pair_depths), options.num_randomizations, options.shots_per_randomization
    )
    text = _results_v2(layers, facts, model.options, name)
    return _program(layers, effort, target, text)


def _program(
    layers: Sequence[Layer],
    effort: Effort,
    target: Target,
    text: str,
    rep_delay_s: float | None = None,
    *,
    init_qubits: bool = True,
) -> ClientProgram:
    if not layers:
        raise BadProgramError("the circuits have no layer of two-qubit gates to learn")
    items = tuple(item for layer in layers for item in learnings(layer, effort, target.num_qubits))
    return ClientProgram(items, rep_delay_s, init_qubits, {}, lambda _: text)


def _layers(circuits: Sequence[QuantumCircuit], options: OptionsModel) -> list[Layer]:
    """Unique layers of two-qubit gates, most frequent first, up to the number to learn."""
    strategy = options.twirling_strategy.replace("-", "_")
    boxing = generate_boxing_pass_manager(enable_measures=False, twirling_strategy=strategy)
    count: Counter[str] = Counter()
    layers: dict[str, Layer] = {}
    for circuit in circuits:
        boxed = boxing.run(circuit)
        place = {qubit: number for number, qubit in enumerate(boxed.qubits)}
        for box in (item for item in boxed.data if item.name == "box"):
            (only,) = find_unique_box_instructions([box])
            layer = layer_of(only, place)
            if layer.two_qubit_depth > 0:
                key = layer.key
                count[key] += 1
                layers.setdefault(key, layer)
    most = options.max_layers_to_learn
    return [layers[key] for key, _ in count.most_common(most)]


def _results_v2(layers: Sequence[Layer], facts: DeviceFacts, options: OptionsModel, name: str) -> str:
    data = []
    for layer in layers:
        error = learn(layer, facts)
        labels = PauliList([_label(term, error.num_qubits) for term in error.to_sparse_list()])
        rates = [rate for _, _, rate in error.to_sparse_list()]
        data.append(LayerError(layer.circuit, layer.qubits, PauliLindbladError(labels, rates)))
    backend = json.loads(device.documents(name)[0])["backend_name"]
    input_options = options.model_dump(exclude={"support_qiskit", "experimental", "simulator"})
    metadata = {"backend": backend, "input_options": input_options}
    return json.dumps({"data": data, "metadata": metadata}, cls=RuntimeEncoder)


def _label(term: tuple[str, list[int], float], num_qubits: int) -> str:
    letters = dict(zip(term[1], term[0], strict=True))
    return "".join(letters.get(qubit, "I") for qubit in reversed(range(num_qubits)))


def _read_v3(document: Json, target: Target, facts: DeviceFacts) -> ClientProgram:
    version = document["schema_version"]
    if version not in NOISE_LEARNER_V3_PARAMS_CONVERTERS:
        raise BadProgramError(f"schema_version {version!r} is not one of {', '.join(V3_RESULTS)}")
    converter = NOISE_LEARNER_V3_PARAMS_CONVERTERS[version]
    model = converter.model.model_validate(document)
    instructions, options = converter.decoder(model)
    if model.options.post_selection.enable:
        raise BadProgramError("options.post_selection is not emulated; remove it")
    checks = options.bit_flip_checks
    if checks.pre_circuit.enable or checks.post_circuit.enable:
        raise BadProgramError("options.bit_flip_checks is not emulated; remove it")
    layers = [_check_layer(instruction, target) for instruction in instructions]
    effort = Effort(
        tuple(options.layer_pair_depths), options.num_randomizations, options.shots_per_randomization
    )
    results = NoiseLearnerV3Results([_result_v3(layer, facts, effort) for layer in layers])
    text = V3_RESULTS[version](results).model_dump_json()
    execution = options.execution
    return _program(
        layers, effort, target, text, execution.rep_delay, init_qubits=bool(execution.init_qubits)
    )


def _check_layer(instruction: CircuitInstruction, target: Target) -> Layer:
    validate_instruction(instruction, target)
    if find_learning_protocol(instruction) is None:
        raise BadProgramError("an instruction is neither a layer of gates nor a measurement of its qubits")
    register = {qubit: qubit._index for qubit in instruction.qubits}
    undressed = CircuitInstruction(undress_box(instruction.operation), instruction.qubits, instruction.clbits)
    return layer_of(undressed, register)


def _result_v3(layer: Layer, facts: DeviceFacts, effort: Effort) -> NoiseLearnerV3Result:
    letters, rate = rates_of(layer, facts)
    generators = generators_of(layer, letters)
    if layer.is_measurement:
        selection: Json = {"fraction_kept": 1.0, "success_rates": {}}
        metadata = {"learning_protocol": "trex", "post_selection": selection}
    else:
        selection = {
            "fraction_kept": dict.fromkeys(effort.pair_depths, 1.0),
            "success_rates": {},
        }
        metadata = {"learning_protocol": "lindblad", "post_selection": selection}
    return NoiseLearnerV3Result.from_generators(generators, [rate] * len(generators), metadata=metadata)
