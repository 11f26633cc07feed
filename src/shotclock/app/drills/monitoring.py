"""Prometheus and Alertmanager with the exported rules on a shortened time scale, and their pager."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shotclock.app.drills.site import free_port
from shotclock.domain import files
from shotclock.domain.errors import MachineError
from shotclock.ops.export import export

ALERTMANAGERS = ("prometheus-alertmanager", "alertmanager")
"""Debian's name, and that of the project's archives."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
SHORTEST_MS = 500
"""No duration becomes shorter: a scrape takes time, and a window needs several of them."""
RULES = ("prometheus.yml", "shotclock-rules.yml", "shotclock-alerts.yml", "alertmanager.yml")
DURATION = re.compile(
    r"(?P<before>(?:for|interval|group_wait|group_interval): |\[)(?P<count>\d+)(?P<unit>[smhd])\b"
)
INTERVAL_S = 15.0
"""Of scrapes and of evaluations, as exported."""
RULE = re.compile(r"- alert: (\w+)\n(.*?)(?=\n      - alert: |\n  - name: |\Z)", re.DOTALL)


def shorten(text: str, scale: float) -> str:
    """The text of a configuration with windows, `for` and intervals divided by the scale; thresholds stay."""

    def divide(match: re.Match[str]) -> str:
        duration_ms = 1_000 * int(match["count"]) * UNITS[match["unit"]] / scale
        return f"{match['before']}{max(SHORTEST_MS, round(duration_ms))}ms"

    return DURATION.sub(divide, text)


@dataclass(frozen=True, slots=True)
class RuleDelay:
    """How long the exported rule takes, seconds.

    hold_s: its `for`, a scrape, an evaluation and the wait for the group.
    window_s: the longest window that it looks at.
    """

    hold_s: float
    window_s: float


def read_delay(alerts: str, alert: str) -> RuleDelay:
    """The delay of the first rule of this alert in the text of the exported rules."""
    body = next(body for name, body in RULE.findall(alerts) if name == alert)
    hold = re.search(r"\n *for: (\d+)([smhd])", body)
    windows = re.findall(r"(?:\[|rate|increase|p99_)(\d+)([smhd])\b", body)
    severity = re.search(r"severity: (\w+)", body)
    group_wait_s = 10.0 if severity and severity[1] == "page" else 30.0
    return RuleDelay(
        (_seconds(*hold.groups()) if hold else 0.0) + 2 * INTERVAL_S + group_wait_s,
        max((_seconds(*window) for window in windows), default=0.0),
    )


def _seconds(count: str, unit: str) -> float:
    return int(count) * UNITS[unit]


@dataclass(frozen=True)
class Programs:
    """The paths of the two programs."""

    prometheus: str
    alertmanager: str


def find_programs(needs: tuple[str, ...]) -> Programs:
    """Raises MachineError with what to install."""
    alternatives = {name: ALERTMANAGERS if name in ALERTMANAGERS else (name,) for name in needs}
    paths = {name: next(filter(None, map(shutil.which, names)), "") for name, names in alternatives.items()}
    missing = [name for name, path in paths.items() if not path]
    if missing:
        raise MachineError(
            f"drill: {' and '.join(missing)} cannot be found; "
            f"install what is missing (Debian: apt install {' '.join(missing)}), or add its folder to PATH"
        )
    return Programs(paths["prometheus"], paths["prometheus-alertmanager"])


class Pager:
    """Alertmanager's webhook: the status of each notification, by alert, in order."""

    def __init__(self) -> None:
        self.statuses: defaultdict[str, list[str]] = defaultdict(list)
        self._changed = asyncio.Condition()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes one notification in."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = re.search(r"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(size[1]) if size else 0)
        notification: dict[str, Any] = json.loads(body)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        async with self._changed:
            for alert in notification["alerts"]:
                self.statuses[alert["labels"]["alertname"]].append(alert["status"])
            self._changed.notify_all()

    async def wait_status(self, alert: str, status: str, limit_s: float) -> None:
        """Waits until the last notification of the alert has the status. Raises TimeoutError."""
        async with asyncio.timeout(limit_s), self._changed:
            await self._changed.wait_for(lambda: self.statuses[alert][-1:] == [status])


@asynccontextmanager
async def watch_service(
    folder: Path, programs: Programs, http_port: int, scale: float
) -> AsyncGenerator[Pager, None]:
    """Prometheus and Alertmanager on the exported files, which notify the pager."""
    pager = Pager()
    hook = await asyncio.start_server(pager.answer, "127.0.0.1", 0)
    try:
        with _run_programs(folder, programs, http_port, hook.sockets[0].getsockname()[1], scale):
            yield pager
    finally:
        hook.close()


@contextmanager
def _run_programs(
    folder: Path, programs: Programs, http_port: int, hook_port: int, scale: float
) -> Iterator[None]:
    export(folder, force=True)
    prometheus, alertmanager = folder / "prometheus", free_port()
    for name in RULES:
        text = shorten((prometheus / name).read_text(encoding="utf-8"), scale)
        text = text.replace("127.0.0.1:9464", f"127.0.0.1:{http_port}").replace(":9093", f":{alertmanager}")
        hook = f"\n    webhook_configs: [{{url: 'http://127.0.0.1:{hook_port}/'}}]"
        text = re.sub(r"(?m)^  - name: (pages|tickets)$", rf"\g<0>{hook}", text)
        files.write_text(prometheus / name, text)
    commands = [
        [
            programs.prometheus, "--config.file=prometheus.yml", "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{free_port()}",
        ],
        [
            programs.alertmanager, "--config.file=alertmanager.yml", "--storage.path=alerts",
            f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address=",
        ],
    ]  # fmt: skip
    running = []
    try:
        for command in commands:
            with files.create(folder / f"{Path(command[0]).name}.log") as log:
                running.append(
                    subprocess.Popen(  # noqa: S603 - found on PATH
                        command, cwd=prometheus, stderr=log, stdout=log, start_new_session=True
                    )
                )
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
