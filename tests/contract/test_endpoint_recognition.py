"""Template circuits at the endpoint: recognised by what they do, shot by the emulator's own kernel.

What is recognised must measure exactly as Qiskit says the circuit does; what is not goes to Aer. Seeds are
fixed, so every test is deterministic; the chance that a correct endpoint had failed one when it was written
is at most ALPHA (Bonferroni over TESTS).
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import ClassicalRegister, Parameter
from qiskit.quantum_info import Statevector

from harness import goodness_of_fit, random_parameters, same_source
from ibm_endpoint import on_device, template
from shotclock.circuits import native, store
from shotclock.circuits.cache import TemplateSpec
from shotclock.circuits.packing import compose_pub
from shotclock.circuits.qaoa import bind_isa, logical_circuit, parameter_values
from shotclock.circuits.templates import compile_template
from shotclock.domain.circuit import DeviceCircuit, Pub, QaoaParameters, Samples
from shotclock.domain.subproblem import Float64s
from shotclock.emulator import device
from shotclock.emulator.rest import shooting
from shotclock.emulator.rest.programs import Swept
from shotclock.emulator.rest.recognise.ising import layers_of, parameters_of
from shotclock.emulator.rest.recognise.parts import parts_of
from shotclock.emulator.rest.recognise.paulis import find_rotations
from shotclock.emulator.statevector import probabilities
from shotclock.emulator.user_circuits import sample_circuit

ALPHA = 1e-3
TESTS = 30
SHOTS = 20_000
NOISE = 0.1
# Nothing decays while qubits wait: this is about what is recognised.
HERE = shooting.Device(device.target("heron-torino"), [(math.inf, math.inf)] * 133)


@pytest.fixture
def aer_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The width of every circuit that Aer was given."""
    widths: list[int] = []

    def count_run(circuit: QuantumCircuit, shots: int, flip: float, seed: int, method: str) -> Samples:
        widths.append(circuit.num_qubits)
        return sample_circuit(circuit, shots, flip, seed, method)

    monkeypatch.setattr(shooting, "sample_circuit", count_run)
    return widths


def recognise(circuit: QuantumCircuit, values: Float64s | None = None) -> Float64s | None:
    """Probabilities of the classical bits by what was recognised, shape (2ⁿ,); None where it was not."""
    n = circuit.num_clbits
    product = np.ones(1 << n)
    for part in parts_of(circuit):
        read = part.gates(tuple(circuit.parameters))
        if read is None:
            return None
        gates, angles = read
        groups = layers_of(find_rotations(len(part.qubits), gates, angles.fixed.tolist(), angles.free))
        if not groups:
            return None
        bits = {
            qubit: circuit.find_bit(bit).index
            for qubit, bit in zip(part.measured_qubits, part.clbits, strict=True)
        }
        for layers in groups:
            row = angles.fixed + (angles.slopes @ values if values is not None else 0.0)
            parameters = parameters_of(layers, row.tolist())
            if parameters is None:
                return None
            columns = [bits[qubit] for qubit in layers.qubits]
            index = np.zeros(1 << n, np.int64)
            for place, column in enumerate(columns):
                index |= ((np.arange(1 << n) >> column) & 1) << place
            product *= probabilities(parameters)[index]
    return product


def exact(circuit: QuantumCircuit) -> Float64s:
    """Qiskit's own probabilities; every classical bit is measured once, at the end."""
    wires = {
        circuit.find_bit(instruction.clbits[0]).index: instruction.qubits[0]
        for instruction in circuit.data
        if instruction.clbits
    }
    bare = circuit.remove_final_measurements(inplace=False)
    used = [circuit.find_bit(wires[bit]).index for bit in range(circuit.num_clbits)]
    active = sorted(
        {circuit.find_bit(bit).index for instruction in bare.data for bit in instruction.qubits} | {*used}
    )
    small = QuantumCircuit(len(active))
    for instruction in bare.data:
        if instruction.name not in {"barrier", "delay"}:
            places = [active.index(circuit.find_bit(bit).index) for bit in instruction.qubits]
            small.append(instruction.operation, places)
    probabilities: Float64s = Statevector(small).probabilities([active.index(qubit) for qubit in used])
    return probabilities


def with_noise(ideal: Float64s, n: int) -> Float64s:
    mixed = ideal.copy()
    for bit in range(n):
        mixed = (1 - NOISE / 2) * mixed + NOISE / 2 * mixed[np.arange(1 << n) ^ (1 << bit)]
    return mixed


def sample_row(circuit: QuantumCircuit, values: Float64s | None = None, seed: int = 1) -> dict[str, Samples]:
    """Samples of every register, of one row."""
    row = np.zeros((1, 0)) if values is None else values.reshape(1, -1)
    registers, _ = shooting.shoot(Swept(circuit, SHOTS, row), NOISE, seed, HERE)
    return {name: collect_samples(bits[0]) for name, bits in registers.items()}


def collect_samples(bits: shooting.Shots) -> Samples:
    distinct, counts = np.unique(bits.astype(np.uint8), axis=0, return_counts=True)
    return Samples(distinct, counts.astype(np.int64))


def cold(parameters: QaoaParameters) -> QaoaParameters:
    return replace(parameters, warm=np.full(parameters.n, 0.5 * np.pi))


def quarter_mixer(parameters: QaoaParameters) -> QaoaParameters:
    return replace(parameters, mixer=np.full(parameters.layers, 0.25 * np.pi))


def start_in_basis_state(parameters: QaoaParameters) -> QaoaParameters:
    return replace(parameters, warm=np.where(np.arange(parameters.n) % 2, np.pi, parameters.warm))


def sparse(parameters: QaoaParameters) -> QaoaParameters:
    """The first variable alone, the others in a line."""
    near = np.abs(np.subtract.outer(range(parameters.n), range(parameters.n))) == 1
    near[0] = near[:, 0] = False
    return replace(parameters, coupling=parameters.coupling * near)


def keep_unchanged(parameters: QaoaParameters) -> QaoaParameters:
    return parameters


SPECIAL = [keep_unchanged, cold, quarter_mixer, start_in_basis_state, sparse]


@pytest.mark.parametrize("special", SPECIAL, ids=lambda special: special.__name__)
@pytest.mark.parametrize(("n", "layers"), [(1, 1), (2, 1), (5, 1), (4, 2), (3, 3)])
def test_a_bound_template_is_recognised_exactly(
    n: int, layers: int, special: Callable[[QaoaParameters], QaoaParameters]
) -> None:
    parameters = special(random_parameters(n, 7, layers))
    compiled = compile_template(n, "heron-torino", device.target, layers=layers)
    circuit = bind_isa(DeviceCircuit(compiled, parameters))
    recognised = recognise(circuit)
    assert recognised is not None
    np.testing.assert_allclose(recognised, exact(circuit), atol=1e-9)
    np.testing.assert_allclose(recognised, probabilities(parameters), atol=1e-9)


@pytest.mark.parametrize("special", SPECIAL, ids=lambda special: special.__name__)
def test_a_template_with_its_parameters_open_is_recognised_for_every_row(
    special: Callable[[QaoaParameters], QaoaParameters],
) -> None:
    isa = qpy.load(io.BytesIO(template(tuple(range(4))).qpy))[0]
    for seed in range(5):
        parameters = special(random_parameters(4, seed))
        recognised = recognise(isa, parameter_values(isa, parameters))
        assert recognised is not None
        np.testing.assert_allclose(recognised, probabilities(parameters), atol=1e-9)


def test_what_is_recognised_is_never_something_else() -> None:
    """Random circuits of the device's gates, many of them Clifford: recognised or not, never wrongly."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        n = int(rng.integers(1, 4))
        circuit = QuantumCircuit(n, n)
        for _ in range(int(rng.integers(0, 24))):
            match rng.integers(4):
                case 0 if n > 1:
                    circuit.cz(*(int(qubit) for qubit in rng.permutation(n)[:2]))
                case 1:
                    circuit.sx(int(rng.integers(n)))
                case 2:
                    circuit.x(int(rng.integers(n)))
                case _:
                    angle = rng.choice([0.25 * np.pi * rng.integers(-9, 9), rng.normal()])
                    circuit.rz(float(angle), int(rng.integers(n)))
        circuit.measure(range(n), rng.permutation(n).tolist())
        recognised = recognise(circuit)
        if recognised is not None:
            hits += 1
            np.testing.assert_allclose(recognised, exact(circuit), atol=1e-7)
    assert 100 < hits < 400


def without_a_cz(circuit: QuantumCircuit) -> QuantumCircuit:
    last = max(number for number, instruction in enumerate(circuit.data) if instruction.name == "cz")
    del circuit.data[last]
    return circuit


def with_another_mixer(circuit: QuantumCircuit) -> QuantumCircuit:
    """One qubit's mixer angle differs from the others'."""
    last = max(number for number, instruction in enumerate(circuit.data) if instruction.name == "sx")
    before = max(number for number, instruction in enumerate(circuit.data[:last]) if instruction.name == "rz")
    gate = circuit.data[before]
    circuit.data[before] = gate.replace(operation=gate.operation.base_class(gate.params[0] + 0.7))
    return circuit


@pytest.mark.parametrize("change", [without_a_cz, with_another_mixer], ids=lambda special: special.__name__)
def test_a_circuit_that_only_looks_like_a_template_is_run_by_aer(
    change: Callable[[QuantumCircuit], QuantumCircuit], aer_runs: list[int]
) -> None:
    circuit = change(bind_isa(on_device(4, seed=3)))
    circuit.name, circuit.metadata = "qaoa-warm-start", {"template": True}
    (samples,) = sample_row(circuit).values()
    assert aer_runs == [4]
    assert goodness_of_fit(samples, with_noise(exact(circuit), 4)) > ALPHA / TESTS


@pytest.mark.parametrize(("n", "seed"), [(3, 1), (5, 2), (8, 3)])
def test_shots_of_a_template_and_aers_of_the_same_circuit_share_a_source(
    n: int, seed: int, aer_runs: list[int]
) -> None:
    circuit = bind_isa(on_device(n, seed))
    (fast,) = sample_row(circuit, seed=seed).values()
    assert aer_runs == []
    (alone,) = parts_of(circuit)
    places = [circuit.find_bit(bit).index for bit in alone.clbits]
    aer = sample_circuit(alone.circuit(), SHOTS, NOISE, seed)
    ordered = Samples(aer.pool[:, np.argsort(places)], aer.counts)
    assert same_source(fast, ordered) > ALPHA / TESTS
    (other,) = sample_row(bind_isa(on_device(n, seed + 10)), seed=seed).values()
    assert same_source(other, ordered) < 1e-9  # the test would notice another circuit


def test_templates_side_by_side_are_shot_apart_and_independently(aer_runs: list[int]) -> None:
    circuits = tuple(on_device(n, seed=n, first=first) for n, first in ((3, 0), (2, 4), (5, 7)))
    row = sample_row(compose_pub(Pub(circuits), 133))
    assert aer_runs == []
    for number, circuit in enumerate(circuits):
        ideal = with_noise(probabilities(circuit.parameters), circuit.qubits)
        assert goodness_of_fit(row[f"c{number}"], ideal) > ALPHA / TESTS
    registers, _ = shooting.shoot(
        Swept(compose_pub(Pub(circuits), 133), SHOTS, np.zeros((1, 0))), NOISE, 1, HERE
    )
    joint = collect_samples(np.concatenate([registers["c0"][0], registers["c1"][0]], axis=1))
    first, second = (
        with_noise(probabilities(circuit.parameters), circuit.qubits) for circuit in circuits[:2]
    )
    both = (second[:, None] * first[None, :]).reshape(-1)
    assert goodness_of_fit(joint, both) > ALPHA / TESTS


def test_a_sweep_over_a_template_needs_no_aer(aer_runs: list[int]) -> None:
    isa = qpy.load(io.BytesIO(template(tuple(range(3))).qpy))[0]
    sweep = [random_parameters(3, seed) for seed in range(6)]
    rows = np.stack([parameter_values(isa, parameters_of_row) for parameters_of_row in sweep]).reshape(
        2, 3, -1
    )
    registers, _ = shooting.shoot(Swept(isa, SHOTS, rows), 0.0, 1, HERE)
    (bits,) = registers.values()
    assert bits.shape == (2, 3, SHOTS, 3)
    assert aer_runs == []
    for number, parameters_of_row in enumerate(sweep):
        samples = collect_samples(bits[number // 3, number % 3])
        assert goodness_of_fit(samples, probabilities(parameters_of_row)) > ALPHA / TESTS


def test_only_what_is_not_recognised_goes_to_aer(aer_runs: list[int]) -> None:
    """A template beside a Bell pair with a qubit that is measured half-way, in two registers."""
    whole = QuantumCircuit(133)
    whole.add_register(ClassicalRegister(4, "c0"), ClassicalRegister(3, "own"))
    whole.compose(bind_isa(on_device(4)), range(133), whole.cregs[0], inplace=True)
    for gate in ("sx", "sx"):
        getattr(whole, gate)(20)
    whole.rz(0.5 * np.pi, 21)
    whole.sx(21)
    whole.rz(0.5 * np.pi, 21)
    whole.cz(20, 21)
    whole.measure(20, whole.cregs[1][0])
    whole.reset(20)
    whole.measure([20, 21], whole.cregs[1][1:])
    row = sample_row(whole)
    assert aer_runs == [2]
    ideal = with_noise(probabilities(on_device(4).parameters), 4)
    assert goodness_of_fit(row["c0"], ideal) > ALPHA / TESTS
    ones = (row["own"].pool * row["own"].counts[:, None]).sum(axis=0) / SHOTS
    np.testing.assert_allclose(ones, [1 - NOISE / 2, NOISE / 2, 0.5], atol=0.02)


def test_a_coupling_that_happens_to_be_a_clifford_gate_is_never_read_wrongly() -> None:
    parameters = random_parameters(3, 2)
    coupling = parameters.coupling.copy()
    coupling[0, 0, 1] = coupling[0, 1, 0] = 0.25 * np.pi  # RZZ(π/2)
    circuit = bind_isa(DeviceCircuit(template((0, 1, 2)), replace(parameters, coupling=coupling)))
    assert recognise(circuit) is None
    (samples,) = sample_row(circuit).values()
    assert goodness_of_fit(samples, with_noise(exact(circuit), 3)) > ALPHA / TESTS


def test_a_circuit_with_control_flow_stays_whole(aer_runs: list[int]) -> None:
    """X where a register reads 1, and a bit of another register that nobody writes."""
    circuit = QuantumCircuit(133)
    circuit.add_register(ClassicalRegister(2, "first"), ClassicalRegister(1, "second"))
    circuit.x(3)
    circuit.measure(3, circuit.cregs[0][0])
    with circuit.if_test((circuit.cregs[0], 1)):
        circuit.x(7)
    circuit.measure(7, circuit.cregs[1][0])
    registers, _ = shooting.shoot(Swept(circuit, 50, np.zeros((1, 0))), 0.0, 1, HERE)
    assert registers["first"][0].all(axis=0).tolist() == [True, False]
    assert registers["second"].all()
    assert aer_runs == [2]


def test_a_users_own_qaoa_is_recognised_too(aer_runs: list[int]) -> None:
    """Standard RX mixers, compiled by hand to CZ, SX and RZ; its angle is open."""
    gamma = Parameter("gamma")
    circuit = QuantumCircuit(2, 2)
    for qubit in range(2):
        hadamard(circuit, qubit)
    hadamard(circuit, 1)
    circuit.cz(0, 1)
    hadamard(circuit, 1)
    circuit.rz(gamma, 1)
    hadamard(circuit, 1)
    circuit.cz(0, 1)
    hadamard(circuit, 1)
    for qubit in range(2):
        hadamard(circuit, qubit)
        circuit.rz(0.8, qubit)
        hadamard(circuit, qubit)
    circuit.measure([0, 1], [0, 1])
    (samples,) = sample_row(circuit, np.array([1.1])).values()
    assert aer_runs == []
    bound = circuit.assign_parameters({gamma: 1.1})
    assert goodness_of_fit(samples, with_noise(exact(bound), 2)) > ALPHA / TESTS


def hadamard(circuit: QuantumCircuit, qubit: int) -> None:
    circuit.rz(0.5 * np.pi, qubit)
    circuit.sx(qubit)
    circuit.rz(0.5 * np.pi, qubit)


def test_an_angle_that_is_not_linear_is_left_to_aer(aer_runs: list[int]) -> None:
    angle = Parameter("a")
    circuit = QuantumCircuit(1, 1)
    circuit.sx(0)
    circuit.rz(angle * angle, 0)
    circuit.sx(0)
    circuit.measure(0, 0)
    (samples,) = sample_row(circuit, np.array([0.9])).values()
    assert aer_runs == [1]
    assert goodness_of_fit(samples, with_noise(exact(circuit.assign_parameters({angle: 0.9})), 1)) > 1e-3


def test_the_logical_definition_is_refused_before_it_gets_here() -> None:
    """The device has no RY and RZZ gates: a circuit with them is not recognised."""
    circuit = logical_circuit(2)
    (part,) = parts_of(circuit)
    assert part.gates(tuple(circuit.parameters)) is None


def test_a_native_circuit_on_a_square_lattice_is_recognised() -> None:
    name = "nighthawk-berlin"
    patch = native.map_device(device.target(name), 9)
    assert len(patch.pairs) == 12  # three by three
    spec = TemplateSpec(9, line=patch.qubits, native=True)
    compiled = store.obtain(spec, name, device.target, None).template
    angles = random_parameters(9, seed=9)
    coupled = np.zeros((9, 9), bool)
    for i, j in patch.pairs:
        coupled[i, j] = coupled[j, i] = True
    circuit = bind_isa(DeviceCircuit(compiled, replace(angles, coupling=angles.coupling * coupled)))
    recognised = recognise(circuit)
    assert recognised is not None
    np.testing.assert_allclose(recognised, exact(circuit), atol=1e-9)
