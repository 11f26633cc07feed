"""Reports to systemd over its datagram socket, as sd_notify(3) describes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"

US_PER_S = 1e6


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The process that started this one and waits for its reports.

    address: of its socket: a path, or `@name` in the abstract namespace; "" where nobody waits.
    watchdog_s: it ends this process after so many seconds without WATCHDOG; 0 without a limit.
    """

    address: str = ""
    watchdog_s: float = 0.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int) -> ServiceManager:
        """NOTIFY_SOCKET, and WATCHDOG_USEC where it is meant for this process."""
        watchdog_us = environment.get("WATCHDOG_USEC", "")
        is_meant = environment.get("WATCHDOG_PID", str(pid)) == str(pid) and watchdog_us.isdecimal()
        return cls(environment.get("NOTIFY_SOCKET", ""), int(watchdog_us) / US_PER_S if is_meant else 0.0)

    def notify(self, state: str) -> str:
        """Sends a state without waiting; returns why it could not be sent, or ""."""
        if not self.address:
            return ""
        path = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(state.encode(), path)
        except (OSError, ValueError) as error:
            return (
                f"NOTIFY_SOCKET: {state} cannot be sent to {self.address!r}: {error}; "
                f"unset it, or start by systemd"
            )
        return ""

    async def keep_watchdog(self) -> None:
        """Sends WATCHDOG twice per limit for as long as the event loop runs, until it is cancelled."""
        while self.address and self.watchdog_s:
            self.notify(WATCHDOG)
            await asyncio.sleep(self.watchdog_s / 2)


NO_MANAGER = ServiceManager()
