"""A provider's outage under a real service, Prometheus and Alertmanager: the page is sent, and taken back."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from killing import HANG_S, Calls, Place, run_callers
from paid_provider import vendor
from served import ServiceProcess, free_port
from shotclock.ops.export import export

ALERT = "ShotclockBreakerOpen"


class Pager:
    """Alertmanager's webhook: the status of each notification about an alert, in order."""

    def __init__(self) -> None:
        self.statuses: list[str] = []
        self._changed = asyncio.Condition()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes one notification in."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = re.search(r"(?i)content-length: (\d+)", head)
        assert size is not None
        notification: dict[str, Any] = json.loads(await reader.readexactly(int(size[1])))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        async with self._changed:
            for alert in notification["alerts"]:
                if alert["labels"]["alertname"] == ALERT:
                    assert alert["annotations"]["runbook_url"].endswith("/qpu-unresponsive.md")
                    self.statuses.append(alert["status"])
            self._changed.notify_all()

    async def wait_status(self, status: str) -> None:
        """Waits until the last notification has the status."""
        async with asyncio.timeout(HANG_S), self._changed:
            await self._changed.wait_for(lambda: self.statuses[-1:] == [status])


@contextmanager
def alerting(folder: Path, scraped: int, pager: int) -> Iterator[None]:
    """Prometheus and Alertmanager with the exported files, whose intervals are shortened."""
    export(folder)
    prometheus, alertmanager = folder / "prometheus", free_port()
    for name in ("prometheus.yml", "shotclock-alerts.yml", "alertmanager.yml"):
        text = (prometheus / name).read_text()
        text = text.replace("127.0.0.1:9464", f"127.0.0.1:{scraped}").replace(":9093", f":{alertmanager}")
        text = text.replace("interval: 15s", "interval: 500ms").replace("for: 1m", "for: 0s")
        text = re.sub(r"(group_wait|group_interval): \w+", r"\1: 500ms", text)
        hook = f"  - name: pages\n    webhook_configs: [{{url: 'http://127.0.0.1:{pager}/'}}]"
        (prometheus / name).write_text(text.replace("  - name: pages", hook))
    commands = [
        [
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{free_port()}",
        ],
        [
            "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts",
            f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address=",
        ],
    ]  # fmt: skip
    running = []
    try:
        for command in commands:
            with (folder / f"{command[0]}.log").open("w") as log:
                running.append(subprocess.Popen(command, cwd=prometheus, stderr=log))
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


async def call_until_page(place: Place, pager: Pager) -> None:
    over = asyncio.Event()
    load = asyncio.create_task(run_callers(place.target, over, 1, Calls()))
    await pager.wait_status("firing")
    over.set()
    await load


async def run_outage(folder: Path) -> list[str]:
    pager = Pager()
    hook = await asyncio.start_server(pager.answer, "127.0.0.1", 0)
    hook_port = hook.sockets[0].getsockname()[1]
    with vendor(folder) as account:
        place = Place.at(folder, account)
        serving: ServiceProcess = await place.start(lean=True)
        serving.go()
        http_port = (await serving.wait_for_event("listening"))["http_port"]
        await serving.wait_for_event("ready")
    try:
        with alerting(folder / "ops", http_port, hook_port):  # the vendor is away now
            await call_until_page(place, pager)
            with vendor(folder, port=account.port):
                await pager.wait_status("resolved")
    finally:
        await serving.kill()
        hook.close()
    return pager.statuses


def test_an_outage_of_the_provider_pages_and_its_end_resolves_the_page(tmp_path: Path) -> None:
    statuses = asyncio.run(run_outage(tmp_path))
    assert list(dict.fromkeys(statuses)) == ["firing", "resolved"]
