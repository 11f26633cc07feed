"""Several runs: their spread, their hosts distinguished, and refusal where environments differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

import synthetic
from shotclock.bench.compare.several import Row, Several, as_json, by_host, read_several
from shotclock.bench.record.folder import RunFolder, environment
from shotclock.bench.report.several.page import headline, write_several
from shotclock.domain.errors import SettingsError

MACHINE = environment()
ANOTHER = {**MACHINE, "cpu": "another", "host": "another"}


def a_run(folder: Path, number: int, machine: Mapping[str, str] = MACHINE, faster: float = 1.0) -> Path:
    """The same rows each time; samples_per_s times `faster`."""
    rows = synthetic.rows(synthetic.SMALL)
    summary = synthetic.summary(rows, synthetic.SMALL)
    arms = {
        name: arm.model_copy(update={"samples_per_s": (arm.samples_per_s or 0.0) * faster})
        for name, arm in summary.arms.items()
    }
    run = RunFolder.create(folder / f"run-{number}")
    run.write_steps(rows)
    run.write_summary(
        summary.model_copy(
            update={
                "run_id": f"r{number}",
                "started_at": f"2026-11-22T{number:02d}:00:00",
                "environment": dict(machine),
                "arms": arms,
            }
        )
    )
    return run.path


def row(several: Several, metric: str) -> Row:
    return next(row for rows in several.groups.values() for row in rows if row.metric == metric)


def test_each_runs_figure_its_mean_interval_worst_and_spread(tmp_path: Path) -> None:
    runs = [a_run(tmp_path, number, faster=faster) for number, faster in ((2, 1.1), (1, 1.0), (3, 0.9))]
    several = read_several(runs)
    assert [run.name for run in several.runs] == ["run-1", "run-2", "run-3"]
    throughput = row(several, "quantum-raw.samples_per_s")
    base = throughput.present_values[0]
    assert throughput.present_values == pytest.approx([base, 1.1 * base, 0.9 * base])
    assert throughput.worst == pytest.approx(0.9 * base)
    assert throughput.spread == pytest.approx(0.2)
    assert throughput.deviation == pytest.approx(0.1 * base)
    assert throughput.estimate is not None
    assert throughput.estimate.value == pytest.approx(base)
    assert (throughput.estimate.low, throughput.estimate.high) == pytest.approx((0.9 * base, 1.1 * base))
    same = row(several, "quantum-raw.total_iteration_time.p50_ms")
    assert same.spread == 0
    assert "20.0 % of their mean apart" in headline(several)


def test_a_figure_that_one_run_lacks_has_no_mean_and_no_worst() -> None:
    some = Row("a.latency.p99_ms", "ms", "lower", (1.0, None), None)
    assert (some.worst, some.spread, some.deviation) == (None, None, None)


def test_other_environments_are_refused_in_a_line_unless_named(tmp_path: Path) -> None:
    runs = [a_run(tmp_path, 1), a_run(tmp_path, 2, ANOTHER), a_run(tmp_path, 3, ANOTHER, faster=2.0)]
    with pytest.raises(SettingsError, match=r"cpu: .* against another.*--despite cpu") as refused:
        read_several(runs)
    assert "\n" not in str(refused.value)
    several = read_several(runs, ["cpu"])
    assert len(several.hosts) == 2
    assert several.accepted[0].startswith("cpu: ")
    first, second = by_host(several, row(several, "quantum-raw.samples_per_s")).values()
    assert second == pytest.approx(1.5 * (first or 0.0))
    text = write_several(several, tmp_path / "page").read_text(encoding="utf-8")
    assert "Means by host" in text
    assert "Compared despite a difference. cpu" in text


def test_a_host_has_its_name_where_machine_json_has_one(tmp_path: Path) -> None:
    runs = [a_run(tmp_path, n, {**MACHINE, "host": f"node-{n}"}) for n in (1, 2)]
    assert read_several(runs, ["host"]).hosts == ["node-1", "node-2"]


def test_the_same_run_twice_or_an_unfinished_one_is_no_variance(tmp_path: Path) -> None:
    run = a_run(tmp_path, 1)
    with pytest.raises(SettingsError, match="independent runs"):
        read_several([run, run])
    file = run / "summary.json"
    file.write_text(file.read_text().replace('"status": "complete"', '"status": "interrupted"'))
    with pytest.raises(SettingsError, match="is interrupted"):
        read_several([run, a_run(tmp_path, 2)])


@pytest.mark.parametrize("count", [2, 7])
def test_the_page_has_every_runs_figure_and_its_mark(count: int, tmp_path: Path) -> None:
    several = read_several([a_run(tmp_path, n, faster=1 + n / 100) for n in range(count)])
    page = write_several(several, tmp_path / "page")
    text = page.read_text(encoding="utf-8")
    assert "EMULATED" in text
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "").replace('="http://www.w3.org', "")
    for run in several.runs:
        assert f">{run.name}</th>" in text
    assert ("Runs 6 to 7" in text) == (count == 7)
    assert ("a claim needs 5" in text) == (count == 2)
    assert (page.parent / "charts" / "run_scatter.png").is_file()
    document = json.loads(json.dumps(as_json(several)))
    assert len(document["metrics"]["quantum-raw.loss"]["values"]) == count


def test_runs_of_like_hosts_merge_and_are_distinguished_by_name(tmp_path: Path) -> None:
    runs = [a_run(tmp_path, number, {**MACHINE, "host": f"node-{number % 2}"}) for number in (1, 2, 3)]
    several = read_several(runs)
    assert several.hosts == ["node-1", "node-0"]
    assert several.accepted == ()
