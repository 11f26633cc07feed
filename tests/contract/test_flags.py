"""What every implementation of the port Flags promises, and what a file adds to it."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flag_files import NO_PROFILES, make_file, make_profile, make_share, make_shots, make_switch
from harness import FACTS, Inline, LoopClock, random_parameters, run_virtual, without_qpy
from shotclock.app.flags import open_flags
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.errors import SettingsError
from shotclock.domain.flags import ANY_SHOTS, NO_FLAGS, FlagChange, FlagDecision, FlagReport, FlagRequest
from shotclock.domain.outcome import Degraded, Done, Outcome, Rejection, Shed
from shotclock.domain.ports import Clock, Execution, Flags, Job, Provider, Rollout
from shotclock.emulator.profile import load
from shotclock.emulator.provider import EmulatedProvider
from shotclock.emulator.timing import sample_timeline
from shotclock.orchestrator.answers import Fallback
from shotclock.orchestrator.health.health import Health
from shotclock.providers.scripted import Reply, ScriptedProvider
from shotclock.rollout.canary_control import CanaryControl
from shotclock.rollout.document_flags import DocumentFlags
from shotclock.rollout.document_rollout import DocumentRollout
from shotclock.rollout.file_source import FileSource
from shotclock.rollout.fixed import FixedFlags
from shotclock.rollout.flag_document import read_document
from shotclock.rollout.flag_edit import describe_flags, edit_source
from shotclock.runtime.loop_thread import SystemClock
from shotclock.settings import QuantumSettings, ServeSettings, Settings
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.wire.rollout import NO_ROLLOUT
from virtual_orchestrator import System, make_scripted, make_subproblem, simulate

SYSTEM_CLOCK = SystemClock()
EMULATED = QuantumSettings()
NOWHERE = Path("no such folder/flags.canary.json")
SAMPLE_JOB = Job.of((without_qpy(random_parameters(4, 1)),), 256, "test", None)
CALL = FlagRequest.of("qat_flip-1", "qat_flip", "trainer")


class Counts:
    def __init__(self) -> None:
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.troubles: list[str] = []

    def record_flag(self, flag: str, reason: str) -> None:
        self.reasons[flag, reason] += 1


def open_file(path: Path, content: str, clock: Clock = SYSTEM_CLOCK) -> tuple[DocumentFlags, Counts]:
    path.write_text(content)
    counts = Counts()
    return DocumentFlags(FileSource(path), counts, counts.troubles.append, clock, NO_PROFILES), counts


def make_rollout(flags: DocumentFlags, path: Path = NOWHERE) -> DocumentRollout:
    canary = CanaryControl(flags, path, Inline(), 200, print)
    return DocumentRollout(flags, canary, Inline())


def open_with(
    serve: ServeSettings,
    counts: Counts,
    provider: Provider | None = None,
    quantum: QuantumSettings = EMULATED,
) -> FixedFlags | DocumentRollout:
    settings = Settings(serve=serve, quantum=quantum)
    provider = provider or ScriptedProvider(LoopClock(), ())
    return open_flags(settings, provider, counts, counts.troubles.append, SYSTEM_CLOCK, Inline())


def make_fixed(path: Path, decision: FlagDecision) -> Flags:
    del path
    return FixedFlags(decision)


def make_from_file(path: Path, decision: FlagDecision) -> Flags:
    flags = {"quantum_path": make_switch(on=not decision.kept_by)}
    if decision.most_shots != ANY_SHOTS:
        flags["shots"] = make_shots(decision.most_shots)
    return make_rollout(open_file(path / "flags.json", make_file(**flags))[0])


@pytest.mark.parametrize("make", [make_fixed, make_from_file])
@pytest.mark.parametrize(
    "decision", [FlagDecision(), FlagDecision("quantum_path"), FlagDecision(most_shots=32)]
)
def test_every_implementation_decides_alike_for_equal_calls(
    make: Callable[[Path, FlagDecision], Flags], decision: FlagDecision, tmp_path: Path
) -> None:
    flags = make(tmp_path, decision)
    assert [flags.decide(CALL) for _ in range(3)] == [decision] * 3


def test_a_share_is_drawn_by_the_sticky_key_and_grows_without_moving_calls_back(tmp_path: Path) -> None:
    requests = [FlagRequest.of(f"qat_flip-{turn}", "qat_flip", "trainer") for turn in range(2000)]

    def find_turns(percent: int) -> set[int]:
        flags, _ = open_file(tmp_path / f"{percent}.json", make_file(quantum_share=make_share(percent)))
        return {turn for turn, request in enumerate(requests) if not flags.decide(request).kept_by}

    shares = [find_turns(percent) for percent in (0, 10, 40, 100)]
    assert [len(share) for share in (shares[0], shares[-1])] == [0, 2000]
    assert shares[0] < shares[1] < shares[2] < shares[3]
    assert 740 <= len(shares[2]) <= 860  # ± 2.7 standard deviations of 800
    run = {FlagRequest.of(f"run7/qat_flip-{turn}", "qat_flip", "trainer").key for turn in range(9)}
    assert run == {"trainer/run7"}, "the calls of a run that is named are on one side"


def test_flags_apply_by_kernel_and_by_client(tmp_path: Path) -> None:
    kernels = make_switch(targeting={"if": [{"in": [{"var": "kernel"}, ["prune_mask"]]}, "off", "on"]})
    clients = make_switch(targeting={"if": [{"==": [{"var": "client"}, "night"]}, "off", "on"]})
    flags, counts = open_file(
        tmp_path / "flags.json", make_file(quantum_kernels=kernels, quantum_clients=clients)
    )
    assert flags.decide(CALL) == FlagDecision()
    assert flags.decide(replace(CALL, kernel="prune_mask")) == FlagDecision("quantum_kernels")
    assert flags.decide(replace(CALL, client="night")) == FlagDecision("quantum_clients")
    assert counts.reasons["quantum_clients", "TARGETING_MATCH"] == 3


def test_a_change_is_effective_without_a_restart_and_a_bad_file_keeps_the_last_good_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "flags.json"
    flags, counts = open_file(path, make_file(quantum_path=make_switch()))
    assert not flags.decide(CALL).kept_by
    path.write_text(make_file(quantum_path=make_switch(on=False)))
    flags.reload()
    assert flags.decide(CALL).kept_by == "quantum_path"
    for broken in ("{", make_file(quantum_path=make_switch(on=True), qantum_share=make_share(5))):
        path.write_text(broken)
        flags.reload()
        flags.reload()
        assert flags.decide(CALL).kept_by == "quantum_path"
    path.unlink()
    flags.reload()
    assert flags.decide(CALL).kept_by == "quantum_path"
    assert counts.reasons == {("quantum_path", "STATIC"): 2, ("quantum_path", "STALE"): 3}
    assert len(counts.troubles) == 3, "each problem is reported once"
    assert all(str(path) in trouble and "stay in force" in trouble for trouble in counts.troubles)
    path.write_text(make_file())
    flags.reload()
    assert not flags.decide(CALL).kept_by


def test_a_service_follows_its_file_within_a_second(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    path.write_text(make_file(quantum_path=make_switch()))
    counts = Counts()
    flags = open_with(ServeSettings(flags=str(path)), counts)
    assert isinstance(flags, DocumentRollout)

    async def work() -> tuple[str, str]:
        following = asyncio.create_task(flags.keep_current())
        await asyncio.sleep(10)
        before = flags.decide(CALL).kept_by
        path.write_text(make_file(quantum_path=make_switch(on=False)))
        await asyncio.sleep(1)
        following.cancel()
        return before, flags.decide(CALL).kept_by

    assert run_virtual(work()) == ("", "quantum_path")


def test_a_service_without_a_file_allows_every_call_and_refuses_a_bad_one(tmp_path: Path) -> None:
    counts = Counts()
    assert open_with(ServeSettings(), counts).decide(CALL) == FlagDecision()
    missing = tmp_path / "none.json"
    with pytest.raises(SettingsError, match=f"^serve.flags: {missing}: cannot be read"):
        open_with(ServeSettings(flags=str(missing)), counts)


def run_job(provider: EmulatedProvider) -> Coroutine[None, None, Execution]:
    async def work() -> Execution:
        return await provider.collect(await provider.submit(SAMPLE_JOB))

    return work()


def test_the_emulated_provider_takes_the_profile_of_the_flag_from_its_next_job_on(tmp_path: Path) -> None:
    """A job that runs meanwhile keeps its times; the settings' profile returns with the flag's end."""
    path, counts = tmp_path / "flags.json", Counts()
    path.write_text(make_file())

    async def work() -> tuple[list[tuple[int, int]], list[int]]:
        provider = EmulatedProvider(FACTS, load("colocated"), Inline(), LoopClock(), seed=5)
        health = Health(provider, LoopClock(), random.Random(0), PrometheusRecorder(Metrics(), "test"))
        flags = open_with(ServeSettings(flags=str(path)), counts, provider)
        assert isinstance(flags, DocumentRollout)
        executions, waits = [await run_job(provider)], []
        running = asyncio.create_task(run_job(provider))
        await asyncio.sleep(0)
        for setting in ("public-cloud", "onprem-today", "settings"):
            await flags.set_flag("profile", setting)
            assert flags.report().settings["profile"] == setting
            waits.append(sum(health.submissions.reserve_ns(0) > 0 for _ in range(6)))
            if setting == "public-cloud":
                assert not running.done()
                executions.append(await running)
            executions.append(await run_job(provider))
        return [(each.execution_emulated_ns, each.collect_emulated_ns) for each in executions], waits

    times, waits = run_virtual(work())
    names = ("colocated", "colocated", "public-cloud", "onprem-today", "colocated")
    lines = [
        sample_timeline(SAMPLE_JOB, FACTS, load(name), np.random.default_rng((5, number)))
        for number, name in enumerate(names)
    ]
    planned = [(line.execution_ns, line.collect_ns) for line in lines]
    np.testing.assert_allclose(times, planned, rtol=0, atol=2)  # the loop's time is a float
    assert waits == [1, 0, 0], "five submissions a minute, then any number"
    assert counts.reasons == {("profile", "STATIC"): 2, ("profile", "DISABLED"): 1}


@pytest.mark.parametrize(
    ("provider", "name", "words"),
    [
        (
            "ibm",
            "colocated",
            "needs quantum.provider = 'emulated' (got 'ibm'); remove the flag",
        ),
        (
            "emulated",
            "public",
            "must be one of colocated, onprem-today, public-cloud (got 'public')",
        ),
    ],
)
def test_a_profile_that_the_provider_cannot_take_is_refused_and_the_file_stays(
    provider: str, name: str, words: str, tmp_path: Path
) -> None:
    path, counts, words = tmp_path / "flags.json", Counts(), f"flags.profile: {words}"
    serve, quantum = ServeSettings(flags=str(path)), QuantumSettings(provider=provider)
    path.write_text(make_file(profile=make_profile(name)))
    with pytest.raises(SettingsError, match=re.escape(f"serve.flags: {path}:5: {words}")) as refused:
        open_with(serve, counts, quantum=quantum)
    assert "\n" not in str(refused.value)
    path.write_text(make_file(shots=make_shots(64)))
    flags = open_with(serve, counts, quantum=quantum)
    assert isinstance(flags, DocumentRollout)
    with pytest.raises(SettingsError, match=re.escape(words)):
        asyncio.run(flags.set_flag("profile", name))
    assert path.read_text() == make_file(shots=make_shots(64))
    path.write_text(make_file(profile=make_profile(name)))
    flags._flags.reload()
    assert len(counts.troubles) == 1
    assert words in counts.troubles[0]
    assert flags.report().state == "STALE"
    assert (flags.report().settings["profile"], flags.decide(CALL).most_shots) == ("settings", 64)


def test_an_edit_by_hand_is_logged_and_one_by_request_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "flags.json"
    flags, _ = open_file(path, make_file(quantum_path=make_switch()))
    with caplog.at_level(logging.INFO, "shotclock.audit"):
        flags.set_flag("shots", "64")
        flags.reload()
        assert not caplog.messages
        path.write_text(make_file(quantum_path=make_switch(on=False)))
        flags.reload()
        flags.reload()
        path.write_text(make_file(quantum_path=make_switch(on=False)) + "\n")
        flags.reload()
    edited = "flag file edited: "
    assert caplog.messages == [
        f"{edited}quantum_path on to off, shots 64 to any",
        f"{edited}rules or form only",
    ]
    assert {record.__dict__["caller"] for record in caplog.records} == {"file"}


def test_a_report_has_the_settings_in_force_and_what_is_wrong_with_their_source(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"

    async def work() -> list[FlagReport]:
        rule = {"if": [{"==": [{"var": "client"}, "odd"]}, {"cat": ["no such variant"]}, "off"]}
        flags, _ = open_file(path, make_file(quantum_path=make_switch(targeting=rule)), LoopClock())
        reports = [flags.report()]
        flags.decide(replace(CALL, client="odd"))
        reports.append(flags.report())
        path.write_text("{")
        await asyncio.sleep(3)
        flags.reload()
        reports.append(flags.report())
        path.write_text(make_file(quantum_share=make_share(25), shots=make_shots(64)))
        flags.reload()
        return [*reports, flags.report()]

    well, broken, stale, new = run_virtual(work())
    assert [report.state for report in (well, broken, stale, new)] == ["ok", "ERROR", "STALE", "ok"]
    assert well.settings == broken.settings == stale.settings
    assert well.settings["quantum_path"] == "by its targeting rule"
    assert broken.reason.startswith("flags.quantum_path.targeting: cannot be evaluated")
    assert f"{path}: is not valid JSON" in stale.reason.replace(":1:", ":")
    assert (stale.age_s, new.age_s, new.reason) == (3.0, 0.0, "")
    assert (new.settings["quantum_share"], new.settings["shots"]) == ("25", "64")
    assert FixedFlags().report() == NO_FLAGS


def test_a_flag_that_is_set_by_request_is_in_force_at_once_and_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    flags, counts = open_file(path, make_file(quantum_path=make_switch()))
    rollout = make_rollout(flags)

    async def work() -> list[FlagChange]:
        changes = await asyncio.gather(
            rollout.set_flag("quantum_path", "off"), rollout.set_flag("quantum_share", "25")
        )
        return list(changes)

    assert asyncio.run(work()) == [
        FlagChange("quantum_path", "on", "off"),
        FlagChange("quantum_share", "on", "25"),
    ]
    assert flags.decide(CALL).kept_by == "quantum_path"
    after_restart = DocumentFlags(FileSource(path), counts, counts.troubles.append, SYSTEM_CLOCK, NO_PROFILES)
    assert after_restart.report().settings == flags.report().settings
    assert flags.report().settings["quantum_share"] == "25"


@pytest.mark.parametrize("setting", ["101", "maybe"])
def test_a_request_that_is_refused_changes_nothing(setting: str, tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    flags, _ = open_file(path, make_file(quantum_path=make_switch()))
    rollouts: tuple[Rollout, ...] = (NO_ROLLOUT, make_rollout(flags))
    for rollout in rollouts:
        with pytest.raises(SettingsError, match=r"^flags"):
            asyncio.run(rollout.set_flag("quantum_share", setting))
    assert path.read_text() == make_file(quantum_path=make_switch())
    path.write_text("{")
    with pytest.raises(SettingsError, match="is not valid JSON"):
        asyncio.run(rollouts[1].set_flag("quantum_path", "off"))
    path.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        asyncio.run(rollouts[1].set_flag("quantum_path", "off"))
    assert not path.exists(), "a file that somebody removed would lose its other flags"


def test_edits_of_several_hands_lose_no_flag(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    settings = {
        "quantum_share": "25",
        "shots": "64",
        "quantum_kernels": "off:rounding",
        "quantum_path": "off",
    }
    with ThreadPoolExecutor() as threads:
        for flag, setting in settings.items():
            threads.submit(edit_source, FileSource(path, may_be_new=True), flag, setting)
    assert describe_flags(read_document(path.read_bytes(), str(path))).items() >= settings.items()


def test_a_rule_that_breaks_for_a_call_uses_the_last_good_value(tmp_path: Path) -> None:
    rule = {"if": [{"==": [{"var": "client"}, "odd"]}, {"cat": ["no such variant"]}, "off"]}
    flags, counts = open_file(tmp_path / "flags.json", make_file(quantum_path=make_switch(targeting=rule)))
    assert flags.decide(CALL).kept_by == "quantum_path"
    assert flags.decide(replace(CALL, client="odd")).kept_by == "quantum_path"
    assert counts.reasons["quantum_path", "ERROR"] == 1


def test_a_rule_that_reads_the_time_is_evaluated_at_each_call(tmp_path: Path) -> None:
    rule = {"if": [{">": [{"var": "$flagd.timestamp"}, 0]}, "off", "on"]}
    flags, _ = open_file(tmp_path / "flags.json", make_file(quantum_path=make_switch(targeting=rule)))
    assert flags.decide(CALL).kept_by == "quantum_path"
    assert not flags._loaded.values


SWITCH = make_switch()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not valid JSON"),
        ("[]", 'must be an object with the key "flags" (got [])'),
        ('{"flags": {}, "$evaluators": {}}', ":1: $evaluators: is not a valid key here"),
        (
            make_file(quantum_pth=SWITCH),
            ":3: flags.quantum_pth: is not a valid flag; did you mean quantum_path",
        ),
        (
            make_file(quantum_path=SWITCH | {"state": "ON"}),
            ":4: flags.quantum_path.state: must be",
        ),
        (
            make_file(quantum_path=SWITCH | {"defaultVariant": "maybe"}),
            'must be one of on, off (got "maybe")',
        ),
        (
            make_file(quantum_path=SWITCH | {"variants": {"on": 1}}),
            "variants.on: must be true or false",
        ),
        (make_file(shots=make_shots(0)), "variants.most: must be a whole number from 1 to"),
        (make_file(profile=make_profile("")), 'must be the name of a profile (got "")'),
        (
            make_file(profile=make_profile("colocated") | {"targeting": {"var": "client"}}),
            "flags.profile.targeting: is not possible",
        ),
        (make_file(quantum_share=make_share(101)), "is not [variant, weight of 0 or more]"),
        (make_file(quantum_path=make_switch(targeting={"iff": []})), 'has no operator "iff"'),
        (
            make_file(quantum_path=make_switch(targeting={"if": [True, "maybe"]})),
            "flags.quantum_path.targeting: cannot be evaluated",
        ),
    ],
)
def test_a_bad_file_is_one_line_with_file_and_key(content: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        open_file(tmp_path / "flags.json", content)
    assert words in str(error.value)
    assert str(error.value).startswith(f"{tmp_path}/flags.json:")
    assert "\n" not in str(error.value)


def test_the_example_of_the_docs_is_a_flag_file(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "rollout.md").read_text("utf-8")
    path = tmp_path / "flags.json"
    path.write_text(page.split("```json\n")[1].split("```")[0])
    flags = open_with(ServeSettings(flags=str(path)), Counts())
    assert flags.report().settings["profile"] == "onprem-today"
    assert flags.decide(replace(CALL, client="trainer-7.example.com")).kept_by == "quantum_clients"
    assert flags.decide(replace(CALL, kernel="user_circuit")).kept_by == "quantum_kernels"
    decisions = [flags.decide(replace(CALL, key=str(number))) for number in range(64)]
    assert {decision.kept_by for decision in decisions} == {"", "quantum_share"}
    assert min(decision.most_shots for decision in decisions) == 128


def limit_of_refusal(outcome: Outcome) -> str:
    return (
        outcome.cause.limit if isinstance(outcome, Degraded) and isinstance(outcome.cause, Rejection) else ""
    )


def test_a_flip_with_calls_in_flight_loses_nothing() -> None:
    async def work(system: System) -> tuple[list[Outcome], list[Outcome], Outcome, int, float]:
        before = [asyncio.create_task(system.orchestrator.solve(make_subproblem(seed))) for seed in range(3)]
        await asyncio.sleep(0.01)
        system.flags.decision = FlagDecision("quantum_path")
        refused = await asyncio.gather(*(system.orchestrator.solve(make_subproblem(seed)) for seed in (3, 4)))
        ended = await asyncio.gather(*before)
        submits = system.provider.submits
        system.flags.decision = FlagDecision()
        after = await system.orchestrator.solve(make_subproblem(5))
        counted = system.value("shotclock_rejections_total", limit="flag_quantum_path")
        return ended, refused, after, submits, counted

    ended, refused, after, submits, counted = simulate(make_scripted(afterwards=Reply(delay_s=0.03)), work)
    assert [type(outcome) for outcome in ended] == [Done] * 3
    assert [limit_of_refusal(outcome) for outcome in refused] == ["flag_quantum_path"] * 2
    assert isinstance(after, Done)
    assert (submits, counted) == (3, 2)


def test_flags_lower_the_shots_and_never_raise_them() -> None:
    circuit = CircuitSpec("OPENQASM 3.0;", shots=64, request_id="c", budget_ns=10**9)

    async def work(system: System) -> tuple[list[int], object]:
        shots = []
        for most in (16, 10**6):
            system.flags.decision = FlagDecision(most_shots=most)
            outcome = await system.orchestrator.solve(make_subproblem())
            shots.append(outcome.provenance.shots)
        system.flags.decision = FlagDecision(most_shots=16)
        return shots, await system.orchestrator.execute(circuit)

    shots, executed = simulate(make_scripted(fallback=Fallback.NONE), work)
    assert shots == [16, 64]
    assert isinstance(executed, Shed)
    assert executed.rejection.limit == "flag_shots"
