"""The gate: directions, limits, what is refused, what is left open, and the folders it reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

import synthetic
from queueing import MS, Queue, run_load
from shotclock.bench.compare.decide import FEWEST_PAIRS, DecisionRule, decide
from shotclock.bench.compare.gate import Comparison, MetricLimit, compare, is_interleaved
from shotclock.bench.compare.units import Unit, read_units
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario
from shotclock.bench.load.folder import write_load
from shotclock.bench.load.judge import judge
from shotclock.bench.load.summarise import LoadFacts, summarise
from shotclock.bench.record.environment import Described, differences, refuse_to_merge
from shotclock.bench.record.folder import RunFolder
from shotclock.bench.report.compare.junit import junit
from shotclock.bench.report.compare.table import change, level, to_markdown
from shotclock.bench.schema import Result
from shotclock.bench.stats.statistics import Sample
from shotclock.cli.compare import choose_format
from shotclock.cli.compare import compare as verb
from shotclock.domain.errors import SettingsError

SLOWER = DecisionRule("x.p50", "lower", "ratio", 0.05)
SHARE = DecisionRule("x.share", "higher", "difference", 0.01)
MACHINE = {"cpu": "one", "torch": "2.13.0"}


def draw_noisy(level: float, pairs: int, seed: int, spread: float = 0.01) -> list[float]:
    rng = np.random.default_rng(seed)
    return list(level * np.exp(rng.normal(0, spread, pairs)))


@pytest.mark.parametrize(
    ("factor", "result"), [(1.0, Result.PASS), (0.8, Result.PASS), (1.1, Result.FAIL), (2.0, Result.FAIL)]
)
def test_a_latency_fails_where_it_is_surely_slower_than_its_limit(factor: float, result: Result) -> None:
    decision = decide(SLOWER, draw_noisy(10, 12, 1), draw_noisy(10 * factor, 12, 2))
    assert decision.result is result
    assert decision.needed == 0
    assert decision.change is not None
    assert decision.change.value == pytest.approx(factor - 1, abs=0.02)


def test_a_change_at_the_limit_is_left_open_and_says_how_many_pairs_would_settle_it() -> None:
    decision = decide(SLOWER, draw_noisy(10, 12, 1, 0.05), draw_noisy(10.8, 12, 2, 0.05))
    assert decision.result is Result.INCONCLUSIVE
    assert 12 < decision.needed < 1_000
    more = decide(
        SLOWER, draw_noisy(10, 3 * decision.needed, 3, 0.05), draw_noisy(10.8, 3 * decision.needed, 4, 0.05)
    )
    assert more.result is Result.FAIL


def test_fewer_pairs_than_the_gate_asks_for_settle_nothing() -> None:
    decision = decide(SLOWER, [10.0] * 9, [20.0] * 9)
    assert decision.result is Result.INCONCLUSIVE
    assert decision.needed == FEWEST_PAIRS
    assert decide(SLOWER, [], []).needed == FEWEST_PAIRS


def test_a_share_is_held_by_its_difference_and_downwards() -> None:
    assert decide(SHARE, [1.0] * 10, [1.0] * 10).result is Result.PASS
    assert decide(SHARE, [0.0] * 10, [0.5] * 10).result is Result.PASS
    assert decide(SHARE, [0.9] * 10, [0.85] * 10).result is Result.FAIL


def unit(
    side: str, number: int, latency_ms: float, share: int = 990, facts: Mapping[str, str] = MACHINE
) -> Unit:
    order = 2 * number + (number % 2 if side == "a" else 1 - number % 2)  # A B B A
    rng = np.random.default_rng((number, side == "b"))
    values = (latency_ms * MS * np.exp(rng.normal(0, 0.2, 800))).astype(np.int64)
    return Unit(
        name=f"{side}{number}",
        started_at=f"2026-11-22T10:{order:02d}:00",
        described=Described(side, facts),
        latencies={
            "arm.added_latency.software": Sample(np.sort(values)),
            "arm.quantum_latency": Sample(np.sort(values)),
        },
        shares={"arm.quantum_share": (share, 1_000)},
    )


def units(side: str, latency_ms: float, pairs: int = 12, share: int = 990) -> list[Unit]:
    return [unit(side, number, latency_ms, share) for number in range(pairs)]


def results(comparison: Comparison) -> dict[str, Result]:
    return {decision.rule.metric: decision.result for decision in comparison.decisions}


def test_by_default_the_softwares_part_and_the_shares_are_gated() -> None:
    comparison = compare(units("a", 5), units("b", 5))
    assert results(comparison) == {
        "arm.added_latency.software.p50": Result.PASS,
        "arm.added_latency.software.p99": Result.PASS,
        "arm.quantum_share": Result.PASS,
    }
    assert comparison.result is Result.PASS


def test_one_metric_that_fails_fails_the_whole() -> None:
    assert compare(units("a", 5), units("b", 6)).result is Result.FAIL
    assert compare(units("a", 5), units("b", 5, share=900)).result is Result.FAIL


def test_patterns_choose_and_set_limits_and_the_last_that_fits_counts() -> None:
    limits = [MetricLimit.parse("*.p50=5%"), MetricLimit.parse("arm.quantum_latency.p50 = 30%")]
    comparison = compare(units("a", 5), units("b", 6), limits)
    assert results(comparison) == {
        "arm.added_latency.software.p50": Result.FAIL,
        "arm.quantum_latency.p50": Result.PASS,
    }
    with pytest.raises(SettingsError, match="fits no metric"):
        compare(units("a", 5), units("b", 5), [MetricLimit("*.p51", 0.1)])
    for text in ("*.p50", "*.p50=five", "=5%", "*.p50=-3%"):
        with pytest.raises(SettingsError, match="PATTERN=LIMIT"):
            MetricLimit.parse(text)
    assert MetricLimit.parse("x=0.02") == MetricLimit("x", 0.02)
    assert MetricLimit.parse("x=300%") == MetricLimit("x", 3.0)


def test_a_limit_out_of_its_range_is_refused_as_a_percentage_without_its_sign_is() -> None:
    for text in ("*.p50=5", "*.p50=1.01", "*.p50=1001%", f"*.p50={'9' * 400}"):
        with pytest.raises(SettingsError, match="must be from 0 to 1"):
            MetricLimit.parse(text)
    with pytest.raises(SettingsError, match="a share differs by 1 at most"):
        compare(units("a", 5), units("b", 5), [MetricLimit.parse("*share=150%")])


def test_runs_that_were_not_made_in_turns_are_recognised() -> None:
    a, b = units("a", 5), units("b", 6)
    later = [replace(unit, started_at=f"2026-11-23T10:{n:02d}:00") for n, unit in enumerate(b)]
    assert is_interleaved(a, b)
    assert not is_interleaved(a, later)
    comparison = compare(a, later)
    assert comparison.result is Result.INCONCLUSIVE
    assert "--sequential" in comparison.caveat
    assert compare(a, later, sequential=True).result is Result.FAIL
    same = [replace(unit, started_at="2026-11-22T10:00:00") for unit in a]
    assert not is_interleaved(same, b)


def test_environments_that_differ_refuse_to_merge_and_say_in_what() -> None:
    other = unit("b", 0, 5, facts={"cpu": "another", "torch": "2.13.0"})
    with pytest.raises(SettingsError, match="cpu: one against another") as refused:
        compare([unit("a", 0, 5)], [other])
    assert "--despite cpu" in str(refused.value)
    compare([unit("a", 0, 5)], [other], despite=["cpu"])
    assert differences(Described("a", {}), Described("b", {"numpy": "2"})) == [
        "numpy: not recorded against 2"
    ]
    refuse_to_merge([])


def test_a_run_with_too_few_calls_is_inconclusive_and_says_so() -> None:
    few = [
        replace(unit, latencies={name: Sample(s.values_ns[::9]) for name, s in unit.latencies.items()})
        for unit in units("a", 5)
    ]
    decisions = {decision.rule.metric: decision for decision in compare(few, units("b", 5)).decisions}
    assert decisions["arm.added_latency.software.p50"].result is Result.PASS
    assert decisions["arm.added_latency.software.p99"].result is Result.INCONCLUSIVE
    assert "n=89" in decisions["arm.added_latency.software.p99"].why


def test_a_bench_runs_seeds_are_its_units_and_agree_with_its_summary(tmp_path: Path) -> None:
    steps = synthetic.rows(synthetic.SMALL)
    folder = RunFolder.create(tmp_path / "run")
    folder.write_steps(steps)
    folder.write_summary(synthetic.summary(steps))
    units = read_units(folder.path)
    assert len(units) == synthetic.SMALL.seeds
    (whole,) = read_units(tmp_path)
    for name, sample in whole.latencies.items():
        assert sample.n == sum(unit.latencies[name].n for unit in units)
        assert sample.missed == sum(unit.latencies[name].missed for unit in units)
    calls = [step.call for step in steps if step.call and step.arm == "hybrid-public-cloud"]
    assert whole.shares["hybrid-public-cloud.quantum_share"] == (sum(c.in_time for c in calls), len(calls))


def load_folder(path: Path, started_at: str, service_s: float, seed: int) -> None:
    plan = ArrivalPlan(Scenario.SERVER, 100, 10, 200 * MS, n=4, seed=seed)
    calls = run_load(plan, Queue(lambda number: service_s))
    facts = LoadFacts(
        "0.1", started_at, path.name, False, "queue", "queue", True, "virtual", MACHINE, "quantum", None
    )
    path.mkdir(parents=True)
    write_load(summarise([judge(calls, plan, "quantum")], calls, plan, facts), calls, path)


def run_cli(*arguments: str) -> tuple[int, str]:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(verb)
    result = CliRunner().invoke(app, list(arguments))
    assert not isinstance(result.exception, Exception), result.exception
    return result.exit_code, result.stdout


def test_exit_codes_and_json_of_folders_of_load_tests(tmp_path: Path) -> None:
    for number in range(10):
        sides = [("a", 0.004), ("b", 0.006)] if number % 2 else [("b", 0.006), ("a", 0.004)]
        for place, (side, service_s) in enumerate(sides):
            started = f"2026-11-22T10:{2 * number + place:02d}:00"
            load_folder(tmp_path / side / f"{number:02d}", started, service_s, number)
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    code, text = run_cli(a, b, "--json", "--strict")
    document = json.loads(text)
    assert code == 99
    assert document["interleaved"]
    assert document["metrics"]["load.latency.software.p50"]["result"] == "FAIL"
    assert document["metrics"]["load.latency.software.p50"]["low"] > 0.05
    assert run_cli(b, a, "--strict")[0] == 0
    code, text = run_cli(f"{a}/00", f"{b}/00")
    assert code == 0
    assert "INCONCLUSIVE" in text
    assert run_cli(f"{a}/00", f"{b}/00", "--strict")[0] == 5


def test_two_runs_are_shown_as_a_table_and_one_line_says_what_is_missing(tmp_path: Path) -> None:
    load_folder(tmp_path / "a", "2026-11-22T10:00:00", 0.004, 0)
    load_folder(tmp_path / "b", "2026-11-22T11:00:00", 0.009, 1)
    code, text = run_cli(str(tmp_path / "a"), str(tmp_path / "b"), "--metric", "*=5%", "--sequential")
    assert code == 0
    assert text.count("INCONCLUSIVE") == 1
    assert " to +" not in text
    assert "1 pair of the 10" in text.replace("\n", " ")
    assert "9 pairs are missing" in text.replace("\n", " ")
    assert "shotclock pairs A.toml B.toml -n 10" in text.replace("\n", " ")
    document = json.loads(run_cli(str(tmp_path / "a"), str(tmp_path / "b"), "--json")[1])
    assert document["pairs_missing"] == FEWEST_PAIRS - 1
    p50 = document["metrics"]["load.latency.software.p50"]
    assert p50["b"] > p50["a"] > 4


def test_levels_and_their_change_agree() -> None:
    decisions = {
        decision.rule.metric: decision
        for decision in compare(units("a", 5), units("b", 6, share=900)).decisions
    }
    p50 = decisions["arm.added_latency.software.p50"]
    assert p50.change is not None
    assert p50.levels.change("ratio") == pytest.approx(p50.change.value)
    share = decisions["arm.quantum_share"]
    assert (share.levels.a, share.levels.b) == pytest.approx((0.99, 0.9))
    assert change(share) == "−9.00 pt"
    assert level(share, share.levels.a) == "99.0 %"


@pytest.mark.parametrize("spread", [0.001, 0.5, 3.0, 9.0])
@pytest.mark.parametrize("factor", [0.001, 1.0, 1000.0])
def test_an_interval_beyond_a_hundred_per_cent_is_not_printed(factor: float, spread: float) -> None:
    for pairs in (2, 12, 30):
        decision = decide(SLOWER, draw_noisy(10, pairs, 1, spread), draw_noisy(10 * factor, pairs, 2, spread))
        for number in re.findall(r"([+-][\d.]+) %", decision.why):
            assert abs(float(number)) <= 100


def test_runs_without_a_call_settle_nothing_and_are_no_number() -> None:
    idle = [replace(unit, shares={"arm.quantum_share": (0, 0)}) for unit in units("a", 5)]
    decisions = {decision.rule.metric: decision for decision in compare(idle, units("b", 5)).decisions}[
        "arm.quantum_share"
    ]
    assert (decisions.result, decisions.levels.a, decisions.why) == (
        Result.INCONCLUSIVE,
        None,
        "a run without a call",
    )
    assert decisions.has_few_calls


def test_runs_without_a_common_metric_are_refused() -> None:
    bare = [replace(unit, latencies={}, shares={}) for unit in units("a", 5)]
    with pytest.raises(SettingsError, match="no metric in common"):
        compare(bare, units("b", 5))


def test_junit_has_a_case_a_metric_and_markdown_a_row() -> None:
    named = [
        replace(unit, described=replace(unit.described, name="a|<&>\x01"), shares={"arm.a|b": (990, 1000)})
        for unit in units("a", 5)
    ]
    changed = [replace(unit, shares={"arm.a|b": (900, 1000)}) for unit in units("b", 6)]
    comparison = compare(named, changed)
    suite = Xml.fromstring(junit(comparison, strict=False)).find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert len(cases) == len(comparison.decisions) == int(suite.attrib["tests"])
    failed = {
        f"{case.attrib['classname']}.{case.attrib['name']}"
        for case in cases
        if case.find("failure") is not None
    }
    assert failed == {
        decision.rule.metric for decision in comparison.decisions if decision.result is Result.FAIL
    }
    assert int(suite.attrib["failures"]) == len(failed) == 3
    rows = [line for line in to_markdown(comparison).splitlines() if line.startswith("| `arm.")]
    assert len(rows) == len(comparison.decisions)
    assert all(row.count("|") == 7 for row in rows)


def test_what_is_not_settled_is_skipped_and_under_strict_an_error() -> None:
    comparison = compare(units("a", 5, pairs=2), units("b", 6, pairs=2))
    for strict, kind, attribute in ((False, "skipped", "skipped"), (True, "error", "errors")):
        suite = Xml.fromstring(junit(comparison, strict=strict)).find("testsuite")
        assert suite is not None
        assert (
            len(suite.findall(f"testcase/{kind}"))
            == int(suite.attrib[attribute])
            == len(comparison.decisions)
        )


def test_a_failing_comparison_ends_with_the_metric_and_the_code(tmp_path: Path) -> None:
    for number in range(10):
        for place, side in enumerate("ab" if number % 2 else "ba"):
            started = f"2026-11-22T10:{2 * number + place:02d}:00"
            load_folder(tmp_path / side / f"{number:02d}", started, {"a": 0.004, "b": 0.005}[side], number)
    for form in ("text", "json", "markdown", "junit"):
        app = typer.Typer(pretty_exceptions_enable=False)
        app.command()(verb)
        ran = CliRunner().invoke(app, [str(tmp_path / "a"), str(tmp_path / "b"), "--format", form])
        assert ran.exit_code == 99
        assert re.fullmatch(r"shotclock: FAIL: load\..*; exit code 99", ran.stderr.splitlines()[-1])
    with pytest.raises(SettingsError, match="--format junit"):
        choose_format("junit", json=True)


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    load_folder(tmp_path / "run", "2026-11-22T10:00:00", 0.004, 0)
    for b in (tmp_path / "run", tmp_path):
        with pytest.raises(SettingsError, match="are the same run"):
            compare(read_units(tmp_path / "run"), read_units(b), sequential=True)


def test_runs_without_a_partner_are_left_out_and_counted() -> None:
    comparison = compare(units("a", 5, pairs=14), units("b", 5))
    assert (comparison.pairs, comparison.unpaired) == (12, 2)
    assert comparison.result is Result.PASS


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    load_folder(tmp_path / "cut", "2026-11-22T10:00:00", 0.004, 0)
    summary = tmp_path / "cut" / "load.json"
    summary.write_text(summary.read_text(encoding="utf-8")[:500], encoding="utf-8")
    with pytest.raises(SettingsError, match=r"load\.json"):
        read_units(tmp_path)
    load_folder(tmp_path / "rowless", "2026-11-22T10:00:00", 0.004, 0)
    (tmp_path / "rowless" / "calls.parquet").unlink()
    with pytest.raises(SettingsError, match=r"calls\.parquet"):
        read_units(tmp_path / "rowless")
    steps = synthetic.rows(synthetic.SMALL)
    folder = RunFolder.create(tmp_path / "bench")
    folder.write_summary(synthetic.summary(steps))
    pq.write_table(pa.table({"arm": ["x"]}), folder.path / "steps.parquet")
    with pytest.raises(SettingsError, match="has no column seed"):
        read_units(folder.path)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="neither a run folder"):
        read_units(tmp_path)
    with pytest.raises(SettingsError, match="neither a run folder"):
        read_units(tmp_path / "nothing")
