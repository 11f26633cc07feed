"""A real `shotclock serve` with mutual TLS over the emulated provider, and certificates for its callers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tomli_w
import trustme

from shotclock.emulator import profile as profiles
from shotclock.wire.certificates import TlsFiles

SERVER = "localhost"
DRAIN_S = 5.0
PATIENCE_S = 60.0
"""For a service that does not end."""


@dataclass(frozen=True, slots=True)
class Site:
    """A folder of identities, issued beforehand so that other processes find them."""

    folder: Path

    @classmethod
    def of(cls, folder: Path, names: tuple[str, ...]) -> Site:
        """Certificates for these names, which are DNS names, and for the server."""
        authority, site = trustme.CA(), cls(folder)
        for name in (SERVER, *names):
            files, issued = site.issue(name), authority.issue_cert(name)
            files.certificate.parent.mkdir()
            files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
            files.private_key.touch(0o600)
            files.private_key.write_bytes(issued.private_key_pem.bytes())
            files.authorities.write_bytes(authority.cert_pem.bytes())
        return site

    def issue(self, name: str) -> TlsFiles:
        """The files of this name."""
        folder = self.folder / name
        return TlsFiles(folder / "tls.pem", folder / "tls.key", folder / "ca.pem")


class Running:
    """The process, its ports, and what it wrote to stderr."""

    def __init__(self, process: subprocess.Popen[str], stderr: Path) -> None:
        self.process = process
        self.stderr = stderr
        self.grpc_port, self.http_port = 0, 0

    def wait_ready(self) -> None:
        """Reads its lines until it takes calls."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == "listening":
                self.grpc_port, self.http_port = event["grpc_port"], event["http_port"]
            if event["event"] == "ready":
                return
        raise RuntimeError(f"the service did not start: {self.stderr.read_text()[-2000:]}")

    def terminate_s(self) -> float:
        """From SIGTERM to its end, seconds; PATIENCE_S where it had to be killed."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        return time.monotonic() - began


@contextmanager
def serving(site: Site, names: tuple[str, ...]) -> Iterator[Running]:
    """The service, ready; ends with the context where it has not ended before."""
    files, config = site.issue(SERVER), site.folder / "serve.toml"
    config.write_text(
        f"""[quantum]
profile = "{write_profile(site.folder)}"
[circuits]
template_store = "{site.folder / "templates"}"
[serve]
listen = "127.0.0.1:0"
metrics = "127.0.0.1:0"
certificate = "{files.certificate}"
private_key = "{files.private_key}"
authorities = "{files.authorities}"
trainers = {json.dumps(names)}
drain_s = {DRAIN_S}
"""
    )
    command = [sys.executable, "-m", "shotclock", "serve", "--json", "--config", str(config)]
    stderr = site.folder / "stderr"
    with stderr.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    running = Running(process, stderr)
    try:
        running.wait_ready()
        yield running
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def write_profile(folder: Path) -> Path:
    """The profile `colocated` without its tails: each wait is the median.

    One job in a thousand waits 140 ms or longer in that profile, and delays about ten calls: in 750 calls,
    whether one falls into the baseline or the attack would decide the ratio of two p99.
    """
    document = profiles.load("colocated").model_dump(by_alias=True, exclude_none=True)
    for wait in ("queue", "subjob_overhead"):
        document[wait] = {"kind": "constant", "value": document[wait]["median"]}
    path = folder / "colocated-without-tails.toml"
    path.write_text(tomli_w.dumps(document))
    return path
