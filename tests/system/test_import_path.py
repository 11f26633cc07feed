"""A folder from elsewhere is data: no command runs a module that lies in the working directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = str(Path(sys.executable).with_name("shotclock"))
INSTALLED = ("pydantic", "numpy", "typer", "apsw", "pyarrow", "grpc", "torch", "qiskit", "numba", "shotclock")
STANDARD = ("secrets", "multiprocessing", "pickle", "signal", "tempfile", "json", "random", "sqlite3")
RAN = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\n"
SECONDS = 120


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with a module of each name; each leaves a file where it was run."""
    for name in (*INSTALLED, *STANDARD):
        (tmp_path / f"{name}.py").write_text(RAN, encoding="utf-8")
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: stolen\n", encoding="utf-8")
    (tmp_path / "a.toml").write_text("[bench]\nseeds = 0\n", encoding="utf-8")
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=SECONDS
    )


def traces(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".ran" or path.name == "stolen")


OTHERS = (
    (("report", "."), 2),
    (("compare", ".", "."), 2),
    (("pairs", "a.toml", "a.toml"), 2),
    (("jobs", "list", "--ledger", "none.db"), 2),
    (("profile", "show", "none.toml"), 2),
    (("profile", "fit", "none.json"), 2),
    (("load", "--config", "a.toml"), 2),
    (("bench", "--config", "a.toml"), 2),
    (("serve", "--config", "a.toml"), 2),
    (("emulate", "--listen", "nowhere"), 2),
)
IN_ONE_PROCESS = """
import json, sys
from shotclock import cli
codes = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["shotclock", *arguments]
    try:
        cli.main()
    except SystemExit as ended:
        codes.append(ended.code)
print(json.dumps(codes))
"""


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("verify", "."), 99),
        (("status", "--target", "127.0.0.1:1"), 3),
        (("doctor", "--provider", "emulated"), 0),  # starts a worker process and compiles with numba
    ],
)
def test_no_module_of_the_working_directory_runs(command: tuple[str, ...], code: int, hostile: Path) -> None:
    ended = run(hostile, SCRIPT, *command)
    assert traces(hostile) == [], ended.stderr
    assert ended.returncode == code, ended.stderr


def test_no_other_command_runs_one_either(hostile: Path) -> None:
    commands = json.dumps([command for command, _ in OTHERS])
    ended = run(hostile, sys.executable, "-P", "-c", IN_ONE_PROCESS, commands)
    assert traces(hostile) == [], ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == [code for _, code in OTHERS], ended.stderr


def test_python_m_takes_the_working_directory_off_the_path(hostile: Path) -> None:
    (hostile / "shotclock.py").unlink()  # Python itself looks there for the module that `-m` names
    ended = run(hostile, sys.executable, "-m", "shotclock", "jobs", "list", "--ledger", "none.db")
    assert traces(hostile) == [], ended.stderr
    assert ended.returncode == 2, ended.stderr


def test_a_plugin_of_the_working_directory_is_found_and_replaces_nothing(hostile: Path) -> None:
    (hostile / "mine.py").write_text(
        "import pydantic, secrets, sys\n"
        "def build(clock, seed):\n"
        "    raise ValueError(f'{pydantic.VERSION} {secrets.token_hex.__name__} {sys.path[-1]}')\n",
        encoding="utf-8",
    )
    ended = run(hostile, SCRIPT, "doctor", "--provider", "mine:build")
    assert f"token_hex {hostile}" in ended.stdout + ended.stderr
    assert traces(hostile) == []
