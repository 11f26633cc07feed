"""Reads, checks and compiles user circuits with Qiskit's general pass manager. For the worker.

Circuits may hold gates followed by measurements; anything that depends on a result within the circuit is
refused. A damaged QPY file can crash Qiskit's process, so read one only in an Offload.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
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
    TemplateIdentity,
    calibration,
    make_template,
)
from shotclock.domain import documents
from shotclock.domain.circuit import Bound, Template
from shotclock.domain.circuit_bytes import dump_circuit, load_circuit
from shotclock.domain.errors import CircuitError, MachineError, ShotclockError

# Gates that every simulator supports; other gates are decomposed into these.
PLAIN_GATES = (
    "id", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "sxdg", "rx", "ry", "rz", "p", "u",
    "cx", "cy", "cz", "swap", "rxx", "ryy", "rzz",
)  # fmt: skip
PASSIVE = ("barrier", "delay")
_DECORATION = re.compile("\x1b\\[[0-9;]*m|[\u2500-\u257f]+")
MOST_NAMES = 5
"""Named in a refusal; a circuit may lack thousands of values."""


def read(
    source: str | bytes | QuantumCircuit, values: Mapping[str, float], device: str, target: Target
) -> Bound:
    """A circuit from OpenQASM 3 text, QPY bytes or Qiskit, with its parameters bound by name.

    By name because OpenQASM 3 orders the elements of a vector differently (`_t_10_` before `_t_2_`). Check
    sources from clients with `source_check` first, because Qiskit builds circuits of any size. Raises
    CircuitError on a source that cannot be read and on a circuit that cannot be run, MachineError if the
    package that reads OpenQASM 3 is missing.
    """
    circuit = _load(source, device, target)
    with _translate():
        return _reduce(_assign_values(circuit, values), target)


def read_unmeasured(
    source: str | bytes, values: Mapping[str, float], device: str, target: Target
) -> QuantumCircuit:
    """As `read`, not yet reduced: the circuit of an estimator, which measures by itself.

    Raises CircuitError also where the circuit has measurements.
    """
    circuit = _load(source, device, target)
    if any(item.operation.name == "measure" for item in circuit.data):
        raise CircuitError("measure", "an estimator measures by itself; remove the circuit's measurements")
    with _translate():
        return _assign_values(circuit, values)


def read_parametrised(
    source: str | bytes | QuantumCircuit, names: tuple[str, ...], device: str, target: Target
) -> Bound:
    """As `read`, with these parameters kept; a delay must have its value."""
    circuit = _load(source, device, target)
    with _translate():
        _check_names({parameter.name for parameter in circuit.parameters}, set(names))
        return _reduce(circuit, target)


def _load(source: str | bytes | QuantumCircuit, device: str, target: Target) -> QuantumCircuit:
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
    return circuit


def _reduce(circuit: QuantumCircuit, target: Target) -> Bound:
    """The circuit checked and reduced to plain gates, with the parameters that it still has."""
    circuit = resolve_delays(circuit, target.dt)
    _check(circuit)
    _check_finite(circuit)
    plain = _simplify(circuit)
    _check_finite(plain)  # and in definitions
    active = {qubit for item in plain.data if item.operation.name not in PASSIVE for qubit in item.qubits}
    names = tuple(parameter.name for parameter in plain.parameters)
    return Bound(dump_circuit(plain), len(active), plain.num_clbits, names)


def identity(bound: Bound, device: str, target: Target) -> TemplateIdentity:
    """The identity of this circuit's template; the compiler chooses its line."""
    place = f"/within/{'-'.join(map(str, bound.within))}" if bound.within else ""
    return TemplateIdentity(
        ansatz=f"circuit/{bound.digest}{place}",
        n=bound.n,
        layers=0,
        device=device,
        calibration=calibration(target),
        line=(),
        optimization_level=OPTIMIZATION_LEVEL,
        transpiler_seed=TRANSPILER_SEED,
        qiskit=qiskit.__version__,
    )


def compile_bound(bound: Bound, template_id: TemplateIdentity, target: Target) -> Template:
    """The ISA circuit, placed by the general pass manager; raises CircuitError if it cannot be placed."""
    circuit = to_dt(load_circuit(bound.qpy), target.dt)
    # without a two-qubit gate, nothing but the layout keeps it there
    is_pinned = bool(bound.within) and not circuit.num_nonlocal_gates()
    pass_manager = generate_preset_pass_manager(
        template_id.optimization_level,
        target=_working(target, frozenset(bound.within)),
        seed_transpiler=template_id.transpiler_seed,
        initial_layout=list(bound.within[: circuit.num_qubits]) if is_pinned else None,
    )
    with _translate("gates", f"{template_id.device} cannot run them: "):
        isa = pass_manager.run(circuit)
    used = {isa.find_bit(q).index for item in isa.data if item.name != "barrier" for q in item.qubits}
    if bound.within and not used <= {*bound.within}:
        raise CircuitError("gates", f"the circuit does not fit on qubits {list(bound.within)} alone")
    return make_template(template_id, isa, target, tuple(sorted(used)))


@contextlib.contextmanager
def _translate(field: str = "instructions", what: str = "") -> Iterator[None]:
    """Raises what Qiskit raises about a circuit as CircuitError: errors, and what its parts did not expect.

    Whatever it is, this circuit caused it, so that its caller alone gets it. what: before its message.
    """
    try:
        yield
    except (ShotclockError, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except RecursionError as error:
        raise CircuitError(field, f"{what}the circuit is nested too deeply for Qiskit") from error
    except BaseException as error:  # a Rust panic does not derive from Exception
        raise CircuitError(field, f"{what}{_line(error)}") from error


def _from_qasm(text: str) -> QuantumCircuit:
    try:
        import_module("openqasm3.parser")
        import_module("qiskit_qasm3_import")
    except ModuleNotFoundError as error:
        raise MachineError(
            "OpenQASM 3 needs a package that is not installed: pip install qiskit-qasm3-import"
        ) from error
    printed = io.StringIO()
    try:
        # The parser prints a syntax error's position; the exception does not hold it.
        with contextlib.redirect_stderr(printed):
            return qasm3.loads(text)
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, AttributeError) and "'line'" in str(error):
            # The parser looks up the line of the last token, which an empty text does not have.
            raise CircuitError("source", "the OpenQASM 3 text has no statement") from error
        where = " ".join(printed.getvalue().split()) or _line(error)
        raise CircuitError("source", f"not OpenQASM 3 that Qiskit reads: {where}") from error


def _from_qpy(content: bytes) -> QuantumCircuit:
    with _translate("source", f"not QPY that Qiskit {qiskit.__version__} reads: "):
        circuits = qpy.load(io.BytesIO(content))
    if len(circuits) != 1:
        raise CircuitError("source", f"{len(circuits)} circuits in one QPY file, expected 1")
    check_units(circuits[0], content)
    return circuits[0]


def _assign_values(circuit: QuantumCircuit, values: Mapping[str, float]) -> QuantumCircuit:
    by_name = {parameter.name: parameter for parameter in circuit.parameters}
    _check_names(set(by_name), set(values))
    if odd := sorted(name for name, value in values.items() if not math.isfinite(value)):
        raise CircuitError("parameters", f"{odd[0]} is {values[odd[0]]}")
    return circuit.assign_parameters({parameter: values[name] for name, parameter in by_name.items()})


def _check_names(parameters: set[str], names: set[str]) -> None:
    if unbound := sorted(parameters - names):
        raise CircuitError("parameters", f"no value for {_list_names(unbound)}")
    if unknown := sorted(names - parameters):
        raise CircuitError("parameters", f"the circuit has no {_list_names(unknown)}")


def _list_names(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _check(circuit: QuantumCircuit) -> None:
    active = [item for item in circuit.data if item.operation.name not in PASSIVE]
    if not active:
        raise CircuitError("instructions", "the circuit is empty")
    if circuit.num_vars:
        raise CircuitError("control_flow", "classical variables are not supported")
    for item in active:
        _check_kind(item)
    _check_measurement(circuit, active)


def _check_finite(circuit: QuantumCircuit) -> None:
    """Qiskit takes `rz(1e999)`, and its samples mean nothing."""
    values = [("the global phase", circuit.global_phase)]
    values += [(item.operation.name, value) for item in circuit.data for value in item.operation.params]
    for name, value in values:
        if isinstance(value, float) and not math.isfinite(value):
            raise CircuitError("gates", f"{name} has the angle {value}; angles must be finite")


def _check_kind(item: CircuitInstruction) -> None:
    name = item.operation.name
    if name == "box":
        raise CircuitError("box", "boxes are not supported; write their instructions without a box")
    if isinstance(item.operation, ControlFlowOp):
        raise CircuitError("control_flow", f"{name} depends on a result within the circuit")
    if name == "reset":
        raise CircuitError("reset", "resets are not supported; every shot begins with its qubits at 0")
    if name != "measure" and not isinstance(item.operation, Gate):
        raise CircuitError("gates", f"{name} is neither a gate nor a measurement")


def _check_measurement(circuit: QuantumCircuit, active: list[CircuitInstruction]) -> None:
    measured: set[Qubit] = set()
    measured_clbits: set[Clbit] = set()
    for item in active:
        if again := measured.intersection(item.qubits):
            index = min(circuit.find_bit(qubit).index for qubit in again)
            raise CircuitError("measure", f"qubit {index} is used after its measurement")
        if item.operation.name == "measure":
            if item.clbits[0] in measured_clbits:
                raise CircuitError(
                    "measure", f"bit {circuit.find_bit(item.clbits[0]).index} is written twice"
                )
            measured.add(item.qubits[0])
            measured_clbits.add(item.clbits[0])
    if not measured:
        raise CircuitError("measure", "nothing is measured; add measurements, such as circuit.measure_all()")


def _simplify(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit in PLAIN_GATES, without idle qubits and with one classical register.

    Samples are addressed by classical bit. A sampler returns them by register, loses bits outside one, and
    cannot name a register `items`; a state vector's size counts idle qubits too.
    """
    passes = generate_preset_pass_manager(0, basis_gates=[*PLAIN_GATES])
    passes.scheduling = None  # it converts delays to one unit, and fails if dt and seconds mix
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


def _working(target: Target, within: frozenset[int]) -> Target:
    """The target without dead couplers and qubits, over which the general pass manager would route.

    within: the only qubits with two-qubit gates and measurements; empty for all.
    """
    alive = layout(target)
    working = Target(num_qubits=target.num_qubits, dt=target.dt, granularity=target.granularity)
    for name in target.operation_names:
        places = target[name]
        if places is None or None in places:
            continue  # control flow, which no circuit here has
        if name in TWO_QUBIT_GATES:
            places = {
                (a, b): properties for (a, b), properties in places.items() if b in alive.couplers.get(a, ())
            }
        elif name == "measure":
            places = {
                qubits: properties for qubits, properties in places.items() if qubits[0] in alive.readout
            }
        if within and (name in TWO_QUBIT_GATES or name == "measure"):
            places = {
                qubits: properties for qubits, properties in places.items() if within.issuperset(qubits)
            }
        working.add_instruction(target.operation_from_name(name), places, name=name)
    return working


def _line(error: BaseException) -> str:
    """An error's message on one line, without the frame and the colours of Qiskit's Rust parts."""
    text = error.message if isinstance(error, QiskitError) else str(error)
    return documents.shorten_reason(_DECORATION.sub("", text)) or type(error).__name__
