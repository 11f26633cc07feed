"""Translates EstimatorV2's options to those of IBM's client-side Estimator and to result metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ibm_quantum_schemas.estimator.version_0_1 import OptionsModel, ParamsModel
from pydantic import BaseModel
from qiskit_ibm_runtime.executor_estimator.utils import resolve_noise_factors
from qiskit_ibm_runtime.json import RuntimeDecoder
from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions
from qiskit_ibm_runtime.results.noise_learner import LayerError, NoiseLearnerResult

from shotclock.emulator.rest.programs import BadProgramError

Json = Any  # a JSON document


def client_options(model: ParamsModel) -> EstimatorOptions:
    """The options of a job; raises BadProgramError on one that the emulator does not support."""
    options = model.options
    _check(options)
    resilience = options.resilience
    return EstimatorOptions(
        resilience_level=model.resilience_level,
        default_precision=options.default_precision,
        default_shots=options.default_shots,
        execution=options.execution.model_dump(),
        # Randomizations are independent in the emulator, so their order makes no difference.
        twirling=options.twirling.model_dump(exclude={"interleave_randomizations"}, exclude_none=True),
        dynamical_decoupling=options.dynamical_decoupling.model_dump(),
        resilience={
            "measure_mitigation": resilience.measure_mitigation,
            "measure_noise_learning": {
                "num_randomizations": resilience.measure_noise_learning.num_randomizations
            },
            "zne_mitigation": resilience.zne_mitigation,
            "zne": resilience.zne.model_dump(),
            "pec_mitigation": resilience.pec_mitigation,
            "pec": resilience.pec.model_dump(),
        },
    )


def _check(options: OptionsModel) -> None:
    resilience = options.resilience
    refused = (
        ("experimental", bool(options.experimental), "remove it"),
        (
            "resilience.zne.amplifier 'pea'",
            bool(resilience.zne_mitigation) and resilience.zne.amplifier == "pea",
            "use 'gate_folding', or resilience.pec_mitigation",
        ),
        (
            "resilience.measure_noise_learning.shots_per_randomization",
            resilience.measure_noise_learning.shots_per_randomization != "auto",
            "use 'auto'",
        ),
    )
    for name, is_set, remedy in refused:
        if is_set:
            raise BadProgramError(f"options.{name} is not emulated; {remedy}")


def read_layers(model: BaseModel | Sequence[BaseModel] | None) -> tuple[LayerError, ...] | None:
    """The layers of a job's noise model, sent as a NoiseLearnerResult or as layers; None without one."""
    if model is None:
        return None
    if isinstance(model, Sequence):
        document: Json = [layer.model_dump(by_alias=True) for layer in model]
    else:
        document = model.model_dump(by_alias=True)
    # Safe to decode: the schema has already restricted the classes.
    decoded = json.loads(json.dumps(document), cls=RuntimeDecoder)
    return tuple(decoded.data if isinstance(decoded, NoiseLearnerResult) else decoded)


def result_metadata(options: EstimatorOptions) -> Json:
    """The metadata of a job's result; options: with all defaults set."""
    resilience = options.resilience
    mitigation: Json = {
        "measure_mitigation": resilience.measure_mitigation,
        "zne_mitigation": resilience.zne_mitigation,
        "pec_mitigation": resilience.pec_mitigation,
    }
    if resilience.zne_mitigation:
        factors, evaluated = resolve_noise_factors(resilience.zne)
        mitigation["zne"] = {
            "noise_factors": factors.tolist(),
            "extrapolator": resilience.zne.model_dump(mode="json")["extrapolator"],
            "extrapolated_noise_factors": evaluated.tolist(),
        }
    twirling = options.twirling.model_dump(mode="json", exclude={"group"})
    decoupling = options.dynamical_decoupling.model_dump(mode="json", exclude={"skip_reset_qubits"})
    return {
        "dynamical_decoupling": decoupling,
        "twirling": twirling | {"interleave_randomizations": True},
        "resilience": mitigation,
        "version": 2,
    }
