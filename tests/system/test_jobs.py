"""`shotclock jobs` as an operator meets it: beside a running orchestrator, and with typing errors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shotclock import cli
from shotclock.cli.jobs import age
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.orchestrator.ledger.sqlite import SqliteLedger

S = LedgerState
Ran = tuple[int, str, str]
Cli = Callable[..., Ran]

APPLIED = "shotclock:0f3c0b9a7c1d4a589f6e2f1d"
LOST = "shotclock:0f3c1b9a7c1d4a589f6e2f1d"
TWICE = "shotclock:0f3c2b9a7c1d4a589f6e2f1d"


@pytest.fixture
def shotclock(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `shotclock jobs` in this process, 80 columns wide; returns exit code, stdout, stderr."""

    def ran(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["shotclock", "jobs", *arguments])
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("XDG_STATE_HOME", "/no/such/state")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0, out, err

    return ran


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with a job applied and two parked, an hour old."""
    then = iter(range(int(time.time()) - 3_700, 2**40))

    async def fill(ledger: SqliteLedger) -> None:
        for tag, requests in ((APPLIED, ("r1",)), (LOST, ("r2", "r3")), (TWICE, ("r4",))):
            await ledger.intend(JobRecord(tag, "ibm", requests, 256))
        await ledger.move(APPLIED, S.SUBMITTED, job_id="d1a2b3c4d5e6f7g8h9i0")
        await ledger.move(APPLIED, S.RESULT)
        await ledger.move(APPLIED, S.APPLIED)
        await ledger.move(LOST, S.PARKED, note="no job carries [this] tag")
        await ledger.move(TWICE, S.SUBMITTED, job_id="d1a2b3c4d5e6f7g8h9i1")
        await ledger.move(TWICE, S.PARKED, note="no result within 3600 s of the start")

    with hold_ledger(tmp_path / "ledger.db", lambda: float(next(then))) as ledger:
        asyncio.run(fill(ledger))
    return tmp_path / "ledger.db"


@contextlib.contextmanager
def hold_ledger(path: Path, now_unix_s: Callable[[], float] = time.time) -> Iterator[SqliteLedger]:
    with contextlib.closing(SqliteLedger(path, now_unix_s)) as ledger:
        yield ledger


def one_line(err: str) -> str:
    (line,) = err.splitlines()
    assert line.startswith("shotclock: ")
    return line


def test_the_list_fits_80_columns_and_every_word_of_it_can_be_copied(shotclock: Cli, path: Path) -> None:
    code, out, err = shotclock("--ledger", str(path))
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert [word for word in out.split() if word.startswith("shotclock:")] == [APPLIED, LOST, TWICE]
    assert "no job carries [this] tag" in out  # not taken for rich's markup
    assert "d1a2b3c4d5e6f7g8h9i0" in "".join(line[55:68].strip() for line in out.splitlines())
    assert out.count(" 1h") == 3


def test_json_is_one_document_with_every_field(shotclock: Cli, path: Path) -> None:
    code, out, _ = shotclock("--ledger", f"sqlite://{path}", "--state", "parked", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["ledger"] == str(path)
    lost, twice = document["jobs"]
    assert isinstance(lost.pop("changed_unix_s"), float)
    assert lost == {
        "tag": LOST,
        "provider": "ibm",
        "requests": ["r2", "r3"],
        "shots": 256,
        "state": "parked",
        "job_id": "",
        "note": "no job carries [this] tag",
    }
    assert twice["job_id"] == "d1a2b3c4d5e6f7g8h9i1"
    assert json.loads(shotclock("--ledger", str(path), "--state", "failed", "--json")[1])["jobs"] == []
    assert shotclock("--ledger", str(path), "--state", "failed")[1] == f"no failed jobs in {path}\n"


def test_a_parked_job_is_settled_with_a_note_that_stays(
    shotclock: Cli, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOTCLOCK_SERVE__LEDGER", str(path))
    code, out, _ = shotclock("settle", LOST, "--as", "failed", "--note", "not on the provider's page")
    assert (code, out) == (0, f"{LOST}: parked → failed\n")
    code, out, _ = shotclock(
        "settle", TWICE, "--as", "submitted", "--job-id", "d9", "--note", "found", "--json"
    )
    settled = json.loads(out)
    assert (code, settled["state"], settled["job_id"]) == (0, "submitted", "d9")

    code, out, _ = shotclock("history", LOST)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert [line.split()[2] for line in out.splitlines()[1:]] == ["intent", "parked", "failed"]
    steps = json.loads(shotclock("history", TWICE, "--json")[1])["history"]
    assert [(step["before"], step["after"]) for step in steps] == [
        ("intent", "intent"),
        ("intent", "submitted"),
        ("submitted", "parked"),
        ("parked", "submitted"),
    ]
    assert steps[-1]["note"] == "found"


def test_many_parked_jobs_are_settled_at_once(shotclock: Cli, path: Path) -> None:
    settle = ["--ledger", str(path), "settle", "--as", "failed", "--note", "not in the provider's list"]
    code, out, _ = shotclock(*settle, "--all", "--older-than", "7200")
    assert (code, out) == (0, f"no parked jobs to settle in {path}\n")
    code, out, _ = shotclock(*settle, "--all", "--older-than", "60")
    assert (code, out) == (0, f"{LOST}: parked → failed\n")  # the other one has a job id
    code, out, _ = shotclock(*settle, "--all", "--json")
    assert (code, json.loads(out)) == (0, {"jobs": []})


def test_several_tags_are_settled_in_their_order(shotclock: Cli, path: Path) -> None:
    arguments = ["--ledger", str(path), "settle", TWICE, LOST, TWICE, "--as", "failed", "--note", "none ran"]
    code, out, _ = shotclock(*arguments, "--json")
    assert code == 0
    assert [(job["tag"], job["state"]) for job in json.loads(out)["jobs"]] == [
        (TWICE, "failed"),
        (LOST, "failed"),
    ]


def test_the_ledger_is_the_one_of_the_settings_unless_said(
    shotclock: Cli, path: Path, tmp_path: Path
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f'[serve]\nledger = "sqlite://{path}"\n')
    assert LOST in shotclock("--config", str(config))[1]
    for arguments in (["history", LOST, "--config", str(config)], ["--config", str(config), "history", LOST]):
        assert shotclock(*arguments)[0] == 0
    code, _, err = shotclock("--config", str(config), "--ledger", "/no/such/ledger.db")
    assert code == 2
    assert "/no/such/ledger.db" in one_line(err)


def test_beside_a_running_orchestrator_it_reads_and_does_not_settle(shotclock: Cli, path: Path) -> None:
    settle = ["--ledger", str(path), "settle", LOST, "--as", "failed", "--note", "x"]
    with hold_ledger(path):
        assert shotclock("--ledger", str(path))[0] == 0
        code, out, err = shotclock(*settle)
        assert (code, out) == (3, "")
        assert f"another orchestrator holds {path}" in one_line(err)
        assert "stop it first" in err
    assert shotclock(*settle)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "shotclock/ledger.db: name another"),
        (["--ledger", "/no/such/ledger.db"], 2, "no ledger at /no/such/ledger.db"),
        (["--ledger", "mysql://host/db"], 2, "must be a path, sqlite:///absolute/path or postgresql://"),
        (["--ledger", "postgresql://u:pw@host/db"], 2, "serve.ledger: must not hold a password"),
        (["--ledger", __file__], 2, "is not a ledger of Shotclock"),
        (["--ledger", "LEDGER", "history", LOST[:-2]], 2, f"did you mean '{LOST}'?"),
        (["--ledger", "LEDGER", "settle", "\udcff", "--as", "failed", "--note", "x"], 2, "did you mean"),
        (["--ledger", "LEDGER", "settle", APPLIED, "--as", "failed", "--note", "x"], 2, "is applied: only"),
        (["--ledger", "LEDGER", "settle", LOST, "--as", "submitted", "--note", "x"], 2, "needs --job-id"),
        (["--ledger", "LEDGER", "settle", LOST, "--as", "failed", "--note", " "], 2, "--note: state how"),
        (
            ["--ledger", "LEDGER", "settle", LOST, APPLIED, "--as", "failed", "--note", "x"],
            2,
            "is applied: only",
        ),
        (["--ledger", "LEDGER", "settle", "--as", "failed", "--note", "x"], 2, "or give --all; not both"),
        (["--ledger", "LEDGER", "settle", LOST, "--all", "--as", "failed", "--note", "x"], 2, "not both"),
        (
            [
                "--ledger",
                "LEDGER",
                "settle",
                LOST,
                TWICE,
                "--as",
                "submitted",
                "--job-id",
                "d",
                "--note",
                "x",
            ],
            2,
            "--job-id: is the id of one job (got 2)",
        ),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    shotclock: Cli, path: Path, arguments: list[str], code: int, words: str
) -> None:
    before = path.read_bytes()
    exit_code, out, err = shotclock(
        *(str(path) if argument == "LEDGER" else argument for argument in arguments)
    )
    assert (exit_code, out) == (code, "")
    assert words in one_line(err)
    assert path.read_bytes() == before


def test_a_damaged_ledger_is_an_environment_error(shotclock: Cli, path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    code, _, err = shotclock("--ledger", str(path))
    assert code == 3
    assert f"the ledger {path} is damaged" in one_line(err)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3.0, "0s"),
        (0.4, "0s"),
        (59.9, "59s"),
        (60.0, "1m"),
        (3_599.0, "59m"),
        (86_399.0, "23h"),
        (9e6, "104d"),
    ],
)
def test_an_age_is_short(seconds: float, text: str) -> None:
    assert age(seconds) == text
