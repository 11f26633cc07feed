"""Certificates and their authority are replaced again and again under load: CI does 10, a soak 200."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from dataclasses import replace

import trustme

from certificates import SERVER, TRAINER, Site
from harness import random_subproblem
from mtls_loopback import Loopback, open_mtls_loopback
from shotclock.domain.budget import NS_PER_S
from shotclock.wire.client import GrpcDispatcher

CALLERS = 4
ASKED = replace(random_subproblem(12, 1), budget_ns=30 * NS_PER_S, fresh=True)


def next_authority(site: Site, rotation: int) -> None:
    """Three rotations replace the authority: both are taken, the new one signs, the old one goes."""
    match rotation % 3:
        case 0:
            site.trusted = (site.authority, trustme.CA())
        case 1:
            site.authority = site.trusted[-1]
        case 2:
            site.trusted = (site.authority,)


async def read_presented(system: Loopback) -> str:
    """The certificate that the server shows at a new handshake, PEM."""
    return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", system.server.port))


async def rotate(site: Site, rotations: int) -> Counter[str]:
    """How the calls ended, by kind, while both ends got new certificates so many times."""
    endings: Counter[str] = Counter()
    async with open_mtls_loopback(site) as system:
        channels = system.channels(site.issue(TRAINER), poll_s=0.01)
        dispatcher = GrpcDispatcher(channels)
        over = asyncio.Event()

        async def call() -> None:
            while not over.is_set():
                endings[type(await dispatcher.solve(ASKED)).__name__] += 1

        callers = [asyncio.create_task(call()) for _ in range(CALLERS)]
        for rotation in range(rotations):
            next_authority(site, rotation)
            before, calls = channels.lane, endings.total()
            server = site.issue(SERVER)
            site.issue(TRAINER)
            while channels.lane is before or endings.total() < calls + 10 * CALLERS:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            assert await read_presented(system) == server.certificate.read_text()
        over.set()
        await asyncio.gather(*callers)
    return endings
