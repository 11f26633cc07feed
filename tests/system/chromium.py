"""A real browser for the tests: headless Chromium, spoken to over a pipe by its DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    # only this host resolves: what a page asks for outside can only fail, and is seen
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
MISSING = "no Chromium on this machine; install it (apt-get install chromium): these tests do not skip"
READ_FD, WRITE_FD = 3, 4


class BrowserError(RuntimeError):
    """The browser refused a command, or ended."""


def address(page: Path | str) -> str:
    """A file's, or the address itself."""
    return page.as_uri() if isinstance(page, Path) else page


@dataclass(slots=True)
class Tab:
    """One open page. requested: addresses it asked for; errors: its console's and the log's errors."""

    _reader: int
    _writer: int
    _session: str = ""
    _last: int = 0
    _buffer: bytes = b""
    requested: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _events: set[str] = field(default_factory=set)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result; events that come before it are kept."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._last:
            self._keep(answer)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def attach(self) -> None:
        """Opens an empty page and listens to it."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log", "Accessibility"):
            self.send(f"{domain}.enable")

    def open(self, page: Path | str, width: int) -> None:
        """Shows a file or an address, `width` px wide, and waits until it is loaded."""
        self.requested.clear()
        self.errors.clear()
        self._events.clear()
        self.resize(width)
        self.send("Page.navigate", url=address(page))
        while "Page.loadEventFired" not in self._events:
            self._keep(self._next())

    def resize(self, width: int, height: int = 900) -> None:
        """The viewport, px."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def media(self, kind: str = "", scheme: str = "light") -> None:
        """Paper (`print`) or screen, light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=kind, features=features)

    def run(self, function: str, *arguments: object) -> Any:
        """Calls a JavaScript function with JSON arguments; its value, waited for."""
        call = f"({function})({', '.join(json.dumps(argument) for argument in arguments)})"
        answer = self.send("Runtime.evaluate", expression=call, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"].get("exception", answer)))
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """A key, by its name and its Windows code."""
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def names(self, role: str) -> list[str]:
        """Accessible names of the elements of a role."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        with_role = [node for node in nodes if not node["ignored"] and node["role"]["value"] == role]
        return [str(node.get("name", {}).get("value", "")) for node in with_role]

    def pdf(self) -> bytes:
        """The page on paper, by its own style sheet's page size."""
        printed = self.send("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        return base64.b64decode(printed["data"])

    def _keep(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method", ""), event.get("params", {})
        self._events.add(method)
        if method == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(parameters["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(parameters["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "assert"}:
            self.errors.append(" ".join(str(argument.get("value")) for argument in parameters["args"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            more = os.read(self._reader, 1 << 20)
            if not more:
                raise BrowserError("the browser ended")
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        message_parsed: dict[str, Any] = json.loads(message)
        return message_parsed


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A browser with one tab, ended afterwards. profile: a dedicated folder."""
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    if program is None:
        raise BrowserError(MISSING)
    command_in, command_out = os.pipe()
    answer_in, answer_out = os.pipe()
    quiet = os.open(os.devnull, os.O_WRONLY)
    pid = os.posix_spawn(
        program,
        [program, *FLAGS, f"--user-data-dir={profile}"],
        os.environ,
        file_actions=[
            # above both targets first: a duplicate onto 3 must not be where the other end stands
            (os.POSIX_SPAWN_DUP2, command_in, 20),
            (os.POSIX_SPAWN_DUP2, answer_out, 21),
            (os.POSIX_SPAWN_DUP2, 20, READ_FD),
            (os.POSIX_SPAWN_DUP2, 21, WRITE_FD),
            (os.POSIX_SPAWN_DUP2, quiet, 1),
            (os.POSIX_SPAWN_DUP2, quiet, 2),
        ],
        setpgroup=0,
    )
    for end in (command_in, answer_out, quiet):
        os.close(end)
    try:
        tab = Tab(answer_in, command_out)
        tab.attach()
        yield tab
    finally:
        os.close(command_out)
        os.close(answer_in)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
