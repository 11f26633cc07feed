"""How calls met training, read from rows: counts, changes, words; rows that do not say."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sample_summary import Call as Calling
from sample_summary import summary
from shotclock.bench.judge.modes import describe_mode, meeting
from shotclock.bench.record.rows import StepRow, steps, table
from shotclock.bench.schema import ArmSummary, ModeChange
from shotclock.domain.budget import NS_PER_MS
from synthetic import SMALL, rows

ARM = "hybrid-colocated"
MS = NS_PER_MS


def make_rows(*latencies_ms: tuple[float, bool], seed: int = 0, every: int = 5) -> list[StepRow]:
    """A call every so many steps: its latency, nan is past its deadline; whether it was waited for."""
    template_row = next(row for row in rows(SMALL) if row.arm == ARM and row.call is not None)
    assert template_row.call is not None
    rows_made = []
    for number, (latency, inline) in enumerate(latencies_ms):
        missed = math.isnan(latency)
        call = replace(
            template_row.call,
            quantum_latency_ns=None if missed else round(latency * MS),
            cause="deadline passed" if missed else "",
            inline=inline,
        )
        rows_made.append(replace(template_row, seed=seed, step=every * number, call=call))
    return rows_made


def describe(steps: list[StepRow], mode: str = "auto") -> str:
    arm = summary({ARM: Calling(waits_ms=100.0)}).arms[ARM]
    seeds = tuple(sorted({step.seed for step in steps}))
    return describe_mode(arm.model_copy(update={"mode": mode, "meeting": meeting(steps), "seeds": seeds}))


def test_the_p95_behind_a_change_is_that_of_the_calls_before_it() -> None:
    rows = make_rows(*[(100.0, True)] * 18, *[(240.0, True)] * 2, (300.0, False), (310.0, False))
    assert meeting(rows).changes == (ModeChange(seed=0, step=100, mode="overlap", calls=20, p95_ms=240.0),)
    assert (
        describe(rows) == "auto: inline, overlap from step 100 (19 of the last 20 calls took at most 240 ms)"
    )


def test_what_was_refused_tells_nothing_of_a_latency() -> None:
    rows = make_rows(*[(100.0, True)] * 20, (float("nan"), True), (300.0, False))
    assert rows[20].call is not None
    refused = replace(rows[20], call=replace(rows[20].call, cause="rejected: queue"))
    assert meeting(rows).changes[0].calls == 21
    assert meeting([*rows[:20], refused, rows[21]]).changes[0].calls == 20


def test_calls_past_their_deadline_rank_above_every_other() -> None:
    rows = make_rows(*[(100.0, True)] * 18, *[(float("nan"), True)] * 2, (300.0, False))
    assert meeting(rows).changes[0].p95_ms is None
    assert "(at least 2 of the last 20 calls over 200 ms)" in describe(rows)


def test_at_most_a_hundred_calls_are_looked_back_on() -> None:
    rows = make_rows(*[(900.0, True)] * 50, *[(100.0, True)] * 100, (300.0, False))
    assert (meeting(rows).changes[0].calls, meeting(rows).changes[0].p95_ms) == (100, 100.0)


def test_each_seed_changes_for_itself_and_back() -> None:
    rows = make_rows((100.0, True), (300.0, False), (90.0, True))
    other = make_rows((100.0, True), (100.0, True), (300.0, False), seed=1)
    modes = meeting([*other, *rows])
    assert [(change.seed, change.step, change.mode) for change in modes.changes] == [
        (0, 5, "overlap"),
        (0, 10, "inline"),
        (1, 10, "overlap"),
    ]
    assert (modes.inline, modes.overlapped) == (4, 2)
    assert "overlap from steps 5 to 10 in 2 of 2 seeds" in describe([*rows, *other])
    assert describe([*rows, *other]).endswith("1 later change")


@pytest.mark.parametrize(
    ("mode", "inline", "words"),
    [
        ("auto", True, "auto: inline throughout"),
        ("auto", False, "auto: overlap throughout"),
        ("offline", False, "offline throughout"),
        ("inline", True, "inline throughout"),
    ],
)
def test_without_a_change_one_word_is_enough(mode: str, inline: bool, words: str) -> None:
    assert describe(make_rows(*[(100.0, inline)] * 3), mode) == words


def test_rows_and_summaries_from_before_are_read_and_say_nothing() -> None:
    older = table(rows(SMALL)).drop_columns(["inline"])
    assert all(step.call.inline for step in steps(older) if step.call)
    arm = summary({ARM: Calling(waits_ms=100.0)}).arms[ARM].model_dump(exclude={"meeting"})
    assert describe_mode(ArmSummary.model_validate(arm)) == ""
