"""An orchestrator in this process, behind a dispatcher that any thread may use."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack

from shotclock.app.host import Host
from shotclock.app.ledger_factory import LedgerFactory
from shotclock.app.quantum_path import PathPolicy, QuantumPath, assemble, build_provider
from shotclock.app.spending import read_rules
from shotclock.domain.errors import ProviderError
from shotclock.domain.recorders import Recorder
from shotclock.domain.trace import Tracer
from shotclock.emulator import profile as profiles
from shotclock.orchestrator.answers import Fallback
from shotclock.settings import Settings

log = logging.getLogger(__name__)


def embed_path(
    host: Host,
    settings: Settings,
    recorder: Recorder,
    ending: ExitStack,
    fallback: Fallback,
    tracer: Tracer | None = None,
) -> QuantumPath:
    """A running orchestrator on this host; `ending` stops it. Nothing is compiled yet.

    The ledger of a paid provider is opened first, and what an earlier process left open in it is recovered.
    """
    quantum = settings.quantum
    provider = build_provider(host, settings, quantum, profiles.load(quantum.profile))
    ledgers = LedgerFactory(settings.serve.ledger_file, log.warning)
    journal = ledgers.of(provider, read_rules(settings, quantum))
    ending.callback(ledgers.close)
    policy = PathPolicy(True, fallback, settings.orchestrator.batch_limit)
    path = assemble(host, settings, quantum, provider, policy, recorder, journal=journal, tracer=tracer)
    orchestrator = path.orchestrator

    async def start() -> asyncio.Task[None]:
        recovered = await ledgers.recover(provider)
        await orchestrator.start()
        return asyncio.create_task(ledgers.collect(provider, recovered.submitted))

    async def stop(collecting: asyncio.Task[None]) -> None:
        collecting.cancel()
        await asyncio.wait((collecting,))
        try:
            await orchestrator.stop()
        except ProviderError as error:  # the ledger must still be closed
            log.warning("closing the provider failed: %s", error)

    collecting = host.run(start())
    ending.callback(lambda: host.run(stop(collecting)))
    return path
