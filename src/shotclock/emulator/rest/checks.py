"""Checks that a circuit can run on the target and in the simulator. For the worker."""

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
    """Raises BadProgramError (one line) if the item cannot be run."""
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
    """Evaluates the angles that are not linear in the parameters: they may be undefined, as 1/a is at 0."""
    nonlinear = {angle for angle in _angles(item.circuit) if not _is_linear(angle)}
    if not nonlinear:
        return
    values, _ = item.values(np.random.default_rng(0))
    for row in values.reshape(-1, values.shape[-1]):
        by_parameter = dict(zip(item.circuit.parameters, row.tolist(), strict=True))
        for angle in nonlinear:
            try:
                value = angle.bind({name: by_parameter[name] for name in angle.parameters}).numeric()
            except (ZeroDivisionError, QiskitError) as error:
                raise BadProgramError(f"an angle of {angle} has no value for {row.tolist()}") from error
            if not np.isfinite(value):
                raise BadProgramError(f"an angle of {angle} has no value for {row.tolist()}")


def _is_linear(angle: ParameterExpression) -> bool:
    return isinstance(angle, Parameter) or not any(
        isinstance(slope, ParameterExpression) and slope.parameters
        for slope in (angle.gradient(parameter) for parameter in angle.parameters)
    )


def _angles(circuit: QuantumCircuit) -> Iterator[ParameterExpression]:
    """Every angle that depends on the circuit's parameters, outside control flow."""
    for item in circuit.data:
        for angle in item.params:
            if isinstance(angle, ParameterExpression) and angle.parameters:
                yield angle


def _check_dynamic(item: Item) -> None:
    """Compiles with the first row of values: the simulator takes no parameters in control flow."""
    circuit = item.circuit
    values, _ = item.values(np.random.default_rng(0))
    rows = values.reshape(-1, circuit.num_parameters) if circuit.num_parameters else np.zeros((1, 0))
    if len(rows):
        filled = circuit.assign_parameters(dict(zip(circuit.parameters, rows[0].tolist(), strict=True)))
        for part in parts_of(filled):
            if fault := check_compiles(part.circuit()):
                raise BadProgramError(f"the simulator cannot run it: {fault}")


def _count_unrolled(circuit: QuantumCircuit) -> int:
    """Number of instructions after unrolling all loops."""
    total = 0
    for item in circuit.data:
        operation = item.operation
        if isinstance(operation, ControlFlowOp):
            times = len(operation.params[0]) if isinstance(operation, ForLoopOp) else 1
            total += times * sum(_count_unrolled(block) for block in operation.blocks)
        else:
            total += 1
    return total
