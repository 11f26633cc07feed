"""The status as a browser and as a script gets it."""

from __future__ import annotations

import asyncio
import urllib.request
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from shotclock.domain.status import BreakerState, Phase, Status
from shotclock.runtime.http_connections import Connections, HttpLimits
from shotclock.runtime.http_server import listen, serve
from shotclock.telemetry.page import page
from shotclock.telemetry.web import application, find_reasons

WELL = Status(Phase.READY, "emulated", True, BreakerState.CLOSED, 3, 1, 5, 0.126, 120, 116)
ILL = replace(WELL, phase=Phase.DRAINING, breaker=BreakerState.HALF_OPEN)


@pytest.mark.parametrize(("accept", "kind"), [("text/html,*/*", "text/html"), ("*/*", "application/json")])
def test_a_browser_gets_a_page_and_a_script_json(accept: str, kind: str) -> None:
    def ask(port: int) -> tuple[str, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/status", headers={"accept": accept})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.headers["content-type"], answer.read().decode()

    async def work() -> tuple[str, str]:
        app = application(CollectorRegistry(), lambda: WELL)
        web = await serve(app, listen("127.0.0.1", 0, "--test"), Connections(HttpLimits()))
        try:
            return await asyncio.to_thread(ask, web.port)
        finally:
            await web.stop()

    content_type, text = asyncio.run(work())
    assert content_type.startswith(kind)
    assert "emulated" in text


def test_the_page_says_what_is_emulated_and_what_needs_attention() -> None:
    assert page(WELL).count("(EMULATED)") == 2
    assert "116 of 120" in page(WELL)
    assert 'class="attention"' not in page(WELL)
    assert page(ILL).count('class="attention"') == 2
    assert "half open" in page(ILL)


def test_a_provider_of_any_name_stays_text() -> None:
    assert "<b>" not in page(replace(WELL, provider="<b>"))


def test_readiness_fails_with_every_reason() -> None:
    assert find_reasons(Phase.READY, ()) == ()
    assert find_reasons(Phase.STARTING, ("expired", "no workers")) == (
        *("templates are being compiled", "expired", "no workers"),
    )
    assert [len(find_reasons(phase, ())) for phase in Phase] == [1, 0, 1, 1]
