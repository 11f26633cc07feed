"""Decodes and checks programs as IBM's clients send them. Imports Qiskit: for the worker.

Three forms: SamplerV2's typed PUBs, the REST API's plain ones (OpenQASM 3 and lists, as QRMI sends them),
and the executor's quantum programs. The models are those of ibm-quantum-schemas.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from ibm_quantum_schemas.common.ndarray_wrapper import NdarrayWrapperModel
from ibm_quantum_schemas.common.qasm import OpenQasm3DataModel
from ibm_quantum_schemas.common.typed_qpy_circuit import TypedQpyCircuitModel
from ibm_quantum_schemas.executor.version_2_0 import CircuitItemModel, SamplexItemModel
from ibm_quantum_schemas.executor.version_2_0 import ParamsModel as ExecutorParams
from ibm_quantum_schemas.sampler.version_0_1 import ParamsModel as SamplerParams
from pydantic import ValidationError
from qiskit import QuantumCircuit, qpy
from qiskit.exceptions import QiskitError
from qiskit_ibm_runtime.quantum_program.converters.converters_2_0 import quantum_program_from_2_0
from samplomatic.quantum_program import SamplexItem

from shotclock.domain.circuit_limits import CircuitLimits
from shotclock.domain.circuit_source import source_check
from shotclock.domain.errors import CircuitError
from shotclock.domain.subproblem import Float64s
from shotclock.emulator.model_file import first_fault
from shotclock.emulator.rest import openqasm
from shotclock.emulator.rest.recognise.twirling import Flips, Twirled

Json = Any  # a JSON document
DEFAULT_SHOTS = 4096
MOST_BYTES = 64 * 2**20
"""Of a circuit or an array, unpacked."""
# IBM's clients send circuits of native gates, which hold no definitions to expand and are read fast.
LIMITS = CircuitLimits(
    "the widest device", 1_200, MOST_BYTES, tokens=500_000, statements=50_000, bits=65_536, gates=200_000
)
MOST_CIRCUITS = 300
"""Of one quantum program, which sends them in one QPY file; its limits are of all of them together."""
# What Qiskit, NumPy and the standard library raise on malformed bytes.
MALFORMED = (QiskitError, struct.error, binascii.Error, zlib.error, EOFError, ValueError, OverflowError)


class BadProgramError(Exception):
    """A program that cannot be run; its text is one line for the caller."""


class Item(Protocol):
    """A circuit and the values of its parameters."""

    @property
    def circuit(self) -> QuantumCircuit:
        """The circuit, the same for every row of values."""

    @property
    def shots(self) -> int:
        """Shots of each row."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sweep, without shots."""

    def values(self, rng: np.random.Generator) -> tuple[Float64s, Flips]:
        """Values, shape (*shape, parameters) in the order of `circuit.parameters`; flips to undo."""


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """A circuit with fixed values, shape (*shape, parameters)."""

    circuit: QuantumCircuit
    shots: int
    swept: Float64s

    @property
    def shape(self) -> tuple[int, ...]:
        """The sweep, without shots."""
        return self.swept.shape[:-1]

    def values(self, rng: np.random.Generator) -> tuple[Float64s, Flips]:
        """See `Item.values`; draws nothing."""
        del rng
        return self.swept, {}


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """What a job runs.

    items: the circuits
    rep_delay_s: seconds; None for the device's default
    init_qubits: whether qubits are reset before each shot
    echo: members of the request to return with the results
    """

    items: tuple[Item, ...]
    rep_delay_s: float | None
    init_qubits: bool
    echo: Mapping[str, Json]


def decode(program_id: str, params: str) -> Program:
    """The program of a request; raises BadProgramError if it is invalid."""
    with bad_programs():
        document = json.loads(params)
        return _executor(document) if program_id == "executor" else read_sampler(sampler_params(document))


@contextlib.contextmanager
def bad_programs() -> Iterator[None]:
    """Translates the errors of an invalid program to BadProgramError."""
    try:
        yield
    except ValidationError as error:
        raise BadProgramError(first_fault(error)) from error
    except MALFORMED as error:
        raise BadProgramError(_line(error)) from error


def _executor(document: Json) -> Program:
    model = ExecutorParams.model_validate(document)
    if model.quantum_program.meas_level != "classified":
        raise BadProgramError(f"meas_level {model.quantum_program.meas_level!r} is not emulated")
    circuits = model.quantum_program.circuits
    if isinstance(circuits, OpenQasm3DataModel):
        for text in circuits.data:
            check_source(text)
    else:
        check_source(_decompress(circuits.b64_data), MOST_CIRCUITS)
    program, _ = quantum_program_from_2_0(model)
    shots = model.quantum_program.shots
    items: list[Item] = []
    for item, item_model in zip(program.items, model.quantum_program.items, strict=True):
        if isinstance(item, SamplexItem):
            items.append(Twirled(item.circuit, shots, item))
        else:
            values = _check_finite(_broadcast(item.circuit_arguments, item_model))
            items.append(Swept(item.circuit, shots, values))
    sent = document["quantum_program"]
    return Program(
        tuple(items),
        model.options.rep_delay,
        model.options.init_qubits,
        {"passthrough_data": sent.get("passthrough_data"), "semantic_role": sent.get("semantic_role")},
    )


def _broadcast(arguments: Float64s, model: CircuitItemModel | SamplexItemModel) -> Float64s:
    shape = np.broadcast_shapes(arguments.shape[:-1], tuple(model.shape))
    return np.broadcast_to(arguments, (*shape, arguments.shape[-1]))


def sampler_params(document: Json) -> SamplerParams:
    """SamplerV2's params, typed or plain. Raises BadProgramError and pydantic's ValidationError."""
    model = SamplerParams.model_validate(_to_typed(document))
    if model.options.execution.meas_type != "classified":
        raise BadProgramError(f"meas_type {model.options.execution.meas_type!r} is not emulated")
    return model


def read_sampler(model: SamplerParams) -> Program:
    """SamplerV2's program without twirling or decoupling by the service."""
    items: list[Item] = []
    for pub in model.pubs:
        circuit_model, values_model, shots = pub.root
        circuit, values = read_pub(circuit_model, values_model)
        items.append(Swept(circuit, shots, values))
    return Program(tuple(items), model.options.execution.rep_delay, model.options.execution.init_qubits, {})


def read_pub(
    circuit_model: TypedQpyCircuitModel | str, values_model: NdarrayWrapperModel
) -> tuple[QuantumCircuit, Float64s]:
    """A PUB's circuit, and values of shape (*sweep, parameters) in the order of `circuit.parameters`."""
    circuit = read_circuit(circuit_model)
    return circuit, _rows(circuit, _ndarray(values_model.value_))


def read_circuit(model: TypedQpyCircuitModel | str) -> QuantumCircuit:
    """A circuit in QPY or OpenQASM 3."""
    if not isinstance(model, str):
        return _qpy(model.value_)
    check_source(model)
    return openqasm.read_circuit(model)


def check_source(source: str | bytes, most: int = 1) -> None:
    """Raises BadProgramError on a source that would grow to more than LIMITS; most: circuits in it."""
    try:
        source_check.check(source, LIMITS, most)
    except CircuitError as error:
        raise BadProgramError(str(error).partition("; see ")[0]) from error  # the key is of `serve`


def _to_typed(document: Json) -> Json:
    """Converts the REST API's plain PUBs to the clients' typed form: values as arrays, with shots."""
    if not isinstance(document, dict) or not isinstance(document.get("pubs"), list):
        return document
    options = document.get("options") or {}
    preset = options.get("default_shots") if isinstance(options, dict) else None
    shots = next(each for each in (document.get("shots"), preset, DEFAULT_SHOTS) if each is not None)
    others = {name: value for name, value in document.items() if name not in {"shots", "pubs", "options"}}
    return others | {"options": options, "pubs": [_to_typed_pub(pub, shots) for pub in document["pubs"]]}


def _to_typed_pub(pub: Json, shots: int) -> Json:
    if not isinstance(pub, list) or not pub:
        return pub
    circuit, values, own_shots, *more = (*pub, None, None)[: max(3, len(pub))]
    return [circuit, type_values(values), shots if own_shots is None else own_shots, *more]


def type_values(values: Json) -> Json:
    """Converts parameter values to the clients' typed form: null and lists become an array."""
    if isinstance(values, dict):
        return values
    content = io.BytesIO()
    np.save(content, np.array([] if values is None else values, float))
    packed = base64.b64encode(zlib.compress(content.getvalue())).decode()
    return {"__type__": "ndarray", "__value__": packed}


def _rows(circuit: QuantumCircuit, values: Float64s) -> Float64s:
    n = circuit.num_parameters
    if n == 0 and values.size == 0:
        return values.reshape(*values.shape[:-1], 0)
    if values.ndim == 0 or values.shape[-1] != n:
        raise BadProgramError(f"parameter values of shape {values.shape} for {n} parameters")
    return _check_finite(values)


def _check_finite(values: Float64s) -> Float64s:
    if 0 in values.shape[:-1]:
        raise BadProgramError(f"parameter values of shape {values.shape}: expected at least one row")
    if not np.isfinite(values).all():
        raise BadProgramError("parameter values: not all are finite")
    return values


def _ndarray(packed: str) -> Float64s:
    loaded = np.load(io.BytesIO(_decompress(packed)))
    # A cast would drop imaginary parts and read text and dates as numbers.
    if loaded.dtype.kind not in "fiub":
        raise BadProgramError(f"parameter values: must be real numbers (got an array of {loaded.dtype})")
    values: Float64s = loaded.astype(np.float64)
    return values


def _qpy(packed: str) -> QuantumCircuit:
    content = _decompress(packed)
    check_source(content)
    return qpy.load(io.BytesIO(content))[0]


def _decompress(packed: str) -> bytes:
    """Base64 of zlib's format; a few bytes of it may stand for gigabytes."""
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(base64.b64decode(packed), MOST_BYTES)
    if unpacking.unconsumed_tail:
        raise BadProgramError(f"a circuit or an array: more than {MOST_BYTES} bytes unpacked; send fewer")
    if not unpacking.eof:
        raise BadProgramError("a circuit or an array: its compressed data ends early; send all of it")
    return content


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
