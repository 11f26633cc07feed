"""Programs of the older SamplerV2 that the service must twirl or decouple. Imports Qiskit: for the worker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ibm_quantum_schemas.sampler.version_0_1 import OptionsModel, ParamsModel, SamplerPubResultWrapperModel
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.transpiler import Target
from qiskit_ibm_runtime.decoders.executor_sampler.post_processor_v0_1 import sampler_v2_post_processor_v0_1
from qiskit_ibm_runtime.executor_sampler.prepare import prepare
from qiskit_ibm_runtime.options_models.sampler import SamplerOptions
from qiskit_ibm_runtime.quantum_program import QuantumProgram

from shotclock.emulator.rest.client_program import (
    ClientProgram,
    Scheduling,
    check_isa,
    items_of,
    obey_shots,
    on_physical_qubits,
    outcome_of,
)
from shotclock.emulator.rest.encoding import ItemShots, sampler_pub
from shotclock.emulator.rest.programs import Program, read_pub, read_sampler, sampler_params

Json = Any  # a JSON document


@dataclass(frozen=True, slots=True, eq=False)
class SamplerGroup:
    """PUBs with equal shots and their quantum program. numbers: the PUBs' indices in the job."""

    numbers: tuple[int, ...]
    shots: int
    program: QuantumProgram


def read(document: Json, target: Target) -> Program:
    """The program of a job's params. Raises BadProgramError and the errors of Qiskit and pydantic."""
    model = sampler_params(document)
    if not _is_prepared_by_the_service(model.options):
        return read_sampler(model)
    pubs = [_pub(number, model, target) for number in range(len(model.pubs))]
    groups = _groups(pubs, [_has_shots(document, pub) for pub in document["pubs"]], model.options, target)
    placed = [(number, group.shots) for group in groups for number in group.numbers]
    return ClientProgram(
        tuple(item for group in groups for item in items_of(group.program)),
        model.options.execution.rep_delay,
        model.options.execution.init_qubits,
        {
            "numbers": [number for number, _ in placed],
            "pub_shots": [shots for _, shots in placed] if _is_twirled(model.options) else None,
        },
        lambda shots: _encode(groups, shots),
    )


def _is_twirled(options: OptionsModel) -> bool:
    return bool(options.twirling.enable_gates or options.twirling.enable_measure)


def _is_prepared_by_the_service(options: OptionsModel) -> bool:
    return _is_twirled(options) or options.dynamical_decoupling.enable


def _has_shots(document: Json, pub: Json) -> bool:
    """Whether the user gave the PUB's shots, so that the options' default does not apply."""
    return document.get("shots") is not None or (len(pub) > 2 and pub[2] is not None)


def _client_options(sent: OptionsModel, *, has_shots: bool) -> SamplerOptions:
    return SamplerOptions(
        default_shots=sent.default_shots,
        execution=sent.execution.model_dump(),
        twirling=obey_shots(sent.twirling.model_dump(), has_shots=has_shots),
        dynamical_decoupling=sent.dynamical_decoupling.model_dump(),
    )


def _pub(number: int, model: ParamsModel, target: Target) -> SamplerPub:
    circuit_model, values_model, shots = model.pubs[number].root
    circuit, values = read_pub(circuit_model, values_model)
    check_isa(number, circuit, target)
    names = tuple(circuit.parameters)
    bindings = BindingsArray({names: values} if names else {}, shape=values.shape[:-1])
    return SamplerPub(on_physical_qubits(circuit), bindings, shots)


def _groups(
    pubs: Sequence[SamplerPub], has_shots: Sequence[bool], sent: OptionsModel, target: Target
) -> tuple[SamplerGroup, ...]:
    """Groups PUBs by shots, because a quantum program has one number of shots."""
    numbers: dict[tuple[int, bool], list[int]] = {}
    for number, pub in enumerate(pubs):
        numbers.setdefault((pub.shots or sent.default_shots, has_shots[number]), []).append(number)
    groups = []
    for (shots, is_given), chosen in numbers.items():
        options = _client_options(sent, has_shots=is_given)
        program, _ = prepare([pubs[number] for number in chosen], options, backend=Scheduling(target))
        groups.append(
            SamplerGroup(tuple(chosen), shots if is_given else _count_shots(program, options, shots), program)
        )
    return tuple(groups)


def _count_shots(program: QuantumProgram, options: SamplerOptions, shots: int) -> int:
    """Shots if the user gave none: the product of the twirling options takes precedence."""
    twirling = options.twirling
    randomizations = twirling.num_randomizations
    if randomizations == "auto" or twirling.shots_per_randomization == "auto":
        return shots
    return int(randomizations) * int(program.shots)


def _encode(groups: Sequence[SamplerGroup], shots: ItemShots) -> str:
    """A JSON list of SamplerPubResults, in the order of the job's PUBs."""
    results: dict[int, SamplerPubResultWrapperModel] = {}
    first = 0
    for group in groups:
        end = first + len(group.program.items)
        result = sampler_v2_post_processor_v0_1(outcome_of(group.program, shots[first:end]))
        for number, pub in zip(group.numbers, result, strict=True):
            # The last randomization may have taken more shots than requested.
            fields = {name: bits.slice_shots(range(group.shots)) for name, bits in pub.data.items()}
            results[number] = sampler_pub(fields, pub.data.shape, pub.metadata)
        first = end
    return json.dumps(
        [results[number].model_dump(mode="json", exclude_none=True) for number in sorted(results)]
    )
