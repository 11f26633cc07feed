"""What a service tells of its host, so that callers can choose among several."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from shotclock.domain.errors import SettingsError
from shotclock.domain.hosts import Endpoint, HostDescription, HostState
from shotclock.domain.status import BreakerState, Phase, Status
from shotclock.placement.accelerators.record import Accelerator
from shotclock.placement.labels import list_domains
from shotclock.placement.report import write_report
from shotclock.placement.rtt import Address, Prober
from shotclock.placement.topology import HostView
from shotclock.placement.values import Absent
from shotclock.settings import Settings

log = logging.getLogger(__name__)

EMULATED = {"emulated": True, "aer": True, "ibm": False, "qrmi": False}
"""Providers by name; another one's nature is not known."""
NO_ANSWER = "the QPU's endpoint does not answer"


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the last reading of the host came to.

    free_memory_bytes: of its accelerators; None if it is not known
    domains: fabric domains that its drivers tell
    document: the view, for the wire; "" before the first reading
    read_at_s: when that was, by the monotonic clock
    """

    free_memory_bytes: int | None = None
    domains: frozenset[str] = frozenset()
    document: str = ""
    read_at_s: float = 0.0


class HostReport:
    """The present state of this host; `observe` and `keep_current` refresh it, `read` never waits.

    read_status: the orchestrator's present status.
    find_problems, find_refusals: of the host's health.
    """

    def __init__(
        self,
        settings: Settings,
        read_status: Callable[[], Status],
        find_problems: Callable[[], tuple[str, ...]],
        find_refusals: Callable[[], tuple[str, ...]],
    ) -> None:
        placement = settings.placement
        self._endpoint = make_endpoint(settings)
        self._fabrics = frozenset(placement.fabrics)
        self._read_status = read_status
        self._every_s = placement.sample_s
        self._host_problems = find_problems
        self._find_refusals = find_refusals
        self._last = _Reading()
        self._prober = _make_prober(settings)

    def read(self) -> tuple[HostState, Endpoint]:
        """The host's state and the endpoint of its QPU."""
        now_s = asyncio.get_running_loop().time()
        rtt = self._prober.window.summarise(now_s) if self._prober else None
        status, last = self._read_status(), self._last
        state = HostState(
            name=os.uname().nodename,
            fabrics=self._fabrics | last.domains,
            rtts={self._endpoint.name: rtt} if rtt else {},
            free_memory_bytes=last.free_memory_bytes,
            load=min(1.0, (status.running + status.waiting) / max(1, status.lanes_limit)),
            problems=(*self._find_problems(status), *self._host_problems()),
            refusals=self._find_refusals(),
        )
        return state, self._endpoint

    def observe(self, view: HostView) -> None:
        """A new reading of the host, from any thread."""
        self._last = _Reading(
            sum_free_memory(view.host.accelerators),
            list_domains(view.host),
            write_report(view),
            time.monotonic(),
        )

    def describe(self) -> HostDescription:
        """Devices and fabrics as last read."""
        last = self._last
        age_s = time.monotonic() - last.read_at_s if last.document else 0.0
        return HostDescription(last.document, age_s, self._every_s)

    async def keep_current(self) -> None:
        """Measures round trips until it is cancelled, where an endpoint is set."""
        if self._prober is not None:
            await self._prober.run()

    def _find_problems(self, status: Status) -> tuple[str, ...]:
        problems = []
        if status.phase is not Phase.READY:
            problems.append(f"the orchestrator is {status.phase}")
        if status.breaker is not BreakerState.CLOSED:
            problems.append(f"the breaker is {status.breaker}")
        if self._prober is not None and self._prober.lost_because:
            problems.append(f"{NO_ANSWER}: {self._prober.lost_because}")
        return tuple(problems)


def sum_free_memory(accelerators: tuple[Accelerator, ...]) -> int | None:
    """Free memory of all accelerators, bytes; None without one, or where one does not tell."""
    free_bytes = 0
    for accelerator in accelerators:
        total, used = accelerator.memory_total_bytes, accelerator.memory_used_bytes
        if isinstance(total, Absent) or isinstance(used, Absent):
            return None
        free_bytes += max(0, total - used)
    return free_bytes if accelerators else None


def _make_prober(settings: Settings) -> Prober | None:
    placement = settings.placement
    if not placement.endpoint:
        return None
    address = parse_endpoint(placement.endpoint)
    return Prober(address, every_s=placement.probe_every_s, on_loss=_warn_of_loss)


def parse_endpoint(text: str) -> Address:
    """Of `placement.endpoint`. Raises SettingsError."""
    try:
        return Address.parse(text)
    except SettingsError as error:
        raise SettingsError(f"placement.{error}") from error


def _warn_of_loss(reason: str) -> None:
    log.warning("%s: %s", NO_ANSWER, reason)


def make_endpoint(settings: Settings) -> Endpoint:
    """Of the settings' QPU; hosts of one QPU must say the same."""
    quantum, placement = settings.quantum, settings.placement
    name = placement.endpoint or f"{quantum.provider}:{quantum.device}"
    return Endpoint(name, frozenset(placement.endpoint_fabrics), EMULATED.get(quantum.provider))
