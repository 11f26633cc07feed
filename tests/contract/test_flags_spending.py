"""Whatever a flag file says, a paid provider charges no more than the cap of the settings; virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from flag_files import NO_PROFILES, make_file, make_shots, make_switch
from harness import Inline, LoopClock, run_virtual
from shotclock.domain.flags import ANY_SHOTS, SWITCHES
from shotclock.domain.outcome import Done
from shotclock.domain.ports import Accepted, Execution, Job
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.orchestrator.planning import ShotLimits
from shotclock.providers.money import MoneyBudget, Price
from shotclock.providers.scripted import UNLIMITED, Reply, ScriptedProvider
from shotclock.rollout.canary_control import CanaryControl
from shotclock.rollout.document_flags import DocumentFlags
from shotclock.rollout.document_rollout import DocumentRollout
from shotclock.rollout.file_source import FileSource
from virtual_orchestrator import System, make_subproblem

MOST_SHOTS, SHOT_S, CAP = 256, 0.001, 3.0
"""The cap pays for 11 jobs of the most shots, and for no twelfth."""

CALLS = 16

WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""A document of a few lines needs no minutes of it."""


class Silent:
    def record_flag(self, flag: str, reason: str) -> None:
        """Not counted here."""


class Charging(ScriptedProvider):
    """Charges each shot, under the budget of providers at a vendor; requested_shots: of each submit."""

    def __init__(self) -> None:
        limits = replace(UNLIMITED, paid=True)
        super().__init__(LoopClock(), afterwards=Reply(0.01), limits=limits, predicted_s=0.01)
        self.budget = MoneyBudget(CAP, Price(1.0))
        self.requested_shots: list[int] = []
        self._accepted: dict[str, Job] = {}

    async def submit(self, job: Job) -> Accepted:
        self.requested_shots.append(job.shots)
        self.budget.reserve(job.tag, job.shots * SHOT_S)
        accepted = await super().submit(job)
        self._accepted[accepted.job_id] = job
        return accepted

    async def collect(self, accepted: Accepted) -> Execution:
        execution = await super().collect(accepted)
        job = self._accepted[accepted.job_id]
        self.budget.spend(job.tag, job.shots * SHOT_S)
        return execution


def ask_under(documents: Sequence[str]) -> tuple[Charging, int]:
    """The provider, and the calls that had samples, after as many calls under each of the documents."""

    async def main(folder: Path) -> tuple[Charging, int]:
        path, provider, outcomes = folder / "flags.json", Charging(), []
        path.write_text(documents[0])
        flags = DocumentFlags(FileSource(path), Silent(), print, LoopClock(), NO_PROFILES)
        rollout = DocumentRollout(
            flags, CanaryControl(flags, folder / "canary.json", Inline(), 200, print), Inline()
        )
        ledger = MemoryLedger(lambda: 0.0)
        system = System(provider, rollout=rollout, shots=ShotLimits(64, MOST_SHOTS), ledger=ledger)
        await system.orchestrator.start(make_subproblem())
        for turn, document in enumerate(documents):
            path.write_text(document)
            flags.reload()
            for first in range(0, CALLS // len(documents), 4):
                calls = (make_subproblem(100 * turn + seed) for seed in range(first, first + 4))
                outcomes += await asyncio.gather(*map(system.orchestrator.solve, calls))
        await system.orchestrator.stop()
        return provider, sum(isinstance(outcome, Done) for outcome in outcomes)

    with TemporaryDirectory() as folder:
        return run_virtual(main(Path(folder)))


CONDITIONS = st.one_of(
    st.builds(lambda name: {"in": [{"var": "client"}, [name]]}, st.sampled_from(["", "trainer"])),
    st.builds(lambda name: {"==": [{"var": "kernel"}, name]}, st.sampled_from(["", "qat_flip"])),
)


def list_rules(first: str, second: str) -> st.SearchStrategy[dict[str, Any] | None]:
    share = st.builds(
        lambda weight: {"fractional": [[first, weight], [second, 100 - weight]]}, st.integers(0, 100)
    )
    return st.none() | share | st.builds(lambda condition: {"if": [condition, second, first]}, CONDITIONS)


def set_state(flag: dict[str, Any], state: str, rule: dict[str, Any] | None) -> dict[str, Any]:
    return flag | {"state": state} | ({"targeting": rule} if rule else {})


STATES = st.sampled_from(["ENABLED", "ENABLED", "DISABLED"])
SWITCH = st.builds(
    lambda is_on, state, rule: set_state(make_switch(on=is_on), state, rule),
    *(st.sampled_from([True, True, False]), STATES, list_rules("on", "off")),
)
COUNTS = st.sampled_from([1, 64, MOST_SHOTS, 10**6, ANY_SHOTS])
SHOTS_FLAG = st.builds(
    lambda most, other, state, rule: set_state(
        make_shots(most) | {"variants": {"most": most, "other": other}}, state, rule
    ),
    *(COUNTS, COUNTS, STATES, list_rules("most", "other")),
)
DOCUMENT = st.fixed_dictionaries({}, optional={**dict.fromkeys(SWITCHES, SWITCH), "shots": SHOTS_FLAG}).map(
    lambda flags: make_file(**flags)
)


UNNAMED = make_switch(targeting={"if": [{"in": [{"var": "client"}, [""]]}, "off", "on"]})


@example([make_file(quantum_clients=UNNAMED)])
@given(st.lists(DOCUMENT, min_size=1, max_size=2))
@settings(max_examples=12, phases=WITHOUT_SHRINKING)
def test_no_flag_file_spends_more_than_the_cap_or_takes_more_shots_than_the_settings(
    documents: list[str],
) -> None:
    provider, with_samples = ask_under(documents)
    assert provider.budget.expenditure + provider.budget.reservation <= CAP
    assert max(provider.requested_shots, default=0) <= MOST_SHOTS
    assert with_samples <= len(provider.jobs)


def test_without_a_flag_the_cap_is_spent_and_the_next_job_is_refused() -> None:
    provider, with_samples = ask_under([make_file()])
    assert provider.budget.expenditure == pytest.approx(11 * MOST_SHOTS * SHOT_S)
    assert with_samples == 11
