"""Round trips to an endpoint: TCP's handshake, timed, and percentiles over the latest ones.

A handshake is answered by the other side's kernel, so it takes one round trip of the network whatever the
endpoint is doing, needs no credentials, and leaves nothing in the endpoint's log. It measures the way, not
the service: how long the QPU's queue is, the calls themselves tell.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from socket import SOCK_STREAM, socket
from urllib.parse import urlsplit

from shotclock.domain.errors import SettingsError
from shotclock.domain.hosts import Rtt

log = logging.getLogger(__name__)

WINDOW = 200
"""Round trips kept: at one a second, about three minutes."""
FEWEST_P50, FEWEST_P95 = 11, 130
"""Round trips below which a percentile is not reported: LoadGen's early stopping at a confidence of 0.99."""
MEASURE_S = 5.0
TRANSPORT = "TCP handshake"
_PORTS = {"https": 443, "grpcs": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Address:
    """Where an endpoint listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From HOST:PORT or a URL. Raises SettingsError where there is no host or no port."""
        parts = urlsplit(text if "://" in text else f"//{text}")
        try:
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            port = 0
        if not parts.hostname or not port:
            raise SettingsError(f"endpoint {text!r}: must be HOST:PORT or a URL")
        return cls(parts.hostname, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RttWindow:
    """The latest round trips to one endpoint. Instants are those of a monotonic clock, seconds."""

    def __init__(self, limit: int = WINDOW) -> None:
        self._round_trips_s: deque[float] = deque(maxlen=limit)
        self._last_s = -math.inf

    def add(self, round_trip_s: float, now_s: float) -> None:
        """One more; the oldest is dropped."""
        self._round_trips_s.append(round_trip_s)
        self._last_s = now_s

    def reset(self) -> None:
        """Drops all: the way has changed."""
        self._round_trips_s.clear()

    def summarise(self, now_s: float) -> Rtt | None:
        """Percentiles by nearest rank; None without a round trip."""
        if not self._round_trips_s:
            return None
        ordered = sorted(self._round_trips_s)
        p50_s, p95_s = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95))
        return Rtt(p50_s * 1e3, p95_s * 1e3, len(ordered), now_s - self._last_s)


def add_round_trips(own: Rtt, onward: Rtt) -> Rtt:
    """Of the whole way. The sum of two p95 is at least the sum's p95 where the two are not correlated."""
    p50_ms, p95_ms = own.p50_ms + onward.p50_ms, own.p95_ms + onward.p95_ms
    return Rtt(p50_ms, p95_ms, min(own.n, onward.n), max(own.age_s, onward.age_s))


async def measure(once: Callable[[], Awaitable[float]]) -> Rtt:
    """Round trips one after the other: as many as a p95 needs, or those of MEASURE_S seconds.

    once: the time of one round trip, seconds; the first, which may open a connection, does not count.
    """
    loop, window = asyncio.get_running_loop(), RttWindow()
    began = loop.time()
    await once()
    while True:
        window.add(await once(), loop.time())
        rtt = window.summarise(loop.time())
        if rtt is not None and (rtt.n >= FEWEST_P95 or loop.time() - began > MEASURE_S):
            return rtt


async def probe(address: Address, timeout_s: float) -> float:
    """The time of one handshake, seconds. Raises OSError, TimeoutError included, on failure."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        # a name's resolution does not count
        ((family, kind, protocol, _, resolved), *_) = await loop.getaddrinfo(
            address.host, address.port, type=SOCK_STREAM
        )
        with socket(family, kind, protocol) as connection:
            connection.setblocking(False)
            began = loop.time()
            await loop.sock_connect(connection, resolved)
            return loop.time() - began


def explain_loss(error: OSError) -> str:
    """Why there was no round trip."""
    return os.strerror(error.errno) if error.errno else str(error) or "no answer"


class Prober:
    """Probes one endpoint again and again.

    on_loss: called with the reason each time that the endpoint stops answering.
    """

    def __init__(
        self,
        address: Address,
        *,
        every_s: float = 1.0,
        timeout_s: float = 5.0,
        on_loss: Callable[[str], None] = log.warning,
    ) -> None:
        self.address = address
        self.window = RttWindow()
        self.lost_because = ""
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._on_loss = on_loss

    async def run(self) -> None:
        """Probes until it is cancelled; what cannot be reached is a reason, never an exception."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                self.window.add(await probe(self.address, self._timeout_s), loop.time())
                self.lost_because = ""
            except OSError as error:
                reason = f"{self.address}: {explain_loss(error)}"
                if not self.lost_because:
                    self._on_loss(reason)
                self.lost_because = reason
            await asyncio.sleep(max(0.0, began + self._every_s - loop.time()))
