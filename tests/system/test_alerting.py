"""Incidents under a real service, Prometheus and Alertmanager: alert, runbook, recovery."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from shotclock import cli
from shotclock.app.drills.catalog import BY_NAME, ENTRIES
from shotclock.app.drills.monitoring import read_delay, shorten
from shotclock.app.drills.record import DrillRecord
from shotclock.app.drills.registry import DRILLS, run_drills
from shotclock.app.drills.runbook import read_steps
from shotclock.domain.errors import MachineError
from shotclock.ops.export import FILES

REHEARSED = ("qpu-unresponsive", "certificate-expiry", "parked-jobs")
"""Of one site, whose start takes most of the time. `make soak-drills` runs all."""


@pytest.fixture(scope="module")
def rehearsed() -> dict[str, DrillRecord]:
    return {record.name: record for record in run_drills(REHEARSED, lambda _: None)}


@pytest.mark.parametrize("name", REHEARSED)
def test_the_alert_fires_the_runbook_works_and_the_alert_is_resolved(
    rehearsed: dict[str, DrillRecord], name: str
) -> None:
    record = rehearsed[name]
    assert record.failure == ""
    assert len(record.steps) == len(read_steps(name))
    assert record.calls.with_samples > 0
    assert record.calls.lost == 0
    assert record.document()["passed"] is True


def test_every_drill_has_a_page_an_alert_and_steps() -> None:
    assert set(DRILLS) == set(BY_NAME)
    rules = yaml.safe_load((FILES / "prometheus" / "shotclock-alerts.yml").read_text())
    pages = {
        rule["alert"]: rule["annotations"]["runbook_url"].rpartition("/")[2]
        for group in rules["groups"]
        for rule in group["rules"]
    }
    for entry in ENTRIES:
        assert pages[entry.alert] == f"{entry.name}.md"
        changes = [step.command for step in read_steps(entry.name) if not step.is_diagnosis]
        assert any(DRILLS[entry.name].ends_before in command for command in changes), entry.name
    without_drill = set(pages.values()) - {f"{name}.md" for name in DRILLS}
    assert without_drill == {"troubles.md"}  # it leads to the others


def test_the_time_scale_divides_every_duration_and_no_threshold() -> None:
    for name in ("shotclock-alerts.yml", "shotclock-rules.yml", "prometheus.yml", "alertmanager.yml"):
        text = (FILES / "prometheus" / name).read_text()
        scaled = shorten(text, 60.0)
        assert yaml.safe_load(scaled).keys() == yaml.safe_load(text).keys()
        unscaled = re.findall(r"(?:\[|for: |group_\w+: |_interval: )\d+[smhd]\b", scaled)
        assert unscaled in ([], ["repeat_interval: 24h", "repeat_interval: 1h"]), name
    assert shorten("for: 5m\nexpr: x[6h] > 14 * 86400", 60.0) == "for: 5000ms\nexpr: x[360000ms] > 14 * 86400"


def test_what_the_exported_rule_adds_is_read_from_it() -> None:
    alerts = (FILES / "prometheus" / "shotclock-alerts.yml").read_text()
    assert (read_delay(alerts, "ShotclockDown").hold_s, read_delay(alerts, "ShotclockDown").window_s) == (
        160,
        0,
    )
    stale = read_delay(alerts, "ShotclockStaleShare")
    assert (stale.hold_s, stale.window_s) == (600 + 30 + 30, 1_800)


def test_a_missing_program_is_one_line_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = CliRunner().invoke(cli.app, ["drill", "service-down"])
    assert isinstance(ran.exception, MachineError)
    assert ran.exception.exit_code == 3
    assert str(ran.exception).startswith(
        "drill: prometheus and prometheus-alertmanager and curl cannot be found; install what is missing"
    )
