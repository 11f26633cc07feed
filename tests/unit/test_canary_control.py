"""A canary of a service: started, judged while it runs, ended by its verdict, kept over a restart."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flag_files import NO_PROFILES, make_file, make_share, make_switch
from harness import Inline, LoopClock, random_subproblem, run_virtual
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.canary import CanaryPhase, CanaryReport, CanaryRequest
from shotclock.domain.circuit import Samples
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.flags import FlagDecision, FlagRequest
from shotclock.domain.outcome import (
    Answer,
    DeadlinePassed,
    Degraded,
    Done,
    Late,
    Outcome,
    Provenance,
    Winner,
)
from shotclock.orchestrator.answers import Fallback
from shotclock.providers.scripted import UNLIMITED, Reply, ScriptedProvider
from shotclock.rollout.canary import ArmSample, Proportion, Verdict, judge
from shotclock.rollout.canary_control import CanaryControl
from shotclock.rollout.canary_groups import Group
from shotclock.rollout.canary_state import make_plan
from shotclock.rollout.document_flags import DocumentFlags
from shotclock.rollout.document_rollout import DocumentRollout
from shotclock.rollout.file_source import FileSource
from virtual_orchestrator import System, make_subproblem

REQUEST = CanaryRequest(50, "promote", 100.0, 100, 0.05, 0.05, 0.1, 0.01)
SUBPROBLEM = random_subproblem(4, 0)
ON_QPU, KEPT = FlagDecision(), FlagDecision("quantum_share")
PROVENANCE = Provenance("scripted", emulated=True, base_version=0)
ANSWER = Answer(np.zeros(4, np.uint8), 0.0, Winner.INCUMBENT, "incumbent")
SAMPLED = Done(ANSWER, Samples(np.zeros((1, 4), np.uint8), np.array([64])), None, PROVENANCE)
LATE = Late(DeadlinePassed(200 * NS_PER_MS), PROVENANCE)


class Silent:
    def record_flag(self, flag: str, reason: str) -> None:
        """Not counted here."""


@dataclass
class Place:
    """A flag file and its canary's state."""

    folder: Path
    troubles: list[str] = field(default_factory=list)

    @property
    def flags(self) -> Path:
        return self.folder / "flags.json"

    @property
    def state(self) -> Path:
        return self.folder / "flags.canary.json"

    def open(self) -> DocumentRollout:
        flags = DocumentFlags(
            FileSource(self.flags), Silent(), self.troubles.append, LoopClock(), NO_PROFILES
        )
        canary = CanaryControl(flags, self.state, Inline(), 200.0, self.troubles.append)
        return DocumentRollout(flags, canary, Inline())

    @property
    def share(self) -> str:
        async def read() -> str:
            return self.open().report().settings["quantum_share"]

        return run_virtual(read())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "flags.json").write_text(make_file(quantum_share=make_share(0)))
    return Place(tmp_path)


def add_calls(
    rollout: DocumentRollout, decision: FlagDecision, n: int, *, misses: int = 0, duration_ms: float = 20
) -> None:
    for call in range(n):
        outcome: Outcome = LATE if call < misses else SAMPLED
        rollout.record_end(decision, outcome, round(duration_ms * NS_PER_MS), 200 * NS_PER_MS)


def run_service(
    place: Place, request: CanaryRequest, reply: Reply, calls: int
) -> tuple[list[Outcome], CanaryReport]:
    """A service of a scripted provider under load while the canary runs; its outcomes, and the end."""

    async def main() -> tuple[list[Outcome], CanaryReport]:
        rollout = place.open()
        provider = ScriptedProvider(LoopClock(), (), afterwards=reply, predicted_s=0.05, limits=UNLIMITED)
        system = System(provider, rollout=rollout, fallback=Fallback.RACE)
        await system.orchestrator.start(make_subproblem())
        following = asyncio.create_task(rollout.keep_current())
        await rollout.start_canary(request, "operator-1")
        outcomes: list[Outcome] = []
        for number in range(0, calls, 4):
            group = [
                replace(make_subproblem(seed), request_id=f"r{seed}") for seed in range(number, number + 4)
            ]
            outcomes += await asyncio.gather(*map(system.orchestrator.solve, group))
        await asyncio.sleep(2)
        following.cancel()
        assert system.orchestrator.status().canary == rollout.canary()
        assert system.orchestrator.status().finished == system.orchestrator.status().accepted
        await system.orchestrator.stop()
        return outcomes, rollout.canary()

    return run_virtual(main())


def test_a_planted_regression_is_rolled_back_and_no_call_is_lost(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "shotclock.audit"):
        outcomes, report = run_service(place, REQUEST, Reply(delay_s=0.15), 360)
    assert report.phase is CanaryPhase.ROLLED_BACK
    assert report.reason.startswith("more slow calls than the control, by 0.")
    assert 100 <= report.canary.calls < 150
    assert place.share == "0"
    kinds = [type(outcome) for outcome in outcomes]
    assert len(kinds) == 360
    assert set(kinds) == {Done, Degraded}, "each call had an answer"
    assert report.canary.sampled == report.canary.slow == report.canary.calls
    in_progress = kinds.count(Done) - report.canary.sampled
    assert 0 <= in_progress <= 4, "those that were on the QPU at the rollback had its answer"
    assert set(kinds[-60:]) == {Degraded}, "after the rollback no call is on the QPU"
    started, ended = [vars(record) for record in caplog.records]
    assert (started["msg"], started["caller"], started["share"]) == ("canary start", "operator-1", 50)
    assert (ended["msg"], ended["previous"]) == ("canary rolled_back", "0")
    assert (ended["canary_calls"], ended["canary_slow"]) == (report.canary.calls, report.canary.slow)


def test_a_canary_within_its_margins_is_promoted(place: Place) -> None:
    _, report = run_service(place, REQUEST, Reply(delay_s=0.05), 480)
    assert (report.phase, report.verdict, place.share) == (CanaryPhase.PROMOTED, "promote", "on")
    assert report.canary.p95_ms == pytest.approx(50, rel=0.15)
    assert report.control.sampled == 0


def advance(place: Place, work: Callable[[DocumentRollout], None]) -> CanaryReport:
    """Opens the service's flags, lets calls end, and looks once a second for two seconds."""

    async def main() -> CanaryReport:
        rollout = place.open()
        following = asyncio.create_task(rollout.keep_current())
        work(rollout)
        await asyncio.sleep(2.1)
        following.cancel()
        return rollout.canary()

    return run_virtual(main())


def start(place: Place, request: CanaryRequest = REQUEST) -> None:
    async def main() -> None:
        await place.open().start_canary(request, "operator-1")

    run_virtual(main())


def test_a_canary_that_passes_keeps_its_share_where_the_operator_asked_so(place: Place) -> None:
    start(place, replace(REQUEST, on_pass="keep"))

    def work(rollout: DocumentRollout) -> None:
        add_calls(rollout, ON_QPU, 400)
        add_calls(rollout, KEPT, 400)

    assert advance(place, work).phase is CanaryPhase.PASSED
    assert place.share == "50"


def test_a_restart_goes_on_with_the_counts_it_had(place: Place) -> None:
    start(place)
    first = advance(place, lambda rollout: add_calls(rollout, ON_QPU, 60, misses=3))
    assert (first.canary.calls, first.canary.missed, first.needed) == (60, 3, 100)
    second = advance(place, lambda rollout: add_calls(rollout, KEPT, 70))
    assert (second.canary.calls, second.control.calls, second.caller) == (60, 70, "operator-1")
    assert second.phase is CanaryPhase.RUNNING


def test_a_service_that_ended_before_its_rollback_was_written_completes_it(place: Place) -> None:
    start(place)
    saved = json.loads(place.state.read_text())
    place.state.write_text(json.dumps(saved | {"phase": "rolled_back", "reason": "worse", "pending": "0"}))
    assert place.share == "50"
    report = advance(place, lambda rollout: None)
    assert (report.phase, report.reason, place.share) == (CanaryPhase.ROLLED_BACK, "worse", "0")
    assert json.loads(place.state.read_text())["pending"] == ""


def add_regression(rollout: DocumentRollout) -> None:
    add_calls(rollout, ON_QPU, 200, misses=100)
    add_calls(rollout, KEPT, 200)


def test_a_rollback_that_cannot_be_written_is_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(place)

    def refuse(*_: object) -> None:
        raise MachineError("flags.json: cannot be written: Read-only file system")

    with monkeypatch.context() as broken:
        broken.setattr(DocumentFlags, "set_flag", refuse)
        report = advance(place, add_regression)
    assert report.phase is CanaryPhase.ROLLED_BACK
    assert "quantum_share is not 0 yet: flags.json: cannot be written" in report.reason
    assert place.share == "50"
    assert len(place.troubles) == 1
    after = advance(place, lambda rollout: None)
    assert (place.share, "cannot be written" in after.reason) == ("0", False)


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 2}', '{"schema": 1, "phase": "running"}'])
def test_a_state_that_cannot_be_used_ends_its_canary_and_leaves_the_share(content: str, place: Place) -> None:
    start(place)
    place.state.write_text(content)
    report = advance(place, lambda rollout: None)
    assert (report.phase, place.share) == (CanaryPhase.NONE, "50")
    assert "flags.canary.json: is not a canary's state" in place.troubles[0]
    assert "quantum_share stays as it is" in place.troubles[0]


def test_a_share_that_somebody_sets_ends_the_canary_and_stays(place: Place) -> None:
    start(place)

    def change(rollout: DocumentRollout) -> None:
        del rollout
        place.flags.write_text(make_file(quantum_share=make_share(20)))

    report = advance(place, change)
    assert (report.phase, place.share) == (CanaryPhase.ABORTED, "20")
    assert report.reason == "quantum_share was set to 20 while it ran"


def test_an_operator_aborts_it(place: Place) -> None:
    async def work() -> CanaryReport:
        rollout = place.open()
        await rollout.start_canary(REQUEST, "operator-1")
        await rollout.abort_canary("operator-2")
        with pytest.raises(SettingsError, match="canary abort: no canary is running"):
            await rollout.abort_canary("operator-2")
        return rollout.canary()

    assert run_virtual(work()).phase is CanaryPhase.ABORTED
    assert place.share == "0"


@pytest.mark.parametrize(
    ("flags", "change", "words"),
    [
        (
            {"quantum_share": make_share(60)},
            {},
            "is 60, and a rollback sets it again; set it below",
        ),
        ({}, {}, "quantum_share is on, and a rollback"),
        ({"quantum_path": make_switch(on=False)}, {}, "quantum_path must be on"),
        ({"quantum_share": make_share(0)}, {"share": 100}, "share must be 1 to 99"),
        ({"quantum_share": make_share(0)}, {"alpha": 2.0}, "alpha must be between 0 and 1"),
        ({"quantum_share": make_share(0)}, {"slow_ms": float("inf")}, "slow_ms must be above 0"),
    ],
)
def test_what_cannot_be_a_canary_is_one_line_and_changes_nothing(
    flags: dict[str, dict[str, object]], change: dict[str, Any], words: str, place: Place
) -> None:
    place.flags.write_text(make_file(**flags))
    with pytest.raises(SettingsError, match=f"^canary.*{words}"):
        start(place, replace(REQUEST, **change))
    assert place.flags.read_text() == make_file(**flags)
    assert not place.state.exists()


def test_one_canary_at_a_time(place: Place) -> None:
    start(place)
    with pytest.raises(SettingsError, match="a canary is running; abort it first"):
        start(place, replace(REQUEST, share=60))


def test_runs_report_their_validation_metric_on_their_side(place: Place) -> None:
    start(place, replace(REQUEST, share=50, minimum=100))
    rng = np.random.default_rng(5)

    def work(rollout: DocumentRollout) -> None:
        add_calls(rollout, ON_QPU, 400)
        add_calls(rollout, KEPT, 400)
        for run in range(200):
            decision = rollout.decide(replace_key(run))
            loss = 0.30 + 0.01 * rng.standard_normal() + (0.05 if not decision.kept_by else 0.0)
            asyncio.get_running_loop().create_task(
                rollout.record_validation(f"run{run}", "qat_flip", loss, "trainer")
            )

    report = advance(place, work)
    assert report.canary.validation_values + report.control.validation_values == 200
    assert report.canary.validation_mean == pytest.approx(0.35, abs=0.005)
    assert report.phase is CanaryPhase.ROLLED_BACK
    assert report.reason.startswith("more validation than")


def replace_key(run: int) -> FlagRequest:
    return FlagRequest.of(f"run{run}/qat_flip-1", "qat_flip", "trainer")


def test_a_canary_whose_calls_had_no_samples_is_not_promoted(place: Place) -> None:
    start(place)

    def work(rollout: DocumentRollout) -> None:
        classical = Degraded(ANSWER, DeadlinePassed(1), PROVENANCE)
        for _ in range(2000):
            rollout.record_end(ON_QPU, classical, NS_PER_MS, 200 * NS_PER_MS)
        add_calls(rollout, KEPT, 2000)

    report = advance(place, work)
    assert (report.phase, report.verdict) == (CanaryPhase.RUNNING, "inconclusive")
    assert report.reason == "only 0 of its calls had samples, 100 are needed"


def test_a_call_that_another_flag_keeps_from_the_qpu_is_on_neither_side(place: Place) -> None:
    start(place)
    report = advance(place, lambda rollout: add_calls(rollout, FlagDecision("quantum_clients"), 5))
    assert (report.canary.calls, report.control.calls) == (0, 0)


@pytest.mark.parametrize("seed", range(2))
def test_collected_calls_are_judged_as_the_pure_functions_judge_their_counts(seed: int, place: Place) -> None:
    """A planted regression, and equals; each is read after every 200 calls of a side."""
    rng = np.random.default_rng(seed)
    miss = (0.02, 0.02 if seed % 2 else 0.10)
    plan_request = replace(REQUEST, minimum=500, miss_margin=0.02, slow_margin=0.05)

    async def collect() -> CanaryPhase:
        rollout = place.open()
        await rollout.start_canary(plan_request, "operator-1")
        following = asyncio.create_task(rollout.keep_current())
        counts = np.zeros((2, 2), dtype=int)
        for _ in range(10):
            misses = [rng.binomial(200, rate) for rate in miss]
            for side, decision in enumerate((KEPT, ON_QPU)):
                add_calls(rollout, decision, 200, misses=misses[side])
                counts[side] += misses[side], 200
            await asyncio.sleep(1)
            verdicts.append(judge_counts(counts, plan_request))
            if rollout.canary().phase is not CanaryPhase.RUNNING:
                break
        following.cancel()
        return rollout.canary().phase

    verdicts: list[Verdict] = []
    phase = run_virtual(collect())
    expected = {Verdict.ROLL_BACK: CanaryPhase.ROLLED_BACK, Verdict.PROMOTE: CanaryPhase.PROMOTED}
    assert verdicts[:-1] == [Verdict.INCONCLUSIVE] * (len(verdicts) - 1)
    assert phase is expected.get(verdicts[-1], CanaryPhase.RUNNING)
    assert (phase is CanaryPhase.ROLLED_BACK) == (seed % 2 == 0)


def judge_counts(counts: np.ndarray, request: CanaryRequest) -> Verdict:
    control, canary = (
        ArmSample(Proportion(int(hits), int(n)), Proportion(int(hits), int(n))) for hits, n in counts
    )
    return judge(canary, control, make_plan(request)).verdict


def test_a_group_comes_back_from_its_file_as_it_was() -> None:
    group = Group(100.0)
    for duration_ms in (0.0, 20.0, 150.0, 250.0):
        group.add_call(SAMPLED, round(duration_ms * NS_PER_MS), 200 * NS_PER_MS)
    for value in (0.3, 0.5, 0.1):
        group.add_value(value)
    assert (group.missed, group.slow, group.sampled) == (1, 2, 4)
    assert asdict(group.sample.validation) == pytest.approx({"n": 3, "mean": 0.3, "variance": 0.04})
    assert asdict(Group.from_json(json.loads(json.dumps(group.to_json())))) == asdict(group)
