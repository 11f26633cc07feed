"""IBM's own clients, unmodified and in separate processes, against `shotclock emulate` over HTTP."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import base_environment
from shotclock import cli

PAGE = (Path(__file__).parents[2] / "docs" / "emulate.md").read_text(encoding="utf-8")
COMMAND = [base_environment.python(), "-c", "from shotclock import cli; cli.main()"]

# The ways of the client's own documentation ("Sampler quickstart", "Sampler examples", the docstrings of
# Session and of both Samplers): nothing in them knows of an emulator.
QUICKSTART = """
import numpy as np
from qiskit.circuit.library import efficient_su2
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService, {import_sampler}

service = QiskitRuntimeService()
backend = service.least_busy(operational=True, simulator=False, min_num_qubits=127)
circuit = efficient_su2(127, entanglement="linear")
circuit.measure_all()
values = np.random.default_rng(0).random(circuit.num_parameters)
isa_circuit = generate_preset_pass_manager(optimization_level=1, backend=backend).run(circuit)
sampler = {sampler}(mode=backend)
job = sampler.run([(isa_circuit, values)])
print(f"Job ID: {{job.job_id()}}, status: {{job.status()}}")
data = job.result()[0].data
assert len(data.meas.get_bitstrings()) == 4096
"""

SESSION = """
from qiskit.circuit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.transpiler.preset_passmanagers import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2 as Sampler, Session

service = QiskitRuntimeService()
backend = service.least_busy(operational=True, simulator=False)
qr, cr = QuantumRegister(2, name="qr"), ClassicalRegister(2, name="cr")
qc = QuantumCircuit(qr, cr, name="bell")
qc.h(qr[0])
qc.cx(qr[0], qr[1])
qc.measure(qr, cr)
isa_circuit = generate_preset_pass_manager(backend=backend, optimization_level=1).run(qc)
with Session(backend=backend) as session:
    job = Sampler(mode=session).run([isa_circuit])
    counts = job.result()[0].data.cr.get_counts()
    assert session.details()["state"] == "active"
assert session.status() == "Closed"
assert counts["00"] + counts["11"] > 0.85 * 4096, counts
assert [found.job_id() for found in service.jobs(session_id=session.session_id)] == [job.job_id()]
"""

SWEEP = """
import numpy as np
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService, RuntimeInvalidStateError
from qiskit_ibm_runtime.executor_sampler import Sampler

service = QiskitRuntimeService()
backend = service.backend("ibm_torino")
circuit = QuantumCircuit(1)
circuit.rx(Parameter("angle"), 0)
circuit.measure_all()
isa = generate_preset_pass_manager(optimization_level=1, backend=backend).run(circuit)
sampler = Sampler(mode=backend)
sampler.options.environment.job_tags = ["sweep"]
sampler.options.twirling.enable_measure = True
job = sampler.run([(isa, np.linspace(0, np.pi, 5).reshape(5, 1)), (isa, [np.pi])], shots=256)
result = job.result()
ones = [result[0].data.meas.get_counts(row).get("1", 0) for row in range(5)]
assert ones[0] < 40 and ones[4] > 216 and sorted(ones) == ones, ones
assert result[1].data.meas.num_shots == 256
assert service.job(job.job_id()).tags == ["sweep"]
assert job.metrics()["num_circuits"] == 2
sampler.options.environment.job_tags = ["cancelled"]
long = sampler.run([(isa, np.full((20, 1), 0.1))], shots=100_000)
long.cancel()
try:
    long.result()
except RuntimeInvalidStateError:
    print("cancelled")
assert service.jobs(job_tags=["cancelled"])[0].status() == "CANCELLED"
"""

# By both Samplers and by QRMI: π on t[2], t[10], t[11], and on a scalar, sets those bits and no other.
PARAMETERS = """
import numpy as np
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2
from qiskit_ibm_runtime.executor_sampler import Sampler
from qrmi import QuantumResource, ResourceType
from qrmi.primitives.ibm import SamplerV2 as QrmiSampler

backend = QiskitRuntimeService().backend("ibm_torino")
vector, scalar = ParameterVector("t", 12), Parameter("θ")
circuit = QuantumCircuit(13)
for qubit, parameter in enumerate([*vector, scalar]):
    circuit.rx(parameter, qubit)
circuit.measure_all()
isa = generate_preset_pass_manager(optimization_level=1, backend=backend).run(circuit)
rows = [{vector: np.isin(np.arange(12), wanted) * np.pi, scalar: (12 in wanted) * np.pi}
        for wanted in ([2, 10, 11], [1, 12])]
values = {vector: np.array([row[vector] for row in rows]), scalar: np.array([row[scalar] for row in rows])}
qpu = QuantumResource("ibm_torino", ResourceType.IBMQuantumComputeService)
lease = qpu.acquire()
for sampler in (SamplerV2(mode=backend), Sampler(mode=backend), QrmiSampler(qpu)):
    job = sampler.run([(isa, values)], shots=200)
    shots = job.result()[0].data.meas.to_bool_array(order="little")
    found = [np.flatnonzero(row.mean(axis=0) > 0.5).tolist() for row in shots]
    assert found == [[2, 10, 11], [1, 12]], (sampler, found)
    del job
qpu.release(lease)
"""

# A service made by hand, without an instance, and what a script asks of a service, a device and a job.
WITHOUT_AN_INSTANCE = """
import os
from datetime import datetime, timedelta

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, QiskitRuntimeService, SamplerV2, Session
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import IBMRuntimeError

crn = os.environ.pop("QISKIT_IBM_INSTANCE")
service = QiskitRuntimeService(
    channel="ibm_quantum_platform", token="emulated", url=os.environ["QISKIT_IBM_URL"]
)
assert [one["crn"] for one in service.instances()] == [crn]
assert service.active_instance() == crn
assert service.usage()["usage_limit_reached"] is False
backend = service.least_busy(min_num_qubits=127, operational=True, dynamic_circuits=True)
assert service.backends(min_num_qubits=1000) == service.backends(dynamic_circuits=False) == []
fractional = service.least_busy(use_fractional_gates=True)
assert {"rx", "rzz"} <= set(fractional.operation_names)
assert not {"rx", "rzz"} & set(backend.operation_names)
assert backend.properties(datetime=datetime(2020, 1, 1)) is None
assert backend.target_history(datetime=datetime.now()).num_qubits == 133

bell = QuantumCircuit(2)
bell.rx(1.5707963, 0)
bell.rzz(0.3, 0, 1)
bell.measure_all()
isa = generate_preset_pass_manager(optimization_level=1, backend=fractional).run(bell)
assert {"rx", "rzz"} <= set(isa.count_ops())
with Session(backend=fractional) as session:
    job = SamplerV2(mode=session).run([isa], shots=100)
    assert 20 < job.result()[0].data.meas.get_counts()["00"] < 80
    assert Session.from_id(session.session_id, service).details()["state"] == "active"
again = service.job(job.job_id())
assert again.backend().name == backend.name
assert again.instance == crn and again.session_id == session.session_id
assert again.image == "" and again.error_message() is None
assert again.properties().backend_name == backend.name
assert again.metrics()["qiskit_version"].startswith("2.")
assert again.usage_estimation["quantum_seconds"] > 0
assert again.update_tags(["new"]) == ["new"]
yesterday = datetime.now() - timedelta(days=1)
filters = dict(backend_name=backend.name, program_id="sampler", session_id=session.session_id, pending=False)
(found,) = service.jobs(created_after=yesterday, job_tags=["new"], **filters)
assert found.job_id() == job.job_id()
assert service.jobs(created_before=yesterday, **filters) == []
service.delete_job(job.job_id())
assert service.jobs(**filters) == []

sampler = SamplerV2(mode=fractional)
sampler.options.environment.private = True
private = sampler.run([isa], shots=10)
private.result()
assert private.private and private.inputs == {}
try:
    private.result()
    raise SystemExit("a private job was read twice")
except RequestsApiError as error:
    assert error.status_code == 404, error

# Refused at submit, at once and for good: a client repeats a 500, and waits in the queue for a 1010.
late = QuantumCircuit(133, 1)
late.delay(Parameter("d"), 0, "us")
late.measure(0, 0)
try:
    SamplerV2(mode=backend).run([(late, [100.0])])
    raise SystemExit("a delay without a unit was taken")
except IBMRuntimeError as error:
    assert "400" in str(error) and "without its unit" in str(error), error
"""

SCRIPTS = {
    "quickstart, executor sampler": QUICKSTART.format(
        import_sampler="Session\nfrom qiskit_ibm_runtime.executor_sampler import Sampler", sampler="Sampler"
    ),
    "quickstart, SamplerV2": QUICKSTART.format(import_sampler="SamplerV2 as Sampler", sampler="Sampler"),
    "session": SESSION,
    "sweep, tags, twirling, cancel": SWEEP,
    "parameters": PARAMETERS,
    "without an instance": WITHOUT_AN_INSTANCE,
    **dict(re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)),
}


def start_endpoint(*arguments: str) -> tuple[subprocess.Popen[str], Any]:
    """The endpoint in a separate process, and what it prints about itself."""
    process = subprocess.Popen(
        [*COMMAND, "emulate", "--json", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return process, json.loads(line)


def check_ended(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "Traceback" not in out + err


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Any]:
    """As the docs' page starts it, on a free port."""
    (line,) = re.findall(r"^shotclock emulate (.*)$", PAGE, re.MULTILINE)
    process, document = start_endpoint(*shlex.split(line), "--listen", "127.0.0.1:0")
    yield document
    check_ended(process, signal.SIGTERM)


def python_of(name: str) -> str:
    """The base install's, but for the page's one script that needs an extra, `shotclock[qrmi]`."""
    needs_qrmi = "qrmi" in name or "import qrmi" in SCRIPTS[name] or "from qrmi" in SCRIPTS[name]
    return sys.executable if needs_qrmi else base_environment.python()


def account(document: Any) -> Any:
    with urllib.request.urlopen(f"{document['url']}/emulator/account") as answer:
        return json.load(answer)


def run(names: Iterable[str], document: Any) -> dict[str, str]:
    """Runs these scripts side by side as clients; what those that failed printed."""
    environment = {**os.environ, **document["environment"]}
    clients = {
        name: subprocess.Popen(
            [python_of(name), "-W", "ignore", "-c", SCRIPTS[name]],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in names
    }
    outputs = {name: client.communicate(timeout=600)[0] for name, client in clients.items()}
    return {name: outputs[name] for name, client in clients.items() if client.returncode}


def test_the_clients_own_examples_and_the_pages_run_unchanged(endpoint: Any) -> None:
    assert run(SCRIPTS.keys() - {"fault.py"}, endpoint) == {}
    # Alone: the fault it asks for would strike whoever submits next.
    assert run({"fault.py"}, endpoint) == {}
    assert {"first.py", "session.py", "qrmi_first.py", "fault.py"} <= SCRIPTS.keys()
    charges = account(endpoint)["charges"]
    assert len({charge["workload"] for charge in charges}) == len(charges)
    assert {"job", "batch", "session"} == {charge["mode"] for charge in charges}
    assert account(endpoint)["tags_paid_twice"] == []


def disconnect(port: int, sent: bytes, *, reset: bool, answered: bool) -> None:
    """Sends this and goes, with FIN or with a reset, before or after the answer has begun."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(sent)
        if answered:
            client.recv(1)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_clients_that_go_leave_nothing_on_stderr_but_a_line() -> None:
    process, document = start_endpoint("--profile", "colocated", "--listen", "127.0.0.1:0")
    port = int(document["url"].rpartition(":")[2])
    head = b"Host: x\r\nAuthorization: Bearer x\r\n"
    properties = b"GET /backends/ibm_torino/properties HTTP/1.1\r\n" + head + b"\r\n"
    submit = b"POST /jobs HTTP/1.1\r\n" + head
    moments = {
        "nothing": b"",
        "half a head": b"GET /exp",
        "half a body": submit + b'Content-Length: 1000\r\n\r\n{"a":',
        "half a chunked body": submit + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n',
        "half an update": b"PATCH /sessions/x HTTP/1.1\r\n" + head + b"Content-Length: 100\r\n\r\n{",
        "a request": properties,
        "two requests at once": properties * 2,
    }
    for sent in moments.values():
        for reset in (False, True):
            disconnect(port, sent, reset=reset, answered=False)
    disconnect(port, properties, reset=True, answered=True)
    # What is not HTTP is answered as a bad request before it goes.
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), b"\x00\xff" * 500):
        disconnect(port, sent, reset=True, answered=True)
    with socket.create_connection(("127.0.0.1", port)) as under_way:
        under_way.sendall(moments["half a body"])
        assert account(document)["charges"] == []  # it serves on
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=600)
    assert process.returncode == 0
    assert set(err.splitlines()) <= {"WARNING:  Invalid HTTP request received."}


def test_ctrl_c_ends_it_cleanly() -> None:
    process, document = start_endpoint("--profile", "colocated", "--listen", "127.0.0.1:0")
    assert document["emulated"] is True
    assert document["backends"] == ["ibm_torino"]
    check_ended(process, signal.SIGINT)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--device", "heron-torrino"], 2, ("heron-torrino", "did you mean 'heron-torino'")),
        (["--profile", "colocatd"], 2, ("colocatd", "colocated")),
        (["--fault", "droop@2"], 2, ("droop", "did you mean 'drop'")),
        (["--listen", "here"], 2, ("here", "HOST:PORT")),
        (["--speed", "0"], 2, ("--speed",)),
        (["--queue", "60"], 2, ("--queue", "MEDIAN,P99")),
        (["--calibration", "3600"], 2, ("--calibration", "EVERY,LASTS")),
        (["--calibration", "10,20"], 2, ("--calibration", "lasts < every")),
        (["--listen", "no.such.host.invalid:0"], 3, ("no.such.host.invalid", "address of this machine")),
        (["--device", " , "], 2, ("--device",)),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    code: int,
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = one_line(["--listen", "127.0.0.1:0", *arguments], code, monkeypatch, capsys)
    assert all(word in line for word in words), line


def test_a_taken_port_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        line = one_line(["--listen", f"127.0.0.1:{port}"], 3, monkeypatch, capsys)
    assert f"127.0.0.1:{port}" in line
    assert "in use" in line


def one_line(
    arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setattr(sys, "argv", ["shotclock", "emulate", *arguments])
    with pytest.raises(SystemExit) as refused:
        cli.main()
    assert refused.value.code == code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line
