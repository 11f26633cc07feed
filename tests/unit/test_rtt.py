"""Round trips by TCP's handshake, against real listeners."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from shotclock.domain.errors import SettingsError
from shotclock.placement.rtt import Address, Prober, RttWindow, probe


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("qpu.example.com:443", Address("qpu.example.com", 443)),
        ("https://qpu.example.com/v1", Address("qpu.example.com", 443)),
        ("http://127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("[::1]:7443", Address("::1", 7443)),
    ],
)
def test_an_address_is_read_from_a_url_or_host_and_port(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("text", ["", "qpu", ":443", "qpu:port", "qpu:99999", "ftp://qpu"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="must be HOST:PORT or a URL"):
        Address.parse(text)


def test_percentiles_are_by_nearest_rank_over_the_latest_round_trips() -> None:
    window = RttWindow(100)
    assert window.summarise(0.0) is None
    for number in range(1, 201):
        window.add(number / 1e3, float(number))
    rtt = window.summarise(203.0)
    assert rtt is not None
    assert (rtt.p50_ms, rtt.p95_ms, rtt.n, rtt.age_s) == (150.0, 195.0, 100, 3.0)


def test_a_probe_is_a_handshake_and_needs_nobody_to_accept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert asyncio.run(probe(Address("127.0.0.1", port), 5.0)) > 0.0
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(probe(Address("127.0.0.1", port), 5.0))
    with pytest.raises(OSError, match=r"."):
        asyncio.run(probe(Address("does-not-exist.invalid", 1), 5.0))


def test_a_lost_endpoint_is_told_once_and_forgiven_when_it_answers() -> None:
    reasons: list[str] = []

    async def run() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        address = Address("127.0.0.1", listener.getsockname()[1])
        prober = Prober(address, every_s=0.001, on_loss=reasons.append)
        running = asyncio.create_task(prober.run())
        await until(lambda: prober.window.summarise(0.0) is not None)
        listener.close()
        await until(lambda: prober.lost_because != "")
        await asyncio.sleep(0.02)
        again = socket.create_server((address.host, address.port))
        await until(lambda: prober.lost_because == "")
        running.cancel()
        again.close()
        assert reasons == [f"{address}: Connection refused"]

    asyncio.run(run())


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30.0):
        while not is_so():  # noqa: ASYNC110 - nothing else tells of it
            await asyncio.sleep(0.001)
