"""Wrong settings and a broken environment under `shotclock serve`: one line, and an exit code."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from certificates import SERVER, Site
from killing import Place
from paid_provider import PORT, vendor
from served import ServiceProcess, free_port
from shotclock.wire.certificates import TlsFiles


@dataclass(frozen=True)
class Mistake:
    """What is wrong with the settings (replaced words), and what must be said of it."""

    code: int
    words: tuple[str, ...]
    changes: tuple[tuple[str, str], ...] = ()


def check_refused(folder: Path, mistake: Mistake, more: str = "", *, lean: bool = True) -> None:
    """Starts it with the mistake and checks what it says."""
    config = folder / "settings.toml"
    text = f"""
[quantum]
provider = "paid_provider:connect"
max_money_per_run = 1.0
[serve]
listen = "127.0.0.1:0"
metrics = "127.0.0.1:0"
ledger = "{folder / "ledger.db"}"
insecure = true
sizes = [6]
{more}
"""
    for old, new in mistake.changes:
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)

    async def run() -> tuple[int, str, str]:
        serving = await ServiceProcess.start(config, lean=lean, environment={PORT: "1"})
        if lean:
            serving.go()
        return await serving.wait_ended()

    code, _, err = asyncio.run(run())
    assert code == mistake.code, err
    (line,) = err.splitlines()
    assert line.startswith("shotclock: ")
    for word in mistake.words:
        assert word in line


@pytest.mark.parametrize(
    "mistake",
    [
        Mistake(2, ("serve.sizess", "did you mean 'sizes'"), (("sizes =", "sizess ="),)),
        Mistake(
            2,
            ("serve.listen: 192.0.2.1:7443", "loopback"),
            (('listen = "127.0.0.1:0"', 'listen = "192.0.2.1:7443"'),),
        ),
        Mistake(2, ("serve.certificate", "insecure = true"), (("insecure = true", ""),)),
        Mistake(2, ("max_money_per_run",), (("max_money_per_run = 1.0", ""),)),
        Mistake(2, ("no_such_module",), (("paid_provider:connect", "no_such_module:connect"),)),
        Mistake(
            2,
            ("serve.metrics: 'nowhere'", "HOST:PORT"),
            (('metrics = "127.0.0.1:0"', 'metrics = "nowhere"'),),
        ),
        Mistake(
            2,
            ("serve.metrics", "127.0.0.1:7999", "another port"),
            (('127.0.0.1:0"\nmetrics = "127.0.0.1:0', '127.0.0.1:7999"\nmetrics = "127.0.0.1:7999'),),
        ),
    ],
    ids=[
        "unknown-key",
        "not-loopback",
        "no-certificate",
        "no-money",
        "no-provider",
        "no-address",
        "one-address",
    ],
)
def test_a_mistake_in_the_settings_is_one_line(tmp_path: Path, mistake: Mistake) -> None:
    check_refused(tmp_path, mistake)


@pytest.mark.parametrize("which", ["listen", "metrics"])
def test_a_port_that_is_taken_is_one_line(tmp_path: Path, which: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        change = (f'{which} = "127.0.0.1:0"', f'{which} = "{address}"')
        check_refused(tmp_path, Mistake(3, (address,), (change,)), lean=False)


def test_a_ledger_where_none_can_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "occupied").touch()
    check_refused(
        tmp_path, Mistake(3, ("serve.ledger", "occupied"), (("/ledger.db", "/occupied/ledger.db"),))
    )


def test_a_ledger_that_another_one_holds_is_one_line(tmp_path: Path) -> None:
    with vendor(tmp_path) as account:
        place = Place.at(tmp_path, account)

        async def start_twice() -> tuple[int, str, str]:
            first = await place.start(lean=True)
            first.go()
            await first.wait_for_event("ready")
            second = await ServiceProcess.start(
                place.config,
                "--listen",
                f"127.0.0.1:{free_port()}",
                lean=True,
                environment=place.environment,
            )
            second.go()
            ended = await second.wait_ended()
            await first.kill()
            return ended

        code, _, err = asyncio.run(start_twice())
    assert code == 3
    (line,) = err.splitlines()
    assert "another orchestrator holds" in line


def tls(files: TlsFiles) -> str:
    return (
        f'certificate = "{files.certificate}"\nprivate_key = "{files.private_key}"\n'
        f'authorities = "{files.authorities}"'
    )


def loosen_modes(site: Site) -> TlsFiles:
    files = site.issue(SERVER)
    files.private_key.chmod(0o644)
    return files


def missing(site: Site) -> TlsFiles:
    files = site.issue(SERVER)
    files.certificate.unlink()
    return files


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (lambda site: site.issue(SERVER, hours=(-48, -24)), ("tls.pem", "expired")),
        (loosen_modes, ("tls.key", "0644", "chmod 600")),
        (missing, ("tls.pem", "No such file")),
    ],
    ids=["expired", "key-open-to-others", "missing"],
)
def test_a_certificate_that_cannot_be_used_is_one_line(
    tmp_path: Path, spoilt: Callable[[Site], TlsFiles], words: tuple[str, ...]
) -> None:
    files = spoilt(Site.at(tmp_path))
    check_refused(tmp_path, Mistake(3, words, (("insecure = true", ""),)), more=tls(files))
