"""The first calls of a process whose caches are empty: no import and no compiling holds the event loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]

ATTACHED = """
from shotclock.app.attach import _remote
from shotclock.app.host import WallHost
from shotclock.placement.rules import Needs
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.wire.tls import Insecure
from loop_watch import LoopWatch, subproblems

watch, host = LoopWatch(), WallHost()
recorder = PrometheusRecorder(Metrics(), "attach")
dispatcher, end = _remote(host, "127.0.0.1:9", Insecure(), "rtt", Needs(), recorder, None)
watch.begin()
for one in subproblems(60_000_000_000, 12, 12, 1, 2, 20, 21, 40):
    watch.add_answer(host.run(dispatcher.solve(one)))
end()
host.close()
watch.report()
"""
"""As a training loop that is attached to a service which nobody runs."""

UNPREPARED = """
import asyncio
from loop_watch import LoopWatch, subproblems
from shotclock.orchestrator.race import classical
from shotclock.solvers.fallback import Classical
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.tls import Insecure

watch, solver = LoopWatch(), Classical()

async def main():
    channels = connect("127.0.0.1:9", Insecure())
    dispatcher = GrpcDispatcher(channels, fallback=lambda asked: classical(asked, solver))
    watch.begin()
    for one in subproblems(20_000_000, 21, 21):
        watch.add_answer(await dispatcher.solve(one))
    await dispatcher.close()

asyncio.run(main())
watch.report()
"""
"""A client of which nobody compiled the fallback before."""

SERVED = """
import asyncio
from loop_watch import LoopWatch, subproblems
from shotclock.app.service import Service
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.outcome import Decision
from shotclock.settings import load
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.tls import Insecure

BELL = 'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c; h q[0]; cx q[0], q[1]; c = measure q;'
LONG, SHORT = 60_000_000_000, 50_000_000

async def ask(port, watch):
    dispatcher = GrpcDispatcher(connect(f"127.0.0.1:{port}", Insecure()))
    watch.begin()
    for one in (*subproblems(LONG, 4, 4, 5, 1), *subproblems(SHORT, 18, 21)):
        watch.add_answer(await dispatcher.solve(one))
    watch.add_answer(await dispatcher.execute(CircuitSpec(BELL, 100, budget_ns=LONG)))
    await dispatcher.record_decision("r1", Decision.APPLIED)
    await dispatcher.close()

if __name__ == "__main__":
    watch = LoopWatch()
    serve = {"insecure": True, "listen": "127.0.0.1:0", "metrics": "127.0.0.1:0", "sizes": (4,)}
    service = Service(load(None, {"serve": serve, "circuits": {"template_store": ""}}))
    asyncio.run(ask(service.start().grpc_port, watch))
    service.close()
    watch.report()
"""
"""A service and its client in one process: both loops are watched."""


def run(program: str, folder: Path) -> dict[str, Any]:
    """Its report; numba's cache is empty."""
    file = folder / "program.py"
    file.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "NUMBA_CACHE_DIR": str(folder / "cache")}
    ended = subprocess.run(
        [sys.executable, file], capture_output=True, text=True, check=False, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return document


def test_an_attached_loop_without_a_service_gets_classical_answers(tmp_path: Path) -> None:
    report = run(ATTACHED, tmp_path)
    assert report["events"] == []
    assert report["answers"] == ["Degraded exact-or-tabu"] * 7


def test_a_fallback_that_nobody_compiled_leaves_the_loop_free(tmp_path: Path) -> None:
    report = run(UNPREPARED, tmp_path)
    assert report["events"] == []
    assert set(report["answers"]) <= {"Degraded incumbent", "Degraded exact-or-tabu"}
    assert report["answers"][0] == "Degraded incumbent"  # compiling takes longer than its budget


def test_a_service_and_its_client_import_and_compile_nothing_in_a_call(tmp_path: Path) -> None:
    report = run(SERVED, tmp_path)
    assert report["events"] == []
    assert [answer.split()[0] for answer in report["answers"][:4]] == ["Done"] * 4
    assert report["answers"][-1] == "Executed"
