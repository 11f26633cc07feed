"""Three orchestrators share a real PostgreSQL ledger under SIGKILL, SIGSTOP, a cut link and restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from killing import Verdict
from paid_provider import vendor
from postgres_cluster import Cluster
from replica_faults import LANES_SHARED, Faults, run_replicas
from shotclock.domain.ledger import LedgerState

FAULTS = Faults(kills=10, restarts=2, stops=1, cuts=1)
"""`make soak-replicas` makes 200 kills."""


def test_replicas_lose_no_paid_job_pay_for_none_twice_and_share_the_lanes(
    tmp_path: Path, postgres: Cluster
) -> None:
    with vendor(tmp_path, seed=11, pay_s=0.02, answer_s=0.04, run_s=0.1) as account:
        story = asyncio.run(run_replicas(tmp_path, postgres, account, FAULTS, seed=11))
        verdict = Verdict.of(postgres.url(), account)
        at_once = account.most_at_once()
    assert verdict.find_lost_jobs() == set()
    assert verdict.find_paid_twice() == set()
    assert verdict.find_unfinished() == []
    assert verdict.find_contradictions() == []
    assert verdict.find_disordered() == []
    assert verdict.states()[LedgerState.PARKED] == 0
    assert len(verdict.paid) > 30
    assert verdict.count_adopted() > 0
    assert at_once == LANES_SHARED
    assert set(story.calls.endings) <= {"Done", "Degraded", "Late", "Failed"}
    assert story.circuits["Executed"] > 30
    assert set(story.circuits) <= {"Executed", "Late", "Failed", "Shed"}
    assert story.adoption_s
    assert story.repeated > 0
    for code, messages in story.codes:
        assert code == 0
        assert "trouble" not in messages
        assert "Traceback" not in messages
