"""What `make soak-fuzz` starts from, and what it has found: a result, or an error of one line."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from flag_files import make_file, make_switch
from fuzz import seeds, targets_messages, targets_service
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.errors import LONGEST_TEXT, MachineError, SettingsError
from shotclock.orchestrator.ledger import file as ledger
from shotclock.rollout import flag_document
from shotclock.wire.codec import encode_circuit
from shotclock.wire.v1 import shotclock_pb2 as pb

TARGETS: dict[str, Callable[[bytes], str]] = {
    "subproblem": targets_messages.subproblem,
    "subproblem-batch": targets_messages.subproblem_batch,
    "batch-answers": targets_messages.batch_answers,
    "circuit": targets_messages.circuit,
    "decision": targets_messages.decision,
    "answer": targets_messages.answer,
    "circuit-answer": targets_messages.circuit_answer,
    "host-state": targets_messages.host_state,
    "status": targets_messages.status,
}


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_of_messages_are_taken(name: str) -> None:
    assert set(TARGETS) == set(seeds.MESSAGES)
    assert {TARGETS[name](seed) for seed in seeds.seeds(name)} == {""}


def test_the_seeds_of_host_reports_are_taken() -> None:
    assert {targets_messages.host_report(seed) for seed in seeds.seeds("host-report")} == {""}


@pytest.mark.parametrize("name", ["\n", "\x1b[2J", "\u202e", "x" * 65_000])
def test_a_refusal_that_quotes_a_name_is_one_line(name: str) -> None:
    message = encode_circuit(CircuitSpec("x", 1, ((name, 0.5),), "a", 1), 1)
    message.values[0].value = float("nan")
    refusal = targets_messages.circuit(message.SerializeToString())
    assert refusal.startswith("circuit.values.")
    assert len(refusal) <= LONGEST_TEXT
    assert refusal.isprintable()


def test_an_answer_with_an_unknown_stage_is_one_line() -> None:
    message = pb.Outcome.FromString(seeds.seeds("answer")[0])
    message.provenance.stages[0].stage = "b\nd"
    assert targets_messages.answer(message.SerializeToString()) == r"provenance: no such stage (b\nd)"


@pytest.mark.parametrize("loop", sorted(flag_document.LOOPS))
def test_a_flag_rule_has_no_loops(loop: str) -> None:
    rule = {"if": [{loop: [[1] * 40, {"cat": [{"var": "accumulator"}] * 2}, "a"]}, "on", "off"]}
    text = make_file(quantum_path=make_switch(targeting=rule))
    with pytest.raises(SettingsError, match=rf'flags.quantum_path.targeting: has the loop "{loop}"; write'):
        flag_document.read_document(text, "flags.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (f"requests = '{'[' * 50_000}{']' * 50_000}'", "requests are nested too deeply"),
        ("requests = '[[1]]'", "requests are not a list of texts"),
        ("requests = '{}'", "requests are not a list of texts"),
        ("changed_unix_s = 9e999", "a job's record has a value that no ledger writes"),
    ],
)
def test_a_ledger_with_a_hostile_row_is_one_line(change: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(seeds.seeds("ledger")[0])
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(f"UPDATE jobs SET {change}")
    connection.close()
    with pytest.raises(MachineError, match=f"is damaged: .*{message}"), ledger.open_to_read(file) as opened:
        ledger.read_jobs(opened)
    targets_service.ledger_file(file.read_bytes(), tmp_path)


def test_a_ledger_with_an_instant_beyond_the_calendar_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(seeds.seeds("ledger")[0])
    with ledger.open_to_read(file) as opened:
        assert len(ledger.read_history(opened, "tag")) == 1
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE history SET at_unix_s = 1e300")
    connection.close()
    with pytest.raises(MachineError, match="no ledger writes"), ledger.open_to_read(file) as opened:
        ledger.read_history(opened, "tag")
