"""Containers: any user id, no home folder, caches that cannot be written, Kubernetes' variables."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shotclock.domain.errors import SettingsError
from shotclock.settings import load

# Reads everything and writes nothing that is not its own, wherever the interpreter lies.
STRANGER = [
    "setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
]  # fmt: skip
RUN = [
    "bench",
    "--clock",
    "virtual",
    "--seeds",
    "1",
    "--steps",
    "5",
    "--arms",
    "classical-only,hybrid-colocated",
]
SERVICE = {
    "SHOTCLOCK_PORT": "tcp://10.0.0.1:7443",
    "SHOTCLOCK_SERVICE_HOST": "10.0.0.1",
    "SHOTCLOCK_SERVICE_PORT": "7443",
    "SHOTCLOCK_SERVICE_PORT_GRPC": "7443",
    "SHOTCLOCK_PORT_7443_TCP": "tcp://10.0.0.1:7443",
    "SHOTCLOCK_PORT_7443_TCP_PROTO": "tcp",
    "SHOTCLOCK_PORT_7443_TCP_ADDR": "10.0.0.1",
}


def run_as_unknown_user(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`shotclock` as a user whom the machine does not know, where we may become one."""
    theirs = {name: value for name, value in os.environ.items() if name not in {"HOME", "XDG_CACHE_HOME"}}
    os.chmod(folder, 0o777)  # noqa: PTH101
    return subprocess.run(
        [*(STRANGER if os.geteuid() == 0 else []), sys.executable, "-m", "shotclock", *arguments],
        cwd=folder,
        env={**theirs, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def shared_folder(tmp_path: Path) -> Path:
    """A folder that a stranger reaches."""
    for above in (tmp_path, *tmp_path.parents[:2]):
        above.chmod(above.stat().st_mode | 0o755)
    return tmp_path


# Without HOME the command sets it to /nonexistent, so that is the same run.
@pytest.mark.parametrize("variables", [{}, {"HOME": "/", "XDG_CACHE_HOME": "/proc/none"}])
def test_a_run_needs_no_home_and_no_cache(variables: dict[str, str], shared_folder: Path) -> None:
    ran = run_as_unknown_user(shared_folder, *RUN, "--out", "run", **variables, **SERVICE)
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "cannot be written" in ran.stderr or os.geteuid()
    assert {file.name for file in shared_folder.iterdir()} == {"run"}


def test_a_service_is_ready_and_ends_well_beside_a_full_cache(tmp_path: Path) -> None:
    # files may grow to 8 KiB, less than a template: what a full disk does
    limited = ["bash", "-c", 'ulimit -f 8; exec "$@"', "-", sys.executable, "-m", "shotclock"]
    serve = ["serve", "--insecure", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
    surroundings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    with subprocess.Popen([*limited, *serve], stderr=subprocess.PIPE, text=True, env=surroundings) as service:
        assert service.stderr is not None
        lines = []
        for line in service.stderr:
            lines.append(line)
            if line.startswith("ready"):
                service.terminate()
    text = "".join(lines)
    assert service.returncode == 0, text
    assert "cannot be written: File too large; templates are compiled again at each start" in text
    assert "ready: emulated provider" in text
    assert "Traceback" not in text
    assert not [*tmp_path.rglob("*.template"), *tmp_path.rglob("*.partial")]


def test_only_names_with_two_underscores_are_settings(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in SERVICE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SHOTCLOCK_BENCH__SEEDS", "3")
    with caplog.at_level(logging.WARNING):
        assert load(None, {}).bench.seeds == 3
        assert not caplog.messages
        monkeypatch.setenv("SHOTCLOCK_BENCH_STEPS", "7")
        load(None, {})
    assert caplog.messages == [
        "environment: SHOTCLOCK_BENCH_STEPS is not read; did you mean SHOTCLOCK_BENCH__STEPS?"
    ]
    monkeypatch.setenv("SHOTCLOCK_BNECH__SEEDS", "3")
    with pytest.raises(SettingsError, match=r"SHOTCLOCK_BNECH__SEEDS.*did you mean 'bench'"):
        load(None, {})
