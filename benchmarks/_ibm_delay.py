"""From "the QPU has finished" to "the caller has the answer": our provider and the clients' own waits."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from qiskit_ibm_runtime import QiskitRuntimeService, Session
from qiskit_ibm_runtime.executor_sampler import Sampler
from qrmi import QuantumResource, ResourceType  # type: ignore[attr-defined]
from qrmi.primitives.ibm import SamplerV2  # type: ignore[attr-defined]

from _ibm_endpoint import BACKEND, EmulatedEndpoint, circuit_of
from shotclock.circuits.qaoa import bind_isa
from shotclock.domain.ports import Job

SHOTS = 256
N = 12


@dataclass(frozen=True, slots=True)
class Waiter:
    """Who waits for answers; delays in ms, submits in ms."""

    name: str
    delays_ms: tuple[float, ...]
    submits_ms: tuple[float, ...]

    @property
    def delay_p50_ms(self) -> float:
        """The median."""
        return statistics.median(self.delays_ms)


def measure(endpoint: EmulatedEndpoint, rounds: int, few: int) -> tuple[Waiter, ...]:
    """Every waiter in turn, on one endpoint. few: rounds of the slow ones."""
    return (
        asyncio.run(_ours(endpoint, rounds)),
        _stock("qiskit-ibm-runtime, `job.result()`", rounds, session=False),
        _stock("the same in a session", rounds, session=True),
        _qrmi(few),
    )


def markdown(waiters: tuple[Waiter, ...]) -> list[str]:
    """A row each."""
    rows = [
        f"| {waiter.name} | {waiter.delay_p50_ms:.1f} | {max(waiter.delays_ms):.1f} "
        f"| {statistics.median(waiter.submits_ms):.1f} | {len(waiter.delays_ms)} |"
        for waiter in waiters
    ]
    return [
        "| who waits (EMULATED QPU, local endpoint) | answer delay p50, ms | max, ms | submit p50, ms "
        "| jobs |",
        "|---|---|---|---|---|",
        *rows,
    ]


async def _ours(endpoint: EmulatedEndpoint, rounds: int) -> Waiter:
    provider = endpoint.provider()
    rows = []
    for number in range(rounds + 1):  # the first one opens connections
        job = Job.of((circuit_of(N, number),), SHOTS, f"shotclock:d{number}")
        began = time.time()
        accepted = await provider.submit(job)
        submitted = time.time()
        runtime_job = provider.handle(accepted).runtime
        await provider.collect(accepted)
        rows.append((time.time(), submitted - began, runtime_job))
    await provider.close()
    return _waiter("Shotclock's provider", rows[1:], lambda job: job.metrics())


def _stock(name: str, rounds: int, *, session: bool) -> Waiter:
    backend = QiskitRuntimeService().backend(BACKEND)
    mode = Session(backend=backend) if session else backend
    rows = []
    for number in range(rounds):
        circuit = bind_isa(circuit_of(N, number))
        began = time.time()
        job = Sampler(mode=mode).run([circuit], shots=SHOTS)
        submitted = time.time()
        job.result()
        rows.append((time.time(), submitted - began, job))
    if session:
        mode.close()
    return _waiter(name, rows, lambda job: job.metrics())


def _qrmi(rounds: int) -> Waiter:
    resource = QuantumResource(BACKEND, ResourceType.IBMQuantumComputeService)
    service = QiskitRuntimeService()
    rows = []
    for number in range(rounds):
        circuit = bind_isa(circuit_of(N, number))
        began = time.time()
        job = SamplerV2(resource).run([circuit], shots=SHOTS)
        submitted = time.time()
        job.result()
        rows.append((time.time(), submitted - began, job))
    return _waiter("QRMI's own `job.result()`", rows, lambda job: service.job(job.job_id()).metrics())


def _waiter(name: str, rows: list[tuple[float, float, Any]], metrics: Callable[[Any], Any]) -> Waiter:
    delays = tuple(1e3 * (answered - _finish_stamp(metrics(job))) for answered, _, job in rows)
    return Waiter(name, delays, tuple(1e3 * submit for _, submit, _ in rows))


def _finish_stamp(metrics: Any) -> float:
    """The endpoint's stamp; at speed 1 its clock is this machine's."""
    return datetime.fromisoformat(metrics["timestamps"]["finished"]).timestamp()
