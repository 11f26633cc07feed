"""The wire's source of truth compiles, says what the domain says, and keeps its numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from shotclock.domain import outcome, stages
from shotclock.domain.outcome import LedgerState, Winner
from shotclock.domain.subproblem import Subproblem

PROTO = Path(__file__).parents[2] / "proto"

PINNED = {
    "request_id": 1,
    "kind": 2,
    "n": 3,
    "quadratic": 4,
    "linear": 5,
    "offset": 6,
    "base_version": 7,
    "budget_ns": 8,
    "crc32c": 9,
}


def compiled(tmp_path: Path) -> FileDescriptorSet:
    out = tmp_path / "shotclock.binpb"
    source = PROTO / "shotclock" / "v1" / "shotclock.proto"
    assert protoc.main(["protoc", f"-I{PROTO}", f"--descriptor_set_out={out}", str(source)]) == 0
    return FileDescriptorSet.FromString(out.read_bytes())


def messages(found: FileDescriptorSet) -> dict[str, DescriptorProto]:
    return {message.name: message for message in found.file[0].message_type}


def names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_the_subproblems_numbers_are_pinned(tmp_path: Path) -> None:
    fields = {field.name: field.number for field in messages(compiled(tmp_path))["Subproblem"].field}
    assert fields == PINNED
    assert names(Subproblem) | {"n", "crc32c"} == set(fields)


def test_every_word_of_an_outcome_has_its_place(tmp_path: Path) -> None:
    found = messages(compiled(tmp_path))
    for kind in (outcome.Answer, outcome.Provenance, outcome.Rejection, stages.StageTiming):
        assert names(kind) == {field.name for field in found[kind.__name__].field}
    cases = {field.name for field in found["Outcome"].field} - {"provenance"}
    assert cases == {"done", "degraded", "shed", "late", "failed"}


def test_the_enums_are_the_domains(tmp_path: Path) -> None:
    enums = {enum.name: [value.name for value in enum.value] for enum in compiled(tmp_path).file[0].enum_type}
    states = ["UNSPECIFIED", *(state.name for state in LedgerState)]
    assert enums["LedgerState"] == [f"LEDGER_STATE_{name}" for name in states]
    assert enums["Winner"] == [f"WINNER_{name}" for name in ("UNSPECIFIED", *(w.name for w in Winner))]


def test_a_ledger_ends_and_never_turns_back() -> None:
    ends = {state for state, following in outcome.NEXT_STATES.items() if not following}
    assert ends == {LedgerState.APPLIED, LedgerState.STALE, LedgerState.FAILED}
    assert set(outcome.NEXT_STATES) == set(LedgerState)
    assert all(LedgerState.INTENT not in following for following in outcome.NEXT_STATES.values())
