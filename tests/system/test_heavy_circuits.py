"""A real service while callers send circuits that take longer than they may."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from harness import random_subproblem
from heavy_circuits import heavy, honest, hostile
from served import ServiceProcess, free_port
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.errors import CircuitError, ShotclockError
from shotclock.domain.outcome import CircuitOutcome, Done, Executed, Late, Shed
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.tls import Insecure

N = 6
HANG_S = 600.0
ATTACKERS, ROUNDS = 3, 1


def descendants(pid: int) -> set[int]:
    processes: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            processes |= {child} | descendants(child)
    return processes


def configure(folder: Path) -> Path:
    config = folder / "settings.toml"
    config.write_text(f"""
[circuits]
template_store = "{folder / "templates"}"
[serve]
listen = "127.0.0.1:{free_port()}"
metrics = "127.0.0.1:0"
insecure = true
sizes = [{N}]
drain_s = 1
""")
    return config


def metric(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def restarts(port: int, reason: str) -> float:
    return metric(port, f'shotclock_worker_restarts_total{{arm="",reason="{reason}"}}')


def test_heavy_circuits_cost_their_callers_alone_and_do_not_hold_a_stop(tmp_path: Path) -> None:
    async def main() -> None:
        serving = await ServiceProcess.start(configure(tmp_path))
        try:
            listening = await serving.wait_for_event("listening")
            await serving.wait_for_event("ready")
            await attack(serving, listening["grpc_port"], listening["http_port"])
        finally:
            await serving.kill()

    asyncio.run(main())


async def attack(serving: ServiceProcess, grpc_port: int, http_port: int) -> None:
    channels = connect(f"127.0.0.1:{grpc_port}", Insecure())
    dispatcher = GrpcDispatcher(channels)

    async def send(seed: int, budget_s: float) -> CircuitOutcome:
        circuit = CircuitSpec(heavy(24, 3_000, seed), shots=10, budget_ns=round(budget_s * NS_PER_S))
        return await dispatcher.execute(circuit)

    async def attacker(number: int) -> list[CircuitOutcome]:
        return [await send(ROUNDS * number + each, 3.0) for each in range(ROUNDS)]

    async def user() -> CircuitOutcome:
        circuit = CircuitSpec(honest(0), shots=256, budget_ns=round(HANG_S * NS_PER_S))
        return await dispatcher.execute(circuit)

    for what, source in hostile().items():
        with pytest.raises(CircuitError, match=what) as refused:
            await dispatcher.execute(CircuitSpec(source, 10, budget_ns=round(HANG_S * NS_PER_S)))
        assert "\n" not in str(refused.value)
    restarted = [restarts(http_port, reason) for reason in ("abandoned", "time", "memory", "died")]
    assert restarted == [0, 0, 0, 0]  # refused before work
    attackers = [asyncio.create_task(attacker(number)) for number in range(ATTACKERS)]
    served = asyncio.create_task(user())
    attacking = asyncio.gather(*attackers)
    others = 0
    while not attacking.done():
        subproblem = replace(random_subproblem(N, others), budget_ns=round(HANG_S * NS_PER_S))
        outcome = await dispatcher.solve(subproblem)
        assert isinstance(outcome, Done), outcome
        assert outcome.samples.shots
        others += 1
    assert others
    assert {type(outcome) for outcomes in await attacking for outcome in outcomes} == {Late}
    answered = await served
    if isinstance(answered, Shed):  # on a host that is too slow for its limit
        assert answered.rejection.limit == "compile_capacity"
    else:
        assert isinstance(answered, Executed)
    budget_s = 3.0
    async with asyncio.timeout(HANG_S):  # it is counted once the process is gone
        while not restarts(http_port, "abandoned"):
            await asyncio.sleep(0.5)
            budget_s *= 1.5  # on a busy host the budget may have ended before a worker had the circuit
            await send(ATTACKERS * ROUNDS, budget_s)
    assert metric(http_port, 'shotclock_breaker_state{arm="",state="closed"}') == 1

    # SIGTERM while more is compiled than a stop may wait for
    endless = [asyncio.create_task(_outcome_of(send(100 + number, HANG_S))) for number in range(4)]
    await asyncio.sleep(0.5)
    assert not any(task.done() for task in endless)
    pids = descendants(serving.process.pid)
    assert pids
    os.kill(serving.process.pid, signal.SIGTERM)
    code, _, complaints = await serving.wait_ended()
    assert (code, complaints) == (0, "")
    await asyncio.wait(endless)
    async with asyncio.timeout(HANG_S):
        while any(Path(f"/proc/{pid}/exe").exists() for pid in pids):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.05)
    await channels.close()


async def _outcome_of(call: object) -> object:
    """An outcome or the error of a service that stops: both end the call."""
    assert asyncio.iscoroutine(call)
    try:
        return await call
    except ShotclockError as error:
        return error
