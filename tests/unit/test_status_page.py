"""The status as a browser and as a script gets it."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from dataclasses import asdict, replace
from email.message import Message
from html import unescape

import pytest
from prometheus_client import CollectorRegistry
from pydantic import TypeAdapter

from overviews import HOSTILE, ILL, NOW, WELL
from shotclock.domain.outcome import REJECTION_LIMITS
from shotclock.domain.overview import Overview, RecentCalls, to_json
from shotclock.domain.status import BreakerState, Phase
from shotclock.runtime.http_connections import Connections, HttpLimits
from shotclock.runtime.http_server import listen, serve
from shotclock.telemetry.amounts import show_instant, show_share, show_span
from shotclock.telemetry.page import page
from shotclock.telemetry.problems import find_problems, show_title
from shotclock.telemetry.sections import LIMITS, sections, tiles
from shotclock.telemetry.text import show_text
from shotclock.telemetry.web import application, find_reasons


def ask(path: str, accept: str) -> tuple[Message, str]:
    def get(port: int) -> tuple[Message, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"accept": accept})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.headers, answer.read().decode()

    async def work() -> tuple[Message, str]:
        app = application(CollectorRegistry(), lambda: WELL, tuple, lambda: ("RDMA x is degraded",))
        web = await serve(app, listen("127.0.0.1", 0, "--test"), Connections(HttpLimits()))
        try:
            return await asyncio.to_thread(get, web.port)
        finally:
            await web.stop()

    return asyncio.run(work())


@pytest.mark.parametrize("path", ["/", "/status"])
def test_a_browser_gets_a_page_that_loads_nothing(path: str) -> None:
    headers, text = ask(path, "text/html,*/*")
    assert headers["content-type"].startswith("text/html")
    assert headers["cache-control"] == "no-store"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    nonce = policy.partition("script-src 'nonce-")[2].partition("'")[0]
    assert text.count(f'nonce="{nonce}"') == 2
    assert "http-equiv" in text.partition("<noscript>")[2].partition("</noscript>")[0]


def test_a_degraded_path_is_reported_with_readiness_and_does_not_end_it() -> None:
    assert ask("/readyz", "*/*")[1] == "ok\nRDMA x is degraded\n"


@pytest.mark.parametrize("path", ["/", "/status"])
def test_a_script_gets_everything_as_json(path: str) -> None:
    headers, text = ask(path, "*/*")
    assert headers["content-type"] == "application/json"
    assert json.loads(text) == json.loads(json.dumps(asdict(WELL)))
    assert {"phase", "provider", "emulated", "breaker", "waiting", "running", "lanes_limit", "service_p95_s",
            "accepted", "finished", "warnings"} <= set(json.loads(text))  # fmt: skip


def test_a_service_that_is_well_needs_no_attention() -> None:
    assert find_problems(WELL) == ()
    assert "<h1>Shotclock is ready</h1>" in page(WELL)
    assert 'class="concern"' not in page(WELL)
    assert "(EMULATED)" in page(WELL)


def test_what_is_wrong_is_said_once_and_first() -> None:
    problems = find_problems(ILL)
    assert problems[0] == ILL.reasons[0]
    for words in (
        "breaker is half open",
        "ledger cannot be written",
        "7 parked jobs",
        "4.20 USD",
        "missed",
        "flags are STALE",
    ):
        assert sum(words in problem for problem in problems) == 1
    assert sum("expired" in problem for problem in problems) == 1
    assert sum("spiffe" in problem for problem in problems) == 0
    assert show_title(ILL) == "Shotclock is not ready"
    assert show_title(replace(WELL, breaker=BreakerState.OPEN)).endswith("1 thing needs attention")
    assert show_title(replace(WELL, phase=Phase.DRAINED, reasons=("x",))).endswith("(drained)")


def test_what_somebody_else_wrote_stays_text() -> None:
    text = page(ILL)
    assert "<img" not in text
    assert unescape(text).count(HOSTILE) >= 20 + 3


def test_what_is_not_known_is_not_a_number() -> None:
    few = RecentCalls("", 40, 40, 0, 0, {}, 40, 0.01)
    values = {tile.name: (tile.value.text, tile.note) for tile in tiles(replace(WELL, everybody=few))}
    assert values["p99 of all calls"] == ("too few", "40 calls; a p99 needs 662")
    none = {tile.name: tile.value.text for tile in tiles(replace(WELL, everybody=RecentCalls("")))}
    assert none["Answered in time"] == none["With QPU samples"] == "–"
    unknown = page(replace(WELL, paid=True, budget=None, service_p95_s=0.0))
    assert '<th scope="row">budget left</th><td>unknown</td>' in unknown
    assert '<th scope="row">predicted p95 of a job</th><td>unknown</td>' in unknown


def test_every_limit_is_explained() -> None:
    assert set(LIMITS) == {limit for limit in REJECTION_LIMITS if not limit.startswith("flag_")}


def test_amounts_are_never_rounded_to_all_or_nothing() -> None:
    assert [show_share(*parts) for parts in ((0, 0), (0, 9), (9, 9), (1, 10**6), (10**6 - 1, 10**6))] == [
        *("–", "0 %", "100 %", "< 0.1 %", "> 99.9 %"),
    ]
    assert [show_span(seconds) for seconds in (0.4, 59, 61, 3_600, 90_061, 86_400 * 3 + 59)] == [
        *("0 s", "59 s", "1 min 1 s", "1 h", "1 d 1 h", "3 d"),
    ]
    assert show_instant(NOW, NOW) == "00:53:20"
    assert show_instant(NOW - 86_400, NOW) == "2026-11-29 00:53"


def test_readiness_fails_with_every_reason() -> None:
    assert find_reasons(Phase.READY, ()) == ()
    assert find_reasons(Phase.STARTING, ("expired", "no workers")) == (
        *("templates are being compiled", "expired", "no workers"),
    )
    assert [len(find_reasons(phase, ())) for phase in Phase] == [1, 0, 1, 1]


@pytest.mark.parametrize("overview", [WELL, ILL], ids=["well", "ill"])
def test_the_terminal_gets_the_same_within_80_columns(overview: Overview) -> None:
    lines = show_text(overview, "qpu.example.org:7443").splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == f"qpu.example.org:7443 is ready: {overview.provider} provider" + (
        " (EMULATED), breaker closed" if overview is WELL else ", breaker half open"
    )
    assert len([line for line in lines if line.startswith("! ")]) == len(find_problems(overview))
    titles = [section.title for section in sections(overview)]
    assert [line for line in lines if line in titles] == titles
    if overview is WELL:
        assert "  vision-train  2,400       0     0       40  97.9 %  35 ms   110 ms   180 ms" in lines
        assert "  nlp-train        60       0     0        0  83.3 %  41 ms  too few  too few" in lines


def test_what_controls_a_terminal_is_shown_as_an_escape() -> None:
    hostile = replace(WELL, callers=(replace(WELL.everybody, caller="a\x1b]0;b\x07\x9b2J"),))
    assert not [line for line in show_text(hostile, "x:1").splitlines() if not line.isprintable()]


def test_an_overview_comes_back_from_its_document() -> None:
    assert TypeAdapter(Overview).validate_json(to_json(ILL)) == ILL
    assert TypeAdapter(Overview).validate_json(to_json(WELL)) == WELL
