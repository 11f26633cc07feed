"""Reports to systemd: READY, STOPPING and WATCHDOG as datagrams to a real socket, by path and abstract."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from shotclock.runtime.service_manager import READY, WATCHDOG, ServiceManager

PID = 77


def listen(address: str) -> socket.socket:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind("\0" + address[1:] if address.startswith("@") else address)
    receiver.settimeout(60)  # only a hang takes so long
    return receiver


@pytest.mark.parametrize("is_abstract", [False, True])
def test_a_state_is_one_datagram(is_abstract: bool, tmp_path: Path) -> None:
    address = f"@shotclock{tmp_path}" if is_abstract else str(tmp_path / "notify")
    with listen(address) as receiver:
        manager = ServiceManager.from_environment({"NOTIFY_SOCKET": address}, PID)
        assert manager.notify(READY) == ""
        assert receiver.recv(64) == b"READY=1"
        assert manager.watchdog_s == 0
        asyncio.run(manager.keep_watchdog())  # without a limit it ends


def test_the_watchdog_is_fed_for_as_long_as_the_loop_runs(tmp_path: Path) -> None:
    async def run(manager: ServiceManager) -> list[bytes]:
        feeding = asyncio.create_task(manager.keep_watchdog())
        received = [await asyncio.to_thread(receiver.recv, 64) for _ in range(3)]
        feeding.cancel()
        return received

    with listen(str(tmp_path / "notify")) as receiver:
        environment = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "2000",
            "WATCHDOG_PID": str(PID),
        }
        assert asyncio.run(run(ServiceManager.from_environment(environment, PID))) == [WATCHDOG.encode()] * 3


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}, 0.0),  # meant for another process
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_is_what_the_environment_says(environment: dict[str, str], watchdog_s: float) -> None:
    assert ServiceManager.from_environment(environment, PID) == ServiceManager("", watchdog_s)


def test_without_a_socket_nothing_is_sent() -> None:
    assert ServiceManager().notify(READY) == ""


@pytest.mark.parametrize("address", ["nowhere/notify", "x" * 200, "a\0b"])
def test_a_socket_that_cannot_be_reached_is_one_line_with_the_fix(address: str) -> None:
    why = ServiceManager(address).notify(READY)
    assert why.startswith("NOTIFY_SOCKET: READY=1 cannot be sent to ")
    assert why.endswith("; unset it, or start by systemd")
    assert "\n" not in why
