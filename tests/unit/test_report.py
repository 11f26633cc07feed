"""The report: every section there, nothing from the network, nothing claimed from too few samples."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

import synthetic
from shotclock.bench.judge.loss_curves import curve_against_time
from shotclock.bench.judge.shares import shares
from shotclock.bench.numbers import limit, number
from shotclock.bench.record.rows import StepRow, table
from shotclock.bench.report.kit.arm_styles import looks
from shotclock.bench.report.kit.latency_samples import samples
from shotclock.bench.report.kit.panel import spread
from shotclock.bench.report.kit.wording import figure, quantile
from shotclock.bench.report.run.charts import figures
from shotclock.bench.report.run.page import write_report
from shotclock.bench.report.run.tables import latency
from shotclock.bench.report.run.terminal import show
from shotclock.bench.schema import Latency, Percentile, Summary

SECTIONS = {
    "verdict",
    "arms",
    "gates",
    "charts",
    "latency",
    "time",
    "counts",
    "cost",
    "profiles",
    "environment",
    "method",
}
CHARTS = {
    "added_latency_by_fabric",
    "loss_and_throughput",
    "fabrics_side_by_side",
    "paired_seeds",
    "loss_against_money",
    "break_even",
    "tail_latency",
    "quantum_latency_ecdf",
    "latency_over_time",
    "stage_waterfall",
    "amdahl_ceiling",
    "held_out_loss",
}
HOSTILE = '<script>alert("1")</script>&\'{{ 7 * 7 }}'
FETCHING = {"src", "href", "xlink:href", "action", "data", "poster", "srcset", "background"}


class Page(HTMLParser):
    """What the tests ask of a page: its ids, tags, text and everything that would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.fetches: list[str] = []
        self.leads: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.leads.add((value or "").removeprefix("#"))
            inside = tag == "a" and (value or "").startswith("#")
            if (name in FETCHING and not inside) or (name == "style" and "url" in (value or "")):
                self.fetches.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.text += data


def make_page(steps: list[StepRow], summary: Summary, folder: Path) -> tuple[str, Page]:
    text = write_report(summary, table(steps), folder).read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page, Path]:
    steps = synthetic.rows(synthetic.QUICK)
    folder = tmp_path_factory.mktemp("quick")
    return *make_page(steps, synthetic.summary(steps), folder), folder


def test_the_page_has_every_section_and_chart(quick: tuple[str, Page, Path]) -> None:
    _, page, folder = quick
    assert set(page.ids) >= SECTIONS | CHARTS
    assert len(page.ids) == len(set(page.ids))
    assert page.leads <= set(page.ids)
    assert page.leads >= SECTIONS
    assert {path.stem for path in (folder / "charts").glob("*.svg")} == CHARTS
    assert {path.stem for path in (folder / "charts").glob("*.png")} == CHARTS
    for name in CHARTS:
        assert (folder / "charts" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_needs_no_network_and_no_script(quick: tuple[str, Page, Path]) -> None:
    text, page, _ = quick
    assert page.fetches == []
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    assert "@import" not in text
    assert not re.search(r"url\(\s*[\"']?(?!#)", text)
    policy = (
        "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\""
    )
    assert policy in text
    text = text.replace(policy, "")
    outside = re.sub(r'xmlns(:xlink)?="http[^"]+"', "", text)
    sources = {c.source for p in synthetic.summary([]).profiles.values() for c in p.components}
    for source in sources:
        outside = outside.replace(source, "")
    assert "http" not in outside


def test_what_is_emulated_and_what_is_not_known_is_said(quick: tuple[str, Page, Path]) -> None:
    _, page, folder = quick
    assert page.text.count("EMULATED") > 10
    assert "too few samples (n=5)" in page.text
    for name in CHARTS:
        assert "EMULATED" in (folder / "charts" / f"{name}.svg").read_text(encoding="utf-8")


def test_every_chart_is_an_image_with_words_and_figures(quick: tuple[str, Page, Path]) -> None:
    text, page, _ = quick
    for name in CHARTS:
        drawn = text[text.index(f'<figure id="{name}"') :].split("</figure>")[0]
        assert re.search(r'<svg[^>]* role="img" aria-label="[^"]+"', drawn)
        assert "<title>" in drawn
        assert "<desc" in drawn
        assert "<figcaption>" in drawn
        assert "<details>" in drawn
        assert "<table>" in drawn
    assert page.tags.count("figure") == len(CHARTS)


def test_hostile_names_stay_text_over_several_seeds_on_a_virtual_clock(tmp_path: Path) -> None:
    size = replace(synthetic.SMALL, clock="virtual")
    arms = tuple(
        replace(arm, name=HOSTILE) if arm.name == "hybrid-colocated" else arm for arm in synthetic.ARMS
    )
    steps = synthetic.rows(size, arms=arms)
    summary = synthetic.summary(steps, size, arms=arms)
    profile = summary.profiles["colocated"].model_copy(update={"title": HOSTILE})
    summary = summary.model_copy(
        update={
            "run_id": HOSTILE,
            "workload": HOSTILE,
            "environment": {HOSTILE: HOSTILE},
            "profiles": {HOSTILE: profile},
            "verdict": summary.verdict.model_copy(update={"headline": HOSTILE}),
        }
    )
    text, page = make_page(steps, summary, tmp_path)
    assert set(page.ids) >= CHARTS
    assert "VIRTUAL CLOCK" in (tmp_path / "charts" / "held_out_loss.svg").read_text(encoding="utf-8")
    assert "VIRTUAL CLOCK" in page.text
    assert "<script" not in text
    assert "script" not in page.tags
    assert HOSTILE in page.text
    printed = terminal(summary, tmp_path, width=200)
    assert HOSTILE in printed


def test_an_arm_without_calls_is_left_out_and_one_whose_calls_all_missed_leaves_by_the_top(
    tmp_path: Path,
) -> None:
    steps = synthetic.rows(synthetic.SMALL, never_called="hybrid-colocated", all_missed="quantum-raw")
    summary = synthetic.summary(steps, synthetic.SMALL)
    drawn_samples = samples(summary, table(steps), "quantum_latency")
    assert "hybrid-colocated" not in {sample.arm for sample in drawn_samples}
    assert "hybrid-colocated" not in {
        sample.arm for sample in samples(summary, table(steps), "added_latency")
    }
    missed = next(sample for sample in drawn_samples if sample.arm == "quantum-raw")
    assert missed.measured_ms == ()
    assert missed.n == missed.missed > 0
    _, page = make_page(steps, summary, tmp_path)
    assert set(page.ids) >= CHARTS
    assert "hybrid-colocated" in page.text


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    steps = [s for s in synthetic.rows(synthetic.SMALL) if not s.arm.startswith("hybrid-p") and s.step < 37]
    summary = synthetic.summary(steps, synthetic.SMALL, status="interrupted")
    _, page = make_page(steps, summary, tmp_path)
    assert "INTERRUPTED" in page.text
    assert "INTERRUPTED" in (tmp_path / "charts" / "held_out_loss.svg").read_text(encoding="utf-8")
    assert "INTERRUPTED" in terminal(summary, tmp_path)


def test_a_run_without_a_single_row_still_has_a_page(tmp_path: Path) -> None:
    summary = synthetic.summary([], synthetic.SMALL, status="interrupted")
    _, page = make_page([], summary, tmp_path)
    assert set(page.ids) >= SECTIONS
    assert figures(summary, table([])) == []
    assert "Verdict" in terminal(summary, tmp_path)


def test_one_evaluation_a_diverged_loss_and_a_silent_cloud_can_be_drawn(tmp_path: Path) -> None:
    silent = "hybrid-public-cloud"
    steps = [s for s in synthetic.rows(synthetic.SMALL, never_called=silent) if s.step <= 24]
    steps = [
        replace(s, eval_loss=float("nan")) if s.arm == "quantum-raw" and s.eval_loss else s for s in steps
    ]
    summary = synthetic.summary(steps, synthetic.SMALL)
    _, page = make_page(steps, summary, tmp_path)
    assert set(page.ids) >= CHARTS
    assert "quantum-raw" not in {course.arm for course in curve_against_time(summary, table(steps))}
    assert silent not in {sample.arm for sample in samples(summary, table(steps), "added_latency")}
    assert silent in page.text


def test_a_classical_arm_is_never_drawn_as_missing_samples() -> None:
    steps = synthetic.rows(synthetic.SMALL)
    drawn_samples = samples(synthetic.summary(steps, synthetic.SMALL), table(steps), "quantum_latency")
    assert "classical-control" not in {sample.arm for sample in drawn_samples}


def terminal(summary: Summary, folder: Path, width: int = 80, commands: Sequence[str] = ()) -> str:
    stream = io.StringIO()
    show(summary, folder, Console(file=stream, width=width, no_color=True), commands)
    return stream.getvalue()


@pytest.mark.parametrize("size", [synthetic.QUICK, synthetic.FULL], ids=["quick", "full"])
@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_every_section_in_order(size: synthetic.Size, width: int, tmp_path: Path) -> None:
    summary = synthetic.summary(synthetic.rows(size), size)
    text = terminal(summary, tmp_path, width, ["shotclock compare A B"])
    order = [
        "EMULATED",
        "Thresholds",
        "Mission gates",
        "Latency by arm",
        "Latency by stage",
        "Where the time",
    ]
    order += ["Cost per loss", "Verdict", "shotclock compare A B", str(tmp_path)]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "\x1b" not in text
    assert "…" not in text
    for name in summary.arms:
        assert name in text
    longest = max(len(line) for line in text.splitlines() if str(tmp_path) not in line)
    assert longest <= width


def test_calls_by_who_answered_stand_apart_and_figures_without_calls_do_not_stand(tmp_path: Path) -> None:
    steps = synthetic.rows(synthetic.SMALL, all_missed="quantum-raw")
    drawn = latency(synthetic.summary(steps, synthetic.SMALL))
    named = {group.title: [cells[0].text for cells in group.rows] for group in drawn.groups}
    assert "classical-only" not in named
    assert named["classical-control"] == ["added_latency"]
    assert "of which fallback" not in named["quantum-raw"]
    steps = synthetic.rows(synthetic.QUICK)
    summary = synthetic.summary(steps)
    named = {group.title: [cells[0].text for cells in group.rows] for group in latency(summary).groups}
    assert {"of which qpu", "of which fallback"} < set(named["hybrid-colocated-protected"])
    assert "    fallback" in terminal(summary, tmp_path)


def test_the_terminal_gives_no_percentile_of_five_calls(tmp_path: Path) -> None:
    text = terminal(synthetic.summary(synthetic.rows()), tmp_path)
    cloud = text[text.index("hybrid-public-cloud\n") if "hybrid-public-cloud\n" in text else 0 :]
    assert "too few samples" in text
    assert "too few" in cloud


def test_a_percentile_is_a_number_a_limit_or_nothing() -> None:
    some = Latency(
        n=700,
        missed=20,
        censored_above=200,
        mean=31,
        percentiles={
            "p50": Percentile(value=30.25, upper_bound=31),
            "p95": Percentile(value=80, upper_bound=None),
            "p99": Percentile(value=None, upper_bound=None),
        },
    )
    assert quantile(some, "p50") == ("30.2", "≤ 31.0")
    assert quantile(some, "p95") == ("80.0", "bound > 200")
    assert quantile(some, "p99") == ("> 200", "")
    few = Latency(n=5, mean=1, percentiles={"p50": "too_few_samples"})
    assert quantile(few, "p50") == ("too few samples (n=5)", "")


def test_figures_are_found_by_the_names_a_verdict_cites() -> None:
    summary = synthetic.summary(synthetic.rows())
    assert figure(summary, "hybrid-colocated.quantum_latency.p95_ms") == "too few samples (n=90)"
    assert figure(summary, "hybrid-colocated.quantum_latency.mean_ms").endswith(" ms")
    assert "%" in figure(summary, "hybrid-colocated.quantum_share")
    assert figure(summary, "no-such-arm.figure") == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0"),
        (0.042123, "0.0421"),
        (12.34, "12.3"),
        (999.4, "999"),
        (12345.6, "12,346"),
        (3.2e-7, "3.2e-07"),
    ],
)
def test_numbers_have_three_digits(value: float, words: str) -> None:
    assert number(value) == words


@pytest.mark.parametrize(
    ("value", "words"), [(0.95, "0.95"), (200.0, "200"), (1500.0, "1,500"), (1234567.0, "1,234,567")]
)
def test_a_limit_reads_as_it_was_set(value: float, words: str) -> None:
    assert limit(value) == words


def test_labels_are_spread_in_order_and_inside() -> None:
    placed = spread([5.0, 5.0, 9.9, 0.0], 1.0, 0.0, 10.0)
    ordered = sorted(placed)
    assert all(b - a >= 1.0 - 1e-9 for a, b in pairwise(ordered))
    assert ordered[0] >= 0.0
    assert ordered[-1] <= 10.0
    assert placed[3] == min(placed)


def test_an_arm_keeps_its_look_and_no_two_share_one() -> None:
    names = [arm.name for arm in synthetic.ARMS]
    faces = looks([*names, "hybrid-mine"])
    assert faces["hybrid-colocated"] == looks(["hybrid-colocated"])["hybrid-colocated"]
    assert len({face.colour for face in faces.values()}) == len(faces)
    assert len({(face.dash, face.shape) for face in faces.values()}) == len(faces)


def test_shares_of_an_inline_arm_add_up() -> None:
    summary = synthetic.summary(synthetic.rows(synthetic.SMALL), synthetic.SMALL)
    for arm in summary.arms:
        assert sum(share.share for share in shares(summary, arm)) == pytest.approx(1.0, abs=0.02)
