"""The emulated endpoint on virtual time, called through ASGI: no socket, no sleep, the same every time."""

from __future__ import annotations

import asyncio
import functools
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_ibm_runtime.json import RuntimeEncoder
from starlette.requests import Request

from harness import Inline, LoopClock
from shotclock.domain.ports import Clock
from shotclock.emulator import device
from shotclock.emulator.profile import load
from shotclock.emulator.rest.app import application
from shotclock.emulator.rest.endpoint import Endpoint, EndpointSettings
from shotclock.emulator.rest.faults import parse
from shotclock.emulator.rest.instants import EmulatedTime
from shotclock.emulator.rest.worker import documents

STARTED_UNIX_S = 1_800_000_000.0
NEWEST_API = "2026-04-15"

facts_of = functools.lru_cache(device.describe)
documents_of = functools.lru_cache(documents)


@dataclass
class Answer:
    """A response: status and body."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class EndpointClient:
    """An endpoint and a client of it; `cut` counts the connections that were cut."""

    endpoint: Endpoint
    cut: int = 0
    headers: dict[str, str] = field(
        default_factory=lambda: {"authorization": "Bearer x", "ibm-api-version": NEWEST_API}
    )

    async def call(self, method: str, path: str, body: Any = None) -> Answer:
        """One request; `body` is sent as JSON, bytes as they are."""
        parts = urlsplit(path)
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "root_path": "",
            "query_string": parts.query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in self.headers.items()],
            "client": ("test", 1),
            "server": ("test", 80),
            "scheme": "http",
        }
        sent: list[dict[str, Any]] = []
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
        return Answer(sent[0]["status"], text)

    @functools.cached_property
    def _app(self) -> Any:
        async def cut(request: Request) -> None:
            self.cut += 1

        return application(self.endpoint, cut)

    async def submit(self, params: Any, program: str = "sampler", **more: Any) -> Answer:
        """A POST of a job."""
        body = {"program_id": program, "backend": "ibm_torino", "params": params} | more
        return await self.call("POST", "/jobs", body)

    async def state(self, job_id: str) -> str:
        return str((await self.call("GET", f"/jobs/{job_id}")).json["state"]["status"])

    async def wait_ended(self, job_id: str, poll_s: float = 0.5) -> str:
        """Polls until the job has ended; its state."""
        while True:
            state = await self.state(job_id)
            if state not in {"Queued", "Running"}:
                return state
            await asyncio.sleep(poll_s)

    async def run_job(self, params: Any, program: str = "sampler", **more: Any) -> str:
        """Submits, waits; the id of a job that completed."""
        answer = await self.submit(params, program, **more)
        assert answer.status == 200, answer.text
        job_id = str(answer.json["id"])
        assert await self.wait_ended(job_id) == "Completed"
        return job_id


def open_client(
    profile: str = "colocated",
    *faults: str,
    clock: Clock | None = None,
    started_unix_s: float = STARTED_UNIX_S,
    **settings: Any,
) -> EndpointClient:
    """An endpoint with one Heron; settings as of EndpointSettings."""
    chosen = {"speed": 1.0, "seed": 0} | settings
    endpoint_settings = EndpointSettings(
        profile=load(profile), rules=tuple(parse(text) for text in faults), **chosen
    )
    time = EmulatedTime(clock or LoopClock(), started_unix_s, endpoint_settings.speed)
    device_documents = {"heron-torino": (facts_of("heron-torino"), documents_of("heron-torino"))}
    return EndpointClient(Endpoint(endpoint_settings, device_documents, Inline(), time))


def flip_circuit(qubits: int = 1, register: str = "c") -> QuantumCircuit:
    """An ISA circuit: X on the first qubits of the device, then they are read."""
    circuit = QuantumCircuit(133)
    circuit.add_register(ClassicalRegister(qubits, register))
    for qubit in range(qubits):
        circuit.x(qubit)
        circuit.measure(qubit, qubit)
    return circuit


def sampler(*pubs: Any, **options: Any) -> Any:
    """Params of the sampler program as SamplerV2 sends them; options: of `execution`."""
    coerced = [SamplerPub.coerce(pub) for pub in pubs]
    document = {"pubs": coerced, "version": 2, "support_qiskit": True, "options": {"execution": options}}
    return json.loads(json.dumps(document, cls=RuntimeEncoder))
