"""Which runs compare: one machine, one device by one set of numbers, arms that ask alike; and what counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import synthetic
from shotclock.bench.compare.gate import compare
from shotclock.bench.compare.units import read_units
from shotclock.bench.judge.metrics import by_arm, latency_class, samples
from shotclock.bench.record.arm_runs import parse
from shotclock.bench.record.folder import RunFolder, environment
from shotclock.bench.record.rows import StepRow
from shotclock.bench.schema import ArmSummary, Summary
from shotclock.domain.errors import SettingsError

ARM = "hybrid-public-cloud"
Change = Callable[[Summary], Summary]


def write_run(folder: Path, steps: list[StepRow], started_at: str, change: Change = lambda run: run) -> Path:
    run = RunFolder.create(folder)
    run.write_steps(steps)
    summary = synthetic.summary(steps).model_copy(
        update={"started_at": started_at, "environment": {"cpu": "one", "host": "here"}}
    )
    run.write_summary(change(summary))
    return run.path


def arm(**words: object) -> Change:
    """Another fact of one arm."""

    def change(run: Summary) -> Summary:
        other: ArmSummary = run.arms[ARM].model_copy(update=words)
        return run.model_copy(update={"arms": {**run.arms, ARM: other}})

    return change


def host(run: Summary) -> Summary:
    return run.model_copy(update={"environment": {**run.environment, "host": "there"}})


def numbers(run: Summary) -> Summary:
    """A number of a profile, its name as before."""
    name, profile = next(iter(run.profiles.items()))
    first, *others = profile.components
    other = profile.model_copy(
        update={"components": (first.model_copy(update={"value": first.value + 1.0}), *others)}
    )
    return run.model_copy(update={"profiles": {**run.profiles, name: other}})


def without_an_arm(run: Summary) -> Summary:
    return run.model_copy(update={"arms": {name: arm for name, arm in run.arms.items() if name != ARM}})


@pytest.mark.parametrize(
    ("fact", "change"),
    [
        ("host", host),
        ("profiles", numbers),
        ("device", arm(device="another")),
        ("calibration", arm(calibration="tonight")),
        ("call_every", arm(call_every=77)),
        ("mode", arm(mode="overlap")),
        ("arms", without_an_arm),
    ],
)
def test_runs_that_differ_in_a_fact_are_refused_unless_it_is_named(
    fact: str, change: Change, tmp_path: Path
) -> None:
    steps = synthetic.rows(synthetic.SMALL)
    a = read_units(write_run(tmp_path / "a", steps, "2026-11-22T10:00:00"))
    b = read_units(write_run(tmp_path / "b", steps, "2026-11-22T10:01:00", change))
    with pytest.raises(SettingsError, match=rf"{fact}: .* against .*--despite ") as refused:
        compare(a, b)
    assert "\n" not in str(refused.value)
    despite = [fact, "call_every", "mode"] if fact == "arms" else [fact]
    assert compare(a, b, despite=despite).pairs == synthetic.SMALL.seeds


def test_every_run_tells_its_host() -> None:
    assert environment()["host"]


def test_a_cache_hit_is_a_separate_class_and_not_a_call_of_the_qpu(tmp_path: Path) -> None:
    """Neither a latency of the QPU nor a miss of it, in the summary and in a comparison alike."""
    steps = synthetic.rows(synthetic.SMALL)
    place = next(n for n, row in enumerate(steps) if row.arm == ARM and row.call and row.call.in_time)
    call = steps[place].call
    assert call is not None
    before = count_both(steps, tmp_path / "before")
    hit = replace(call, in_time=False, cached=True, quantum_latency_ns=None)
    assert latency_class(hit) == "cache_hit"
    steps[place] = replace(steps[place], call=hit)
    after = count_both(steps, tmp_path / "after")
    for (n, missed), (n_after, missed_after) in zip(before, after, strict=True):
        assert (n_after, missed_after) == (n - 1, missed)


def count_both(steps: list[StepRow], folder: Path) -> list[tuple[int, int]]:
    """n and missed of quantum_latency as the summary has it, and as a comparison does."""
    arm = parse(ARM, ("public-cloud",))
    assert arm is not None
    summed = samples(by_arm([row for row in steps if row.arm == ARM], [arm])[ARM])["quantum_latency"]
    write_run(folder / "run", steps, "2026-11-22T10:00:00")
    (unit,) = read_units(folder)
    compared = unit.latencies[f"{ARM}.quantum_latency"]
    return [(summed.n, summed.missed), (compared.n, compared.missed)]
