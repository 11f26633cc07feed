"""A stand-in for IBM's Quantum System API and its bucket: what QRMI's IBMQuantumSystem talks to on premises.

Jobs are run by the endpoint's own worker, at once and without time: this is about the client's way there.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from shotclock.emulator.rest.prepared import Chip
from shotclock.emulator.rest.worker import documents, execute

BUCKET = "bucket"
RESOURCE = "ibm_torino"
DEVICE = "heron-torino"
SPAN = {"start": "2026-11-22T10:00:00Z", "stop": "2026-11-22T10:00:02Z"}


class OnPremises(ThreadingHTTPServer):
    """The machine's state. outcome: how the next jobs end; refusals: statuses of the next POSTs of a job."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.documents = documents(DEVICE)
        self.status = "online"
        self.outcome = "Completed"
        self.refusals: list[int] = []
        self.objects: dict[str, bytes] = {}
        self.jobs: dict[str, Any] = {}
        self.posts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a site sets for this resource."""
        own = {
            "ENDPOINT": self.url,
            "IAM_ENDPOINT": self.url,
            "IAM_APIKEY": "emulated",
            "SERVICE_CRN": "crn:v1:bluemix:public:quantum-computing:us-east:a/emulated:emulated::",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "S3_ENDPOINT": self.url,
            "S3_BUCKET": BUCKET,
            "S3_REGION": "us-east",
        }
        named = {f"{RESOURCE}_QRMI_IBM_QS_{name}": value for name, value in own.items()}
        return named | {f"{RESOURCE}_QRMI_JOB_TIMEOUT_SECONDS": "100"}

    def start(self, job: Any) -> None:
        """Runs a job: its input lies in the bucket, and its results go there."""
        key = urlsplit(job["storage"]["input"]["presigned_url"]).path
        params = json.loads(self.objects[key])
        count = len(params["pubs"])
        seeds = tuple(range(count))
        ran = execute(Chip(DEVICE), job["program_id"], json.dumps(params), (0.0,) * count, seeds)
        span = {name: {"__type__": "datetime", "__value__": at} for name, at in SPAN.items()}
        spans = [{"__type__": "DoubleSliceSpan", "__value__": {**span, "data_slices": {}}}]
        metadata = {
            "execution": {"execution_spans": {"__type__": "ExecutionSpans", "__value__": {"spans": spans}}}
        }
        value = {"pub_results": json.loads(ran.results), "metadata": metadata}
        document = {"__type__": "PrimitiveResult", "__value__": value}
        self.objects[f"/{BUCKET}/results_{job['id']}.json"] = json.dumps(document).encode()
        self.jobs[job["id"]] = {
            "id": job["id"],
            "backend": job["backend"],
            "program_id": job["program_id"],
            "status": self.outcome,
            "created_time": SPAN["start"],
            "end_time": SPAN["stop"],
            "log_level": job["log_level"],
            "storage": job["storage"],
            "timeout_secs": job["timeout_secs"],
            "usage": {"quantum_nanoseconds": 2_000_000_000},
        }


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OnPremises

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = urlsplit(self.path).path
        status, content = self._answer(path, body)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        if status != 204:
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
        self.end_headers()
        if status != 204:
            self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _answer(self, path: str, body: bytes) -> tuple[int, Any]:
        server = self.server
        if path.startswith(f"/{BUCKET}/"):
            return self._object(path, body)
        if path == "/identity/token":
            expires = {"expires_in": 3600, "expiration": int(time.time()) + 3600}
            return 200, {"access_token": "a.b.c", "refresh_token": "r", "token_type": "Bearer", **expires}
        if path == "/v1/jobs":
            return self._jobs(body)
        if job := re.fullmatch(r"/v1/jobs/([^/]+)(/cancel)?", path):
            return self._job(job[1], cancelled=bool(job[2]))
        parts = {
            "": {"name": RESOURCE, "status": server.status, "message": "", "version": "1"},
            "/lanes": {"hpc_workload_manager": {"lanes": 5}, "ibm_quantum_compute": {"lanes": 0}},
            "/configuration": json.loads(server.documents.configuration),
            "/properties": json.loads(server.documents.properties),
        }
        part = parts.get(path.removeprefix(f"/v1/backends/{RESOURCE}"))
        return (404, {"status_code": 404, "title": "Not found"}) if part is None else (200, part)

    def _object(self, path: str, body: bytes) -> tuple[int, Any]:
        if self.command == "PUT":
            self.server.objects[path] = body
            return 200, b""
        content = self.server.objects.get(path)
        return (404, b"") if content is None else (200, content)

    def _jobs(self, body: bytes) -> tuple[int, Any]:
        if self.command == "GET":
            return 200, {"jobs": list(self.server.jobs.values())}
        self.server.posts += 1
        if self.server.refusals:
            refused = self.server.refusals.pop(0)
            return refused, {"status_code": refused, "title": "Busy", "trace": "t", "errors": []}
        self.server.start(json.loads(body))
        return 204, b""

    def _job(self, job_id: str, *, cancelled: bool) -> tuple[int, Any]:
        job = self.server.jobs.get(job_id)
        if job is None:
            return 404, {"status_code": 404, "title": "Job not found", "trace": "t", "errors": []}
        if cancelled:
            job["status"] = "Cancelled"
            return 204, b""
        if self.command == "DELETE":
            del self.server.jobs[job_id]
            return 204, b""
        return 200, job


@contextmanager
def onprem() -> Iterator[OnPremises]:
    """A machine that listens, its variables in this process's environment."""
    server = OnPremises()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with mock.patch.dict(os.environ, server.environment):
            yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
