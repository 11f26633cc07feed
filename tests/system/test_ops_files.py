"""The exported rules, tests and dashboard as Prometheus's tools read them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from shotclock import cli

GRAFANA = {"$__rate_interval": "5m", "$job": ".+", "$instance": ".+"}


def promtool(*arguments: str, folder: Path) -> str:
    ran = subprocess.run(
        ["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "ops"
    ran = CliRunner().invoke(cli.app, ["ops", "export", str(folder), "--json"])
    assert ran.exit_code == 0, ran.output
    assert all(Path(file).is_file() for file in json.loads(ran.stdout)["files"])
    return folder


def test_promtool_accepts_the_configuration_and_its_rules(exported: Path) -> None:
    assert "valid prometheus config" in promtool(
        "check", "config", "prometheus.yml", folder=exported / "prometheus"
    )


def test_the_unit_tests_of_the_alerts_pass_and_cover_each_of_them(exported: Path) -> None:
    folder = exported / "prometheus"
    promtool("test", "rules", "shotclock-tests.yml", folder=folder)
    groups = yaml.safe_load((folder / "shotclock-alerts.yml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    tests = yaml.safe_load((folder / "shotclock-tests.yml").read_text())["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    assert {check["alertname"] for check in checks if check["exp_alerts"]} == alerts


def list_queries(dashboard: Path) -> Iterator[str]:
    for panel in json.loads(dashboard.read_text())["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for variable, value in GRAFANA.items():
                query = query.replace(variable, value)
            yield query


def test_every_query_of_the_dashboard_is_promql(exported: Path, tmp_path: Path) -> None:
    queries = list(list_queries(exported / "grafana" / "shotclock.json"))
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(queries)} rules found" in promtool("check", "rules", "panels.yml", folder=tmp_path)
