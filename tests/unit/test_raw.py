"""User circuits: what is read, what is refused and by which name, what is compiled."""

from __future__ import annotations

import asyncio
import io
import math
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm3, qpy
from qiskit.circuit import ClassicalRegister, Gate, Parameter, ParameterVector, QuantumRegister
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import InstructionProperties, Target

from exact import exact
from harness import FACTS, Inline, goodness_of_fit
from shotclock.circuits import store
from shotclock.circuits import user_circuits as raw
from shotclock.circuits.cache import Disk
from shotclock.circuits.qaoa import bind_isa, bind_logical
from shotclock.circuits.synthesizer import QaoaSynthesizer
from shotclock.domain.circuit import Bound, DeviceCircuit
from shotclock.domain.errors import CircuitError, FaultKind, MachineError, ProviderError
from shotclock.emulator import device
from shotclock.emulator import user_circuits as emulation
from shotclock.solvers.greedy import Greedy

DEVICE = "heron-torino"
HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
BELL = HEAD + "qubit[2] q; bit[2] c; h q[0]; cx q[0], q[1]; c = measure q;"
Source: TypeAlias = str | bytes | QuantumCircuit


def read(source: Source, values: dict[str, float] | None = None) -> Bound:
    return raw.read(source, values or {}, DEVICE, device.target(DEVICE))


def qpy_of(*circuits: QuantumCircuit) -> bytes:
    content = io.BytesIO()
    qpy.dump(list(circuits), content)
    return content.getvalue()


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(2, "c"))
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def edit(change: Callable[[QuantumCircuit], object], qubits: int = 2, bits: int = 2) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits, bits)
    change(circuit)
    return circuit


def conditional(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)


def add_loop(circuit: QuantumCircuit) -> None:
    with circuit.for_loop(range(3)):
        circuit.x(0)
    circuit.measure(0, 0)


def with_variable(circuit: QuantumCircuit) -> None:
    circuit.add_var("flag", False)
    circuit.measure(0, 0)


def add_box(circuit: QuantumCircuit) -> None:
    with circuit.box():
        circuit.x(0)
    circuit.measure(0, 0)


def with_opaque(circuit: QuantumCircuit) -> None:
    inner = QuantumCircuit(1)
    inner.append(Gate("frob", 1, []), [0])
    circuit.append(inner.to_gate(), [0])
    circuit.measure(0, 0)


def evolution(circuit: QuantumCircuit) -> None:
    circuit.append(PauliEvolutionGate(SparsePauliOp("X")), [0])


def measure_midway(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    circuit.h(0)
    circuit.measure(1, 1)


def add_infinite_phase(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    circuit.global_phase = math.inf


def nest_metadata(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    for _ in range(900):
        circuit.metadata = {"a": circuit.metadata}


def add_parameters(circuit: QuantumCircuit) -> None:
    for number in range(10):
        circuit.rx(Parameter(f"a{number:02}"), 0)


REFUSED: list[tuple[str, str, Source]] = [
    ("source", "not OpenQASM 3 that Qiskit reads: line 1:7", "garbage"),
    ("source", "no statement", ""),
    ("source", "no statement", "// a comment"),
    ("source", "'frob' is not defined", HEAD + "qubit[2] q; frob q[0];"),
    ("source", "non-stdgates imports", 'OPENQASM 3.0;\ninclude "/etc/passwd";\nqubit q;'),
    ("source", "not QPY", b""),
    ("source", "not QPY", b"nonsense" * 9),
    ("source", "not QPY", qpy_of(bell())[:-1]),
    ("source", "not QPY", qpy_of(edit(evolution)).replace(b"}   ", b"(   ")),
    ("source", "not QPY", pickle.dumps(bell)),
    ("source", "2 circuits in one QPY file", qpy_of(bell(), bell())),
    ("qubits", "134 qubits, heron-torino has 133", QuantumCircuit(134, 1)),
    ("qubits", "134 qubits", HEAD + "qubit[134] q; h q[0];"),
    ("source", "integer division", HEAD + "qubit[1 / 0] q;"),
    ("source", "index must be", HEAD + "qubit[3] q; for int i in [0:2] h q[i];"),
    ("instructions", "empty", QuantumCircuit(2, 2)),
    ("instructions", "empty", edit(lambda circuit: circuit.barrier())),
    ("parameters", "no value for a, b", edit(lambda c: (c.rx(Parameter("b"), 0), c.rx(Parameter("a"), 0)))),
    ("measure", "nothing is measured", edit(lambda circuit: circuit.h(0))),
    ("measure", "qubit 0 is used after its measurement", edit(measure_midway)),
    ("measure", "bit 0 is written twice", edit(lambda circuit: circuit.measure([0, 1], [0, 0]))),
    ("box", "write their instructions without a box", edit(add_box)),
    ("reset", "every shot begins with its qubits at 0", edit(lambda circuit: circuit.reset(0))),
    ("control_flow", "if_else", edit(conditional)),
    ("control_flow", "for_loop", edit(add_loop)),
    ("control_flow", "variables", edit(with_variable)),
    ("control_flow", "if_else", HEAD + "qubit[2] q; bit c; c = measure q[0]; if (c) { x q[1]; }"),
    ("gates", "frob", edit(with_opaque)),
    ("gates", "rz has the angle inf; angles must", HEAD + "qubit q; bit c; rz(1e999) q; c = measure q;"),
    (
        "gates",
        "rz has the angle -inf",
        HEAD + "gate g x { rz(-1e999) x; } qubit q; bit c; g q; c = measure q;",
    ),
    ("gates", "the global phase has the angle", edit(add_infinite_phase)),
    ("instructions", "nested too deeply for Qiskit", edit(nest_metadata)),
    ("parameters", "no value for a00, a01, a02, a03, a04 and 5 more$", edit(add_parameters)),
    ("source", "Error: failed to fill whole buffer", qpy_of(bell())[:-10]),
    ("gates", "initialize is neither", edit(lambda circuit: circuit.initialize([1, 0], 0))),
]


@pytest.mark.parametrize(("field", "message", "source"), REFUSED)
def test_what_cannot_be_run_names_the_field(field: str, message: str, source: Source) -> None:
    with pytest.raises(CircuitError, match=message) as caught:
        read(source)
    assert caught.value.field == field
    assert str(caught.value).isprintable()
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.field, str(again)) == (field, str(caught.value))


def test_text_qpy_and_qiskit_give_the_same_circuit() -> None:
    renamed = bell()
    renamed.name, renamed.metadata = "other", {"note": 1}
    assert read(BELL) == read(bell()) == read(qpy_of(bell())) == read(renamed)
    assert (read(BELL).qubits, read(BELL).n) == (2, 2)
    assert renamed.name == "other"


def test_parameters_are_filled_in_by_name_however_the_source_orders_them() -> None:
    vector = ParameterVector("t", 12)
    circuit = QuantumCircuit(12, 12)
    for qubit in range(12):
        circuit.rx(vector[qubit], qubit)
    circuit.measure(range(12), range(12))
    angles = np.linspace(0.1, 3.0, 12)
    from_circuit = read(circuit, {f"t[{index}]": angle for index, angle in enumerate(angles)})
    text = qasm3.dumps(circuit)
    from_text = read(text, {f"_t_{index}_": angle for index, angle in enumerate(angles)})
    np.testing.assert_allclose(exact(load_bound(from_text)), exact(load_bound(from_circuit)), atol=1e-12)


def load_bound(bound: Bound) -> QuantumCircuit:
    return qpy.load(io.BytesIO(bound.qpy))[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"a": 0.1, "z": 1.0}, "the circuit has no z"), ({"a": math.nan}, "a is nan"), ({}, "no value for a")],
)
def test_values_that_do_not_fit_are_refused(values: dict[str, float], message: str) -> None:
    circuit = edit(lambda circuit: (circuit.rx(Parameter("a"), 0), circuit.measure(0, 0)))
    with pytest.raises(CircuitError, match=message):
        read(circuit, values)


def test_a_missing_reader_of_openqasm_is_reported_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "qiskit_qasm3_import", None)
    with pytest.raises(MachineError, match="pip install qiskit-qasm3-import"):
        read(BELL)


def make_tangled(n: int) -> QuantumCircuit:
    """A circuit with gates of many kinds, every pair coupled, idle qubits left out of it."""
    rng = np.random.default_rng(n)
    circuit = QuantumCircuit(n + 2, n)
    for a in range(n):
        circuit.u(*rng.uniform(0.0, 3.0, 3), a)
        for b in range(a):
            circuit.crx(rng.uniform(0.0, 3.0), a, b)
    if n > 2:
        circuit.ccx(0, 1, 2)
    circuit.barrier()
    circuit.measure(range(n), reversed(range(n)))
    return circuit


@pytest.mark.parametrize("name", device.list_devices())
@pytest.mark.parametrize("n", [1, 2, 5])
def test_what_is_compiled_is_the_circuit_in_the_devices_own_instructions(name: str, n: int) -> None:
    target = device.target(name)
    bound = raw.read(make_tangled(n), {}, name, target)
    circuit = DeviceCircuit(store.obtain(bound, name, device.target, None).template, bound)
    isa = bind_isa(circuit)
    np.testing.assert_allclose(exact(isa), exact(bind_logical(circuit)), atol=1e-9)
    np.testing.assert_allclose(exact(isa), exact(make_tangled(n)), atol=1e-9)
    for instruction in isa.data:
        qubits = tuple(isa.find_bit(qubit).index for qubit in instruction.qubits)
        assert instruction.operation.name == "barrier" or target.instruction_supported(
            instruction.operation.name, qubits
        )
        assert instruction.operation.name != "cz" or target["cz"][qubits].error < 1.0
    assert circuit.template.duration_s == pytest.approx(isa.estimate_duration(target, unit="s"))
    assert (bound.qubits, bound.n) == (n, n)


def without_couplers(name: str) -> Target:
    """A device on which every coupler is dead."""
    whole = device.target(name)
    target = Target(num_qubits=whole.num_qubits, dt=whole.dt)
    for gate in ("rz", "sx", "x", "measure", "delay"):
        target.add_instruction(whole.operation_from_name(gate), whole[gate], name=gate)
    dead = {pair: InstructionProperties(circuit.duration, 1.0) for pair, circuit in whole["cz"].items()}
    target.add_instruction(whole.operation_from_name("cz"), dead, name="cz")
    return target


def test_gates_that_the_device_cannot_run_are_named_when_compiling() -> None:
    with pytest.raises(CircuitError, match=r"circuit\.gates: heron-torino cannot run them"):
        store.obtain(read(bell()), DEVICE, without_couplers, None)


def test_they_are_kept_in_memory_and_on_disk_like_any_template(tmp_path: Path) -> None:
    async def main() -> None:
        synthesizer = QaoaSynthesizer(
            DEVICE,
            target_source=device.target,
            offload=Inline(),
            circuit_offload=Inline(),
            incumbent=Greedy(),
            store=tmp_path,
        )
        first = await synthesizer.bind_circuit(BELL, {})
        assert (await synthesizer.bind_circuit(bell(), {})).template is first.template
        with pytest.raises(CircuitError):
            await synthesizer.bind_circuit(HEAD, {})

    asyncio.run(main())
    assert store.obtain(read(BELL), DEVICE, device.target, tmp_path).disk is Disk.LOADED
    other = edit(lambda circuit: circuit.measure(0, 0))
    assert store.obtain(read(other), DEVICE, device.target, tmp_path).disk is Disk.ABSENT


def test_the_emulators_samples_follow_the_circuit_with_its_bits_replaced() -> None:
    circuit = make_tangled(4)
    ideal, flip = exact(circuit), 0.5 * 0.12
    for bit in range(4):
        ideal = (1.0 - flip) * ideal + flip * ideal[np.arange(16) ^ (1 << bit)]
    samples = emulation.execute_bound(read(circuit), 20_000, 0.12, 3)
    assert goodness_of_fit(samples, ideal) > 1e-3
    again = emulation.execute_bound(read(circuit), 20_000, 0.12, 3)
    assert samples.pool.tobytes() == again.pool.tobytes()
    assert samples.counts.tobytes() == again.counts.tobytes()


def test_a_circuit_that_comes_again_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = bell()
    circuit.metadata = {"of": "this test alone"}
    bound = read(circuit)
    loads: list[object] = []
    load = qpy.load

    def count_open(file: io.BytesIO) -> object:
        loads.append(file)
        return load(file)

    monkeypatch.setattr(qpy, "load", count_open)
    first, second = (emulation.execute_bound(pickle.loads(pickle.dumps(bound)), 50, 0.0, 7) for _ in range(2))
    assert len(loads) == 1
    assert np.array_equal(first.counts, second.counts)


def test_more_classical_bits_than_a_machine_word_has() -> None:
    circuit = edit(lambda circuit: (circuit.x(0), circuit.measure(0, 69)), qubits=1, bits=70)
    samples = emulation.execute_bound(read(circuit), 10, 0.0, 0)
    assert samples.pool.tolist() == [[0] * 69 + [1]]


def test_without_aer_the_emulator_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qiskit_aer", None)
    emulation._simulator.cache_clear()
    with pytest.raises(ProviderError, match=r"install shotclock\[aer\]") as caught:
        emulation.execute_bound(read(bell()), 10, 0.0, 0)
    assert caught.value.kind is FaultKind.PERMANENT


def test_the_surrogate_noise_of_a_depth_is_that_of_a_swap_network_as_deep() -> None:
    assert FACTS.flip_probability(12, 250e-6) == FACTS.flip_probability_at_depth(33, 250e-6)
    assert FACTS.flip_probability(12, 250e-6, layers=2) == FACTS.flip_probability_at_depth(66, 250e-6)
