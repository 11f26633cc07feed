"""Encodes results in IBM's schemas, without their time stamps. Imports Qiskit: for the worker."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ibm_quantum_schemas.common import CompressedTensorModel
from ibm_quantum_schemas.common.ndarray_wrapper import NdarrayWrapperModel
from ibm_quantum_schemas.executor.version_2_0 import ItemMetadataModel, QuantumProgramResultItemModel
from ibm_quantum_schemas.sampler.version_0_1 import (
    BitArrayModel,
    BitArrayWrapperModel,
    DataBinModel,
    DataBinWrapperModel,
    PubResultMetadataModel,
    PubResultModel,
    SamplerPubResultWrapperModel,
)
from qiskit.primitives.containers import BitArray

from shotclock.emulator.rest.programs import Item
from shotclock.emulator.rest.recognise.twirling import Flips
from shotclock.emulator.rest.shooting import Shots

ItemShots = Sequence[tuple[dict[str, Shots], Flips]]


def sampler_pubs(items: Sequence[Item], shots: ItemShots) -> str:
    """A JSON list of SamplerPubResults."""
    pubs = [_pub(item, registers) for item, (registers, _) in zip(items, shots, strict=True)]
    return json.dumps([pub.model_dump(mode="json", exclude_none=True) for pub in pubs])


def executor_items(items: Sequence[Item], shots: ItemShots) -> str:
    """A JSON list of the executor's item results: a boolean tensor per register, and the flips to undo."""
    del items
    models = [
        QuantumProgramResultItemModel(
            results={
                name: CompressedTensorModel.from_numpy(bits) for name, bits in {**registers, **flips}.items()
            },
            metadata=ItemMetadataModel(),
        )
        for registers, flips in shots
    ]
    return json.dumps([model.model_dump(mode="json") for model in models])


def sampler_pub(
    fields: Mapping[str, BitArray], shape: tuple[int, ...], metadata: Mapping[str, Any]
) -> SamplerPubResultWrapperModel:
    """A SamplerPubResult; shape: of the sweep, without shots."""
    data = DataBinModel(
        field_names=list(fields),
        field_types=["BitArray"] * len(fields),
        shape=tuple(shape),
        fields={name: _bit_array(bits) for name, bits in fields.items()},
    )
    return SamplerPubResultWrapperModel(
        __value__=PubResultModel(
            data=DataBinWrapperModel(__value__=data), metadata=PubResultMetadataModel(**metadata)
        )
    )


def _pub(item: Item, registers: dict[str, Shots]) -> SamplerPubResultWrapperModel:
    fields = {name: BitArray.from_bool_array(bits, order="little") for name, bits in registers.items()}
    return sampler_pub(fields, item.shape, {"circuit_metadata": item.circuit.metadata or {}})


def _bit_array(packed: BitArray) -> BitArrayWrapperModel:
    content = io.BytesIO()
    np.save(content, packed.array, allow_pickle=False)
    text = base64.b64encode(zlib.compress(content.getvalue())).decode()
    model = BitArrayModel(num_bits=packed.num_bits, array=NdarrayWrapperModel(__value__=text))
    return BitArrayWrapperModel(__value__=model)
