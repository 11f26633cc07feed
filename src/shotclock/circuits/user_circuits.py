"""Circuits of the user's own: read, checked, and compiled by Qiskit's general pass manager. For the worker.

What is run is gates, then measurement: whatever depends on a result within the circuit is refused. A
damaged QPY file can make Qiskit end its process, so read one where Offload says.
"""

from __future__ import annotations

import contextlib
import io
import math
import struct
from collections.abc import Iterator, Mapping
from importlib import import_module

import qiskit
from qiskit import (
    ClassicalRegister,
    QuantumCircuit,
    QuantumRegister,
    generate_preset_pass_manager,
    qasm3,
    qpy,
)
from qiskit.circuit import CircuitInstruction, Clbit, ControlFlowOp, Gate, Qubit
from qiskit.exceptions import QiskitError
from qiskit.transpiler import Target, TranspilerError

from shotclock.circuits.delays import check_units, resolve_delays, to_dt
from shotclock.circuits.lines import TWO_QUBIT_GATES, layout
from shotclock.circuits.templates import (
    OPTIMIZATION_LEVEL,
    TRANSPILER_SEED,
    Identity,
    calibration,
    make_template,
)
from shotclock.domain.circuit import Bound, Template
from shotclock.domain.circuit_bytes import dump_circuit, load_circuit
from shotclock.domain.errors import CircuitError, MachineError

# Gates that every simulator knows by name; others are written out in these.
PLAIN_GATES = (
    "id", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "sxdg", "rx", "ry", "rz", "p", "u",
    "cx", "cy", "cz", "swap", "rxx", "ryy", "rzz",
)  # fmt: skip
PASSIVE = ("barrier", "delay")


def read(
    source: str | bytes | QuantumCircuit, values: Mapping[str, float], device: str, target: Target
) -> Bound:
    """A circuit from OpenQASM 3 text, QPY bytes or Qiskit, its parameters filled in by name.

    By name because OpenQASM 3 puts the elements of a vector in another order (`_t_10_` before
    `_t_2_`). Whoever takes a source from elsewhere calls `source_check` first: Qiskit builds whatever it is
    told to. Raises CircuitError on a source that cannot be read and on a circuit that cannot be run,
    MachineError where OpenQASM 3 is given and the package that reads it is missing.
    """
    limit = target.num_qubits
    match source:
        case str():
            circuit = _from_qasm(source.removeprefix("\ufeff"))  # a byte order mark
        case bytes():
            circuit = _from_qpy(source)
        case _:
            circuit = source
    if circuit.num_qubits > limit:
        raise CircuitError("qubits", f"{circuit.num_qubits} qubits, {device} has {limit}")
    with _translate():
        circuit = resolve_delays(_assign_values(circuit, values), target.dt)
        _check(circuit)
        plain = _plain(circuit)
    touched = {qubit for one in plain.data if one.operation.name not in PASSIVE for qubit in one.qubits}
    return Bound(dump_circuit(plain), len(touched), plain.num_clbits)


def identity(bound: Bound, device: str, target: Target) -> Identity:
    """What the template of this circuit would be compiled from; its line is for the compiler to choose."""
    return Identity(
        ansatz=f"circuit/{bound.digest}",
        n=bound.n,
        layers=0,
        device=device,
        calibration=calibration(target),
        line=(),
        optimization_level=OPTIMIZATION_LEVEL,
        transpiler_seed=TRANSPILER_SEED,
        qiskit=qiskit.__version__,
    )


def compile_bound(bound: Bound, wanted: Identity, target: Target) -> Template:
    """The ISA circuit wherever the general pass manager puts it; raises CircuitError where it cannot."""
    pass_manager = generate_preset_pass_manager(
        wanted.optimization_level, target=_working(target), seed_transpiler=wanted.transpiler_seed
    )
    try:
        isa = pass_manager.run(to_dt(load_circuit(bound.qpy), target.dt))
    except QiskitError as error:
        raise CircuitError("gates", f"{wanted.device} cannot run them: {_line(error)}") from error
    used = {isa.find_bit(q).index for one in isa.data if one.operation.name != "barrier" for q in one.qubits}
    return make_template(wanted, isa, target, tuple(sorted(used)))


@contextlib.contextmanager
def _translate() -> Iterator[None]:
    """What Qiskit refuses in a circuit that could be read, as a CircuitError."""
    try:
        yield
    except QiskitError as error:
        raise CircuitError("instructions", _line(error)) from error


def _from_qasm(text: str) -> QuantumCircuit:
    try:
        import_module("openqasm3.parser")
        import_module("qiskit_qasm3_import")
    except ModuleNotFoundError as error:
        raise MachineError(
            "OpenQASM 3 needs a package that is not installed: pip install qiskit-qasm3-import"
        ) from error
    said = io.StringIO()
    try:
        # Where a syntax error lies is printed by the parser, and not in the exception.
        with contextlib.redirect_stderr(said):
            return qasm3.loads(text)
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, AttributeError) and "'line'" in str(error):
            # The parser asks an empty text for the line of its last word.
            raise CircuitError("source", "the OpenQASM 3 text has no statement") from error
        where = " ".join(said.getvalue().split()) or _line(error)
        raise CircuitError("source", f"not OpenQASM 3 that Qiskit reads: {where}") from error


def _from_qpy(content: bytes) -> QuantumCircuit:
    try:
        found = qpy.load(io.BytesIO(content))
    except (QiskitError, struct.error, ValueError, EOFError) as error:
        raise CircuitError(
            "source", f"not QPY that Qiskit {qiskit.__version__} reads: {_line(error)}"
        ) from error
    if len(found) != 1:
        raise CircuitError("source", f"{len(found)} circuits in one QPY file, wants 1")
    check_units(found[0], content)
    return found[0]


def _assign_values(circuit: QuantumCircuit, values: Mapping[str, float]) -> QuantumCircuit:
    named = {parameter.name: parameter for parameter in circuit.parameters}
    if unbound := sorted(named.keys() - values.keys()):
        raise CircuitError("parameters", f"no value for {', '.join(unbound)}")
    if unknown := sorted(values.keys() - named.keys()):
        raise CircuitError("parameters", f"the circuit has no {', '.join(unknown)}")
    if odd := sorted(name for name, value in values.items() if not math.isfinite(value)):
        raise CircuitError("parameters", f"{odd[0]} is {values[odd[0]]}")
    return circuit.assign_parameters({parameter: values[name] for name, parameter in named.items()})


def _check(circuit: QuantumCircuit) -> None:
    active = [one for one in circuit.data if one.operation.name not in PASSIVE]
    if not active:
        raise CircuitError("instructions", "the circuit is empty")
    if circuit.num_vars:
        raise CircuitError("control_flow", "classical variables are not run")
    for one in active:
        _check_kind(one)
    _check_measurement(circuit, active)


def _check_kind(one: CircuitInstruction) -> None:
    name = one.operation.name
    if name == "box":
        raise CircuitError("box", "boxes are not run; write their instructions without a box")
    if isinstance(one.operation, ControlFlowOp):
        raise CircuitError("control_flow", f"{name} depends on a result within the circuit")
    if name == "reset":
        raise CircuitError("reset", "resets are not run; every shot begins with its qubits at 0")
    if name != "measure" and not isinstance(one.operation, Gate):
        raise CircuitError("gates", f"{name} is neither a gate nor a measurement")


def _check_measurement(circuit: QuantumCircuit, active: list[CircuitInstruction]) -> None:
    measured: set[Qubit] = set()
    written: set[Clbit] = set()
    for one in active:
        if again := measured.intersection(one.qubits):
            index = min(circuit.find_bit(qubit).index for qubit in again)
            raise CircuitError("measure", f"qubit {index} is used after its measurement")
        if one.operation.name == "measure":
            if one.clbits[0] in written:
                raise CircuitError("measure", f"bit {circuit.find_bit(one.clbits[0]).index} is written twice")
            measured.add(one.qubits[0])
            written.add(one.clbits[0])
    if not measured:
        raise CircuitError("measure", "nothing is measured")


def _plain(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit in gates that everyone knows, without what does not change it: its name, notes, registers.

    Samples go by classical bits. A sampler returns them by register, loses bits outside one, and cannot
    name a register `items`; a state vector pays for idle qubits too.
    """
    passes = generate_preset_pass_manager(0, basis_gates=[*PLAIN_GATES])
    passes.scheduling = None  # it would put every delay into one unit, and fails where dt and seconds mix
    try:
        unrolled = passes.run(circuit)
    except TranspilerError as error:
        raise CircuitError("gates", _line(error)) from error
    return _compact(unrolled)


def _compact(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit without idle qubits, its classical bits in one register."""
    active = {qubit for item in circuit.data if item.name != "barrier" for qubit in item.qubits}
    used = [qubit for qubit in circuit.qubits if qubit in active]
    compact = QuantumCircuit(
        QuantumRegister(len(used), "q"),
        ClassicalRegister(circuit.num_clbits, "c"),
        name="circuit",
        global_phase=circuit.global_phase,
    )
    place = dict(zip(used, compact.qubits, strict=True))
    for item in circuit.data:
        qubits = [place[qubit] for qubit in item.qubits if qubit in place]
        clbits = [compact.clbits[circuit.find_bit(bit).index] for bit in item.clbits]
        if item.name != "barrier":
            compact.append(item.operation, qubits, clbits)
        elif qubits:
            compact.barrier(qubits)
    return compact


def _working(target: Target) -> Target:
    """The target without dead couplers and qubits, which the general pass manager would route over."""
    alive = layout(target)
    working = Target(num_qubits=target.num_qubits, dt=target.dt, granularity=target.granularity)
    for name in target.operation_names:
        places = target[name]
        if places is None or None in places:
            continue  # control flow, which no circuit here has
        if name in TWO_QUBIT_GATES:
            places = {(a, b): it for (a, b), it in places.items() if b in alive.couplers.get(a, ())}
        elif name == "measure":
            places = {qubits: it for qubits, it in places.items() if qubits[0] in alive.readout}
        working.add_instruction(target.operation_from_name(name), places, name=name)
    return working


def _line(error: BaseException) -> str:
    """What an error says, on one line."""
    text = error.message if isinstance(error, QiskitError) else str(error)
    return " ".join(text.split()) or type(error).__name__
