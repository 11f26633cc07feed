"""The workflows of CI: they parse, the commands they run exist, and their scripts do what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

import base_environment
from shotclock import cli
from shotclock.app.main_job import parse_arms, parse_thresholds
from shotclock.settings import load

ROOT = Path(__file__).parents[2]
CI = ROOT / ".ci"
SCRIPTS = sorted(path for path in CI.iterdir() if not path.suffix)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
HERE = base_environment.scripts()
BUILTIN = frozenset(("echo", "mkdir"))


def jobs(workflow: Path) -> dict[str, Any]:
    jobs_of: dict[str, Any] = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return jobs_of


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for workflow in WORKFLOWS:
        for name, job in jobs(workflow).items():
            for step in job["steps"]:
                yield f"{workflow.name}: {name}", step


def script(name: str, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A script of .ci as a runner starts it, `shotclock` on its path."""
    environment = {
        **os.environ,
        "PATH": f"{HERE}:{os.environ['PATH']}",
        "GITHUB_ACTIONS": "true",
        **variables,
    }
    return subprocess.run(
        [str(CI / name), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_the_workflows_are_there_with_their_jobs() -> None:
    assert {path.stem for path in WORKFLOWS} == {"benchmark", "test"}
    assert set(jobs(ROOT / ".github/workflows/benchmark.yml")) == {"pull-request", "nightly", "hardware"}
    matrix = jobs(ROOT / ".github/workflows/test.yml")["test"]["strategy"]["matrix"]["python"]
    match = re.search(r"Python (3\.\d+) to (3\.\d+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert match is not None
    assert (matrix[0], matrix[-1]) == match.groups()


def test_every_job_is_bounded_in_time_and_rights() -> None:
    for workflow in WORKFLOWS:
        assert yaml.safe_load(workflow.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}
        for job in jobs(workflow).values():
            assert job["runs-on"]
            assert 0 < job["timeout-minutes"] <= 120


def test_actions_are_pinned_by_their_commit() -> None:
    for where, step in steps():
        assert ("uses" in step) != ("run" in step), where
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"]), f"{where}: {step['uses']}"
    for workflow in WORKFLOWS:
        uses = [line for line in workflow.read_text(encoding="utf-8").splitlines() if "uses:" in line]
        assert not [line for line in uses if not re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)]


def test_only_jobs_of_trusted_branches_may_write() -> None:
    for workflow in WORKFLOWS:
        triggers = yaml.safe_load(workflow.read_text(encoding="utf-8"))[True]  # YAML's reading of `on`
        assert "pull_request_target" not in triggers
        for name, job in jobs(workflow).items():
            writes = {scope for scope, access in job.get("permissions", {}).items() if access != "read"}
            assert writes <= {"issues"}, name
            assert not writes or job["if"] == "github.event_name != 'pull_request'", name


def test_a_pull_request_sees_no_secret() -> None:
    for name, job in jobs(ROOT / ".github/workflows/benchmark.yml").items():
        if "secrets." in json.dumps(job):
            assert job["if"] == "github.event_name != 'pull_request'", name


def test_every_command_of_a_workflow_resolves() -> None:
    commands = [(where, line) for where, step in steps() for line in step.get("run", "").splitlines()]
    assert len(commands) >= 10
    for where, line in commands:
        subprocess.run(["bash", "-n", "-c", line], check=True)
        words = line.split()
        if words[0] == "make":
            targets = [word for word in words[1:] if word not in {"-C", "base", "change"}]
            ended = subprocess.run(
                ["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, check=False
            )
            assert ended.returncode == 0, f"{where}: {line}"
        elif words[0] not in BUILTIN:
            path = ROOT / words[0].removeprefix("change/")
            assert os.access(path, os.X_OK), f"{where}: {line}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_options_a_script_names_exist(path: Path) -> None:
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], check=True)
    verbs = get_command(cli.app).commands  # type: ignore[attr-defined]
    text = path.read_text(encoding="utf-8")
    for verb, arguments in re.findall(
        r'^\s*(?:elif )?(?:shotclock|"\$change"|"\$1") (\w+)([^|;<>\n]*)', text, re.MULTILINE
    ):
        known = {option for param in verbs[verb].params for option in param.opts}
        assert set(re.findall(r"--[a-z-]+", arguments)) <= known, f"{path.name}: {verb}{arguments}"
    for options in re.findall(r"^\s*kind=\(([^)]*)\)|BENCH:-([^}]*)", text, re.MULTILINE):
        known = {option for param in verbs["bench"].params for option in param.opts}
        assert set(re.findall(r"--[a-z-]+", " ".join(options))) <= known


@pytest.mark.parametrize("path", sorted(CI.glob("*.toml")), ids=lambda path: path.name)
def test_the_thresholds_of_ci_are_of_metrics_that_its_arms_make(path: Path) -> None:
    settings = load(path, {})
    assert parse_thresholds(settings, parse_arms(settings))


def test_too_few_pairs_are_inconclusive(tmp_path: Path) -> None:
    shotclock = str(HERE / "shotclock")
    ran = script(
        "pairs",
        shotclock,
        shotclock,
        "pairs",
        cwd=tmp_path,
        PAIRS="1 1",
        BENCH="--clock virtual --seeds 1 --steps 5 --arms classical-only,classical-control",
        GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"),
    )
    assert ran.returncode == 5, ran.stderr
    assert "::error title=Latency gate::inconclusive (pairs made: 1)" in ran.stdout
    text = (tmp_path / "summary.md").read_text()
    assert "INCONCLUSIVE" in text


def test_a_base_that_cannot_run_is_no_verdict(tmp_path: Path) -> None:
    ran = script("pairs", "false", str(HERE / "shotclock"), "pairs", cwd=tmp_path, PAIRS="1")
    assert ran.returncode == 4
    assert not (tmp_path / "pairs/compare.txt").exists()


def test_the_nightly_run_is_verified_and_recorded(tmp_path: Path) -> None:
    small = ["--seeds", "1", "--steps", "5", "--arms"]
    arms = "hybrid-colocated,hybrid-colocated-protected"
    ran = script("nightly", "night", "history.db", *small, arms, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "recorded in history.db" in ran.stdout
    failing = script("nightly", "again", "history.db", "--steps", "0", cwd=tmp_path)
    assert failing.returncode == 2
    assert "::error title=Nightly benchmark::" in failing.stdout


AUDITED = {"name": "sound", "version": "1.0", "vulns": []}
ADVISORY = {"name": "weak", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {"name": "private", "skip_reason": "not found"}
SILENT = "audit: the advisory service did not answer "


@pytest.mark.parametrize(
    ("report", "status", "tolerated", "lines"),
    [
        ([AUDITED], 0, 0, ["audit: pins looked up: 1, advisories: 0"]),
        ([AUDITED, ADVISORY], 1, 1, ["audit: weak 2.0: PYSEC-1; fixed in 2.1"]),
        ([AUDITED, UNKNOWN], 1, 1, ["audit: the advisory service does not know private; pin what it has"]),
        ([UNKNOWN], 3, 0, [f"{SILENT}(it looked up none of the pins); try again"]),
        (None, 3, 0, [f"{SILENT}(Failed to resolve the host); try again"]),
    ],
)
def test_an_advisory_fails_the_audit_and_a_silent_service_only_outside_ci(
    report: list[Any] | None, status: int, tolerated: int, lines: list[str], tmp_path: Path
) -> None:
    tool = tmp_path / "pip-audit"
    (tmp_path / "report").write_text("" if report is None else json.dumps({"dependencies": report}))
    words = "echo Traceback >&2\necho 'Failed to resolve the host' >&2"
    tool.write_text(f"#!/bin/sh\n{words}\ncat {tmp_path}/report\nexit 1\n")
    tool.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for arguments, expected in (((), status), (("--tolerate-outage",), tolerated)):
        ran = subprocess.run(
            [sys.executable, str(CI / "audit.py"), *arguments],
            env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert (ran.returncode, ran.stderr) == (expected, "")
        prefix = "::warning title=Audit::" if expected != status else ""
        assert ran.stdout.splitlines() == [prefix + line for line in lines]


@pytest.mark.parametrize(
    ("open_one", "command"), [("", "issue create --title Slow"), ("7", "issue comment 7")]
)
def test_an_alert_opens_one_issue_and_adds_to_it(open_one: str, command: str, tmp_path: Path) -> None:
    gh = tmp_path / "gh"
    gh.write_text(
        f'#!/bin/sh\nif [ "$2" = list ]; then echo "{open_one}"; else echo "$@" > {tmp_path}/asked; fi\n'
    )
    gh.chmod(0o755)
    ran = script("alert", "Slow", cwd=tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "asked").read_text().startswith(command)
