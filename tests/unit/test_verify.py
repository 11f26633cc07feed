"""A run folder is checked against its own rows: a whole one has no fault, and each broken rule is listed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

import synthetic
from queueing import MS, Queue, run_load
from run_folder import LOCK, facts, write_run
from shotclock.bench.columns import mark_origin
from shotclock.bench.history.store import History, entry
from shotclock.bench.judge.summarise import summarise
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario
from shotclock.bench.load.folder import write_load
from shotclock.bench.load.judge import judge
from shotclock.bench.load.records import read, write
from shotclock.bench.load.summarise import LoadFacts
from shotclock.bench.load.summarise import summarise as summarise_load
from shotclock.bench.record.folder import RunFolder, environment
from shotclock.bench.record.rows import StepRow, steps, table
from shotclock.bench.record.trace import write_trace
from shotclock.bench.report.load.page import write_load_report
from shotclock.bench.report.run.page import write_report
from shotclock.bench.verify.check import verify
from shotclock.cli.verify import verify as verb
from shotclock.domain.errors import SettingsError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the main job leaves it, of synthetic rows."""
    rows = synthetic.rows(synthetic.SMALL)
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    summary = write_run(folder.path, rows)
    counted = {name: sum(arm.causes.values()) for name, arm in summary.arms.items()}
    caused = [step.arm for step in rows if step.call and step.call.cause]
    assert counted == {name: caused.count(name) for name in summary.arms}
    assert sum(counted.values())
    write_report(summary, table(rows), folder.path)
    return folder.path


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return copytree(whole, tmp_path / "run")


def faults(folder: Path) -> list[str]:
    return [str(fault) for fault in verify(folder)]


def change_summary(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    file = folder / "summary.json"
    summary = json.loads(file.read_bytes())
    change(summary)
    file.write_text(json.dumps(summary), encoding="utf-8")


def test_rows_survive_the_file(tmp_path: Path) -> None:
    rows = synthetic.rows(synthetic.SMALL)
    assert steps(table(rows)) == rows
    assert steps(table([])) == []


def test_a_whole_folder_has_no_fault(run: Path) -> None:
    assert faults(run) == []


@pytest.mark.parametrize(
    "name",
    [
        "summary.json",
        "steps.parquet",
        "config.lock.toml",
        "machine.json",
        "latency.hlog",
        "trace.pftrace",
        "report.html",
    ],
)
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    assert f"{name}: is missing" in faults(run)


def test_rows_of_another_run_or_mark_are_found(run: Path) -> None:
    rows = steps(pq.read_table(run / "steps.parquet"))
    RunFolder(run).write_steps(rows, mark_origin("another", emulated=False))
    assert faults(run) == [
        "steps.parquet: is of run another, and the summary of 20261122-0900",
        "steps.parquet: emulated: says 'no', and the summary says True",
    ]


def test_every_fault_is_listed_not_the_first(run: Path) -> None:
    (run / "trace.pftrace").write_bytes(b"\xff\xff\xff")
    (run / "latency.hlog").write_text("nonsense", encoding="utf-8")
    (run / "config.lock.toml").write_text("[bench]\nsedes = 3\n", encoding="utf-8")
    rmtree(run / "charts")
    listed = faults(run)
    for start in (
        "trace.pftrace: is not a Perfetto",
        "latency.hlog: ",
        "config.lock.toml: ",
        "charts: does not hold a chart",
    ):
        assert any(fault.startswith(start) for fault in listed), (start, listed)
    assert any("did you mean 'seeds'" in fault for fault in listed)


def test_a_percentile_that_its_rows_do_not_give_is_found(run: Path) -> None:
    def better(summary: dict[str, dict[str, dict[str, object]]]) -> None:
        summary["metrics"]["hybrid-colocated.added_latency"]["mean"] = 1.0
        summary["metrics"]["hybrid-colocated.quantum_share"]["value"] = 0.5
        summary["arms"]["hybrid-colocated"]["calls"] = 10_000
        del summary["metrics"]["quantum-raw.bind"]

    change_summary(run, better)  # type: ignore[arg-type]
    text = "\n".join(faults(run))
    assert "metrics.hybrid-colocated.added_latency.mean: says 1.0; the rows give" in text
    assert "metrics.hybrid-colocated.quantum_share.value: says 0.5" in text
    assert "arms.hybrid-colocated.calls: says 10000" in text
    assert "metrics.quantum-raw.bind: is missing" in text
    assert len(text.splitlines()) == 4


def test_a_gate_that_its_rows_do_not_give_is_found(run: Path) -> None:
    def make_pass(summary: dict[str, list[dict[str, object]]]) -> None:
        slow = next(gate for gate in summary["mission_gates"] if "public-cloud" in str(gate["metric"]))
        slow["result"] = "PASS"

    change_summary(run, make_pass)  # type: ignore[arg-type]
    (fault,) = faults(run)
    assert fault.startswith(
        "summary.json: mission_gates.hybrid-public-cloud.quantum_latency.p95_ms.result: says PASS"
    )


def test_the_schema_is_checked_key_by_key(run: Path) -> None:
    def break_summary(summary: dict[str, object]) -> None:
        summary["n"] = "twelve"
        summary["nonsense"] = 1
        del summary["clock"]

    change_summary(run, break_summary)
    listed = faults(run)
    assert {fault.split(":")[1].strip() for fault in listed} >= {"n", "nonsense", "clock"}


def rewrite_rows(folder: Path, change: Callable[[list[StepRow]], list[StepRow]]) -> None:
    file = folder / "steps.parquet"
    pq.write_table(table(change(steps(pq.read_table(file)))), file)


def test_rows_that_are_lost_or_doubled_are_found(run: Path) -> None:
    rewrite_rows(run, lambda rows: [*rows[:5], *rows[6:], rows[0]])
    text = "\n".join(faults(run))
    assert "steps.parquet: classical-only, seed 0, step 0: occurs twice" in text
    assert "steps missing: [5]" in text


def test_a_stage_with_more_emulated_wait_than_time_is_found(run: Path) -> None:
    def break_stage_order(rows: list[StepRow]) -> list[StepRow]:
        number = next(i for i, row in enumerate(rows) if row.call and row.call.stages)
        call = rows[number].call
        assert call is not None
        first = replace(call.stages[0], emulated_ns=call.stages[0].duration_ns + 1)
        rows[number] = replace(rows[number], call=replace(call, stages=(first, *call.stages[1:])))
        return rows

    rewrite_rows(run, break_stage_order)
    assert any("emulated" in fault and "took" in fault for fault in faults(run))


def test_missing_columns_and_torn_files_are_found(run: Path) -> None:
    file = run / "steps.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["in_time"]), file)
    assert "steps.parquet: has no column in_time" in faults(run)
    file.write_bytes(b"PAR1")
    assert any(fault.startswith("steps.parquet: cannot be read") for fault in faults(run))


def test_an_emulated_run_says_so_on_page_charts_and_trace(run: Path) -> None:
    page = run / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace("EMULATED", "measured"), encoding="utf-8")
    chart = run / "charts" / "tail_latency.svg"
    chart.write_text(chart.read_text(encoding="utf-8").replace("EMULATED", "measured"), encoding="utf-8")
    trace = run / "trace.pftrace"
    rows = steps(pq.read_table(run / "steps.parquet"))
    unmarked = [
        replace(row, call=replace(row.call, stages=tuple(replace(s, emulated_ns=0) for s in row.call.stages)))
        if row.call
        else row
        for row in rows
    ]
    write_trace(unmarked, trace)
    text = "\n".join(faults(run))
    assert "report.html: the run was emulated and the page does not say EMULATED" in text
    assert "charts/tail_latency.svg: the run was emulated" in text
    assert "trace.pftrace: hybrid-colocated: waited for an emulation and is not marked EMULATED" in text


def test_an_arm_on_the_emulation_cannot_call_itself_hardware(run: Path) -> None:
    def hardware(summary: dict[str, object]) -> None:
        summary["emulated"] = False
        for arm in summary["arms"].values():  # type: ignore[attr-defined]
            arm["emulated"] = False

    change_summary(run, hardware)
    text = "\n".join(faults(run))
    assert "arms.quantum-raw: ran on the emulated provider and is not marked" in text
    assert "has emulated waits" in text


@pytest.mark.parametrize(
    "added",
    [
        "<script>alert(1)</script>",
        '<img src="https://example.org/x.png">',
        '<link rel="stylesheet" href="x.css">',
        "<style>@import 'x.css';</style>",
        '<p style="background: url(x.png)">',
        '<p onclick="x()">',
    ],
)
def test_a_page_that_fetches_or_runs_something_is_found(run: Path, added: str) -> None:
    page = run / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{added}</body>"), encoding="utf-8")
    assert any(fault.startswith("report.html: ") for fault in faults(run))


def test_an_environment_of_unknown_origin_is_found(run: Path) -> None:
    def remove_cpu(summary: dict[str, dict[str, object]]) -> None:
        del summary["environment"]["cpu"]

    change_summary(run, remove_cpu)  # type: ignore[arg-type]
    listed = faults(run)
    assert any("environment.cpu: is missing" in fault for fault in listed)
    assert "machine.json: is not the environment of summary.json" in listed


def test_a_cost_that_its_rows_and_prices_do_not_give_is_found(run: Path) -> None:
    def halve_money(summary: dict[str, dict[str, dict[str, dict[str, float]]]]) -> None:
        summary["arms"]["quantum-raw"]["cost"]["money"] /= 2

    change_summary(run, halve_money)  # type: ignore[arg-type]
    (fault,) = faults(run)
    assert fault.startswith("summary.json: arms.quantum-raw.cost.money: says ")


def test_a_training_that_diverged_is_kept_read_and_said(run: Path, tmp_path: Path) -> None:
    rows = [
        replace(row, eval_loss=math.nan) if row.arm == "quantum-raw" and row.eval_loss is not None else row
        for row in synthetic.rows(synthetic.SMALL)
    ]
    folder = RunFolder(run)
    folder.write_steps(rows)
    folder.write_summary(summarise(rows, facts()))
    assert faults(run) == []
    sentences = [sentence.text for sentence in folder.read_summary().verdict.sentences]
    assert (
        "quantum-raw: no finite held-out loss to compare with classical-only's; training diverged."
        in sentences
    )
    with History(tmp_path / "history.db") as history:
        history.add(entry(run))
        assert history.trend("quantum-raw.loss") == []
        assert len(history.trend("quantum-raw.compute_h")) == 1


def test_a_metric_cannot_pass_a_threshold_that_there_is_not(run: Path) -> None:
    def pass_metric(summary: dict[str, dict[str, dict[str, object]]]) -> None:
        summary["metrics"]["quantum-raw.quantum_share"]["ok"] = True

    change_summary(run, pass_metric)  # type: ignore[arg-type]
    assert faults(run) == [
        "summary.json: metrics.quantum-raw.quantum_share.ok: says True; the rows give None"
    ]


@pytest.mark.parametrize(
    ("lock", "fault"),
    [
        ("", "kernel.name: is missing; the run had qat_flip"),
        (LOCK.replace("n = 12", "n = 11"), "kernel.n: says 11; the run had 12"),
        (LOCK.replace("gpu_hour = 2.1", "gpu_hour = 1.0"), "cost.gpu_hour: says 1.0; the run had 2.1"),
        (LOCK.replace("'quantum-raw'", "'hybrid-none'"), "bench.arms["),
    ],
)
def test_settings_of_another_run_are_found(run: Path, lock: str, fault: str) -> None:
    (run / "config.lock.toml").write_text(lock, encoding="utf-8")
    assert any(listed.startswith(f"config.lock.toml: {fault}") for listed in faults(run))


def test_a_torn_page_and_a_torn_picture_are_found(run: Path) -> None:
    page, chart = run / "report.html", next((run / "charts").glob("*.png"))
    whole = page.read_bytes()
    page.write_bytes(whole[: len(whole) // 2 * 2 - 9])
    chart.write_bytes(chart.read_bytes()[:-1])
    assert faults(run) == [
        "report.html: is not a complete page",
        f"charts/{chart.name}: is not a complete PNG",
    ]
    page.write_bytes(b"\xff" + whole)
    assert faults(run)[0] == "report.html: is not UTF-8 text: invalid start byte at byte 0"


def test_the_page_of_another_run_is_found(run: Path) -> None:
    page = run / "report.html"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("20261122-0900", "20261122-0901"), encoding="utf-8")
    (fault,) = faults(run)
    assert fault.startswith("report.html: is not the page of run 20261122-0900; ")


@pytest.fixture
def load_test(tmp_path: Path) -> Path:
    plan = ArrivalPlan(Scenario.SERVER, 100, 10, 200 * MS, n=4)
    calls = run_load(plan, Queue(lambda number: 0.004))
    described = LoadFacts(
        "0.1",
        "2026-11-22T09:00:00",
        "load-1",
        False,
        "queue",
        "queue",
        True,
        "virtual",
        environment(),
        "quantum",
        None,
    )
    path = tmp_path / "load"
    path.mkdir()
    summary = summarise_load([judge(calls, plan, "quantum")], calls, plan, described)
    write_load(summary, calls, path)
    write_load_report(summary, calls, path)
    return path


def test_a_load_tests_figures_are_recomputed(load_test: Path) -> None:
    assert faults(load_test) == []
    file = load_test / "calls.parquet"
    calls = read(file)
    write(calls, file, mark_origin("another", emulated=True))
    assert faults(load_test) == ["calls.parquet: is of run another, and the summary of load-1"]
    write([replace(calls[0], completed_ns=calls[0].completed_ns + 10**9), *calls[1:]], file)
    listed = faults(load_test)
    assert any("runs[0].latency.mean" in fault for fault in listed)
    write([replace(calls[0], completed_ns=0), *calls[1:]], file)
    assert any("time runs backwards" in fault for fault in faults(load_test))
    pq.write_table(pa.table({"run": [0]}), file)
    assert any("has no column" in fault for fault in faults(load_test))


def test_a_load_tests_page_is_checked_too(load_test: Path) -> None:
    page = load_test / "report.html"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</main>", '<img src="https://example.org/x.png"></main>'), encoding="utf-8")
    (fault,) = faults(load_test)
    assert fault.startswith("report.html: fetches something: <img")
    page.write_text(text.replace("EMULATED", "measured"), encoding="utf-8")
    assert any("does not say EMULATED" in fault for fault in faults(load_test))
    page.unlink()
    assert faults(load_test) == ["report.html: is missing"]


def test_what_follows_from_all_runs_of_a_load_test_is_recomputed(load_test: Path) -> None:
    file = load_test / "load.json"
    summary = json.loads(file.read_bytes())
    file.write_text(json.dumps(summary | {"quoted": 1, "official": True, "rate_per_s": 50}), encoding="utf-8")
    assert faults(load_test) == [
        "load.json: quoted: says 1; the rows give 0",
        "load.json: official: says True; the rows give False",
        "load.json: rate_per_s: says 50.0; its first run says 100.0",
    ]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_a_load_tests_torn_machine_file_is_a_fault(load_test: Path, content: bytes) -> None:
    (load_test / "machine.json").write_bytes(content)
    (fault,) = faults(load_test)
    assert fault.startswith("machine.json: is not ")


def ran(*arguments: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(verb)
    return CliRunner().invoke(app, list(arguments))


def test_exit_codes_and_the_record(run: Path, tmp_path: Path) -> None:
    history = tmp_path / "history.db"
    result = ran(str(run), "--record", str(history), "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"schema": 1, "run": str(run), "faults": [], "recorded": True}
    assert "already in" in ran(str(run), "--record", str(history)).stdout
    (run / "machine.json").unlink()
    result = ran(str(run), "--record", str(tmp_path / "other.db"))
    assert result.exit_code == 99
    assert "machine.json: is missing" in result.stdout
    assert not (tmp_path / "other.db").exists()
    with History(history) as store:
        assert [point.run_id for point in store.trend("quantum-raw.quantum_share")] == [entry(run).run_id]
    missing = ran(str(tmp_path / "nothing")).exception
    assert isinstance(missing, SettingsError)
