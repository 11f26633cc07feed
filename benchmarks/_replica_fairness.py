"""10,000 clients before three orchestrators that share a QPU's lanes, on virtual time; EMULATED.

Every client has one call after the other, more than the QPU serves. The run ends in the middle, so that the
share of each shows: Jain's index is (Σx)² ÷ (n·Σx²), 1 if all are served alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.domain.outcome import Done
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.orchestrator.ledger.transitions import LanesBusyError

CLIENTS = 10_000
REPLICAS = 3
LANES = 3
SERVICE_S = 0.05
BATCH = 250
"""Calls of a job: each choice of a job looks at every caller, which takes the time of this simulation."""
PAUSE_S = 0.02
"""Between two looks for a lane, as the ledger on PostgreSQL takes them."""
BALANCED = (1, 1, 1)
UNEVEN = (3, 2, 1)
"""How many of six clients call each orchestrator."""
SKEWED = (10, 1, 1)


class LanesInMemory(MemoryLedger):
    """A ledger that the orchestrators of one process share: its lanes are those of all."""

    def __init__(self, lanes: int) -> None:
        super().__init__(asyncio.get_running_loop().time)
        self._lanes = lanes
        self._running: set[str] = set()

    async def wait_for_lane(self, provider: str) -> None:
        """Returns when one seems free."""
        del provider
        while len(self._running) >= self._lanes:  # noqa: ASYNC110 - as the ledger on PostgreSQL
            await asyncio.sleep(PAUSE_S)

    async def intend(self, record: JobRecord) -> None:
        """See `Ledger.intend`."""
        if len(self._running) >= self._lanes:
            raise LanesBusyError("no lane is free")
        await super().intend(record)
        self._running.add(record.tag)

    async def move(self, tag: str, state: LedgerState, *, job_id: str = "", note: str = "") -> None:
        """See `Ledger.move`."""
        await super().move(tag, state, job_id=job_id, note=note)
        if state not in {LedgerState.INTENT, LedgerState.SUBMITTED}:
            self._running.discard(tag)


def jain(served: Sequence[int]) -> float:
    """Jain's fairness index."""
    total = sum(served)
    return total * total / (len(served) * sum(each * each for each in served)) if total else 0.0


def simulate_fairness(
    shares: Sequence[int], served_each: int, clients: int = CLIENTS
) -> tuple[float, list[float]]:
    """Jain's index over the clients' served calls, and the calls served a client of each orchestrator.

    served_each: calls a client that are served on average; each always has one more.
    """
    from harness import run_virtual  # noqa: PLC0415 - the tests' folder is on the path only now

    pattern = [replica for replica, share in enumerate(shares) for _ in range(share)]
    homes = [pattern[client % len(pattern)] for client in range(clients)]
    served = run_virtual(_serve(homes, served_each))
    of_replica = [[served[client] for client, home in enumerate(homes) if home == each] for each in range(3)]
    return jain(served), [sum(each) / len(each) for each in of_replica]


async def _serve(homes: Sequence[int], served_each: int) -> list[int]:
    ledger = LanesInMemory(LANES)
    systems = [_make_system(ledger, number) for number in range(REPLICAS)]
    from virtual_orchestrator import make_subproblem  # noqa: PLC0415 - see above

    for system in systems:
        await system.orchestrator.start(make_subproblem())
    served, over = [0] * len(homes), asyncio.Event()
    unserved = len(homes) * served_each

    async def call_repeatedly(client: int) -> None:
        nonlocal unserved
        orchestrator = systems[homes[client]].orchestrator
        call = replace(make_subproblem(budget_ms=1e8), caller=f"client-{client}", request_id="")
        while unserved > 0:
            if isinstance(await orchestrator.solve(call), Done):
                served[client] += 1
                unserved -= 1
            if unserved <= 0:
                over.set()

    tasks = [asyncio.create_task(call_repeatedly(client)) for client in range(len(homes))]
    await over.wait()
    counts = list(served)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for system in systems:
        await system.orchestrator.stop()
    return counts


def _make_system(ledger: LanesInMemory, seed: int) -> Any:
    from harness import LoopClock  # noqa: PLC0415 - see above
    from shotclock.orchestrator.answers import Fallback  # noqa: PLC0415
    from shotclock.providers.scripted import UNLIMITED, Reply, ScriptedProvider  # noqa: PLC0415
    from virtual_orchestrator import System  # noqa: PLC0415

    limits = replace(UNLIMITED, paid=True, lanes=LANES)
    provider = ScriptedProvider(
        LoopClock(), afterwards=Reply(SERVICE_S), limits=limits, predicted_s=SERVICE_S
    )
    return System(
        provider,
        ledger=ledger,
        lanes=ledger,
        seed=seed,
        queue_limit=CLIENTS,
        batch_limit=BATCH,
        fallback=Fallback.NONE,
    )
