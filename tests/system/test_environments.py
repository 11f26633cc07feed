"""Unusual environments that the product works in: proxies, no working directory, no docstrings, few files."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from certificates import OPERATOR, SERVER, Site
from mtls_loopback import POLICY, ScriptedDispatcher, ScriptedOperations
from shotclock.app.remote_providers import spare_loopback
from shotclock.wire.channels import connect
from shotclock.wire.operations import GrpcOperations
from shotclock.wire.server import serve
from shotclock.wire.tls import ClientTls, Insecure, ServerTls

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
NOBODY = "http://127.0.0.1:9"


def run(*command: str, folder: str = "") -> subprocess.CompletedProcess[str]:
    """`python COMMAND`; in a working directory that is deleted before it begins where a folder is given."""
    words = [sys.executable, *command]
    if folder:
        words = ["sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', folder, *words]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("secure", [False, True])
def test_a_proxy_of_the_environment_reroutes_no_grpc(
    secure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, NOBODY)
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    site = Site.at(tmp_path)

    async def main() -> None:
        server_side = ServerTls(site.issue(SERVER), POLICY) if secure else Insecure()
        client_side = ClientTls(site.issue(OPERATOR), SERVER) if secure else Insecure()
        server = await serve(ScriptedDispatcher(), ScriptedOperations(), "127.0.0.1:0", server_side)
        operations = GrpcOperations(connect(f"127.0.0.1:{server.port}", client_side))
        assert (await operations.status()).provider == "scripted"
        await operations.close()
        await server.stop(0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        (
            {"http_proxy": NOBODY},
            {"no_proxy": "localhost,127.0.0.1,::1", "NO_PROXY": "localhost,127.0.0.1,::1"},
        ),
        (
            {"HTTPS_PROXY": NOBODY, "NO_PROXY": "corp.test,localhost"},
            {
                "no_proxy": "corp.test,localhost,127.0.0.1,::1",
                "NO_PROXY": "corp.test,localhost,127.0.0.1,::1",
            },
        ),
        ({"ALL_PROXY": NOBODY, "no_proxy": "*"}, {"no_proxy": "*"}),
    ],
)
def test_vendors_clients_keep_their_proxy_and_spare_this_host(
    before: dict[str, str], after: dict[str, str]
) -> None:
    environment = dict(before)
    spare_loopback(environment)
    assert environment == before | after


def test_a_deleted_working_directory_is_reported_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    ended = run("-m", "shotclock", "verify", "runs/none", folder=str(folder))
    notice, error = ended.stderr.splitlines()
    assert "the working directory was deleted; relative paths are under " in notice
    assert error.startswith("shotclock: runs/none: ")
    assert ended.returncode == 2
    replaced = Path(notice.rpartition(" ")[2])
    replaced.rmdir()  # it exists, and is empty


def test_stripped_docstrings_leave_the_help_as_it_is() -> None:
    for verb in ((), ("bench",), ("serve",), ("jobs", "settle")):
        whole, stripped = (run(*flags, "-m", "shotclock", *verb, "--help") for flags in ((), ("-OO",)))
        assert stripped.returncode == 0, stripped.stderr
        assert stripped.stdout == whole.stdout


def test_stripped_docstrings_leave_the_report_s_charts() -> None:
    charts = (
        "import shotclock.bench.report.run.page, altair; print(altair.Chart().mark_line().to_dict()['mark'])"
    )
    ended = run("-OO", "-c", charts)
    assert ended.stdout == "{'type': 'line'}\n", ended.stderr


def test_sixty_four_open_files_are_enough_for_a_worker_process() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))

    ended = subprocess.run(
        [sys.executable, "-m", "shotclock", "doctor", "--provider", "emulated"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
        env=dict(os.environ),
    )
    assert ended.returncode == 0, ended.stderr
