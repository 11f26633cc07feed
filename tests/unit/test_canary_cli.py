"""`shotclock canary`: what a person reads of a canary, and the exit codes for a script."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from typer.testing import CliRunner

from shotclock.cli.canary import canary
from shotclock.domain.canary import NO_CANARY, CanaryGroup, CanaryMeasure, CanaryPhase, CanaryReport

RUNNING = CanaryReport(
    CanaryPhase.RUNNING,
    share=10,
    previous="0",
    caller="operator-1",
    on_pass="promote",
    slow_ms=200.0,
    verdict="inconclusive",
    needed=4200,
    canary=CanaryGroup(800, 3, 12, 790, 151.2, 40, 0.2512),
    control=CanaryGroup(7200, 1, 1, 0, 2.1),
    measures=(
        CanaryMeasure("deadline_misses", -0.0042, 0.0241, 0.01),
        CanaryMeasure("validation", None, None, 0.01),
    ),
)
WORSE = replace(RUNNING, phase=CanaryPhase.ROLLED_BACK, needed=0, reason="more slow calls than the control")


def run(report: CanaryReport, monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setattr(import_module("shotclock.cli.canary"), "ask_operator", lambda *_: report)
    return CliRunner().invoke(canary, ["status", *words])


def test_a_running_canary_says_what_is_known_and_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(RUNNING, monkeypatch).stdout.splitlines() == [
        "canary of 10 % (before: 0), started by operator-1: running; "
        "inconclusive, about 4,200 more calls of the canary needed",
        "  canary   800 calls, 3 missed, 12 slow, 790 with samples, p95 at most 151 ms, "
        "validation 0.2512 of 40 values",
        "  control  7,200 calls, 1 missed, 1 slow, 0 with samples, p95 at most 2.1 ms",
        "  deadline misses: canary minus control -0.0042 to +0.0241, passes up to +0.01",
        "  validation: canary minus control unknown to unknown, passes up to +0.01",
    ]
    assert run(NO_CANARY, monkeypatch).stdout == "no canary\n"
    assert "rolled back, more slow calls than the control" in run(WORSE, monkeypatch).stdout


@pytest.mark.parametrize(
    ("report", "words", "code"),
    [
        (NO_CANARY, ("--strict",), 0),
        (RUNNING, (), 0),
        (RUNNING, ("--strict",), 5),
        (replace(RUNNING, phase=CanaryPhase.PROMOTED), ("--strict",), 0),
        (WORSE, (), 99),
    ],
)
def test_a_script_reads_the_end_from_the_exit_code(
    report: CanaryReport, words: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = run(report, monkeypatch, "--json", *words)
    assert ran.exit_code == code
    assert json.loads(ran.stdout)["phase"] == report.phase
