"""EstimatorV2's programs, converted to executor programs with several measurement bases. For the worker."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ibm_quantum_schemas.common.ndarray_wrapper import NdarrayWrapperModel
from ibm_quantum_schemas.estimator.version_0_1 import (
    DataBinModel,
    DataBinObjectModel,
    DataBinWrapperModel,
    ParamsModel,
    PubResultMetadataModel,
    PubResultModel,
    PubResultResilienceMetadataModel,
    PubResultWrapperModel,
    PubResultZneMetadataModel,
)
from qiskit.primitives.containers import PubResult
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.transpiler import Target
from qiskit_ibm_runtime.decoders.executor_estimator.post_processor_v0_1 import (
    estimator_v2_post_processor_v0_1,
)
from qiskit_ibm_runtime.executor_estimator.finalize_options import finalize_estimator_options
from qiskit_ibm_runtime.executor_estimator.prepare import prepare
from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions
from qiskit_ibm_runtime.options_models.twirling import TwirlingOptions
from qiskit_ibm_runtime.quantum_program import QuantumProgram

from shotclock.emulator import device
from shotclock.emulator.rest.client_program import (
    ClientProgram,
    Scheduling,
    check_isa,
    items_of,
    obey_shots,
    on_physical_qubits,
    outcome_of,
)
from shotclock.emulator.rest.encoding import ItemShots
from shotclock.emulator.rest.estimator_options import client_options, read_layers, result_metadata
from shotclock.emulator.rest.mitigation import NoiseSource, model_layers
from shotclock.emulator.rest.programs import BadProgramError, read_pub, type_values

Json = Any  # a JSON document
FIELDS = (
    "evs",
    "stds",
    "evs_noise_factors",
    "stds_noise_factors",
    "ensemble_stds_noise_factors",
    "evs_extrapolated",
    "stds_extrapolated",
    "ensemble_standard_error",
)


@dataclass(frozen=True, slots=True, eq=False)
class EstimatorGroup:
    """PUBs of one precision and their quantum program. numbers: the PUBs' indices in the job."""

    numbers: tuple[int, ...]
    program: QuantumProgram


def read(document: Json, target: Target, name: str) -> ClientProgram:
    """The program of a job's params, for the named device.

    Raises BadProgramError and the errors of Qiskit and pydantic.
    """
    typed, observables = _split(document)
    model = ParamsModel.model_validate(typed)
    options = client_options(model)
    pubs: list[EstimatorPub] = []
    for number, (pub, pub_observables) in enumerate(zip(model.pubs, observables, strict=True)):
        circuit_model, _, values_model, precision = pub.root
        circuit, values = read_pub(circuit_model, values_model)
        check_isa(number, circuit, target)
        names = tuple(circuit.parameters)
        bindings = BindingsArray({names: values} if names else {}, shape=values.shape[:-1])
        placed = on_physical_qubits(circuit)
        pubs.append(EstimatorPub(placed, ObservablesArray.coerce(pub_observables), bindings, precision))
    resilience = model.options.resilience
    source = NoiseSource(
        device.describe(name),
        read_layers(resilience.layer_noise_model),
        resilience.layer_noise_learning,
    )
    layers, learning = model_layers(pubs, options, source) if pubs else ([], ())
    options.resilience.layer_noise_model = layers or None
    groups = _groups(pubs, options, target)
    shot = tuple(item for group in groups for item in items_of(group.program))
    return ClientProgram(
        (*shot, *learning),
        options.execution.rep_delay,
        options.execution.init_qubits,
        result_metadata(finalize_estimator_options(options)),
        lambda shots: _encode(groups, shots),
    )


def _split(document: Json) -> tuple[Json, list[Json]]:
    """The params with flat observables, as the schema requires, and each PUB's observables as sent."""
    if not isinstance(document, dict) or not isinstance(document.get("pubs"), list):
        return document, []
    typed: list[Json] = []
    observables: list[Json] = []
    for pub in document["pubs"]:
        if not isinstance(pub, list) or len(pub) < 2:
            raise BadProgramError(f"pub {len(typed)}: expected a circuit and observables")
        circuit, pub_observables, values, precision, *more = (*pub, None, None)[: max(4, len(pub))]
        flat = _flat(pub_observables)
        observables.append(pub_observables)
        typed.append([circuit, flat, type_values(values), precision, *more])
    return document | {"pubs": typed}, observables


def _flat(observables: Json) -> Json:
    if isinstance(observables, list):
        nested = [_flat(inner) for inner in observables]
        return [each for inner in nested for each in (inner if isinstance(inner, list) else [inner])]
    return {observables: 1.0} if isinstance(observables, str) else observables


def _groups(
    pubs: Sequence[EstimatorPub], options: EstimatorOptions, target: Target
) -> tuple[EstimatorGroup, ...]:
    """Groups PUBs by precision, because a quantum program has one number of shots."""
    numbers: dict[float | None, list[int]] = {}
    for number, pub in enumerate(pubs):
        numbers.setdefault(pub.precision, []).append(number)
    return tuple(
        _group(tuple(chosen), [pubs[number] for number in chosen], options, target)
        for chosen in numbers.values()
    )


def _group(
    numbers: tuple[int, ...], pubs: Sequence[EstimatorPub], options: EstimatorOptions, target: Target
) -> EstimatorGroup:
    twirling = obey_shots(
        options.twirling.model_dump(exclude_none=True), has_shots=pubs[0].precision is not None
    )
    obeying = options.model_copy(update={"twirling": TwirlingOptions(**twirling)})
    return EstimatorGroup(numbers, prepare(pubs, obeying, backend=Scheduling(target))[0])


def _encode(groups: Sequence[EstimatorGroup], shots: ItemShots) -> str:
    """A JSON list of PubResults, in the order of the job's PUBs."""
    results: dict[int, PubResultWrapperModel] = {}
    first = 0
    for group in groups:
        end = first + len(group.program.items)
        result = estimator_v2_post_processor_v0_1(outcome_of(group.program, shots[first:end]))
        run = result.metadata
        # Mitigation by folding has several items per PUB; the last item may be the read-out calibration.
        each = len(group.program.items) // len(group.numbers)
        for place, (number, pub) in enumerate(zip(group.numbers, result, strict=True)):
            shape = group.program.items[place * each].shape
            results[number] = _pub_result(pub, run, shape[0] if shape else 1, group.program.shots)
        first = end
    return json.dumps(
        [results[number].model_dump(mode="json", exclude_none=True) for number in sorted(results)]
    )


def _pub_result(
    pub: PubResult, run: Mapping[str, Any], randomizations: int, shots: int
) -> PubResultWrapperModel:
    fields = {name: np.asarray(pub.data[name], float) for name in FIELDS if name in pub.data}
    data = DataBinModel(
        field_names=list(fields),
        field_types=["numpy.ndarray"] * len(fields),
        shape=tuple(pub.data.shape),
        fields=DataBinObjectModel(**{name: _pack(values) for name, values in fields.items()}),
    )
    metadata = PubResultMetadataModel(
        circuit_metadata=pub.metadata.get("circuit_metadata", {}),
        target_precision=run["target_precision"] or float(run["shots"]) ** -0.5,
        shots=randomizations * shots,
        num_randomizations=randomizations,
        resilience=_zne(pub.metadata.get("resilience")),
    )
    return PubResultWrapperModel(
        __value__=PubResultModel(data=DataBinWrapperModel(__value__=data), metadata=metadata)
    )


def _zne(resilience: Mapping[str, Any] | None) -> PubResultResilienceMetadataModel | None:
    if not resilience:
        return None
    chosen = np.asarray(resilience["zne"]["extrapolators"]).ravel().tolist()
    return PubResultResilienceMetadataModel(zne=PubResultZneMetadataModel(extrapolator=chosen))


def _pack(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> NdarrayWrapperModel:
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    return NdarrayWrapperModel(__value__=base64.b64encode(zlib.compress(content.getvalue())).decode())
