"""A drill's site in a temporary folder: certificates, settings, the QPU's endpoint and the service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import tomli_w

from shotclock.app.drills.certificates import Authority
from shotclock.domain import files
from shotclock.domain.errors import MachineError
from shotclock.wire.certificates import TlsFiles
from shotclock.wire.tls import ClientTls

SHOTCLOCK = "from shotclock.cli import main; main()"
SHIMS = Path(__file__).with_name("shims")
TRAINER, SECOND_TRAINER, OPERATOR, SERVER = "trainer", "trainer-2", "operator", "localhost"
START_S = 300.0
"""For a process to be ready: a start takes seconds, on a busy machine a minute."""
N = 6
"""Variables of the honest calls."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class SitePlan:
    """What a drill's site looks like.

    has_endpoint: whether the QPU is a `shotclock emulate` process behind IBM's API; otherwise it is emulated
        within the service.
    certificate_days: lifetime of the service's certificate.
    settings: values for the service's settings, by section and key.
    host_files: of the host that the service reads, by path below its root; none leaves it the real one.
    """

    has_endpoint: bool = False
    certificate_days: float = 60.0
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    host_files: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Site:
    """The site: where everything is.

    folder: holds its files, its logs and the id of the service's process.
    authority: signs its certificates, in `pki`.
    grpc_port: of the service.
    http_port: of the service.
    endpoint: the process of the QPU's endpoint, None where the QPU is emulated within the service.
    endpoint_url: where that one listens, or "".
    variables: of the service's environment and of the runbook's shell, beyond the fixed ones.
    """

    folder: Path
    authority: Authority
    grpc_port: int
    http_port: int
    endpoint: subprocess.Popen[str] | None = None
    endpoint_url: str = ""
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The service's settings file."""
        return self.folder / "serve.toml"

    @property
    def ledger(self) -> Path:
        """The service's ledger."""
        return self.folder / "ledger.db"

    @property
    def host_tree(self) -> Path:
        """The root of the host that the service reads, where the plan has files of it."""
        return self.folder / "host"

    @property
    def target(self) -> str:
        """The service's gRPC address."""
        return f"{SERVER}:{self.grpc_port}"

    def identity(self, name: str) -> ClientTls:
        """A client's certificate files."""
        pki = self.authority.folder
        return ClientTls(TlsFiles(pki / f"{name}.pem", pki / f"{name}.key", pki / "ca.pem"))

    def environment(self) -> dict[str, str]:
        """The variables of the runbooks, with this site's values."""
        pki = self.authority.folder
        return {
            **os.environ,
            **self.variables,
            "PATH": f"{self.folder / 'bin'}:{os.environ.get('PATH', '')}",
            "me": f"--target {self.target} --certificate {pki}/{OPERATOR}.pem "
            f"--private-key {pki}/{OPERATOR}.key --authorities {pki}/ca.pem",
            "http": f"http://127.0.0.1:{self.http_port}",
            "ledger": str(self.ledger),
            "config": str(self.config),
            "tls": str(pki),
            "site": str(self.folder),
        }

    def service_pid(self) -> int:
        """The id of the service's process; 0 where it does not run."""
        try:
            pid = int((self.folder / "service.pid").read_text())
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return 0
        return 0 if "\nState:\tZ" in status else pid  # a container may have nobody that reaps

    def signal_service(self, number: signal.Signals) -> None:
        """Sends a signal to the service's process, if it runs."""
        if pid := self.service_pid():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def signal_endpoint(self, number: signal.Signals) -> None:
        """Sends a signal to the endpoint's process."""
        if self.endpoint is not None:
            self.endpoint.send_signal(number)

    async def add_fault(self, rule: str) -> None:
        """Adds a rule of `shotclock emulate --fault` to the running endpoint."""
        await self._post("POST", {"fault": rule})

    async def clear_faults(self) -> None:
        """Removes every fault of the endpoint."""
        await self._post("DELETE", None)

    async def _post(self, method: str, body: dict[str, str] | None) -> None:
        url = f"{self.endpoint_url}/emulator/faults"
        answer = await asyncio.to_thread(requests.request, method, url, json=body, timeout=30)
        answer.raise_for_status()

    async def read_metric(self, name: str) -> float:
        """The sum of a metric's series at the service, 0 where it has none."""
        url = f"http://127.0.0.1:{self.http_port}/metrics"
        lines = (await asyncio.to_thread(requests.get, url, timeout=10)).text.splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))
        )


@asynccontextmanager
async def open_site(folder: Path, plan: SitePlan) -> AsyncGenerator[Site, None]:
    """Starts the endpoint and the service; ends them, whatever they do."""
    authority = Authority.create(folder / "pki")
    authority.issue(SERVER, plan.certificate_days)
    for name in (TRAINER, SECOND_TRAINER, OPERATOR):
        authority.issue(name, 30.0)
    site = Site(folder, authority, free_port(), free_port())
    _write_shims(site)
    for name, text in plan.host_files.items():
        files.make_folder((site.host_tree / name).parent)
        files.write_text(site.host_tree / name, f"{text}\n")
    try:
        if plan.has_endpoint:
            await _start_endpoint(site)
        files.write_text(site.config, tomli_w.dumps(_settings(site, plan)))
        await start_service(site)
        yield site
    finally:
        _stop(site)


async def start_service(site: Site) -> None:
    """Starts the service as a runbook does. Raises MachineError with the end of its log."""
    started = await asyncio.create_subprocess_exec(
        str(site.folder / "bin" / "systemctl"),
        "start",
        "shotclock",
        env=site.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    if await started.wait():
        log = (site.folder / "service.log").read_text(encoding="utf-8", errors="replace")
        raise MachineError(f"drill: the service did not start: {' '.join(log.split())[-500:]}")


def _settings(site: Site, plan: SitePlan) -> dict[str, dict[str, Any]]:
    pki = site.authority.folder
    settings: dict[str, dict[str, Any]] = {
        "quantum": {"shots": 64, "budget_ms": 5_000.0, "profile": "colocated"},
        "serve": {
            "listen": f"127.0.0.1:{site.grpc_port}",
            "metrics": f"127.0.0.1:{site.http_port}",
            "certificate": str(pki / f"{SERVER}.pem"),
            "private_key": str(pki / f"{SERVER}.key"),
            "authorities": str(pki / "ca.pem"),
            "trainers": [TRAINER, SECOND_TRAINER],
            "operators": [OPERATOR],
            "ledger": str(site.ledger),
            "flags": str(site.folder / "flags.json"),
            "sizes": [N],
            "drain_s": 5.0,
        },
        "circuits": {"template_store": str(site.folder / "templates")},
    }
    if plan.has_endpoint:
        settings["quantum"] |= {"provider": "ibm", "backend": "ibm_torino", "max_money_per_run": 1_000.0}
    for section, values in plan.settings.items():
        settings.setdefault(section, {}).update(values)
    if plan.host_files:
        settings.setdefault("placement", {})["root"] = str(site.host_tree)
    return {"schema": 1, **settings}  # type: ignore[dict-item]


def _write_shims(site: Site) -> None:
    folder = site.folder / "bin"
    folder.mkdir()
    files.write_text(site.folder / "flags.json", '{"flags": {}}\n')
    shotclock = f"#!/bin/sh\nexec '{sys.executable}' -c '{SHOTCLOCK}' \"$@\"\n"
    texts = {"shotclock": shotclock} | {
        name: (SHIMS / f"{name}.sh").read_text(encoding="utf-8") for name in ("systemctl", "journalctl")
    }
    for name, text in texts.items():
        files.write_text(folder / name, text)
        (folder / name).chmod(0o755)


async def _start_endpoint(site: Site) -> None:
    site.endpoint = _open_endpoint(site.folder)
    line = await asyncio.to_thread(site.endpoint.stdout.readline) if site.endpoint.stdout else ""
    if not line:
        raise MachineError(f"drill: the endpoint did not start: {(site.folder / 'endpoint.log').read_text()}")
    listening = json.loads(line)
    site.endpoint_url = listening["url"]
    site.variables |= listening["environment"]


def _open_endpoint(folder: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-c", SHOTCLOCK, "emulate", "--json", "--listen", "127.0.0.1:0",
        "--profile", "colocated", "--speed", "10", "--price", "1.6",
    ]  # fmt: skip
    with files.create(folder / "endpoint.log") as log:
        return subprocess.Popen(  # noqa: S603 - this interpreter
            command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )


def _stop(site: Site) -> None:
    for number, patience_s in ((signal.SIGCONT, 0.0), (signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)):
        site.signal_service(number)
        until = time.monotonic() + patience_s
        while site.service_pid() and time.monotonic() < until:
            time.sleep(0.05)
    if site.endpoint is not None:
        site.endpoint.kill()
        site.endpoint.wait()
        if site.endpoint.stdout is not None:
            site.endpoint.stdout.close()
