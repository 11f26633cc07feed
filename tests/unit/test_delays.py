"""Delays of user circuits last what they say, from any source, through every hop, or are refused."""

from __future__ import annotations

import io
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qasm3, qpy
from qiskit.circuit import (
    AncillaRegister,
    ClassicalRegister,
    Clbit,
    Duration,
    Parameter,
    ParameterVector,
    QuantumRegister,
    Qubit,
)
from qiskit.circuit.classical import expr
from qiskit.circuit.random import random_circuit

from shotclock.circuits import store
from shotclock.circuits import user_circuits as raw
from shotclock.circuits.cache import Disk
from shotclock.circuits.packing import compose
from shotclock.circuits.qaoa import bind_isa, bind_logical
from shotclock.domain.circuit import Bound, CircuitSpec, DeviceCircuit
from shotclock.domain.circuit_bytes import dump_circuit, load_circuit
from shotclock.domain.errors import CircuitError
from shotclock.emulator import device
from shotclock.emulator import user_circuits as emulation
from shotclock.wire import codec
from shotclock.wire.v1 import shotclock_pb2 as pb

DEVICE = "heron-torino"
TARGET = device.target(DEVICE)
DT: float = TARGET.dt
HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[1] q; bit[1] c; '
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12, "dt": DT}
DURATIONS = [(0.25, "s"), (2.0, "ms"), (100.0, "us"), (400.0, "ns"), (40_000.0, "ps"), (100, "dt")]


def make_delay(duration: Any, unit: str | None = None) -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    circuit.delay(duration, 0, unit)
    circuit.measure(0, 0)
    return circuit


def read(source: str | bytes | QuantumCircuit, values: dict[str, float] | None = None) -> Bound:
    return raw.read(source, values or {}, DEVICE, TARGET)


def compile_bound(bound: Bound) -> DeviceCircuit:
    return DeviceCircuit(store.obtain(bound, DEVICE, device.target, None).template, bound)


def isa_delays_dt(circuit: DeviceCircuit) -> list[int]:
    operations = [item.operation for item in bind_isa(circuit).data if item.operation.name == "delay"]
    assert all(operation.unit == "dt" and isinstance(operation.duration, int) for operation in operations)
    return [operation.duration for operation in operations]


def plain_qpy(circuit: QuantumCircuit) -> bytes:
    content = io.BytesIO()
    qpy.dump(circuit, content)
    return content.getvalue()


WITHOUT_S = compile_bound(read(make_delay(0, "dt"))).template.duration_s


def check_duration(bound: Bound, seconds: float) -> None:
    circuit = compile_bound(bound)
    assert isa_delays_dt(circuit) == [round(seconds / DT)]
    assert circuit.template.duration_s - WITHOUT_S == pytest.approx(round(seconds / DT) * DT, rel=1e-9)
    assert emulation.execute_bound(bound, 10, 0.0, 0).pool.tolist() == [[1]]


@pytest.mark.parametrize(("number", "unit"), DURATIONS)
def test_every_unit_lasts_what_it_says_from_text_and_from_qiskit(number: float, unit: str) -> None:
    seconds = number * SECONDS[unit]
    check_duration(read(make_delay(number, unit)), seconds)
    if unit != "ps":  # not a unit of OpenQASM 3
        text = f"{HEAD}x q[0]; delay[{number}{unit}] q[0]; c[0] = measure q[0];"
        check_duration(read(text), seconds)


@pytest.mark.parametrize(("number", "unit"), DURATIONS)
def test_a_spec_of_a_qiskit_circuit_keeps_its_delays_over_the_wire(number: float, unit: str) -> None:
    spec = CircuitSpec(make_delay(number, unit), 100, budget_ns=1)
    message = pb.CircuitSpec.FromString(codec.encode_circuit(spec, 1).SerializeToString())
    again = codec.decode_circuit(message)
    assert again == spec
    check_duration(read(again.content), number * SECONDS[unit])


def test_a_delay_in_a_parameter_takes_its_value() -> None:
    t = Parameter("t")
    check_duration(read(make_delay(t, "us"), {"t": 100.0}), 100e-6)
    check_duration(read(make_delay(2 * t + 1, "ns"), {"t": 199.5}), 400e-9)
    check_duration(read(make_delay(t, "dt"), {"t": 100.0}), 100 * DT)


def test_a_spec_fills_in_the_parameters_of_delays_and_keeps_the_others() -> None:
    t, angle = Parameter("t"), Parameter("angle")
    circuit = make_delay(t, "us")
    circuit.rx(angle, 0)
    accepted: list[Any] = [
        (("t", 100.0), ("angle", 0.5)),
        {t: 100.0, angle: 0.5},
        {"angle": 0.5, "t": 100},
    ]
    for values in accepted:
        spec = CircuitSpec(circuit, 10, values)
        assert spec.values == (("angle", 0.5),)
        assert load_circuit(bytes(spec.content)) == circuit.assign_parameters({t: 100.0})  # type: ignore[arg-type]
    with pytest.raises(CircuitError, match=r"circuit\.parameters: no value for t"):
        CircuitSpec(circuit, 10, (("angle", 0.5),))


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (Duration.us(100.0), 100e-6),
        (Duration.dt(100), 100 * DT),
        (expr.mul(Duration.us(2.0), 3.0), 6e-6),
        (expr.sub(Duration.ms(1.0), Duration.us(1.0)), 999e-6),
        (expr.add(Duration.us(2.0), Duration.dt(100)), 2e-6 + 100 * DT),
    ],
)
def test_a_duration_as_an_expression_is_worked_out(duration: Any, seconds: float) -> None:
    circuit = make_delay(expr.lift(duration))
    check_duration(read(circuit), seconds)
    check_duration(read(plain_qpy(circuit)), seconds)  # QPY keeps the unit of an expression
    check_duration(read(CircuitSpec(circuit, 1).content), seconds)


def test_a_fraction_of_a_dt_is_rounded_to_the_nearest_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isa_delays_dt(compile_bound(read(make_delay(10.4 * DT, "s")))) == [10]
        assert isa_delays_dt(compile_bound(read(make_delay(10.6 * DT, "s")))) == [11]


def make_stretch() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.delay(circuit.add_stretch("a"), 0)
    circuit.measure(0, 0)
    return circuit


T = Parameter("t")
REFUSED: list[tuple[str, Any, dict[str, float]]] = [
    ("(parameters|delay): .*Integer duration", make_delay(T, "dt"), {"t": 2.5}),
    ("delay: .*must be positive", make_delay(T, "us"), {"t": -3.0}),
    ("delay: must be finite and at least 0", make_delay(float("nan"), "us"), {}),
    ("delay: must be finite and at least 0", make_delay(float("inf"), "us"), {}),
    ("delay: must be at most 604800 s", make_delay(1e9, "s"), {}),
    ("delay: must be at most 604800 s", make_delay(2**60, "dt"), {}),
    ("delay: .*negative", make_delay(expr.sub(Duration.us(1.0), Duration.us(2.0))), {}),
    ("delay: stretches are not supported", make_stretch(), {}),
    ("parameters: no value for t", make_delay(T, "us"), {}),
    ("source: .*Integer duration", HEAD + "delay[2.5dt] q[0]; c = measure q;", {}),
    ("source: .*'stretch' are not supported", HEAD + "stretch a; delay[a] q[0]; c = measure q;", {}),
]


@pytest.mark.parametrize(("what", "source", "values"), REFUSED)
def test_what_cannot_be_timed_is_refused_in_one_line(
    what: str, source: Any, values: dict[str, float]
) -> None:
    with pytest.raises(CircuitError, match=f"circuit.{what}") as caught:
        read(source, values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [{"t": -3.0}, {"t": 2.5}])
def test_a_spec_refuses_delays_that_cannot_be_when_it_is_made(values: dict[str, float]) -> None:
    with pytest.raises(CircuitError, match=r"circuit\.delay"):
        CircuitSpec(make_delay(T, "us" if values["t"] < 0 else "dt"), 1, tuple(values.items()))


LOST: list[tuple[Any, str]] = [
    (100.0, "us"),
    (100, "us"),
    (1.0, "s"),
    (1.5, "ps"),
    (T, "us"),
    (T, "dt"),
]


@pytest.mark.parametrize(("duration", "unit"), LOST)
def test_qpy_that_has_lost_a_unit_is_refused(duration: Any, unit: str) -> None:
    values = {"t": 2.0} if duration is T else {}
    with pytest.raises(CircuitError, match=r"circuit\.delay: this QPY does not hold the unit"):
        read(plain_qpy(make_delay(duration, unit)), values)


def test_qpy_of_a_delay_in_dt_is_read_and_that_of_a_qiskit_that_kept_no_difference_refused() -> None:
    content = plain_qpy(make_delay(100, "dt"))
    check_duration(read(content), 100 * DT)
    # before 2.6 a whole number of microseconds was written as one of dt is
    older = content[:7] + bytes((2, 5, 0)) + content[10:]
    with pytest.raises(CircuitError, match="does not hold the unit of a delay of 100"):
        read(older)
    check_duration(read(CircuitSpec(make_delay(100, "dt"), 1).content), 100 * DT)


def test_a_circuit_composed_with_others_keeps_its_delays() -> None:
    circuit = compile_bound(read(make_delay(100, "us")))
    whole = compose([bind_isa(circuit)], TARGET.num_qubits)
    delays = [item.operation for item in whole.data if item.operation.name == "delay"]
    assert [(delay.duration, delay.unit) for delay in delays] == [(round(100e-6 / DT), "dt")]
    logical = [item.operation for item in bind_logical(circuit).data if item.operation.name == "delay"]
    assert [(delay.duration, delay.unit) for delay in logical] == [(100.0, "us")]


def test_a_template_on_disk_keeps_its_delays(tmp_path: Any) -> None:
    bound = read(make_delay(100, "us"))
    for disk in (Disk.ABSENT, Disk.LOADED):
        obtained = store.obtain(bound, DEVICE, device.target, tmp_path)
        assert obtained.disk is disk
        assert isa_delays_dt(DeviceCircuit(obtained.template, bound)) == [round(100e-6 / DT)]


def odd_circuit() -> QuantumCircuit:
    """Loose bits, registers that share bits, ancillas, odd names, a vector past ten and a global phase."""
    shared = [Clbit() for _ in range(3)]
    circuit = QuantumCircuit(
        QuantumRegister(2, "items"),
        AncillaRegister(1, "class"),
        [Qubit()],
        shared,
        ClassicalRegister(bits=shared[:2], name="keys"),
        ClassicalRegister(bits=shared[1:], name="values"),
        ClassicalRegister(0, "empty"),
        global_phase=Parameter("phase"),
    )
    vector = ParameterVector("t", 12)
    for index, angle in enumerate(vector):
        circuit.rx(angle, index % 4)
    circuit.delay(1.5, 0, "ps")
    circuit.delay(100, [1, 2], "us")
    circuit.measure([3, 1, 0], [2, 0, 1])
    return circuit


def test_bytes_lose_nothing_of_a_circuit() -> None:
    circuit = odd_circuit()
    again = load_circuit(dump_circuit(circuit))
    assert again == circuit
    bits = {creg.name: [again.find_bit(bit).index for bit in creg] for creg in again.cregs}
    assert bits == {"keys": [0, 1], "values": [1, 2], "empty": []}
    assert [parameter.name for parameter in again.parameters] == [
        parameter.name for parameter in circuit.parameters
    ]


@given(st.integers(1, 4), st.integers(0, 2**16), st.sampled_from(DURATIONS))
@settings(deadline=None, max_examples=25)
def test_bytes_lose_nothing_of_any_circuit(qubits: int, seed: int, duration: tuple[float, str]) -> None:
    circuit = random_circuit(qubits, 3, measure=True, seed=seed)
    circuit.global_phase = seed / 2**16
    circuit.delay(duration[0], qubits - 1, duration[1])
    assert load_circuit(dump_circuit(circuit)) == circuit


SOURCES: list[Any] = [
    None,
    3,
    [make_delay(1, "dt")],
    bytearray(b"QISKIT"),
    QuantumRegister(2),
    QuantumCircuit,
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_spec_of_anything_else_is_refused_when_it_is_made(source: Any) -> None:
    with pytest.raises(CircuitError, match=r"circuit\.source: must be OpenQASM 3 .* \(got ") as caught:
        CircuitSpec(source, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"shots": 0}, "shots: must be at least 1"),
        ({"shots": 1.5}, "shots: must be a whole number"),
        ({"shots": True}, "shots: must be a whole number"),
        ({"shots": "10"}, "shots: must be a whole number"),
        ({"shots": 1, "budget_ns": -1}, "budget_ns: must be at least 0"),
        ({"shots": 1, "values": {"a": float("nan")}}, r"values\.a: must be a finite number \(got .*\)"),
        ({"shots": 1, "values": {"a": "1"}}, r"values\.a: must be a finite number \(got .*\)"),
        ({"shots": 1, "values": (1.0, 2.0)}, "values: must be pairs"),
        ({"shots": 1, "values": {3: 1.0}}, "values: must go by the parameters' names"),
    ],
)
def test_a_spec_names_the_field_that_cannot_be_used(fields: dict[str, Any], what: str) -> None:
    with pytest.raises(CircuitError, match=f"circuit.{what}"):
        CircuitSpec("OPENQASM 3.0;", **fields)


def test_text_written_by_qiskit_keeps_its_delays() -> None:
    check_duration(read(qasm3.dumps(make_delay(100, "us"))), 100e-6)


def test_a_parameter_with_two_values_is_refused() -> None:
    spec = CircuitSpec("OPENQASM 3.0;", 1, (("a", 1.0), ("a", 2.0)))
    with pytest.raises(CircuitError, match=r"values\.a: is given 2 times"):
        spec.values_by_name()
