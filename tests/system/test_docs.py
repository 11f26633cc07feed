"""The examples of the docs, run as a reader would: files written, commands in order, code executed.

They run in the environment of a reader without extras. Three pages have a separate module:
docs/sre.md (test_sre_page.py), docs/emulate.md (test_ibm_clients.py) and docs/platform-engineer.md
(test_platform_engineer_page.py), which takes as long as the others together.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.main import get_command

import base_environment
from base_environment import ROOT
from served import free_port
from shotclock import cli
from shotclock.settings import load

PLATFORM_ENGINEER = ROOT / "docs" / "platform-engineer.md"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXTRAS = ("import pandas", "from qiskit_machine_learning.connectors")
NAMED = re.compile(r"# (\S+\.(?:py|toml))\n")


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def shell_of(name: str, word: str) -> str:
    """The one shell block of a page of docs/ that has the word."""
    (block,) = (
        text for language, text in blocks(ROOT / "docs" / name) if language in {"sh", "text"} and word in text
    )
    return block


def run_shell(lines: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A page's shell as one script that ends at its first failure, `shotclock` on its path."""
    ran = subprocess.run(
        ["bash", "-c", "\n".join(["set -euo pipefail", *lines])],
        cwd=folder,
        env=base_environment.environment(**variables),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran


REPEAT = """repeat() {
  for attempt in 1 2 3; do
    code=0
    "$@" || code=$?
    [ $code = 4 ] || break
    rm -rf "${@: -1}"
  done
  [ $code = 0 ] || [ $code = 99 ]
}"""
"""A shell function: the command, whose last word is its folder, again after exit code 4; 99 is success."""


@pytest.fixture(scope="module")
def shotclock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path, list[str]], int]]:
    """The command in a page's folder; one process runs those of all pages."""
    with base_environment.commands(tmp_path_factory.mktemp("log")) as run_one:
        yield run_one


@pytest.mark.parametrize("page", sorted({*PAGES} - {PLATFORM_ENGINEER}), ids=lambda page: page.stem)
def test_the_examples_of_a_page_work(
    page: Path, tmp_path: Path, shotclock: Callable[[Path, list[str]], int]
) -> None:
    run_examples(page, tmp_path, shotclock)


def run_examples(page: Path, folder: Path, shotclock: Callable[[Path, list[str]], int]) -> None:
    for language, text in blocks(page):
        if named := NAMED.match(text):
            (folder / named[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            # extras, which this environment has
            python = sys.executable if any(f"{word} " in text for word in EXTRAS) else "python"
            ran = base_environment.run(python, "-c", text, folder=folder)
            assert ran.returncode == 0, ran.stderr
        elif language == "toml":
            (folder / "example.toml").write_text(text, encoding="utf-8")
            load(folder / "example.toml", {})
        elif language == "console":
            for line in re.findall(r"^\$ shotclock (.*)$", text, re.MULTILINE):
                words = shlex.split(line.replace(" 9464 ", f" {free_port()} "), comments=True)
                if "--engine" in words:  # test_ray and test_slurm run it on a cluster
                    continue
                words += ["--seeds", "2"] * ("--quick" in words)  # eight take two minutes
                assert shotclock(folder, words) == 0, line


def test_the_rehearsal_of_the_hardware_run_works_as_written(tmp_path: Path) -> None:
    script = [text for language, text in blocks(ROOT / "docs" / "hardware-run.md") if language == "sh"]
    ran = run_shell(script, tmp_path)
    assert "EMULATED: started an endpoint for this dry run: ibm_torino" in ran.stderr
    assert "EMULATED: a dry run" in ran.stderr
    assert ran.stdout.endswith("runs/rehearsal: no fault\n")


def test_the_service_of_the_platform_engineer_starts_as_written(tmp_path: Path) -> None:
    grpc_port, http_port = str(free_port()), str(free_port())
    serve, status, curl = shell_of("platform-engineer.md", "shotclock serve").splitlines()
    ports = f"SHOTCLOCK_SERVE__LISTEN=127.0.0.1:{grpc_port} SHOTCLOCK_SERVE__METRICS=127.0.0.1:{http_port}"
    ran = run_shell(
        [
            f"{ports} {serve.partition('#')[0]} 2>serve.txt &",
            "trap 'kill $!; wait $! || true' EXIT",
            "until grep -q '^ready' serve.txt; do kill -0 $!; sleep 0.2; done",
            f"{status.partition('#')[0]} --target 127.0.0.1:{grpc_port}",
            curl.partition("#")[0].replace("9464", http_port),
        ],
        tmp_path,
    )
    assert "is ready: emulated provider (EMULATED)" in ran.stdout


def test_the_comparisons_of_the_load_page_work_as_written(tmp_path: Path) -> None:
    """As written but for the numbers: two pairs of a second each, which are inconclusive (exit code 5)."""
    script = shell_of("load.md", "change/bin/shotclock").replace("01 02 03 04 05 06 07 08 09 10", "01 02")
    script = script.replace("--duration 60", "--duration 1").replace("--strict", "--strict || test $? = 5")
    # the deadline is missed at that rate, or is not; a load that was late itself is repeated
    script = re.sub(r"(\S+/bin/shotclock\s+load\b)", r"repeat \1", script)
    for side in ("base", "change"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "bin").symlink_to(base_environment.scripts())
    run_shell([REPEAT, script], tmp_path)
    for host, run_folder in (("host-1", "a/01"), ("host-2", "b/01"), ("host-3", "a/02")):
        (tmp_path / "runs").mkdir(exist_ok=True)
        (tmp_path / "runs" / host).symlink_to(tmp_path / run_folder)
    run_shell([shell_of("load.md", "runs/host-1")], tmp_path)
    assert (tmp_path / "runs" / "report.html").exists()


def test_a_profile_is_made_of_a_sites_own_records_as_written(tmp_path: Path) -> None:
    began = datetime(2026, 11, 1, tzinfo=UTC)
    instants = [
        [began + timedelta(minutes=job, seconds=s) for s in (0, 5 + job % 7, 9 + job % 7)]
        for job in range(40)
    ]
    rows = [
        ",".join([*(at.isoformat() for at in job), f"{2 + number % 3 / 10}"])
        for number, job in enumerate(instants)
    ]
    (tmp_path / "jobs.csv").write_text(
        "\n".join(["created,running,finished,usage_s", *rows]), encoding="utf-8"
    )
    script = shell_of("time-model.md", "profile fit")
    small = "--profile our-site.toml --clock virtual --seeds 1 --steps 5 --out runs/site"
    run_shell([script.replace("--profile our-site.toml", small)], tmp_path)
    assert (tmp_path / "runs" / "site" / "summary.json").exists()


def test_every_command_that_a_page_names_exists_with_its_options() -> None:
    verbs = get_command(cli.app).commands  # type: ignore[attr-defined]
    named = 0
    for page in [*PAGES, *(ROOT / "docs" / "runbooks").glob("*.md")]:
        for verb, arguments in re.findall(
            r"shotclock ([a-z]+)\b([^`\n|>&)]*)", page.read_text(encoding="utf-8")
        ):
            if verb not in verbs:
                assert verb in {"puts", "admits", "is"}, f"{page.name}: no verb {verb}"
                continue
            commands = [verbs[verb], *getattr(verbs[verb], "commands", {}).values()]
            known = {option for command in commands for param in command.params for option in param.opts}
            own = arguments.partition(" -- ")[0]  # what follows is for another command
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", own)) <= known | {"--help"}, (
                f"{page.name}: {verb}{arguments}"
            )
            named += 1
    assert named > 50


def test_readmes_two_commands_are_targets_of_the_makefile() -> None:
    named = re.findall(r"^\$ make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert named == ["bench", "test"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(named) <= set(targets)
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [*PAGES, ROOT / "CONTRIBUTING.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
