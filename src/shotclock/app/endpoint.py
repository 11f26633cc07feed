"""Builds the emulated IBM endpoint: devices, profile, worker process, clock."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from shotclock.emulator import device
from shotclock.emulator.rest import worker
from shotclock.emulator.rest.app import application
from shotclock.emulator.rest.endpoint import Endpoint, EndpointSettings
from shotclock.emulator.rest.instances import CATALOG_PREFIX, INSTANCE, SEARCH_PREFIX
from shotclock.emulator.rest.instants import EmulatedTime
from shotclock.runtime.http_connections import Connections, HttpLimits
from shotclock.runtime.http_server import listen, serve
from shotclock.runtime.loop_thread import SystemClock
from shotclock.runtime.offload import ProcessOffload

API_KEY = "emulated"
MEMORY_MIB = 16_384
"""A state vector of 26 qubits takes 1 GiB, and its simulation several times that."""

LIMITS = HttpLimits(connections=512, header_s=30.0, idle_s=120.0, answer_s=600.0, accepts_per_s=5_000.0)
"""IBM's clients keep connections open between polls, and a large job takes its time to arrive."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where an endpoint listens. backends: IBM's names of the emulated devices."""

    host: str
    port: int
    backends: tuple[str, ...]

    @property
    def address(self) -> str:
        """The base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def environment(self) -> dict[str, str]:
        """The environment variables with which IBM's clients use this endpoint (qiskit-ibm-runtime, QRMI)."""
        first = self.backends[0]
        qrmi = {
            "QRMI_IBM_QCS_ENDPOINT": self.address,
            "QRMI_IBM_QCS_IAM_ENDPOINT": self.address,
            "QRMI_IBM_QCS_IAM_APIKEY": API_KEY,
            "QRMI_IBM_QCS_SERVICE_CRN": INSTANCE,
        }
        return {
            "IAM_URL": self.address,
            "GLOBAL_SEARCH_URL": f"{self.address}{SEARCH_PREFIX}",
            "GLOBAL_CATALOG_URL": f"{self.address}{CATALOG_PREFIX}",
            "QISKIT_IBM_URL": f"{self.address}/experimental",
            "QISKIT_IBM_TOKEN": API_KEY,
            "QISKIT_IBM_INSTANCE": INSTANCE,
        } | {f"{first}_{name}": value for name, value in qrmi.items()}


def emulate(
    names: tuple[str, ...],
    settings: EndpointSettings,
    host: str,
    port: int,
    ready: Callable[[Listening], None],
) -> None:
    """Serves the named devices until SIGTERM or SIGINT; calls `ready` when clients may connect.

    Raises SettingsError on an unknown device, MachineError on an unavailable port.
    """
    offload = ProcessOffload(MEMORY_MIB)
    try:
        with contextlib.closing(listen(host, port, "--listen")) as listener:
            asyncio.run(_emulate(names, settings, offload, listener, ready))
    finally:
        offload.close()


async def _emulate(
    names: tuple[str, ...],
    settings: EndpointSettings,
    offload: ProcessOffload,
    listener: socket.socket,
    ready: Callable[[Listening], None],
) -> None:
    devices = {
        name: (await offload.run(device.describe, name), await offload.run(worker.documents, name))
        for name in names
    }
    await offload.run(worker.warm, names[0])
    endpoint = Endpoint(settings, devices, offload, EmulatedTime(SystemClock(), time.time(), settings.speed))
    connections = Connections(LIMITS)

    async def cut(request: Request) -> None:
        if request.client is not None:
            connections.cut(request.client.host, request.client.port)

    host, port = listener.getsockname()[:2]
    stopping = _on_signals()
    endpoint.begin()
    try:
        server = await serve(application(endpoint, cut), listener, connections)
        ready(Listening(host, port, tuple(endpoint.backends)))
        await stopping.wait()
        await server.stop()
    finally:
        await endpoint.end()


def _on_signals() -> asyncio.Event:
    """Set by SIGINT and SIGTERM."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping
