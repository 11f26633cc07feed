"""The wire's source of truth says what the domain says, keeps its numbers, and is what is committed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from shotclock.domain import canary, circuit, flags, outcome, stages, status
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.subproblem import Priority, Subproblem
from shotclock.wire import methods

ROOT = Path(__file__).parents[2]
PROTO = "shotclock/wire/v1/shotclock.proto"
INCLUDE = f"-Ishotclock/wire/v1={ROOT / 'proto/shotclock/v1'}"

# in the order of their numbers, which start at 1 and leave none out
PINNED = {
    "Subproblem": "request_id kind n quadratic linear offset base_version budget_ns crc32c priority report "
    "fresh resend message_crc32c",
    "CircuitSpec": "request_id openqasm3 qpy values shots budget_ns priority crc32c report resend "
    "message_crc32c",
    "CircuitPoints": "openqasm3 qpy shots names points values crc32c",
    "CircuitBatch": "request_id circuits budget_ns priority report message_crc32c resend answered",
    "SubproblemBatch": "subproblems report message_crc32c resend",
    "SubproblemOutcome": "index outcome",
    "SubproblemOutcomes": "outcomes message_crc32c",
    "PointOutcome": "index outcome message_crc32c",
    "ClientReport": "client sequence late unreachable fallback fallback_in_time",
    "ParameterValue": "name value",
    "Answer": "bits energy winner solver",
    "Samples": "n pool counts crc32c",
    "StageTiming": "stage start_ns duration_ns emulated_ns",
    "Provenance": "provider emulated base_version stages job_id attempts template_key shots qpu_s raw_gain "
    "classical_gain samples_at_ns emulator_overrun sharers cached penalised "
    "simulation pre_evaluation",
    "PreEvaluation": "decision expected_gain incumbent_energy beats_incumbent",
    "Simulation": "method bond_dimension truncation_error",
    "Rejection": "limit allowed present unit retry_after_s",
    "DeadlinePassed": "budget_ns",
    "ProviderFault": "message",
    "Done": "answer samples classical",
    "Degraded": "answer rejection deadline_passed provider_fault",
    "Shed": "rejection",
    "Late": "cause",
    "Failed": "cause",
    "Outcome": "provenance done degraded shed late failed message_crc32c",
    "Executed": "samples",
    "CircuitOutcome": "provenance executed shed late failed message_crc32c",
    "DecidedRequest": "request_id decision stale",
    "DecidedReply": "",
    "Status": "phase provider emulated breaker waiting running lanes_limit service_p95_s accepted finished"
    " warnings flags canary",
    "CanaryGroup": "calls missed slow sampled p95_ms validation_values validation_mean",
    "CanaryMeasure": "measure low high margin",
    "CanaryReport": "phase share previous caller on_pass slow_ms verdict needed reason canary control"
    " measures",
    "StartCanaryRequest": "share on_pass slow_ms minimum alpha miss_margin slow_margin validation_margin",
    "AbortCanaryRequest": "",
    "ValidationRequest": "run kernel value",
    "ValidationReply": "",
    "FlagReport": "settings state age_s reason",
    "SetFlagRequest": "flag setting",
    "HostState": "name fabrics round_trips free_memory_bytes load problems endpoint endpoint_fabrics"
    " endpoint_emulated refusals",
    "RoundTrips": "endpoint p50_ms p95_ms n age_s",
    "ProbeRequest": "",
    "DescribeHostRequest": "",
    "HostDescription": "json age_s every_s",
    "WatchRequest": "",
    "DescribeRequest": "",
    "Description": "json",
    "DrainRequest": "budget_ns",
    "Drained": "finished handed_back",
    "ResumeRequest": "",
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorProto:
    out = tmp_path_factory.mktemp("proto") / "shotclock.binpb"
    assert protoc.main(["protoc", INCLUDE, f"--descriptor_set_out={out}", PROTO]) == 0
    return FileDescriptorSet.FromString(out.read_bytes()).file[0]


def message(compiled: FileDescriptorProto, name: str) -> DescriptorProto:
    return next(message for message in compiled.message_type if message.name == name)


def fields(compiled: FileDescriptorProto, name: str) -> set[str]:
    return {field.name for field in message(compiled, name).field}


def names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_the_numbers_are_pinned(compiled: FileDescriptorProto) -> None:
    numbers = {
        message.name: {field.name: field.number for field in message.field}
        for message in compiled.message_type
    }
    assert numbers == {
        name: {field: number for number, field in enumerate(words.split(), 1)}
        for name, words in PINNED.items()
    }


def test_every_word_of_a_request_has_its_place(compiled: FileDescriptorProto) -> None:
    # the service takes the caller from its certificate, never from a message, trace and origin from metadata
    of_the_wire = {"crc32c", "report", "resend", "message_crc32c"}
    assert (
        fields(compiled, "Subproblem")
        == names(Subproblem) - {"caller", "trace", "origin"} | {"n"} | of_the_wire
    )
    source = names(CircuitSpec) - {"source", "caller", "trace", "origin"} | {"openqasm3", "qpy"}
    assert fields(compiled, "CircuitSpec") == source | of_the_wire


def test_every_word_of_an_outcome_has_its_place(compiled: FileDescriptorProto) -> None:
    kinds: tuple[type, ...] = (
        outcome.Answer,
        outcome.Provenance,
        outcome.Rejection,
        outcome.DeadlinePassed,
        outcome.ProviderFault,
        circuit.Simulation,
        stages.StageTiming,
        status.Status,
        status.Drained,
        flags.FlagReport,
        canary.CanaryGroup,
        canary.CanaryMeasure,
        canary.CanaryReport,
    )
    for kind in kinds:
        assert fields(compiled, kind.__name__) == names(kind)
    ended: tuple[type, ...] = (outcome.Done, outcome.Shed, outcome.Late, outcome.Failed, outcome.Executed)
    for kind in ended:
        assert fields(compiled, kind.__name__) == names(kind) - {"provenance"}
    around = {"provenance", "message_crc32c"}
    assert fields(compiled, "Outcome") == around | cases(outcome.Outcome.__args__)
    assert fields(compiled, "CircuitOutcome") == around | cases(outcome.CircuitOutcome.__args__)


def cases(kinds: Iterable[type]) -> set[str]:
    return {kind.__name__.lower() for kind in kinds}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Priority", Priority),
        ("Winner", outcome.Winner),
        ("Decision", outcome.Decision),
        ("Phase", status.Phase),
        ("BreakerState", status.BreakerState),
    ],
)
def test_the_enums_are_the_domains(compiled: FileDescriptorProto, name: str, words: type[Enum]) -> None:
    enum = next(enum for enum in compiled.enum_type if enum.name == name)
    prefix = "BREAKER_STATE" if name == "BreakerState" else name.upper()
    assert [value.name for value in enum.value] == [
        f"{prefix}_{word}" for word in ("UNSPECIFIED", *(word.name for word in words))
    ]


def test_who_may_call_is_said_of_every_method(compiled: FileDescriptorProto) -> None:
    (service,) = compiled.service
    called = {f"/{compiled.package}.{service.name}/{method.name}" for method in service.method}
    assert called == {method for method in methods.ALL if "shotclock" in method}


def test_the_committed_code_is_what_the_proto_generates(tmp_path: Path) -> None:
    assert protoc.main(["protoc", INCLUDE, f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", PROTO]) == 0
    generated = tmp_path / "shotclock/wire/v1"
    assert {path.name for path in generated.iterdir()} == {"shotclock_pb2.py", "shotclock_pb2.pyi"}
    for path in generated.iterdir():
        committed = ROOT / "src/shotclock/wire/v1" / path.name
        assert committed.read_text() == path.read_text(), "run `make proto`"
