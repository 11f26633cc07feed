"""The terminal's one page: at most 40 lines at 80 columns, and no figure of too few calls."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

import synthetic
from shotclock.bench.judge.verdict import verdict
from shotclock.bench.report.run import terminal_brief
from shotclock.bench.report.run.terminal_brief import show_brief
from shotclock.bench.schema import GateResult, Result, Summary


def page(summary: Summary, folder: Path, width: int = 80) -> list[str]:
    stream = io.StringIO()
    show_brief(summary, folder, Console(file=stream, width=width, no_color=True))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("thresholds", [0, 1, 30])
def test_a_run_fits_one_page_however_many_thresholds_it_has(
    width: int, thresholds: int, tmp_path: Path
) -> None:
    summary = synthetic.summary(synthetic.rows(synthetic.SMALL), synthetic.SMALL)
    gate = GateResult.model_validate(summary.mission_gates[0].model_dump() | {"result": Result.FAIL})
    causes = {"the key was refused": 3, "no samples by the deadline": 1}
    arms = {
        name: arm.model_copy(update={"causes": causes} if arm.calls_quantum else {})
        for name, arm in summary.arms.items()
    }
    summary = summary.model_copy(update={"thresholds": (gate,) * thresholds, "arms": arms})
    summary = summary.model_copy(update={"verdict": verdict(summary)})
    lines = page(summary, tmp_path, width)
    assert len(lines) <= 40
    assert max(map(len, lines[:-1])) <= width
    assert "the key was refused (3 calls)" in "\n".join(lines)
    assert all(any(line.startswith(name) for line in lines) for name in summary.arms)
    assert lines[-1] == f"Report: {tmp_path}"


def test_every_failing_gate_of_a_full_list_has_its_reason(tmp_path: Path) -> None:
    summary = synthetic.summary(synthetic.rows(synthetic.SMALL), synthetic.SMALL)
    first = summary.mission_gates[0].model_dump()
    gates = tuple(
        GateResult.model_validate(first | {"result": result, "why": f"reason {number}"})
        for number, result in enumerate([Result.PASS, Result.FAIL, Result.FAIL, Result.FAIL, Result.FAIL])
    )
    summary = summary.model_copy(update={"thresholds": gates, "mission_gates": ()})
    text = "\n".join(page(summary, tmp_path))
    assert [number for number in range(5) if f"reason {number}" in text] == [1, 2, 3, 4]


def test_no_percentile_of_too_few_calls_is_printed(tmp_path: Path) -> None:
    lines = page(synthetic.summary(synthetic.rows(synthetic.QUICK)), tmp_path)
    (cloud,) = [line for line in lines if line.startswith("hybrid-public-cloud ")]
    assert cloud.count("too few") == 3


def test_where_the_qpu_stands_is_a_whole_sentence_at_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = "hybrid-colocated: optimum 93.4 %, beats greedy 18.4 %, random 94.9 %, annealing 0.0 %"
    monkeypatch.setattr(terminal_brief, "summarise_ladder", lambda summary: sentence)
    summary = synthetic.summary(synthetic.rows(synthetic.SMALL), synthetic.SMALL)
    assert sentence in " ".join(line.strip() for line in page(summary, tmp_path))
