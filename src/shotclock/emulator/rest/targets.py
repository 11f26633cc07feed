"""The endpoint's devices: the snapshot's documents with fractional gates added, and the resulting target.

The snapshots were taken without fractional gates: their configurations lack RX and RZZ, but their properties
hold the gates' errors and lengths.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from shotclock.emulator import device

if TYPE_CHECKING:
    from qiskit.transpiler import Target

Json = Any  # a JSON document
FRACTIONAL = {
    "rx": "gate rx(theta) q {U(theta, -pi/2, pi/2) q;}",
    "rzz": "gate rzz(theta) q0,q1 {cx q0,q1; u1(theta) q1; cx q0,q1;}",
}
# IBM's client looks for this in `least_busy(dynamic_circuits=True)`; the instructions have control flow.
DYNAMIC_CIRCUITS = "dynamic_circuits"


def offer(name: str) -> tuple[str, str]:
    """The device's configuration and properties as the API serves them, JSON texts. Imports Qiskit."""
    configuration, properties = (json.loads(text) for text in device.documents(name))
    instructions = configuration.setdefault("supported_instructions", [])  # snapshots before 2022 lack both
    if "if_else" in instructions:
        _add(configuration.setdefault("supported_features", []), DYNAMIC_CIRCUITS)
    for gate, definition in FRACTIONAL.items():
        couplings = [entry["qubits"] for entry in properties["gates"] if entry["gate"] == gate]
        if couplings and gate not in configuration["basis_gates"]:
            _add(configuration["basis_gates"], gate)
            _add(instructions, gate)
            configuration["gates"].append(
                {"name": gate, "parameters": ["theta"], "qasm_def": definition, "coupling_map": couplings}
            )
    return json.dumps(configuration), json.dumps(properties)


@functools.lru_cache(maxsize=8)
def target_of(name: str) -> Target:
    """The target that IBM's client builds from these documents, with fractional gates. Imports Qiskit."""
    from qiskit_ibm_runtime.utils.backend_converter import convert_to_target  # noqa: PLC0415
    from qiskit_ibm_runtime.utils.backend_decoder import (  # noqa: PLC0415
        configuration_from_server_data,
        properties_from_server_data,
    )

    configuration, properties = (json.loads(text) for text in offer(name))
    return convert_to_target(
        configuration_from_server_data(configuration, use_fractional_gates=None),
        properties_from_server_data(properties, use_fractional_gates=None),
    )


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)
