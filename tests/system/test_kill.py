"""SIGKILL under load at random instants, judged by the account of a vendor in a separate process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from killing import Calls, Place, Verdict, run_with_kills
from paid_provider import vendor
from shotclock.domain.ledger import LedgerState

KILLS = 12
"""`make soak-kills` makes 200 of each kind."""
ROOM = 50_000
"""Bytes until a disk is full: some jobs later."""
SLOW = {"pay_s": 0.02, "answer_s": 0.04, "run_s": 0.1}
"""A submit is under way about as long as its job runs, so that kills meet every step of it."""


def kill_once(
    folder: Path,
    words: Mapping[str, float],
    *,
    kills: int,
    seed: int,
    lean: bool = True,
    room: int | None = None,
) -> tuple[Calls, Verdict]:
    with vendor(folder, seed, **SLOW, **words) as account:
        place = Place.at(folder, account)
        calls, code, complaints = asyncio.run(
            run_with_kills(place, kills=kills, seed=seed, lean=lean, room=room)
        )
        assert code == 0, complaints
        assert complaints == ""
        return calls, Verdict.of(place.ledger, account)


def assert_nothing_is_lost(verdict: Verdict) -> None:
    assert verdict.find_lost_jobs() == set()
    assert verdict.find_paid_twice() == set()
    assert verdict.find_unfinished() == []
    assert verdict.find_contradictions() == []
    assert verdict.find_disordered() == []
    assert verdict.states()[LedgerState.PARKED] == 0


@pytest.mark.parametrize(
    ("kills", "words"),
    [(KILLS, {}), (KILLS // 2, {"lost": 0.3, "refused": 0.05, "failing": 0.05})],
    ids=["well", "answers-lost"],
)
def test_no_kill_loses_a_paid_job_or_pays_for_one_twice(
    tmp_path: Path, kills: int, words: dict[str, float]
) -> None:
    calls, verdict = kill_once(tmp_path, words, kills=kills, seed=7)
    assert_nothing_is_lost(verdict)
    assert len(verdict.paid) > 3 * kills
    assert verdict.count_adopted() > 0
    assert calls.endings["Done"] > 3 * kills
    assert set(calls.endings) <= {"Done", "Degraded", "Late", "Failed"}
    refusals = [record for record in verdict.records if "429" in record.note]
    assert bool(refusals) == bool(words)


def test_the_whole_service_is_as_safe(tmp_path: Path) -> None:
    calls, verdict = kill_once(tmp_path, {}, kills=2, seed=3, lean=False)
    assert_nothing_is_lost(verdict)
    assert len(verdict.paid) > 10
    assert calls.endings["Done"] > 0


def test_kills_on_a_full_disk_lose_nothing_either(tmp_path: Path) -> None:
    calls, verdict = kill_once(tmp_path, {}, kills=6, seed=5, room=ROOM)
    assert_nothing_is_lost(verdict)
    assert len(verdict.paid) > 6
    assert calls.endings["Degraded"] > 6  # what came while the ledger could not be written to
