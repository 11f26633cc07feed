"""IBM's own clients, unmodified and in processes of their own, against `shotclock emulate` over HTTP."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
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

SCRIPTS = {
    "quickstart, executor sampler": QUICKSTART.format(
        import_sampler="Session\nfrom qiskit_ibm_runtime.executor_sampler import Sampler", sampler="Sampler"
    ),
    "quickstart, SamplerV2": QUICKSTART.format(import_sampler="SamplerV2 as Sampler", sampler="Sampler"),
    "session": SESSION,
    "sweep, tags, twirling, cancel": SWEEP,
    **dict(re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)),
}


def started(*arguments: str) -> tuple[subprocess.Popen[str], Any]:
    """The endpoint in a process of its own, and what it says of itself."""
    process = subprocess.Popen(
        [*COMMAND, "emulate", "--json", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return process, json.loads(line)


def ended(process: subprocess.Popen[str], wanted: signal.Signals) -> None:
    process.send_signal(wanted)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "Traceback" not in out + err


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Any]:
    """As the docs' page starts it, on a free port."""
    (line,) = re.findall(r"^shotclock emulate (.*)$", PAGE, re.MULTILINE)
    process, said = started(*shlex.split(line), "--listen", "127.0.0.1:0")
    yield said
    ended(process, signal.SIGTERM)


def python_of(name: str) -> str:
    """The base install's, but for the page's one script that needs an extra, `shotclock[qrmi]`."""
    return sys.executable if "qrmi" in name else base_environment.python()


def account(said: Any) -> Any:
    with urllib.request.urlopen(f"{said['url']}/emulator/account") as answer:
        return json.load(answer)


def run(names: Iterable[str], said: Any) -> dict[str, str]:
    """Runs these scripts side by side as clients; what those that failed printed."""
    environment = {**os.environ, **said["environment"]}
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


def test_ctrl_c_ends_it_cleanly() -> None:
    process, said = started("--profile", "colocated", "--listen", "127.0.0.1:0")
    assert said["emulated"] is True
    assert said["backends"] == ["ibm_torino"]
    ended(process, signal.SIGINT)


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
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
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
