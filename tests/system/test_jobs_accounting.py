"""`shotclock jobs export` and `jobs reconcile`, on both kinds of ledger and beside hostile input."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from postgres_cluster import Cluster
from shotclock import cli
from shotclock.app.accounting import COLUMNS
from shotclock.domain.accounting import Allocation, CallAccount, JobAccount, JobUsage, MoneyRules, Origin
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.orchestrator.ledger.limits import SharedLimits
from shotclock.orchestrator.ledger.postgres import PostgresLedger
from shotclock.orchestrator.ledger.sqlite import SqliteLedger

S = LedgerState
Ran = tuple[int, str, str]
Cli = Callable[..., Ran]
NOON_S = 1_796_126_400.0
"""2026-12-01T12:00:00Z."""
RULES = MoneyRules(price_per_s=2.0, currency="EUR", resource="ibm_torino")
SACCT = """JobID|JobIDRaw|User|Account|State|Start|End
4711|4711|ada|proj-a|COMPLETED|1796126000|1796127000
4711.batch|4711.batch||proj-a|COMPLETED|1796126000|1796127000
90_3|93|bob|proj-b|RUNNING|1796126000|Unknown
"""


@pytest.fixture
def shotclock(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    def ran(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["shotclock", "jobs", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0, out, err

    return ran


async def fill(ledger: SqliteLedger | PostgresLedger, requests: tuple[str, str] = ("r1", "r2")) -> None:
    """A job of two callers, whose usage is known, and one of nobody in Slurm, with none."""
    ledger.limit("ibm", SharedLimits(money=RULES))
    calls = (
        CallAccount(requests[0], "trainer-a", 3, Origin(Allocation("4711", "proj-a", "ada"))),
        CallAccount(requests[1], "trainer-b", 1, Origin(Allocation("93", "proj-b", "bob"))),
    )
    await ledger.intend(JobRecord("t1", "ibm", requests, 256, account=JobAccount(calls, 3.0)))
    await ledger.move("t1", S.SUBMITTED, job_id="job-1")
    await ledger.move("t1", S.RESULT)
    await ledger.charge("t1", JobUsage(began_ago_s=5.0, ended_ago_s=3.0, acquisition="lease-7"))
    await ledger.charge("t1", JobUsage(2.0))  # as the bill comes later, without what is known
    account = JobAccount((CallAccount("r3"),), 1.0)
    await ledger.intend(JobRecord("t2", "ibm", ("r3",), 64, account=account))
    await ledger.move("t2", S.SUBMITTED, job_id="job-2")


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    path = tmp_path / "ledger.db"
    with contextlib.closing(SqliteLedger(path, lambda: NOON_S)) as opened:
        asyncio.run(fill(opened))
    return str(path)


EXPECTED = {
    "slurm_job_id": "4711",
    "slurm_account": "proj-a",
    "slurm_user": "ada",
    "caller": "trainer-a",
    "request_id": "r1",
    "job_id": "job-1",
    "tag": "t1",
    "provider": "ibm",
    "acquisition_id": "lease-7",
    "resource_id": "ibm_torino",
    "created": "2026-12-01T12:00:00.000+00:00",
    "running": "2026-12-01T11:59:55.000+00:00",
    "finished": "2026-12-01T11:59:57.000+00:00",
    "outcome": "result",
    "circuits": 3,
    "shots": 256,
    "usage_qpu_seconds": 1.5,
    "reserved_qpu_seconds": 2.25,
    "charge": 3.0,
    "currency": "EUR",
}


def test_each_call_has_its_share_and_what_is_unknown_is_absent(
    shotclock: Cli, ledger: str, tmp_path: Path, postgres: Cluster
) -> None:
    with postgres.connect() as connection:
        connection.execute("DROP SCHEMA IF EXISTS shotclock CASCADE")
    with contextlib.closing(PostgresLedger(postgres.url(), lambda: NOON_S)) as opened:
        asyncio.run(fill(opened))
    for where in (ledger, postgres.url()):
        code, out, _ = shotclock("--ledger", where, "export", "--format", "json")
        rows = json.loads(out)
        assert code == 0
        assert rows[0] == EXPECTED
        assert [row["usage_qpu_seconds"] for row in rows] == [1.5, 0.5, None]
        unknown = {name for name, value in rows[2].items() if value is None}
        assert unknown >= {
            "slurm_job_id",
            "acquisition_id",
            "caller",
            "running",
            "finished",
            "usage_qpu_seconds",
            "charge",
        }
    path = tmp_path / "jobs.parquet"
    assert shotclock("--ledger", ledger, "export", "--format", "parquet", "--out", str(path))[0] == 0
    assert pq.read_table(path).to_pylist() == rows
    _, text, _ = shotclock("--ledger", ledger, "export", "--since", "2026-12-01")
    read = list(csv.DictReader(io.StringIO(text)))
    assert read[0] == {name: str(value) for name, value in EXPECTED.items()}
    assert read[2]["usage_qpu_seconds"] == ""
    assert shotclock("--ledger", ledger, "export", "--until", "2026-12-01")[1].count("\n") == 1


def test_text_of_a_caller_is_neither_a_formula_nor_a_second_row(shotclock: Cli, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with contextlib.closing(SqliteLedger(path, lambda: NOON_S)) as opened:
        asyncio.run(fill(opened, ("=HYPERLINK(1)", "a\n\x1b[31mb,c")))
    _, text, _ = shotclock("--ledger", str(path), "export")
    first, second, _ = csv.DictReader(io.StringIO(text))
    assert first["request_id"] == "'=HYPERLINK(1)"
    assert second["request_id"] == "a  [31mb,c"


def test_a_job_without_an_account_is_exported_with_what_is_known(shotclock: Cli, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with contextlib.closing(SqliteLedger(path, lambda: NOON_S)) as opened:
        asyncio.run(opened.intend(JobRecord("old", "ibm", ("r1",), 64)))
    (row,) = json.loads(shotclock("--ledger", str(path), "export", "--format", "json")[1])
    known = {name: value for name, value in row.items() if value is not None}
    assert known == {"tag": "old", "provider": "ibm", "request_id": "r1", "outcome": "intent", "shots": 64}


def test_differences_to_slurm_and_to_the_provider_are_listed(
    shotclock: Cli, ledger: str, tmp_path: Path
) -> None:
    sacct, usage = tmp_path / "sacct.txt", tmp_path / "usage.csv"
    sacct.write_text(SACCT)
    usage.write_text("job_id,usage_s\njob-1,2.001\njob-2,0.75\n")
    code, out, _ = shotclock("--ledger", ledger, "reconcile", "--sacct", str(sacct), "--usage", str(usage))
    assert code == 99
    assert out.splitlines() == [
        "t2 (request r3) names no Slurm job",
        "job job-2: the ledger knows no usage, the provider says 0.75 s",
        "2 differences over 3 calls",
    ]
    sacct.write_text(
        SACCT.replace("|ada|proj-a", "|eve|proj-x").replace("93|bob", "94|bob").replace("90_3", "90_4")
    )
    usage.write_text('[{"job_id": "job-1", "usage_s": 9}, {"job_id": "theirs", "usage_s": 1}]')
    code, out, _ = shotclock(
        *("--ledger", ledger, "reconcile", "--json", "--sacct", str(sacct), "--usage", str(usage))
    )
    kinds = [difference["kind"] for difference in json.loads(out)["differences"]]
    assert code == 99
    assert kinds == [
        *("other_user", "other_account", "unknown_to_slurm", "no_slurm_job"),
        *("other_usage", "unknown_to_provider", "unknown_to_ledger"),
    ]
    sacct.write_text(SACCT.replace("1796127000", "1796126100"))
    _, out, _ = shotclock("--ledger", ledger, "reconcile", "--sacct", str(sacct))
    assert "outside the time of Slurm job 4711" in out


def test_records_that_agree_are_a_pass(shotclock: Cli, ledger: str, tmp_path: Path) -> None:
    usage = tmp_path / "usage.csv"
    usage.write_text("job_id,usage_s\njob-1,2.0\n")
    words = ("--ledger", ledger, "reconcile", "--usage", str(usage), "--until", "2026-12-02")
    code, out, _ = shotclock(*words)
    assert (code, out.splitlines()[-1]) == (99, "1 differences over 3 calls")
    usage.write_text("job_id,usage_s\n")
    assert shotclock("--ledger", ledger, "reconcile", "--usage", str(usage), "--until", "2020-01-01")[0] == 0


def test_the_pages_commands_work(
    shotclock: Cli, ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sacct.txt").write_text(SACCT)
    Path("usage.csv").write_text("job_id,usage_s\njob-1,2.0\n")
    lines = (Path(__file__).parents[2] / "docs" / "accounting.md").read_text().splitlines()
    commands = [line.split()[2:] for line in lines if line.startswith("shotclock jobs ")]
    codes = [shotclock("--ledger", ledger, *words)[0] for words in commands]
    assert codes == [0, 99]
    assert Path("december.csv").read_text().count("\n") == 4
    table = [line.split("|")[1] for line in lines if line.startswith("| `")]
    named = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert named >= set(COLUMNS)


@pytest.mark.parametrize(
    ("words", "content", "reason"),
    [
        (("reconcile",), b"", "give --sacct, --usage or both"),
        (("reconcile", "--sacct", "FILE"), b"", "the first line must name JobID"),
        (("reconcile", "--sacct", "FILE"), b"JobID|User\n1\n", "--sacct:2: must have 2 fields (got 1)"),
        (("reconcile", "--sacct", "FILE"), b"JobID|Start\n1|soon\n", "--sacct:2: not an instant"),
        (("reconcile", "--sacct", "FILE"), b"\xff\xfe", "must be UTF-8"),
        (("reconcile", "--usage", "FILE"), b"a,b\n1,2\n", "must be CSV with the columns job_id and usage_s"),
        (("reconcile", "--usage", "FILE"), b"[" * 99_999, "must be CSV with the columns job_id and usage_s"),
        (("reconcile", "--usage", "FILE"), b"job_id,usage_s\nx,nan\n", "must be 0 or more"),
        (("reconcile", "--usage", "/no/such/file"), b"", "cannot read /no/such/file"),
        (("export", "--since", "yesterday"), b"", "--since: must be a date or an instant of ISO 8601"),
        (("export", "--since", "2026-12-02", "--until", "2026-12-01"), b"", "must be before --until"),
        (("export", "--format", "parquet"), b"", "needs --out FILE"),
    ],
)
def test_input_that_cannot_be_right_is_one_line_and_exit_code_2(
    shotclock: Cli, ledger: str, tmp_path: Path, words: tuple[str, ...], content: bytes, reason: str
) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    code, out, err = shotclock("--ledger", ledger, *(str(path) if word == "FILE" else word for word in words))
    assert (code, out) == (2, "")
    assert reason in " ".join(err.split())
    assert "Traceback" not in err
