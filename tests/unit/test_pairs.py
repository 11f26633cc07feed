"""Pairs in turns: their order, what an interrupted or failed run leaves, and what is completed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import synthetic
from shotclock import cli
from shotclock.app.pairs import differences, turns
from shotclock.bench.record.folder import RunFolder
from shotclock.cli.exit_codes import INTERRUPTED
from shotclock.domain.errors import MachineError, RunError, SettingsError, ShotclockError
from shotclock.settings import load

STUB = """#!{python} -S
import json, os, shutil, sys
from datetime import datetime, timedelta
made, out = {made!r}, sys.argv[sys.argv.index("--out") + 1]
count = len(open(made).readlines()) if os.path.exists(made) else 0
with open(made, "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
code = int(os.environ.get("STUB_FAILS_AT_" + str(count), "0"))
if code not in (0, 99):
    print("shotclock: the reason of", code)
    sys.exit(code)
shutil.copytree({finished!r}, out)
with open(out + "/summary.json", "r+") as file:
    summary = json.load(file)
    summary["started_at"] = (datetime(2026, 11, 22) + timedelta(minutes=count)).isoformat()
    file.seek(0)
    file.truncate()
    json.dump(summary, file)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run."""
    folder = RunFolder.create(tmp_path_factory.mktemp("finished") / "run")
    steps = synthetic.rows(synthetic.SMALL)
    folder.write_steps(steps)
    folder.write_summary(synthetic.summary(steps))
    return folder.path


@pytest.fixture
def stub(tmp_path: Path, finished_run: Path) -> Path:
    """A `shotclock bench` that writes a small run at once, and its command line into `ran`."""
    command = tmp_path / "stub"
    log = str(tmp_path / "ran")
    text = STUB.format(python=sys.executable, made=log, finished=str(finished_run))
    command.write_text(text, encoding="utf-8")
    command.chmod(0o755)
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text("schema = 1\n", encoding="utf-8")
    return command


def pairs(stub: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; errors for a person are raised."""
    folder = stub.parent
    commands = ("--command-a", str(stub), "--command-b", str(stub), "--out", str(folder / "out"))
    command_line = ["pairs", str(folder / "a.toml"), str(folder / "b.toml"), *commands, *arguments]
    ran = CliRunner().invoke(cli.app, command_line)
    if isinstance(ran.exception, ShotclockError):
        raise ran.exception
    assert not isinstance(ran.exception, Exception), ran.exception
    return ran.exit_code, ran.stdout, ran.stderr


def ran(stub: Path) -> list[str]:
    """Side and number of each run, in order."""
    lines = (stub.parent / "ran").read_text(encoding="utf-8").splitlines()
    return [line.partition("unfinished/")[2].split()[0] for line in lines]


def test_turns_are_a_b_b_a() -> None:
    assert [side for _, side in turns(3)] == ["a", "b", "b", "a", "a", "b"]


def test_pairs_are_made_in_turns_and_the_same_command_adds_what_is_missing(stub: Path) -> None:
    code, text, progress = pairs(stub, "-n", "1", "--json", "--clock", "virtual", "--", "--steps", "7")
    assert code == 0
    document = json.loads(text)
    assert (document["pairs"], document["pairs_missing"], document["interleaved"]) == (1, 9, True)
    assert "pair 1 of 1, A: …" in progress
    code, text, _ = pairs(stub, "-n", "2", "--strict", "--clock", "virtual", "--", "--steps", "7")
    assert code == 5
    assert ran(stub) == ["a-001", "b-001", "b-002", "a-002"]
    assert "8 pairs are missing" in text.replace("\n", " ")
    lines = (stub.parent / "ran").read_text(encoding="utf-8").splitlines()
    assert all("--clock virtual --steps 7" in line for line in lines)


def test_pairs_are_added_while_the_question_is_open(stub: Path) -> None:
    code, text, _ = pairs(stub, "-n", "1", "--most", "3", "--strict", "--format", "json")
    assert code == 5
    assert json.loads(text)["pairs"] == 3


@pytest.mark.parametrize(
    ("code", "kind"), [(2, SettingsError), (3, MachineError), (4, RunError), (1, RunError)]
)
def test_a_run_that_fails_ends_with_its_reason_and_what_ran_is_kept(
    stub: Path, code: int, kind: type[ShotclockError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_FAILS_AT_1", str(code))
    with pytest.raises(kind, match=f"pair 1, B: the reason of {code}"):
        pairs(stub, "-n", "1")
    assert pairs(stub, "-n", "1")[0] == 0
    assert ran(stub) == ["a-001", "b-001", "b-001"]


def test_an_interrupted_run_ends_with_130_and_the_next_command_completes_the_pairs(
    stub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_FAILS_AT_1", str(INTERRUPTED))
    code, _, progress = pairs(stub, "-n", "2")
    assert code == INTERRUPTED
    assert "interrupted: 0 of 2 pairs are complete" in progress
    assert (stub.parent / "out" / "a" / "001" / "summary.json").is_file()
    assert pairs(stub, "-n", "2")[0] == 0
    assert ran(stub) == ["a-001", "b-001", "b-001", "b-002", "a-002"]


def test_a_run_that_misses_its_own_threshold_is_compared_like_others(
    stub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_FAILS_AT_0", "99")
    assert pairs(stub, "-n", "1")[0] == 0


def test_a_folder_of_another_job_or_of_something_else_is_refused(stub: Path) -> None:
    pairs(stub, "-n", "1")
    (stub.parent / "b.toml").write_text("schema = 1\n[bench]\nseeds = 2\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="those of B differ"):
        pairs(stub, "-n", "1")
    (stub.parent / "out" / "pairs.json").unlink()
    with pytest.raises(SettingsError, match="is not empty and has no pairs"):
        pairs(stub, "-n", "1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--", "--out", "x"), "--out: is set by"), (("c.toml",), "a third settings file")],
)
def test_options_that_pairs_sets_itself_are_refused(
    stub: Path, arguments: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        pairs(stub, *arguments)


def test_a_wrong_settings_file_is_refused_before_anything_runs(stub: Path) -> None:
    (stub.parent / "b.toml").write_text("[bench]\nsteps = 0\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"b\.toml:2: bench\.steps"):
        pairs(stub)
    assert not (stub.parent / "out").exists()
    assert not (stub.parent / "ran").exists()


def test_what_differs_between_the_settings_is_named() -> None:
    other = load(None, {"quantum": {"shots": 512}, "bench": {"seeds": 2}})
    assert differences(load(None, {}), other) == ["bench.seeds 8 → 2", "quantum.shots 256 → 512"]
