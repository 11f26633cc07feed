"""The pages as a reader meets them: laid out by a real browser, on two screens, in the dark and on paper."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import chromium
import pytest
from chromium import BrowserError, Tab, browser
from page_lint import find_barriers, find_defects
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

import synthetic
from overviews import ILL, WELL
from queueing import MS, Queue, done, late, run_load
from shotclock.bench.compare.several import Several, read_several
from shotclock.bench.history.store import History, HistoryEntry, HistoryFigure
from shotclock.bench.history.trends import read_trends
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario
from shotclock.bench.load.judge import judge
from shotclock.bench.load.records import CallRecord
from shotclock.bench.load.schema import Knee
from shotclock.bench.load.summarise import LoadFacts, summarise
from shotclock.bench.record.folder import RunFolder, environment
from shotclock.bench.record.rows import table
from shotclock.bench.report.load.page import write_load_report
from shotclock.bench.report.run.page import write_report
from shotclock.bench.report.several.page import write_several
from shotclock.bench.report.trends.page import write_trends
from shotclock.domain.overview import Overview
from shotclock.runtime import http_server
from shotclock.runtime.http_connections import Connections, HttpLimits
from shotclock.telemetry.web import application

MACHINE = environment()
HANG_S = 600.0


def make_bench_page(folder: Path, size: synthetic.Size) -> Path:
    """A run of every arm, its folder as far as reports read it."""
    rows = synthetic.rows(size)
    summary = synthetic.summary(rows, size)
    run = RunFolder.create(folder)
    run.write_steps(rows)
    run.write_summary(summary)
    return write_report(summary, table(rows), folder)


def make_load_page(folder: Path) -> Path:
    """A sweep in which every third call of the highest rate had no samples."""
    plan = ArrivalPlan(Scenario.SERVER, 100, 20, 200 * MS, n=12)
    calls: list[CallRecord] = []
    runs = []
    for number, rate in enumerate((60.0, 120.0, 90.0)):
        queue = Queue(lambda call: 0.004, lambda call: late if call % 3 == 0 and call > 1_500 else done)
        own = replace(plan, rate_per_s=rate, seed=number)
        calls_of_run = [replace(call, run=number) for call in run_load(own, queue)]
        runs.append(judge(calls_of_run, own, "quantum"))
        calls += calls_of_run
    facts = LoadFacts(
        "0.1.0",
        "2026-11-22T10:00:00+00:00",
        "load-20261122-100000",
        False,
        "a dedicated orchestrator, over loopback gRPC",
        "emulated",
        True,
        "virtual",
        MACHINE,
        "quantum",
        Knee(met_per_s=90.0, missed_per_s=120.0, why="above it the deadline was missed"),
    )
    return write_load_report(summarise(runs, calls, plan, facts), calls, folder)


def read_six_runs(folder: Path) -> Several:
    """Six runs of one kind, on two hosts."""
    folders = []
    for number in range(6):
        rows = synthetic.rows(synthetic.SMALL)
        slower = {**MACHINE, "cpu": "Another Processor 9654 96-Core"} if number > 3 else MACHINE
        summary = synthetic.summary(rows, synthetic.SMALL)
        arms = {
            name: arm.model_copy(update={"samples_per_s": 1_000.0 * (number + place + 5)})
            for place, (name, arm) in enumerate(summary.arms.items())
        }
        summary = summary.model_copy(
            update={
                "arms": arms,
                "run_id": f"20261122-{number}",
                "started_at": f"2026-11-22T0{number}:00:00+00:00",
                "environment": slower,
            }
        )
        run = RunFolder.create(folder / f"run-{number}")
        run.write_steps(rows)
        run.write_summary(summary)
        folders.append(run.path)
    return read_several(folders, ["cpu"])


def make_trends_page(folder: Path) -> Path:
    """Thirty runs in two environments; the software's level moves at the nineteenth."""
    folder.mkdir(parents=True, exist_ok=True)
    with History(folder / "history.db") as history:
        for number in range(30):
            wave = 1 + 0.02 * ((7 * number) % 5 - 2)
            figures = (
                HistoryFigure(
                    "load.software.p99_ms", "ms", "lower", 1_000, wave * (20 if number < 18 else 26), 30
                ),
                HistoryFigure("load.deadline_hit_ratio", "ratio", "higher", 1_000, 1 - 0.01 * wave, 0.98),
                HistoryFigure("load.goodput_per_s", "1/s", "higher", 1_000, 2_000 * wave, None),
            )
            other = {**MACHINE, "cpu": "Another Processor 9654 96-Core"}
            history.add(
                HistoryEntry(
                    f"load-{number}",
                    "load",
                    f"2026-11-{number + 1:02d}T03:00:00",
                    "0.1.0" if number < 18 else "0.2.0",
                    True,
                    "virtual",
                    other if number % 4 == 3 else MACHINE,
                    figures,
                )
            )
        return write_trends(read_trends(history), history, folder / "page")


PAGES: dict[str, Callable[[Path], Path]] = {
    "bench": lambda folder: make_bench_page(folder, synthetic.FULL),
    "quick bench": lambda folder: make_bench_page(folder, synthetic.QUICK),
    "load": make_load_page,
    "several": lambda folder: write_several(read_six_runs(folder), folder / "page"),
    "trends": make_trends_page,
}


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as browser_tab:
        yield browser_tab


@pytest.mark.parametrize("kind", PAGES)
def test_a_reader_has_nothing_to_complain_of(kind: str, tab: Tab, tmp_path: Path) -> None:
    page = PAGES[kind](tmp_path / "folder")
    assert [str(defect) for defect in find_defects(tab, page)] == []


class Served:
    """The status page of a service in a test's hands: `overview` is what it shows next."""

    def __init__(self) -> None:
        self.overview = WELL
        self.is_reachable = True

    def read(self) -> Overview:
        if not self.is_reachable:
            raise HTTPException(503)
        return self.overview

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Its address; the server runs on another thread."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        async def start() -> http_server.HttpServer:
            app = application(CollectorRegistry(), self.read, tuple)
            listening = http_server.listen("127.0.0.1", 0, "--test")
            return await http_server.serve(app, listening, Connections(HttpLimits()))

        web = asyncio.run_coroutine_threadsafe(start(), loop).result()
        try:
            yield f"http://127.0.0.1:{web.port}/status"
        finally:
            asyncio.run_coroutine_threadsafe(web.stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


@pytest.fixture(scope="module")
def status_page() -> Iterator[tuple[Served, str]]:
    served = Served()
    with served.serve() as url:
        yield served, url


@pytest.mark.parametrize("overview", [WELL, ILL], ids=["well", "ill"])
def test_an_operator_has_nothing_to_complain_of(
    overview: Overview, tab: Tab, status_page: tuple[Served, str]
) -> None:
    served, url = status_page
    served.overview = overview
    defects = [*find_barriers(tab, url), *(find_defects(tab, url) if overview is ILL else ())]
    assert [str(defect) for defect in defects] == []


BROKEN_CELLS = """() => [...document.querySelectorAll("#refusals tbody th, #tenants td")].filter(cell => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  return new Set([...range.getClientRects()].map(box => box.top)).size > 1;
}).map(cell => cell.innerText)"""


@pytest.mark.parametrize("width", [1200, 390])
def test_names_of_limits_and_amounts_are_in_one_line(
    width: int, tab: Tab, status_page: tuple[Served, str]
) -> None:
    served, url = status_page
    refused = {"flag_quantum_kernels": 1_210, "remaining_budget": 2_530}
    served.overview = replace(ILL, everybody=replace(ILL.everybody, refused=refused))
    tab.open(url, width)
    assert "flag_quantum_kernels" in tab.run("() => document.querySelector('#refusals').innerText")
    assert tab.run(BROKEN_CELLS) == []


def test_the_status_page_renews_itself_and_stays_where_it_is(
    tab: Tab, status_page: tuple[Served, str]
) -> None:
    served, url = status_page
    served.overview = ILL
    tab.open(url, 390)
    tab.run("() => scrollTo(0, 500)")
    tab.press("Tab", 9)
    focused = "() => [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]"
    assert tab.run(focused) == ["pause", "solid"]
    scrolled = tab.run("() => scrollY")

    def wait(condition: str) -> None:
        until = time.monotonic() + HANG_S
        while not tab.run(f"() => {condition}"):
            assert time.monotonic() < until
            time.sleep(0.05)

    served.overview = replace(ILL, waiting=411)
    wait("document.getElementById('tiles').innerText.includes('411 waiting')")
    assert tab.run("() => scrollY") == scrolled
    assert tab.run(focused) == ["pause", "solid"]
    assert tab.run("() => document.title") == "Shotclock is not ready"
    served.is_reachable = False
    wait("!document.getElementById('stale').hidden")
    served.is_reachable = True
    wait("document.getElementById('stale').hidden")
    assert [text for text in tab.errors if "503" not in text] == []


CUT = """() => [...document.querySelectorAll('figure.first')].map(figure => {
  const shown = [...figure.querySelectorAll('svg')].filter(svg => svg.checkVisibility());
  const box = shown[0].getBoundingClientRect();
  return [shown.map(svg => svg.getAttribute('aria-label')), figure.scrollWidth - figure.clientWidth,
          box.left >= 0 && box.right <= innerWidth];
})"""


def test_a_telephone_shows_the_first_screen_whole(tab: Tab, tmp_path: Path) -> None:
    page = make_bench_page(tmp_path / "folder", synthetic.QUICK)
    names = ["What a call adds to an iteration", "What the training got, and how fast"]
    tab.media()
    for width in (390, 1100):
        tab.open(page, width)
        assert tab.run(CUT) == [[[name], 0, True] for name in names]
        assert tab.names("image")[:2] == names


CHART = (
    '<figure id="c"><svg viewBox="0 0 200 100" role="img" aria-label="a chart" fill="currentColor">'
    '<text x="10" y="50">{}</text>{}</svg></figure>'
)
WHOLE = CHART.format("words", "")
BROKEN = {
    "network: http": '<img src="http://example.org/x.png" alt="a" width="99" height="99">',
    "network: file": '<link rel="stylesheet" href="x.css">',
    "console": "<script>console.error('broken')</script>",
    "console: Uncaught": "<script>throw new Error('broken')</script>",
    "accessibility": WHOLE.replace(' aria-label="a chart"', ""),
    "closed: figure empty:": '<figure id="empty"></figure>',
    "closed: svg c: 10 x": WHOLE.replace("<svg", '<svg style="width:10px"'),
    "closed: figure c: from": WHOLE.replace("<figure", '<figure style="margin-left:95vw; width: 300px"'),
    "the page is": '<div style="width:3000px">wide</div>',
    "text is": '<p style="width:30px; white-space:nowrap">words that do not fit</p>',
    "leaves its chart": CHART.format("words" * 40, ""),
    "lies over": CHART.format("words", '<text x="12" y="52">others</text>'),
    "light: ": '<p style="color:#aaa">pale</p>',
    "light: a line of rgb(86, 180, 233)": CHART.format(
        "words", '<g class="mark-line"><path d="M0,0L99,9" stroke="#56B4E9"/></g>'
    ),
    "dark: a line of rgb(27, 27, 26)": CHART.format(
        "words", '<g class="mark-symbol"><path d="M0,0L99,9L9,99Z" fill="#1b1b1a"/></g>'
    ),
    "dark: ": '<p style="color:#1b1b1a">ink on night</p>',
    "paper: table": '<div style="overflow-x:auto"><table><caption>wide</caption><tr>'
    + "<td>a_word_that_does_not_break</td>" * 12
    + "</tr></table></div>",
    "has a scroll bar": '<div style="overflow-x:auto">drawn on paper, too</div>',
    "pages": '<div style="height:90000px">long</div>',
}


FRAME = (
    "<!DOCTYPE html><title>a page</title><style>:root { color-scheme: light dark }"
    "@media (prefers-color-scheme: dark) { body { background: #111; color: #eee } }</style><body>"
)


def test_a_sound_page_is_not_complained_of(tab: Tab, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"{FRAME}<p>words</p>{WHOLE}", encoding="utf-8")
    assert find_defects(tab, page) == []


@pytest.mark.parametrize("where", BROKEN)
def test_a_broken_page_is_complained_of(where: str, tab: Tab, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(FRAME + BROKEN[where], encoding="utf-8")
    defects = [str(defect) for defect in find_defects(tab, page)]
    assert any(where in defect for defect in defects), defects


def test_axe_complains_of_a_broken_page(tab: Tab, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"{FRAME}<button></button>", encoding="utf-8")
    assert any("button-name: button" in str(defect) for defect in find_barriers(tab, page))


def test_without_a_browser_the_tests_fail_in_a_clear_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(chromium, "NAMES", ("no-such-browser",))
    with pytest.raises(BrowserError, match="apt-get install chromium"), browser(tmp_path):
        pass
