"""The command as a person and a script meet it: exit codes, one-line errors, Ctrl-C, a real scrape."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shotclock import cli

Ran = tuple[int, str, str]
Cli = Callable[..., Ran]


@pytest.fixture
def shotclock(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs the command in this process; returns exit code, stdout, stderr."""

    def ran(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["shotclock", *arguments])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0, out, err

    return ran


def small_bench(out: Path, *more: str) -> list[str]:
    return ["bench", "--clock", "virtual", "--seeds", "1", "--steps", "12", "--out", str(out), *more]


def write_settings(folder: Path, text: str) -> str:
    file = folder / "settings.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--arms", "classical-only,hybrid-colocatd"], 2, ("hybrid-colocatd", "did you mean")),
        (["--arms", " , "], 2, ("bench.arms",)),
        (["--workload", "digits-mpl"], 2, ("digits-mpl", "did you mean 'digits-mlp'")),
        (["--workload", "no_such_module:build"], 2, ("no_such_module",)),
        (["--workload", "diverging:nothing"], 2, ("diverging", "nothing")),
        (["--workload", "os:getcwd"], 2, ("bench.workload: 'os:getcwd'",)),
        (["--profile", "colocatd"], 2, ("colocatd", "colocated")),
        (["--profile", "/no/such/profile.toml"], 2, ("/no/such/profile.toml",)),
        (["--steps", "0"], 2, ("bench.steps", "greater than or equal to 1")),
        (["--config", "/no/such/file.toml"], 2, ("/no/such/file.toml",)),
        (["--out", "/proc/shotclock-run"], 3, ("--out /proc/shotclock-run", "cannot write")),
        (["--out", "/dev/null/run"], 3, ("--out /dev/null/run",)),
    ],
)
def test_bad_input_is_one_line_and_its_exit_code(
    shotclock: Cli, arguments: list[str], code: int, words: tuple[str, ...]
) -> None:
    ended_with, out, err = shotclock("bench", "--quick", *arguments)
    assert ended_with == code, err
    assert out == ""
    (line,) = [text for text in err.splitlines() if text.startswith("shotclock: ")]
    assert all(word in line for word in words), line
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[bench]\nstep = 3\n", (":2: bench.step: unknown key; did you mean 'steps'?",)),
        ("[bench\n", ("malformed TOML",)),
        ('[quantum]\ndevice = "heron-turino"\n', ("heron-turino", "heron-torino")),
        ('[quantum]\nprovider = "emulatd"\n', ("emulatd", "emulated")),
        ("[quantum]\nrep_delay_us = 9000\n", ("rep_delay",)),
        ("[quantum]\nshots = 200000\n", ("quantum.shots", "100000")),
        ('[kernel]\nname = "roundin"\n', ("roundin", "qat_flip")),
        ('[[threshold]]\nmetric = "hybrid-colocated.latency.p95_ms"\nmax = 3\n', ("makes no such metric",)),
    ],
)
def test_a_bad_settings_file_is_one_line(
    shotclock: Cli, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    config, out_folder = write_settings(tmp_path, text), tmp_path / "run"
    code, _, err = shotclock(*small_bench(out_folder, "--config", config))
    assert code == 2, err
    (line,) = [text for text in err.splitlines() if text.startswith("shotclock: ")]
    assert all(word in line for word in words), line
    assert not out_folder.exists()


def test_a_folder_in_use_is_not_written_over(shotclock: Cli, tmp_path: Path) -> None:
    other_file = tmp_path / "kept.txt"
    other_file.write_text("mine")
    code, _, err = shotclock(*small_bench(tmp_path))
    assert code == 2
    assert "is not empty" in err
    assert other_file.read_text() == "mine"


def test_a_failed_threshold_is_99_and_an_inconclusive_one_is_5_under_strict(
    shotclock: Cli, tmp_path: Path
) -> None:
    arms = ["--arms", "classical-only,hybrid-public-cloud"]
    limit = '[[threshold]]\nmetric = "hybrid-public-cloud.{}"\n{}\n'
    failing = write_settings(tmp_path, limit.format("quantum_latency.p95_ms", "max = 200"))
    assert shotclock(*small_bench(tmp_path / "a", *arms, "--config", failing))[0] == 99
    unsettled = write_settings(tmp_path, limit.format("quantum_share", "min = 0.9"))
    assert shotclock(*small_bench(tmp_path / "b", *arms, "--config", unsettled, "--strict"))[0] == 5


def test_json_is_one_document_on_stdout_and_the_report_can_be_made_again(
    shotclock: Cli, tmp_path: Path
) -> None:
    limit = '[[threshold]]\nmetric = "classical-control.added_latency.p95_ms"\nmax = 1e6\n'
    arms = ["--arms", "classical-only,classical-control", "--config", write_settings(tmp_path, limit)]
    code, out, err = shotclock(*small_bench(tmp_path / "run", *arms, "--json"))
    assert code == 0, err  # inconclusive, without --strict
    document = json.loads(out)
    assert document["schema"] == 2
    assert document["emulated"] is False
    page = tmp_path / "run" / "report.html"
    page.unlink()
    code, out, err = shotclock("report", str(tmp_path / "run"), "--json")
    assert (code, json.loads(out)) == (0, document)
    assert page.exists()


def test_a_report_of_what_is_no_run_is_one_line(shotclock: Cli, tmp_path: Path) -> None:
    code, _, err = shotclock("report", str(tmp_path))
    assert code == 2
    assert "not a run folder" in err
    (tmp_path / "summary.json").write_text('{"schema": 7}')
    code, _, err = shotclock("report", str(tmp_path))
    assert code == 2
    assert "not a summary of schema 1" in err


def test_profile_show_prints_every_number_with_its_tag(shotclock: Cli) -> None:
    code, out, _ = shotclock("profile", "show", "public-cloud")
    assert code == 0
    assert "EMULATED" in out
    assert out.count("published") >= 6
    code, out, _ = shotclock("profile", "show", "colocated", "--json")
    assert json.loads(out)["name"] == "colocated"


def test_help_imports_neither_torch_nor_qiskit() -> None:
    check = (
        "import sys; sys.argv = ['shotclock', 'bench', '--help']\n"
        "from shotclock.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "print(sorted(set(sys.modules) & {'torch', 'qiskit', 'numpy', 'scipy', 'altair', 'rich', 'grpc',"
        " 'asyncio', 'numba', 'pyarrow', 'jinja2', 'starlette', 'uvicorn'}))"
    )
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_errors_in_a_users_import_are_reported_before_torch_is_loaded() -> None:
    check = "import sys, shotclock; print('attach' in dir(shotclock), 'torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert ended.stdout == "True False\n"


def start_run(out: Path, *more: str, until: str = "arms, about") -> subprocess.Popen[str]:
    """A real run on the wall clock that would take minutes; returns once it says so much (it trains)."""
    arguments = [
        "bench",
        "--arms",
        "classical-only,hybrid-colocated",
        "--seeds",
        "2",
        "--out",
        str(out),
        *more,
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", "from shotclock.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if until in line:
            return process
    raise AssertionError(f"the run did not start: {process.wait()}")


def test_ctrl_c_before_the_first_step_leaves_nothing(tmp_path: Path) -> None:
    process = start_run(tmp_path / "run", until="starting")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "nothing was kept" in stderr
    assert "Traceback" not in stderr
    assert not (tmp_path / "run").exists()


def test_a_disk_that_takes_no_more_is_one_line_and_3(tmp_path: Path) -> None:
    # files may grow to 8 KiB and no further: what a full disk does to a run folder
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "from shotclock.cli import main; main()"
    )
    arguments = small_bench(tmp_path / "run", "--arms", "classical-only,classical-control", "--steps", "200")
    ended = subprocess.run(
        [sys.executable, "-c", limited, *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3, ended.stderr
    assert "Traceback" not in ended.stderr
    (line,) = [text for text in ended.stderr.splitlines() if text.startswith("shotclock: ")]
    assert "cannot write the run folder" in line


COMMAND = [sys.executable, "-m", "shotclock"]


def test_a_reader_that_leaves_ends_it_quietly_and_loses_no_run(tmp_path: Path) -> None:
    load = ["load", "--clock", "virtual", "--duration", "1", "--out", str(tmp_path / "load")]
    show = ["profile", "show", "colocated"]
    for arguments in (["--help"], ["--version"], ["bench", "--help"], show, [*show, "--json"], load):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing) as pipe:
            ended = subprocess.run(
                [*COMMAND, *arguments], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
            )
        assert ended.returncode == 141, ended.stderr
        assert "Traceback" not in ended.stderr
        assert "BrokenPipe" not in ended.stderr
    assert json.loads((tmp_path / "load" / "load.json").read_text())["status"] == "complete"


def test_a_dumb_narrow_terminal_and_closed_streams_are_no_fault() -> None:
    narrow = {**os.environ, "TERM": "dumb", "COLUMNS": "20", "TMPDIR": "/nonexistent"}
    for redirected in ("", ">&-", "2>&-", "<&- >&- 2>&-"):
        for arguments in ("--help", "profile show colocated"):
            line = f'exec "$@" {arguments} {redirected}'
            ended = subprocess.run(
                ["bash", "-c", line, "-", *COMMAND], env=narrow, capture_output=True, text=True, check=False
            )
            assert (ended.returncode, ended.stderr) == (0, "")
            assert ("\x1b" in ended.stdout, bool(ended.stdout)) == (False, ">&-" not in redirected.split())


def test_a_full_disk_behind_stdout_is_one_line_and_3() -> None:
    for arguments in (["--help"], ["profile", "show", "colocated"]):
        with Path("/dev/full").open("w") as full:
            ended = subprocess.run(
                [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert (ended.returncode, ended.stderr) == (3, "shotclock: stdout: No space left on device\n")


def test_no_folder_for_temporary_files_is_one_line_that_names_it() -> None:
    line = ["bash", "-c", 'ulimit -f 0; exec "$@"', "-", *COMMAND, "serve", "--insecure"]
    ports = ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
    ended = subprocess.run([*line, *ports], capture_output=True, text=True, check=False)
    assert ended.returncode == 3, ended.stderr
    assert ended.stderr.startswith("shotclock: TMPDIR: No usable temporary directory found in ")
    assert ended.stderr.count("\n") == 1


def test_a_usage_error_is_one_line_to_grep(shotclock: Cli) -> None:
    code, out, err = shotclock("bench", "--stepz", "3")
    assert (code, out) == (2, "")
    assert [line for line in err.splitlines() if "--stepz" in line] == [
        "Error: No such option: --stepz (Possible options: --help, --steps)"
    ]


@pytest.mark.parametrize("written", ["summary.json", "load.json"])
def test_a_summary_that_is_not_text_is_one_line(shotclock: Cli, tmp_path: Path, written: str) -> None:
    (tmp_path / written).write_bytes(b"\xff\xfe\x00")
    code, _, err = shotclock("report", str(tmp_path))
    assert code == 2
    place = tmp_path / written
    assert err.splitlines()[-1] == f"shotclock: {place}: cannot be read: is UTF-16 text; save it as UTF-8"


def test_a_history_that_is_a_folder_is_one_line(shotclock: Cli) -> None:
    for folder in ("/", "."):
        code, _, err = shotclock("report", "--history", folder)
        assert code == 2
        assert f"--history {folder}: does not exist" in err


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def scrape(port: int) -> dict[str, float]:
    """Sample name with its labels → value, off the real endpoint."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as response:
        families = text_string_to_metric_families(response.read().decode())
        return {
            f"{sample.name}{sorted(sample.labels.items())}": sample.value
            for family in families
            for sample in family.samples
        }


CALLED = "shotclock_calls_total[('client', 'hybrid-colocated'), ('outcome', 'done')]"


def scrape_calls(process: subprocess.Popen[str], port: int) -> dict[str, float]:
    """Its metrics, once five calls have been answered."""
    metrics: dict[str, float] = {}
    while metrics.get(CALLED, 0) < 5:
        assert process.poll() is None
        time.sleep(0.1)
        metrics = scrape(port)
    return metrics


def test_sigterm_keeps_a_marked_partial_result_where_ctrl_c_is_ignored(tmp_path: Path) -> None:
    """As in a script's background job: `shotclock bench & … kill $!`."""
    port = free_port()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start_run(tmp_path / "run", "--metrics", str(port))
    finally:
        signal.signal(signal.SIGINT, before)
    scrape_calls(process, port)
    process.terminate()
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "interrupted"


def test_ctrl_c_keeps_a_marked_partial_result_and_metrics_were_real(tmp_path: Path) -> None:
    port, out = free_port(), tmp_path / "run"
    process = start_run(out, "--metrics", str(port))
    metrics = scrape_calls(process, port)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert 0 < summary["arms"]["hybrid-colocated"]["calls"] < 400
    assert re.search("interrupted", stdout, re.IGNORECASE)
    assert re.search("interrupted", (out / "report.html").read_text(), re.IGNORECASE)
    client, arm = "[('client', 'hybrid-colocated')", "[('arm', 'hybrid-colocated')"
    for name in (
        f"circuit_submit_latency_seconds_count{arm}]",
        f"qpu_queue_length{arm}]",
        f"qpu_job_retries_total{arm}]",
        f"hybrid_call_success_ratio{client}]",
        f"stale_parameter_count{client}]",
        f"shotclock_stale_decisions_total{client}, ('decision', 'revalidated')]",
        f"shotclock_stage_duration_seconds_count{client}, ('stage', 'propose')]",
        f"shotclock_stage_duration_seconds_count{client}, ('stage', 'apply')]",
    ):
        assert name in metrics, sorted(metrics)
    assert metrics[f"hybrid_call_success_ratio{client}]"] == 1.0


def test_a_port_that_is_taken_is_said_before_anything_runs(shotclock: Cli, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        code, _, err = shotclock(*small_bench(tmp_path / "run", "--metrics", str(port)))
    assert code == 3
    assert f"127.0.0.1:{port}" in err
    assert not (tmp_path / "run").exists()


def test_a_run_that_diverges_is_4_and_keeps_what_ran(
    shotclock: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    config = write_settings(tmp_path, "[bench]\nwarmup_steps = 10\n")
    arms = ["--arms", "classical-only,classical-control", "--workload", "diverging:build"]
    code, out, err = shotclock(*small_bench(tmp_path / "run", *arms, "--steps", "40", "--config", config))
    assert code == 4
    assert "Traceback" not in err
    (line,) = [text for text in err.splitlines() if text.startswith("shotclock: ")]
    assert "seed 0: classical-control, step 15: " in line
    assert "NaN" in line
    assert str(tmp_path / "run") in line
    assert re.search("failed", out, re.IGNORECASE)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"


def test_a_paid_run_asks_first_and_shows_its_estimate(
    tmp_path: Path, shotclock: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_settings(tmp_path, '[quantum]\nprovider = "ibm"\nmax_money_per_run = 5\n')
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    code, _, err = shotclock("bench", "--config", config, "--out", str(tmp_path / "run"))
    assert code == 2
    for words in ("QPU s a job", "at most 5 USD", "--yes"):
        assert words in err
    assert not (tmp_path / "run").exists()


def test_a_run_writes_what_it_pays_for_into_one_ledger(tmp_path: Path, shotclock: Cli) -> None:
    ledger = tmp_path / "ledger.db"
    config = write_settings(
        tmp_path,
        f'[quantum]\nprovider = "harness:paying"\nmax_money_per_run = 5\n[serve]\nledger = "{ledger}"\n'
        '[bench]\narms = ["classical-only", "hybrid-colocated", "quantum-raw"]\nwarmup_steps = 0\n',
    )
    out = str(tmp_path / "run")
    code, _, err = shotclock("bench", "--seeds", "1", "--steps", "12", "--config", config, "--out", out)
    assert code == 0, err
    _, listed, _ = shotclock("jobs", "--ledger", str(ledger), "--json")
    states = [job["state"] for job in json.loads(listed)["jobs"]]
    assert len(states) >= 4
    assert set(states) <= {"applied", "stale"}
