"""`shotclock load` as a user runs it: its own orchestrator, a target, Ctrl-C, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from shotclock.app.load import LoadJob, LoadProgress
from shotclock.app.load import run as run_load
from shotclock.app.service import Service
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario
from shotclock.bench.load.folder import read_calls, read_load
from shotclock.bench.load.schema import LoadRun, LoadSummary
from shotclock.bench.verify.load_run import check_load
from shotclock.cli.load import load
from shotclock.domain.errors import MachineError, SettingsError, ShotclockError
from shotclock.settings import load as load_settings

ITSELF = """
import sys
import typer
from shotclock.app import load as app
from shotclock.cli.load import load

class Telling(app.Service):
    def start(self):
        ports = super().start()
        print("scrape", ports.http_port, file=sys.stderr, flush=True)
        return ports

app.Service = Telling
typer.run(load)
"""
"""The command; it also prints the address at which its orchestrator reports how many calls have arrived."""
PATIENT = ("--deadline-ms", "60000")
"""For calls whose answers are checked: they come from the QPU even on a busy machine."""


def ran(*arguments: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(load)
    return CliRunner().invoke(app, list(arguments))


def run_refused(*arguments: str) -> ShotclockError:
    error = ran(*arguments).exception
    assert isinstance(error, ShotclockError)
    return error


def test_a_load_of_its_embedded_orchestrator_writes_a_complete_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = ran("--rate", "20", "--duration", "3", "--runs", "2", "--json", "--out", str(out), *PATIENT)
    summary = LoadSummary.model_validate_json(result.stdout)
    assert result.exit_code in {0, 4, 99}  # what this machine's load is worth is for benchmarks to say
    assert summary == read_load(out)
    assert summary.emulated
    assert summary.provider == "emulated"
    calls = read_calls(out)
    assert len(calls) == sum(run.calls for run in summary.runs)
    assert {call.run for call in calls} == {0, 1}
    assert len({run.seed for run in summary.runs}) == 2
    assert all(call.issued_ns >= call.scheduled_ns for call in calls)
    assert any(call.answered_by == "qpu" for call in calls)
    assert json.loads((out / "machine.json").read_text(encoding="utf-8")) == summary.environment


def test_a_running_orchestrator_is_loaded_from_another_process() -> None:
    serve = {"listen": "127.0.0.1:0", "metrics": "127.0.0.1:0", "insecure": True, "sizes": (8,)}
    service = Service(load_settings(None, {"serve": serve, "kernel": {"n": 8}}))
    try:
        target = f"127.0.0.1:{service.start().grpc_port}"
        result = ran(
            "--target", target, "--n", "8", "--scenario", "single-stream", "--duration", "2", "--json"
        )
    finally:
        service.close()
    summary = LoadSummary.model_validate_json(result.stdout)
    assert summary.target == target
    assert summary.runs[0].calls > 0
    assert summary.emulated


def test_virtual_time_skips_the_emulated_waits_and_says_so() -> None:
    result = ran("--clock", "virtual", "--rate", "2", "--duration", "300", "--n", "6")
    assert "EMULATED, VIRTUAL CLOCK" in result.stdout
    assert "with samples" in result.stdout


def test_ctrl_c_keeps_the_calls_that_ended_and_marks_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    # each call after the last one: when the orchestrator has counted three more, the load has kept one
    arguments = ["--scenario", "single-stream", "--duration", "600", "--n", "6", "--out", str(out), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", ITSELF, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        port = 0
        while "loading" not in (line := process.stderr.readline()):
            assert line, "ended before it began"
            if line.startswith("scrape "):
                port = int(line.split()[1])
        enough = calls_ended(port) + 3
        while calls_ended(port) < enough:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        stdout, _ = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 130
    summary = LoadSummary.model_validate_json(stdout)
    assert summary.status == "interrupted"
    assert read_calls(out)


def test_ctrl_c_between_two_runs_keeps_the_first() -> None:
    def interrupt(_plan: ArrivalPlan, _run: LoadRun) -> None:
        raise KeyboardInterrupt

    # Beyond enumeration and a state vector: sparse, on the device's couplings.
    plan = ArrivalPlan(Scenario.SERVER, 2.0, 4.0, 60_000_000_000, n=32)
    job = LoadJob(plan, "quantum", runs=2, sweep=False, clock="virtual", target=None)
    progress = LoadProgress(phase=lambda text: None, ran=interrupt)
    summary, calls = run_load(load_settings(None, {}), job, progress)
    assert (summary.status, len(summary.runs)) == ("interrupted", 1)
    assert len(calls) == summary.runs[0].calls > 0
    assert {(call.answered_by, call.cause) for call in calls} == {("qpu", "")}
    assert summary.runs[0].emulator_overruns == 0
    method = "matrix product state, bond dimension 8, truncation error 0.0e+00"
    assert summary.runs[0].simulation == method


def test_ctrl_c_as_soon_as_it_loads_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ITSELF, "--rate", "20", "--duration", "600", "--n", "6"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        while "loading" not in (line := process.stderr.readline()):
            assert line, "ended before it began"
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err


def calls_ended(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as response:
        lines = response.read().decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("shotclock_calls_total{"))


OWN = """OPENQASM 3.0;
include "stdgates.inc";
input angle theta;
qubit[2] q;
bit[2] c;
ry(theta) q[0];
cx q[0], q[1];
c = measure q;
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A circuit with one parameter, as a file."""
    file = tmp_path / "own.qasm"
    file.write_text(OWN, encoding="utf-8")
    return str(file)


def test_a_circuit_of_ones_own_is_asked_and_costs_money(own: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--circuit", own, "--value", "theta=0.3", "--shots", "64", "--out", str(out)]
    result = ran(*arguments, "--clock", "virtual", "--rate", "2", "--duration", "40")
    assert result.exit_code in {0, 4, 99}
    assert "own.qasm, 64 shots, 2 bits" in result.stdout
    assert "EMULATED, VIRTUAL CLOCK: " in result.stdout
    summary, calls = read_load(out), read_calls(out)
    assert {call.outcome for call in calls} <= {"executed", "late", "shed"}
    assert any(call.answered_by == "qpu" for call in calls)
    assert summary.circuit is not None
    assert summary.circuit.values == {"theta": 0.3}
    assert summary.cost is not None
    assert summary.cost.qpu_s == pytest.approx(sum(call.qpu_s for call in calls))
    assert not [fault for fault in check_load(out) if "not a valid measurement" not in fault.what]


def test_a_running_orchestrator_runs_the_circuit_or_refuses_it_in_a_line(own: str) -> None:
    serve = {"listen": "127.0.0.1:0", "metrics": "127.0.0.1:0", "insecure": True, "sizes": (2,)}
    service = Service(load_settings(None, {"serve": serve, "kernel": {"n": 2}}))
    try:
        arguments = ["--target", f"127.0.0.1:{service.start().grpc_port}", "--circuit", own, *PATIENT]
        refusal = run_refused(*arguments)
        result = ran(
            *arguments, "--value", "theta=1", "--scenario", "single-stream", "--duration", "2", "--json"
        )
    finally:
        service.close()
    assert isinstance(refusal, SettingsError)
    assert "own.qasm: parameters: no value for theta" in str(refusal)
    summary = LoadSummary.model_validate_json(result.stdout)
    assert summary.n == 2
    assert summary.circuit is not None
    assert summary.circuit.shots == load_settings(None, {}).quantum.shots
    assert summary.runs[0].by_class["qpu"].n > 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hello", "source: not OpenQASM 3"),
        (OWN, "no value for theta"),
        (OWN.replace("qubit[2]", "qubit[200]"), "200 qubits, heron-torino has 133"),
    ],
)
def test_a_circuit_that_cannot_be_run_is_refused_before_anything_starts(
    tmp_path: Path, source: str, words: str
) -> None:
    file = tmp_path / "own.qasm"
    file.write_text(source, encoding="utf-8")
    result = ran("--circuit", str(file))
    assert isinstance(result.exception, SettingsError)
    assert words in str(result.exception)
    assert "starting" not in result.output


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["--target", "127.0.0.1:1"], MachineError, "127.0.0.1:1"),
        (["--target", "nowhere"], SettingsError, "HOST:PORT"),
        (["--target", "192.0.2.1:7443"], SettingsError, "loopback"),
        (["--rate", "0"], SettingsError, "--rate 0"),
        (["--sweep", "--scenario", "offline"], SettingsError, "--sweep"),
        (["--clock", "virtual", "--target", "127.0.0.1:1"], SettingsError, "--clock virtual"),
        (["--target", "127.0.0.1:1", "--certificate", "a.pem"], SettingsError, "together"),
        (["--profile", "colocatd"], SettingsError, "colocatd"),
        (["--circuit", "nowhere.qasm"], SettingsError, "nowhere.qasm: No such file"),
        (["--batch", "0"], SettingsError, "--batch: must be 1 to 64 subproblems a request (got 0)"),
        (["--batch", "65"], SettingsError, "--batch: must be 1 to 64 subproblems a request (got 65)"),
        (["--batch", "16", "--n", "256"], SettingsError, "--batch: a request takes 15 subproblems of 256"),
        (["--value", "theta=1"], SettingsError, "--value"),
        (["--shots", "8"], SettingsError, "--shots"),
        (["--circuit", "nowhere.qasm", "--shots", "0"], SettingsError, "--shots 0"),
    ],
)
def test_bad_input_is_one_line_that_names_the_flag(
    arguments: list[str], kind: type[ShotclockError], words: str
) -> None:
    error = run_refused(*arguments)
    assert isinstance(error, kind)
    assert words in str(error)
    assert "\n" not in str(error)


def test_a_load_that_never_began_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_refused("--target", "127.0.0.1:1", "--out", str(out))
    assert not out.exists()
    out.mkdir()
    (out / "mine").touch()
    assert "not empty" in str(run_refused("--out", str(out)))
