"""What `shotclock ops export` writes: complete, never over other files, and of metrics that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from shotclock.domain.accounting import MoneyLeft
from shotclock.domain.canary import CanaryPhase, CanaryReport
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.ledger import LedgerState
from shotclock.ops.export import FILES, RUNBOOKS, export, read_files
from shotclock.placement.error_bursts import BurstRules, BurstWatch
from shotclock.placement.figures.families import VersionChanges, list_families
from shotclock.placement.figures.totals import Totals
from shotclock.telemetry.canary_facts import CanaryFacts
from shotclock.telemetry.host_figures import HostFigures
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.telemetry.service_facts import ServiceFacts
from shotclock.wire.certificates import is_open_to_others

PAGES = Path(__file__).parents[2] / "docs" / "runbooks"
RULES = ("shotclock-rules.yml", "shotclock-alerts.yml")
SELECTOR = re.compile(r"(?<![\w$])([a-z_][\w:]*)(?:\{([^}]*)\})?(?!\s*\(|[\w:])")
MATCHER = re.compile(r'(\w+)\s*(=~?|!=)\s*"([^"]*)"')
LABELS = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)")
WORDS = {"and", "or", "unless", "bool", "offset", "by", "on", "scalar", "vector"}
TARGET_LABELS = {"job", "instance"}
"""Prometheus adds them; `up` is its own too."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ops"


def list_written(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_every_file_is_written_and_names_the_exported_runbooks(folder: Path) -> None:
    written = export(folder)
    places = {path.relative_to(folder) for path in written}
    assert list_written(folder) == places
    assert {path.name for path in places if path.parent.name == "runbooks"} == {
        page.name for page in PAGES.iterdir()
    }
    texts = "".join(path.read_text(encoding="utf-8") for path in written)
    assert RUNBOOKS not in texts
    assert f"file://{folder}/runbooks/parked-jobs.md" in texts


def test_the_runbooks_may_be_elsewhere(folder: Path) -> None:
    export(folder, "https://wiki.example.org/shotclock/")
    text = (folder / "prometheus" / "shotclock-alerts.yml").read_text(encoding="utf-8")
    assert '"https://wiki.example.org/shotclock/parked-jobs.md"' in text
    with pytest.raises(SettingsError, match=r"--runbooks: must be a URL without spaces"):
        export(folder / "x", 'https://wiki"\n')


def test_a_file_that_exists_is_kept_and_nothing_else_is_written(folder: Path) -> None:
    mine = folder / "prometheus" / "prometheus.yml"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(SettingsError, match=r"prometheus\.yml: exists; .*--force"):
        export(folder)
    assert list_written(folder) == {mine.relative_to(folder)}
    assert mine.read_text() == "mine"
    export(folder, force=True)
    assert "scrape_configs" in mine.read_text()


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("place", ["kubernetes", "docker/Dockerfile", "docker/dangling"])
def test_a_symbolic_link_is_never_followed(force: bool, place: str, folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    target = elsewhere if place == "kubernetes" else elsewhere / "file"
    elsewhere.mkdir()
    if place == "docker/Dockerfile":
        target.write_text("theirs")
    link = folder / place.replace("dangling", "Dockerfile")
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    with pytest.raises(SettingsError, match=r"is a symbolic link, which is not followed; remove it"):
        export(folder, force=force)
    assert list(elsewhere.iterdir()) == ([target] if place == "docker/Dockerfile" else [])
    assert not target.is_file() or target.read_text() == "theirs"


@pytest.mark.parametrize("place", ["ops", "ops/grafana"])
def test_a_file_in_place_of_a_folder_is_one_line(place: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("")
    with pytest.raises(SettingsError, match=r"is not a folder; choose another folder"):
        export(folder, force=True)


def test_a_folder_that_cannot_be_written_is_one_line() -> None:
    with pytest.raises(MachineError, match=r"^/proc/ops/\S+: cannot be written: .*; choose another folder$"):
        export(Path("/proc/ops"))


def read_rules() -> list[dict[str, Any]]:
    return [
        rule
        for name in RULES
        for group in yaml.safe_load((FILES / "prometheus" / name).read_text())["groups"]
        for rule in group["rules"]
    ]


def test_every_alert_has_a_severity_a_summary_and_a_runbook() -> None:
    alerts = [rule for rule in read_rules() if "alert" in rule]
    linked = set()
    for alert in alerts:
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert alert["annotations"]["summary"]
        base, _, page = alert["annotations"]["runbook_url"].rpartition("/")
        assert base == RUNBOOKS
        linked.add(page)
        assert f"`{alert['alert']}`" in (PAGES / page).read_text(encoding="utf-8")
    listed = (PAGES / "README.md").read_text(encoding="utf-8")
    assert {alert["alert"] for alert in alerts} == set(re.findall(r"`(Shotclock\w+)`", listed))
    assert linked == {page.name for page in PAGES.iterdir()} - {"README.md"}


def read_dashboard() -> Iterator[str]:
    dashboard = json.loads((FILES / "grafana" / "shotclock.json").read_text())
    for panel in dashboard["panels"]:
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"].removeprefix("label_values(").rpartition(",")[0]


def read_queries() -> Iterator[str]:
    """Every PromQL expression that a file of ours has."""
    yield from (str(rule["expr"]) for rule in read_rules())
    yield from read_dashboard()
    for page in [*PAGES.iterdir(), PAGES.parent / "metrics.md"]:
        for block in re.findall(r"^```promql\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            yield from block.splitlines()


def list_series() -> dict[str, list[dict[str, str]]]:
    """Labels of every series of a service, by name; empty where a name has no series yet."""
    metrics = Metrics()
    PrometheusRecorder(metrics, "unnamed")
    rows = {str(state): 0 for state in LedgerState}
    metrics.registry.register(
        ServiceFacts("0", lambda: 1.0, lambda: MoneyLeft(1.0, 1.0, "USD"), lambda: rows, lambda: False)
    )
    metrics.registry.register(CanaryFacts(lambda: CanaryReport(CanaryPhase.RUNNING)))
    families = list_families(None, ("gpu", "fabric", "components"), Totals(), VersionChanges({}))
    bursts = BurstWatch(BurstRules(1, 1.0, 1.0))
    for figures in (families, bursts.families()):
        metrics.registry.register(HostFigures(partial(tuple, figures)))
    series: dict[str, list[dict[str, str]]] = {"up": [{}]}
    for family in metrics.registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
        for suffix in suffixes.get(family.type, ("",)):
            series[family.name + suffix] = []
        for sample in family.samples:
            series.setdefault(sample.name, []).append(sample.labels)
    for rule in read_rules():
        if "record" in rule:
            series[rule["record"]] = []
    return series


def find_selectors(query: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Names of metrics and their matchers."""
    bare = LABELS.sub(" ", query)
    for name, matchers in SELECTOR.findall(re.sub(r"\[[^\]]*\]", "", bare)):
        if name not in WORDS:
            yield name, MATCHER.findall(matchers)


def test_every_metric_of_a_query_exists_with_its_labels_and_their_values() -> None:
    series, checked = list_series(), set()
    for query in read_queries():
        for name, matchers in find_selectors(query):
            assert name in series, f"{query}: {name}"
            checked.add(name)
            for label, operator, value in matchers:
                if label in TARGET_LABELS or label == "le" or not series[name]:
                    continue
                values = {labels.get(label) for labels in series[name]}
                expected = value.split("|") if operator == "=~" else [value]
                assert set(expected) <= values, f"{query}: {label} of {name} has {values}"
    assert len(checked) > 30


def test_what_a_query_may_get_wrong_is_found() -> None:
    selectors = dict(
        find_selectors('sum by (job) (rate(calls_total{outcome="done"}[5m])) > 2 * scalar(job:x:y)')
    )
    assert selectors == {"calls_total": [("outcome", "=", "done")], "job:x:y": []}


def read_resources() -> dict[str, dict[str, Any]]:
    loaded = [
        yaml.safe_load(text) for place, text in read_files() if place.parent == Path("kubernetes")
        if place.suffix == ".yaml"
    ]  # fmt: skip
    return {resource["kind"]: resource for resource in loaded}


def test_the_key_that_kubernetes_mounts_is_accepted_and_one_open_to_more_accounts_is_not() -> None:
    pod = read_resources()["StatefulSet"]["spec"]["template"]["spec"]
    (mode,) = (volume["secret"]["defaultMode"] for volume in pod["volumes"] if "secret" in volume)
    assert mode == 0o440
    assert not is_open_to_others(mode, owner=0)
    assert not is_open_to_others(0o600, owner=1000)
    assert is_open_to_others(mode, owner=1000)
    assert is_open_to_others(0o444, owner=0)
    assert is_open_to_others(0o460, owner=0)


def test_the_kubernetes_base_agrees_with_itself_and_with_the_service() -> None:
    resources = read_resources()
    assert set(resources["Kustomization"]["resources"]) == {
        f"{kind.lower()}.yaml" for kind in resources if kind != "Kustomization"
    }
    template = resources["StatefulSet"]["spec"]["template"]
    pods = template["metadata"]["labels"]
    for kind, place in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        assert resources[kind]["spec"][place]["matchLabels"] == pods
    assert resources["Service"]["spec"]["selector"] == pods
    (container,) = template["spec"]["containers"]
    probes = {name: probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}
    assert probes == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert template["spec"]["securityContext"]["runAsNonRoot"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in template["spec"]["volumes"]} | {"ledger"}
