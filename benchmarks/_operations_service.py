"""A real `shotclock serve` over the EMULATED provider, scraped by a real Prometheus every half second."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 60.0
"""For a process that does not start or end."""

SCRAPE_S = 0.5
SETTLE_S = 3 * SCRAPE_S
"""So long after a load, Prometheus has its last calls."""

COMMAND = [sys.executable, "-c", "from shotclock.cli import main; main()"]


@dataclass(frozen=True, slots=True)
class Watched:
    """The service and the Prometheus that scrapes it."""

    process: subprocess.Popen[str]
    grpc_port: int
    prometheus_port: int

    def query(self, promql: str) -> float:
        """The one value of an instant query, now; NaN without one."""
        words = urllib.parse.urlencode({"query": promql})
        url = f"http://127.0.0.1:{self.prometheus_port}/api/v1/query?{words}"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
            answer = json.load(response)["data"]["result"]
        return float(answer[0]["value"][1]) if answer else float("nan")

    def load(
        self, out: Path, rate_per_s: float, duration_s: float, budget_ms: float
    ) -> subprocess.Popen[str]:
        """`shotclock load` at this service, begun; any answer counts."""
        target = ["--target", f"127.0.0.1:{self.grpc_port}", "--rate", f"{rate_per_s:g}"]
        words = ["--duration", f"{duration_s:g}", "--deadline-ms", f"{budget_ms:g}", "--count", "any"]
        return subprocess.Popen(
            [*COMMAND, "load", *target, *words, "--out", str(out), "--json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stop_for(self, seconds: float) -> None:
        """The service stands still for so long, and then goes on."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def watch_service(folder: Path) -> Iterator[Watched]:
    """Both processes, ended with the context."""
    settings = folder / "settings.toml"
    settings.write_text(
        '[serve]\nlisten = "127.0.0.1:0"\nmetrics = "127.0.0.1:0"\ninsecure = true\nsizes = [12]\n'
        f'ledger = "{folder / "ledger.db"}"\n[circuits]\ntemplate_store = "{folder / "templates"}"\n'
    )
    with (folder / "serve.log").open("w") as log:
        service = subprocess.Popen(
            [*COMMAND, "serve", "--json", "--config", str(settings)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        ports = _wait_ready(service)
        with _prometheus(folder, ports["http_port"]) as prometheus_port:
            yield Watched(service, ports["grpc_port"], prometheus_port)
    finally:
        service.send_signal(signal.SIGCONT)
        service.terminate()
        try:
            service.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            service.kill()
            service.communicate()


def _wait_ready(service: subprocess.Popen[str]) -> dict[str, int]:
    ports: dict[str, int] = {}
    assert service.stdout is not None
    for line in service.stdout:
        event = json.loads(line)
        if event["event"] == "listening":
            ports = event
        if event["event"] == "ready":
            return ports
    raise RuntimeError("the service did not start")


@contextmanager
def _prometheus(folder: Path, scraped: int) -> Iterator[int]:
    program = shutil.which("prometheus")
    if program is None:
        sys.exit("error: operations.py needs prometheus on PATH (Debian: apt-get install prometheus)")
    port, config = _free_port(), folder / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: {round(SCRAPE_S * 1e3)}ms}}\n"
        f"scrape_configs:\n- job_name: shotclock\n  static_configs: [{{targets: ['127.0.0.1:{scraped}']}}]\n"
    )
    words = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [program, *words, f"--web.listen-address=127.0.0.1:{port}"],
            stderr=log,
            env={**os.environ, "GOMAXPROCS": "1"},
        )
    try:
        _wait_answering(f"http://127.0.0.1:{port}/-/ready")
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait_answering(url: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=1.0).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{url} does not answer")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
