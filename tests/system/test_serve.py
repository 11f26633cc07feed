"""`shotclock serve` as a site meets it: mutual TLS, readiness, a scrape, an operator's verbs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from prometheus_client.parser import text_string_to_metric_families

import attached_run
from certificates import OPERATOR, PROBE, SERVER, STRANGER, TRAINER, Site
from flag_files import NO_PROFILES, make_file, make_switch
from harness import random_subproblem
from shotclock import cli
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.files import write_text
from shotclock.domain.flags import FlagRequest
from shotclock.domain.outcome import (
    CircuitOutcome,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    Outcome,
    Rejection,
)
from shotclock.domain.subproblem import Subproblem
from shotclock.rollout.document_flags import DocumentFlags
from shotclock.rollout.file_source import FileSource
from shotclock.runtime.loop_thread import SystemClock
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.wire.certificates import TlsFiles, load, utc_now
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.methods import SERVICE
from shotclock.wire.operations import GrpcOperations
from shotclock.wire.tls import ClientTls, client_credentials
from spans import Collector, collect_spans, context_of, span_id, trace_in_memory

N = 12
LOGGED = ("--log-level", "debug", "--log-format", "json")
BELL = """OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
h q[0];
cx q[0], q[1];
c = measure q;
"""


WARM_WHEN_TOLD = """
import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from shotclock.circuits.synthesizer import QaoaSynthesizer
from shotclock.cli import main
from shotclock.wire import certificates

utc_now = certificates.utc_now
ahead = Path(os.environ["HOURS_AHEAD"])
certificates.utc_now = lambda: utc_now() + timedelta(hours=float(ahead.read_text() or 0))

warm = QaoaSynthesizer.warm
held = [True]

async def when_told(self, n):
    if held:
        held.clear()
        await asyncio.to_thread(sys.stdin.readline)
    await warm(self, n)

QaoaSynthesizer.warm = when_told
main()
"""
"""The command; it compiles no template before it has read a line, and a file sets its calendar ahead."""


@dataclass(frozen=True)
class Up:
    """A whole service with mutual TLS and the emulated provider, and whose files its callers use."""

    process: subprocess.Popen[str]
    grpc_port: int
    http_port: int
    before_ready: tuple[int, str]
    trainer: TlsFiles
    operator: TlsFiles
    stranger: TlsFiles
    probe: TlsFiles
    hours_ahead: Path
    log: Path
    collector: Collector

    def records(self) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line[-1] == "\n"
        ]

    def wait_for_records(self, number: int, **fields: str) -> list[dict[str, Any]]:
        """The records with these fields once there are so many: a thread of the service writes them."""
        for _ in range(6_000):  # only a hang takes ten minutes
            matching = [record for record in self.records() if fields.items() <= record.items()]
            if len(matching) >= number:
                return matching
            time.sleep(0.1)
        raise AssertionError(f"fewer than {number} records with {fields}")

    def wait_for_caller(self, name: str) -> dict[str, Any]:
        """The status document once it has the caller's calls: they are summed up once a second."""
        for _ in range(6_000):
            overview: dict[str, Any] = json.loads(self.get("/")[1])
            if any(recent["caller"] == name and recent["in_time_samples"] for recent in overview["callers"]):
                return overview
            time.sleep(0.1)
        raise AssertionError(f"no calls of {name} in the status")

    @property
    def target(self) -> str:
        return f"{SERVER}:{self.grpc_port}"

    def dispatcher(self, files: TlsFiles) -> GrpcDispatcher:
        return GrpcDispatcher(connect(self.target, ClientTls(files)))

    async def set_flag(self, files: TlsFiles, flag: str, setting: str) -> None:
        operations = GrpcOperations(connect(self.target, ClientTls(files)))
        try:
            await operations.set_flag(flag, setting)
        finally:
            await operations.close()

    def get(self, path: str) -> tuple[int, str]:
        return get(self.http_port, path)

    def solve(self, subproblem: Subproblem, files: TlsFiles) -> Outcome:
        async def ask() -> Outcome:
            dispatcher = self.dispatcher(files)
            try:
                return await dispatcher.solve(subproblem)
            finally:
                await dispatcher.close()

        return asyncio.run(ask())


def get(port: int, path: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=600) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def children(pid: int) -> set[int]:
    """The process's children that run."""
    processes = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        processes |= {int(child) for child in task.read_text().split()}
    return processes


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def have_ended(pids: set[int]) -> bool:
    """Whether the processes end; only a hang takes ten minutes."""
    for _ in range(6_000):
        if not any(map(is_running, pids)):
            return True
        time.sleep(0.1)
    return False


def settings(folder: Path, site: Site, collector: Collector, templates: Path) -> Path:
    server = site.issue(SERVER)
    config = folder / "settings.toml"
    config.write_text(f"""
[circuits]
template_store = "{templates}"
[serve]
listen = "127.0.0.1:0"
metrics = "127.0.0.1:0"
sizes = [{N}]
certificate = "{server.certificate}"
private_key = "{server.private_key}"
authorities = "{server.authorities}"
trainers = ["{TRAINER}"]
operators = ["{OPERATOR}"]
probes = ["{PROBE}"]
flags = "{folder / "flags.json"}"
[traces]
enabled = true
endpoint = "{collector.url}"
[placement]
metrics = ["gpu", "components"]
acknowledged = "{folder / "components.json"}"
""")
    (folder / "flags.json").write_text(make_file(quantum_path=make_switch()))
    return config


def start(folder: Path, collector: Collector, templates: Path) -> Up:
    site, hours_ahead = Site.at(folder), folder / "hours-ahead"
    hours_ahead.write_text("0")
    command = [sys.executable, "-c", WARM_WHEN_TOLD]
    process = subprocess.Popen(
        [*command, "serve", "--json", *LOGGED, "--config", str(settings(folder, site, collector, templates))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(folder / "log").open("w"),
        text=True,
        env={**os.environ, "HOURS_AHEAD": str(hours_ahead), "OTEL_BSP_SCHEDULE_DELAY": "50"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    listening = json.loads(process.stdout.readline())
    before_ready = get(listening["http_port"], "/readyz")
    process.stdin.write("go\n")
    process.stdin.flush()
    ready = json.loads(process.stdout.readline())
    assert ready["event"] == "ready"
    assert ready["emulated"] is True
    trainer, operator, stranger, probe = map(site.issue, (TRAINER, OPERATOR, STRANGER, PROBE))
    return Up(
        process,
        listening["grpc_port"],
        listening["http_port"],
        before_ready,
        trainer,
        operator,
        stranger,
        probe,
        hours_ahead,
        folder / "log",
        collector,
    )


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with collect_spans() as collector:
        folder = tmp_path_factory.mktemp("site")
        service = start(folder, collector, folder / "templates")
        yield service
        check_end(service)


def check_end(service: Up) -> None:
    """It ends as it should, and neither its log nor its spans hold a secret."""
    workers = children(service.process.pid)
    service.process.terminate()
    out, _ = service.process.communicate(timeout=600)
    assert service.process.returncode == 0
    assert all(record["level"] in {"debug", "info", "warning"} for record in service.records())
    log = service.log.read_bytes()
    keys = [path.read_bytes() for path in service.log.parent.rglob("*.key")]
    secrets = {line for key in keys for line in key.splitlines() if not line.startswith(b"-----")}
    assert len(secrets) >= 5  # lines of the keys of the service and of its callers
    assert service.collector.bodies
    assert not any(secret in text for secret in secrets for text in (log, *service.collector.bodies))
    events = [json.loads(line)["event"] for line in out.splitlines()]
    assert [event for event in events if event != "trouble"] == ["draining", "drained"]
    assert workers
    assert have_ended(workers)


def make_subproblem(seed: int, budget_s: float = 600.0) -> Subproblem:
    return replace(random_subproblem(N, seed), budget_ns=round(budget_s * NS_PER_S), request_id=f"r{seed}")


def test_it_is_ready_only_when_templates_are_warm(up: Up) -> None:
    assert up.before_ready == (503, "templates are being compiled\n")
    assert up.get("/readyz") == (200, "ok\n")
    assert up.get("/livez") == (200, "ok\n")


def test_grpcs_own_health_says_serving_then(up: Up) -> None:
    credentials = client_credentials(load(up.probe, utc_now()))
    with grpc.secure_channel(up.target, credentials) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watched = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=600)
        assert any(answer.status == health_pb2.HealthCheckResponse.SERVING for answer in watched)


def health_of(up: Up) -> Generator[int, None, None]:
    """Each state of gRPC's own health, as it changes."""
    credentials = client_credentials(load(up.probe, utc_now()))
    with grpc.secure_channel(up.target, credentials) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for answer in stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=600):
            yield answer.status


def samples(up: Up) -> dict[tuple[str, str], float]:
    """(sample name, its outcome) → the trainer's value, or what callers share, off the real endpoint."""
    _, text = up.get("/metrics")
    return {
        (sample.name, sample.labels.get("outcome", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("client", TRAINER) == TRAINER
    }


def test_a_trainers_call_is_solved_emulated_and_counted(up: Up) -> None:
    before = samples(up)
    outcome = up.solve(make_subproblem(1), up.trainer)
    after = samples(up)
    assert isinstance(outcome, Done)
    assert outcome.provenance.emulated
    assert outcome.provenance.provider == "emulated"
    assert outcome.samples.pool.shape[1] == N
    of_call = up.wait_for_records(2, request_id="r1")
    assert [record["message"] for record in of_call] == ["call accepted", "call ended done"]
    assert {(record["caller"], record["level"]) for record in of_call} == {(TRAINER, "debug")}
    counter = ("shotclock_calls_total", "done")
    assert after[counter] == before.get(counter, 0) + 1
    assert after["shotclock_certificate_not_after_seconds", ""] > time.time()
    assert after["process_resident_memory_bytes", ""] > 0
    assert after["shotclock_component_info", ""] == 1
    assert after["shotclock_event_loop_lag_seconds_count", ""] > 0
    submits = ("circuit_submit_latency_seconds_count", "")
    assert after[submits] == before.get(submits, 0) + 1


def test_a_trace_goes_from_the_client_through_the_service_to_the_job(up: Up) -> None:
    tracer, spans = trace_in_memory(SystemClock())

    async def solve() -> Outcome:
        channels = connect(up.target, ClientTls(up.trainer))
        dispatcher = GrpcDispatcher(channels, tracer=tracer)
        outcome = await dispatcher.solve(make_subproblem(77))
        await dispatcher.close()
        return outcome

    assert isinstance(asyncio.run(solve()), Done)
    call = spans.one("remote_call")
    trace_id = context_of(call).trace_id.to_bytes(16, "big")

    def of_trace(received: list[WireSpan]) -> dict[str, WireSpan]:
        return {span.name: span for span in received if span.trace_id == trace_id}

    of_call = of_trace(
        up.collector.wait_until(lambda received: {"solve", "provider_job"} <= set(of_trace(received)))
    )
    solve_span, job = of_call["solve"], of_call["provider_job"]
    assert int.from_bytes(solve_span.parent_span_id, "big") == span_id(call)
    assert solve_span.kind == WireSpan.SPAN_KIND_SERVER
    stages = {"admission_wait", "bind", "submit", "queue", "execute", "collect", "post_process"}
    assert stages <= set(of_call)
    assert {of_call[stage].parent_span_id for stage in stages} == {solve_span.span_id} == {job.parent_span_id}
    assert [link.span_id for link in job.links] == [solve_span.span_id]
    attributes = {each.key: each.value.string_value for each in solve_span.attributes}
    assert (attributes["shotclock.client"], attributes["shotclock.request_id"]) == (TRAINER, "r77")
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
    request = urllib.request.Request(f"http://127.0.0.1:{up.http_port}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=600) as response:
        assert trace_id.hex() in response.read().decode()


def test_an_outage_of_the_service_shows_in_its_registry_and_in_its_clients(up: Up) -> None:
    own = Metrics()

    async def solve(dispatcher: GrpcDispatcher, seed: int, budget_s: float) -> Outcome:
        return await dispatcher.solve(make_subproblem(seed, budget_s))

    async def ask_every_tenth_of_a_second_through_a_stop_of_four_seconds() -> list[Outcome]:
        dispatcher = GrpcDispatcher(
            connect(up.target, ClientTls(up.trainer)), recorder=PrometheusRecorder(own, "trainer")
        )
        await solve(dispatcher, 0, 600.0)
        up.process.send_signal(signal.SIGSTOP)
        try:
            calls = []
            for seed in range(40):
                calls.append(asyncio.create_task(solve(dispatcher, seed, 1.0)))
                await asyncio.sleep(0.1)
        finally:
            up.process.send_signal(signal.SIGCONT)
        outcomes = await asyncio.gather(*calls)
        await solve(dispatcher, 1, 600.0)
        await dispatcher.close()
        return outcomes

    before = samples(up)
    outcomes = asyncio.run(ask_every_tenth_of_a_second_through_a_stop_of_four_seconds())
    after = samples(up)
    late = sum(isinstance(outcome, Late) for outcome in outcomes)
    assert late >= 25  # those whose deadline passed while it stood still
    labels = {"client": "trainer", "outcome": "late_at_client"}
    assert own.registry.get_sample_value("shotclock_calls_total", labels) == late
    reported = ("shotclock_calls_total", "late_at_client")
    assert after[reported] - before[reported] == late


def test_a_thousand_silent_http_connections_stop_neither_grpc_nor_a_probe(up: Up) -> None:
    silent: list[socket.socket] = []
    try:
        silent.extend(
            socket.create_connection(("127.0.0.1", up.http_port), timeout=600) for _ in range(1_000)
        )
        assert isinstance(up.solve(make_subproblem(2), up.trainer), Done)
        assert up.get("/livez") == (200, "ok\n")
        _, text = up.get("/metrics")
        assert 'shotclock_http_connections_closed_total{limit="connections"}' in text
        assert 'shotclock_http_connections_closed_total{limit="descriptors"} 0.0' in text
    finally:
        for connection in silent:
            connection.close()


def test_a_circuit_of_the_callers_own_is_run(up: Up) -> None:
    async def ask() -> CircuitOutcome:
        dispatcher = up.dispatcher(up.trainer)
        try:
            return await dispatcher.execute(CircuitSpec(BELL, 400, budget_ns=600 * NS_PER_S))
        finally:
            await dispatcher.close()

    outcome = asyncio.run(ask())
    assert isinstance(outcome, Executed)
    assert outcome.provenance.emulated
    assert outcome.samples.shots == 400
    equal = outcome.samples.pool[:, 0] == outcome.samples.pool[:, 1]
    assert outcome.samples.counts[equal].sum() > 300


def test_a_certificate_with_another_name_reaches_nothing(up: Up) -> None:
    outcome = up.solve(make_subproblem(2), up.stranger)
    assert isinstance(outcome, Failed)
    assert "PERMISSION_DENIED" in outcome.cause.message
    up.wait_for_records(1, message="denied")
    denied = [record for record in up.records() if record["logger"] == "shotclock.audit"][-1]
    assert (denied["message"], denied["level"], denied["caller"]) == ("denied", "warning", STRANGER)
    assert denied["method"].endswith("/Solve")


Verb = Callable[..., str]


@pytest.fixture
def verb(up: Up, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Runs `shotclock VERB` as the operator; its stdout."""

    def ran(name: str, *more: str, code: int = 0) -> str:
        files = up.operator
        identity: tuple[object, ...] = (
            "--certificate",
            files.certificate,
            "--private-key",
            files.private_key,
        )
        arguments = (
            *name.split(),
            "--target",
            up.target,
            *identity,
            "--authorities",
            files.authorities,
            *more,
        )
        monkeypatch.setattr(sys, "argv", ["shotclock", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert (ended.value.code or 0) == code
        return capsys.readouterr().out

    return ran


def test_an_operator_drains_and_resumes_it(up: Up, verb: Verb) -> None:
    shown = verb("status").splitlines()
    assert shown[0] == f"{up.target} is ready: emulated provider (EMULATED), breaker closed"
    assert {"Provider", "Flags", "Certificate", "Recent events (UTC)", "Service"} <= set(shown)
    assert max(map(len, shown)) <= 80
    assert verb("drain", "--budget", "5") == "drained: 0 calls finished, 0 handed back\n"
    assert up.get("/readyz")[0] == 503
    refused = up.solve(make_subproblem(3), up.trainer)
    assert isinstance(refused, Failed)
    assert "drained and accepts nothing more" in refused.cause.message
    assert json.loads(verb("status", "--json"))["phase"] == "drained"
    assert verb("resume") == f"{up.target} is ready\n"
    assert up.get("/readyz") == (200, "ok\n")
    assert isinstance(up.solve(make_subproblem(4), up.trainer), Done)
    audited = up.wait_for_records(3, caller=OPERATOR)
    assert [record["message"] for record in audited] == ["drain", "drained", "resume"]
    assert audited[0]["budget_s"] == pytest.approx(5, abs=1)
    overview = up.wait_for_caller(TRAINER)
    by_source = [event["text"] for event in overview["events"] if event["source"] == "audit"]
    assert by_source[0] == f"resume caller={OPERATOR}"
    assert by_source[1].startswith(f"drained caller={OPERATOR} finished=0")
    (trainer,) = [recent for recent in overview["callers"] if recent["caller"] == TRAINER]
    assert trainer["p99_s"] is None  # unknown is never a number
    assert overview["certificate"]["not_after_unix_s"] > overview["now_unix_s"]


def test_an_operator_sets_flags_in_the_file_and_is_audited(up: Up, verb: Verb) -> None:
    assert json.loads(verb("flags get", "--json"))["quantum_path"] == "on"
    assert "quantum_path     off\n" in verb("flags set", "quantum_path", "off")
    refused = up.solve(make_subproblem(5), up.trainer)
    assert isinstance(refused, Degraded)
    assert refused.cause == Rejection("flag_quantum_path", 0, 1, "calls allowed on the QPU by this flag", 0.0)
    assert re.search("\n  quantum_path +off\n", verb("status"))
    flags = up.log.parent / "flags.json"
    assert json.loads(flags.read_text())["flags"]["quantum_path"]["defaultVariant"] == "off"
    write_text(flags, make_file(quantum_path=make_switch()))  # as an editor does
    edited = up.wait_for_records(1, message="flag file edited: quantum_path off to on")
    assert edited[0]["caller"] == "file"
    events = json.loads(up.get("/")[1])["events"]
    assert f"{edited[0]['message']} caller=file" in [event["text"] for event in events]
    assert isinstance(up.solve(make_subproblem(6), up.trainer), Done)
    with pytest.raises(MachineError, match=f"{TRAINER} may not call .*/SetFlag"):
        asyncio.run(up.set_flag(up.trainer, "quantum_path", "off"))
    with pytest.raises(SettingsError, match="shots must be any, or a number"):
        asyncio.run(up.set_flag(up.operator, "shots", "0"))
    assert re.search("\nprofile +onprem-today\n", verb("flags set", "profile", "onprem-today"))
    with pytest.raises(SettingsError, match=r"flags\.profile: must be one of colocated, onprem-today"):
        asyncio.run(up.set_flag(up.operator, "profile", "onprem"))
    assert re.search("\n  profile +onprem-today\n", verb("status"))
    assert 'flag="profile",reason="STATIC"} 1.0' in up.get("/metrics")[1]
    verb("flags set", "profile", "settings")
    up.wait_for_records(2, message="set_flag refused")  # the last of them
    audited = [record for record in up.records() if record["logger"] == "shotclock.audit"][-7:]
    assert [(record["message"], record["caller"]) for record in audited] == [
        ("set_flag", OPERATOR),
        (edited[0]["message"], "file"),
        ("denied", TRAINER),
        ("set_flag refused", OPERATOR),
        ("set_flag", OPERATOR),
        ("set_flag refused", OPERATOR),
        ("set_flag", OPERATOR),
    ]
    assert (audited[0]["from"], audited[0]["to"]) == ("on", "off")
    assert json.loads(verb("status", "--json"))["flags"]["state"] == "ok"


def find_runs(up: Up) -> dict[str, str]:
    """The name of a training run on each side of the share that is in the flag file."""
    flags = DocumentFlags(
        FileSource(up.log.parent / "flags.json"),
        PrometheusRecorder(Metrics(), "test"),
        print,
        SystemClock(),
        NO_PROFILES,
    )
    names = [f"run{number}" for number in range(64)]
    requests = {name: FlagRequest.of(f"{name}/", attached_run.KERNEL, TRAINER) for name in names}
    return {
        "control" if flags.decide(request).kept_by else "canary": name for name, request in requests.items()
    }


def test_a_planted_regression_is_rolled_back_and_its_calls_are_answered(up: Up, verb: Verb) -> None:
    """Every QPU call takes longer than the limit, no classical answer does."""
    assert verb("canary status") == "no canary\n"
    verb("flags set", "quantum_share", "0")
    start = ("--share", "50", "--minimum", "20", "--alpha", "0.05", "--slow-ms", "40")
    assert f"canary of 50 % (before: 0), started by {OPERATOR}: running" in verb("canary start", *start)

    async def ask() -> list[Outcome]:
        dispatcher, outcomes = up.dispatcher(up.trainer), []
        for seed in range(0, 120, 4):
            calls = (dispatcher.solve(make_subproblem(100 + seed + place)) for place in range(4))
            outcomes += await asyncio.gather(*calls)
        await dispatcher.close()
        return outcomes

    losses = {"canary": [0.25, 0.75], "control": [0.5]}
    for side, run in find_runs(up).items():
        counts = attached_run.train(up.target, ClientTls(up.trainer), run, N, losses[side])
        assert counts.asked == len(losses[side])
    kinds = {type(outcome) for outcome in asyncio.run(ask())}
    for _ in range(600):  # it is judged once a second
        if 'shotclock_canary_state{state="rolled_back"} 1.0' in up.get("/metrics")[1]:
            break
        time.sleep(0.1)
    assert kinds == {Done, Degraded}, "each call had an answer"
    report = json.loads(verb("canary status", "--json", code=99))
    assert (report["phase"], report["previous"], report["on_pass"]) == ("rolled_back", "0", "promote")
    assert report["reason"].startswith("more slow calls than the control")
    for side, reported in losses.items():
        group = report[side]
        assert (group["validation_values"], group["validation_mean"]) == (len(reported), 0.5)
    assert json.loads(verb("flags get", "--json"))["quantum_share"] == "0"
    up.wait_for_records(1, message="canary rolled_back")
    audited = [record for record in up.records() if record["message"].startswith("canary")]
    assert [(record["message"], record["caller"]) for record in audited] == [
        ("canary start", OPERATOR),
        ("canary rolled_back", OPERATOR),
    ]
    assert audited[1]["canary_calls"] >= 20
    verb("flags set", "quantum_share", "on")


def test_a_certificate_is_reported_before_it_expires_and_makes_the_service_unready_after(
    up: Up, verb: Verb
) -> None:
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    health = health_of(up)
    assert serving in health
    up.hours_ahead.write_text("23")
    assert up.get("/readyz") == (200, "ok\n")
    for text in (verb("status", "--json"), up.get("/status")[1]):
        (warning,) = json.loads(text)["warnings"]
        assert "tls.pem: expires on" in warning
    up.hours_ahead.write_text("25")
    code, why = up.get("/readyz")
    assert code == 503
    assert "tls.pem: expired on" in why
    assert up.get("/livez") == (200, "ok\n")
    assert not_serving in health
    while samples(up)["shotclock_troubles_total", ""] == 0:  # it looks at the files every five seconds
        time.sleep(0.1)
    up.hours_ahead.write_text("0")
    assert serving in health
    assert up.get("/readyz") == (200, "ok\n")
    health.close()


def test_a_killed_one_leaves_no_process_behind(up: Up, tmp_path: Path) -> None:
    nobody = Collector("http://127.0.0.1:1/v1/traces")
    service = start(tmp_path, nobody, up.log.parent / "templates")  # compiled already
    workers = children(service.process.pid)
    service.process.kill()
    service.process.communicate(timeout=600)
    assert workers
    assert have_ended(workers)
