"""Whether a circuit can be run: on the target, and by the simulator. For the worker."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ControlFlowOp, ForLoopOp, Parameter, ParameterExpression
from qiskit.exceptions import QiskitError
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.transpiler import Target
from qiskit_ibm_runtime.utils.utils import is_isa_circuit, is_valid_rzz_pub

from shotclock.emulator.rest.delays import check_delays
from shotclock.emulator.rest.programs import BadProgramError, Item
from shotclock.emulator.rest.recognise.parts import parts_of
from shotclock.emulator.user_circuits import check_compiles

# Aer unrolls loops before it runs a circuit.
MAX_UNROLLED = 1_000_000


def check_item(item: Item, target: Target) -> None:
    """Raises BadProgramError, one line, where the item cannot be run."""
    circuit = item.circuit
    try:
        check_delays(circuit, target.dt or 0.0)
    except ValueError as error:
        raise BadProgramError(f"its duration cannot be computed: {error}") from error
    if fault := is_isa_circuit(circuit, target):
        raise BadProgramError(fault)
    if not circuit.cregs:
        raise BadProgramError("the circuit has no classical register")
    if circuit.has_control_flow_op() and _count_unrolled(circuit) > MAX_UNROLLED:
        raise BadProgramError(f"its loops unroll to more than {MAX_UNROLLED} instructions")
    if circuit.num_vars > 0 or circuit.num_stretches > 0 or circuit.has_control_flow_op():
        _check_dynamic(item)
    _check_angles(item)
    if "rzz" in circuit.count_ops() and circuit.num_parameters > 0:
        values, _ = item.values(np.random.default_rng(0))
        if fault := is_valid_rzz_pub(SamplerPub.coerce((circuit, values))):
            raise BadProgramError(fault)


def _check_angles(item: Item) -> None:
    """Angles that are not linear in the parameters may have no value, as 1/a has none at 0."""
    bent = {angle for angle in _angles(item.circuit) if not _is_linear(angle)}
    if not bent:
        return
    values, _ = item.values(np.random.default_rng(0))
    for row in values.reshape(-1, values.shape[-1]):
        given = dict(zip(item.circuit.parameters, row.tolist(), strict=True))
        for angle in bent:
            try:
                found = angle.bind({one: given[one] for one in angle.parameters}).numeric()
            except (ZeroDivisionError, QiskitError) as error:
                raise BadProgramError(f"an angle of {angle} has no value for {row.tolist()}") from error
            if not np.isfinite(found):
                raise BadProgramError(f"an angle of {angle} has no value for {row.tolist()}")


def _is_linear(angle: ParameterExpression) -> bool:
    return isinstance(angle, Parameter) or not any(
        isinstance(slope, ParameterExpression) and slope.parameters
        for slope in (angle.gradient(one) for one in angle.parameters)
    )


def _angles(circuit: QuantumCircuit) -> Iterator[ParameterExpression]:
    """Every angle that depends on the circuit's own parameters, outside control flow."""
    for one in circuit.data:
        for angle in one.params:
            if isinstance(angle, ParameterExpression) and angle.parameters:
                yield angle


def _check_dynamic(item: Item) -> None:
    """With the first row of values: the simulator's compiler takes no parameters in control flow."""
    circuit = item.circuit
    values, _ = item.values(np.random.default_rng(0))
    rows = values.reshape(-1, circuit.num_parameters) if circuit.num_parameters else np.zeros((1, 0))
    if len(rows):
        filled = circuit.assign_parameters(dict(zip(circuit.parameters, rows[0].tolist(), strict=True)))
        for part in parts_of(filled):
            if fault := check_compiles(part.circuit()):
                raise BadProgramError(f"the simulator cannot run it: {fault}")


def _count_unrolled(circuit: QuantumCircuit) -> int:
    """Instructions with every loop written out."""
    total = 0
    for one in circuit.data:
        operation = one.operation
        if isinstance(operation, ControlFlowOp):
            times = len(operation.params[0]) if isinstance(operation, ForLoopOp) else 1
            total += times * sum(_count_unrolled(block) for block in operation.blocks)
        else:
            total += 1
    return total
