"""`stale-updates`: a trainer whose steps are shorter than an answer takes, so that every answer is stale.

`late_answers` has the other part of the drill: what such answers do to a model, protections off and on.
"""

from __future__ import annotations

import asyncio
import threading
import time

from shotclock.app.drills.rehearse import Drill
from shotclock.app.drills.site import SECOND_TRAINER, Site
from shotclock.app.host import WallHost
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.iteration import FinishedCall
from shotclock.training.aggregator import Aggregator
from shotclock.training.calls import CallPolicy, Calls
from shotclock.training.loops.digits_mlp import build
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher

STEP_S = 0.05
N = 12
POLICY = CallPolicy(1, "overlap", 2_000 * NS_PER_MS, at_once=2, in_flight=12)


class Trainer:
    """Trains in a thread, with calls to the service that overlap with its steps."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._training: asyncio.Task[None] | None = None

    async def begin(self, site: Site) -> None:
        """Starts it."""
        self._stopping.clear()
        self._training = asyncio.create_task(asyncio.to_thread(self._train, site))

    async def end(self, site: Site) -> None:
        """Stops it, as one that is deployed again with longer steps."""
        del site
        self._stopping.set()
        if self._training is not None:
            await self._training

    def _train(self, site: Site) -> None:
        host, workload = WallHost(), build(0)
        try:
            dispatcher = host.run(_connect(site))
            kernel = workload.kernel("qat_flip", N)
            aggregator = Aggregator(workload, kernel, "revalidate", loss_check=False)
            finished: list[FinishedCall] = []
            calls = Calls(
                aggregator,
                caller=host.caller(dispatcher),
                clock=host.clock,
                policy=POLICY,
                ended=finished.append,
            )
            number = 0
            while not self._stopping.is_set():
                calls.run_boundary(number, host.clock.now_ns())
                aggregator.run_step(workload.step)
                time.sleep(STEP_S)
                number += 1
            calls.flush()
            host.run(dispatcher.close())
        finally:
            host.close()


async def _connect(site: Site) -> GrpcDispatcher:
    return GrpcDispatcher(connect(site.target, site.identity(SECOND_TRAINER)))


TRAINER = Trainer()
DRILL = Drill("stale-updates", TRAINER.begin, end=TRAINER.end, ends_before="shotclock resume")
