"""A proxy between a real client and the emulated endpoint that changes chosen answers on their way."""

from __future__ import annotations

import http.client
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from ibm_endpoint import IbmEndpoint


@dataclass
class Answer:
    """What a request is answered with. dropped: the connection is closed in its place."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    dropped: bool = False


Change = Callable[[Answer], Answer]
DROPPED = Answer(dropped=True)


def document(content: Any, status: int = 200, **headers: str) -> Answer:
    """An answer of JSON; headers by name with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(content).encode(), named)


def refusal(status: int, code: Any = "x", message: str = "no", **headers: str) -> Answer:
    """A refusal as IBM's API writes them."""
    error = {"code": code, "message": message, "solution": "", "more_info": ""}
    return document({"errors": [error], "trace": "t"}, status, **headers)


NONSENSE = {
    "null": document(None),
    "list": document([1]),
    "number": document(5),
    "text": document("x"),
    "empty": document({}),
    "not json": Answer(200, b"\xff<html>"),
    "nothing": Answer(200, b""),
    "deep": Answer(200, b"[" * 50_000),
}


@dataclass
class Rule:
    """Changes answers to requests of this kind; remaining: to how many. forwarded: the endpoint sees it."""

    method: str
    path: re.Pattern[str]
    change: Change
    remaining: int
    forwarded: bool


class Tampering(ThreadingHTTPServer):
    """requests: every request as "METHOD path" in order; bodies: of those that had one; headers: of all."""

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.behind = urlsplit(behind).netloc
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.rules: list[Rule] = []
        self.requests: list[str] = []
        self.bodies: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    def answer(
        self, request: str, with_: Answer | Change, *, times: int = 10**9, forwarded: bool = True
    ) -> None:
        """From now on requests like "GET /jobs/[^/]+$" are answered so, the next `times` of them."""
        method, path = request.split(" ", 1)
        change = (lambda _: with_) if isinstance(with_, Answer) else with_
        self.rules.append(Rule(method, re.compile(path), change, times, forwarded))

    def count(self, request: str) -> int:
        """How many requests of this kind there were."""
        method, path = request.split(" ", 1)
        pairs = (entry.split(" ", 1) for entry in self.requests)
        return sum(verb == method and re.search(path, where) is not None for verb, where in pairs)

    def rule_for(self, method: str, path: str) -> Rule | None:
        for rule in self.rules:
            if rule.remaining and rule.method == method and rule.path.search(path):
                rule.remaining -= 1
                return rule
        return None


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Tampering

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {path}")
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        if body:
            self.server.bodies.append((f"{self.command} {path}", body))
        rule = self.server.rule_for(self.command, path)
        answer = Answer() if rule is not None and not rule.forwarded else self._forward(body)
        if rule is not None:
            answer = rule.change(answer)
        if answer.dropped:
            self.close_connection = True
            return
        self.send_response_only(answer.status)  # which has no date
        for name, value in {"content-type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        if answer.status != 204:
            self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _any  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _forward(self, body: bytes) -> Answer:
        upstream = http.client.HTTPConnection(self.server.behind, timeout=60)
        dropped = {"host", "content-length", "accept-encoding", "connection"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        try:
            upstream.request(self.command, self.path, body or None, headers)
            response = upstream.getresponse()
            # QRMI's client reads a body by its content type.
            answer_headers = {"content-type": response.headers.get("content-type") or "application/json"}
            return Answer(response.status, response.read(), answer_headers)
        finally:
            upstream.close()


@contextmanager
def tampering(endpoint: IbmEndpoint) -> Iterator[Tampering]:
    """The proxy in front of this endpoint, in this process's environment."""
    proxy = Tampering(endpoint.url)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    environment = {
        name: value.replace(endpoint.url, proxy.url) for name, value in endpoint.environment.items()
    }
    try:
        with mock.patch.dict(os.environ, environment):
            yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
