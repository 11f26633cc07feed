"""A TCP proxy that delays every byte, as the network between two hosts does; the delay can be changed."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

CHUNK = 65_536


class DelayedLinks:
    """The proxies' ports by name, and their delays."""

    def __init__(self, connection: Connection, ports: Mapping[str, int]) -> None:
        self._connection = connection
        self.ports = dict(ports)

    def set_rtt(self, name: str, rtt_ms: float) -> None:
        """From now on a round trip over this link takes so much longer, milliseconds."""
        self._connection.send((name, rtt_ms / 2e3))


@contextmanager
def delay_links(
    targets: Mapping[str, tuple[str, int]], rtts_ms: Mapping[str, float]
) -> Iterator[DelayedLinks]:
    """A proxy on loopback for each target, in a separate process, until the context ends."""
    ours, theirs = multiprocessing.Pipe()
    delays_s = {name: rtt_ms / 2e3 for name, rtt_ms in rtts_ms.items()}
    process = multiprocessing.get_context("spawn").Process(
        target=_run, args=(theirs, dict(targets), delays_s), daemon=True
    )
    process.start()
    theirs.close()
    try:
        yield DelayedLinks(ours, ours.recv())
    finally:
        ours.close()
        process.join(5.0)
        process.kill()


def _run(connection: Connection, targets: dict[str, tuple[str, int]], delays_s: dict[str, float]) -> None:
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve(connection, targets, delays_s))


async def _serve(
    connection: Connection, targets: dict[str, tuple[str, int]], delays_s: dict[str, float]
) -> None:
    ports = {}
    for name, (host, port) in targets.items():

        async def join(
            reader: asyncio.StreamReader,
            writer: asyncio.StreamWriter,
            name: str = name,
            host: str = host,
            port: int = port,
        ) -> None:
            with suppress(OSError, asyncio.CancelledError):
                onward_reader, onward_writer = await asyncio.open_connection(host, port)
                await asyncio.gather(
                    _pass_on(reader, onward_writer, name, delays_s),
                    _pass_on(onward_reader, writer, name, delays_s),
                )
            writer.close()

        server = await asyncio.start_server(join, "127.0.0.1", 0)
        ports[name] = server.sockets[0].getsockname()[1]
    connection.send(ports)
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def read() -> None:
        try:
            name, delay_s = connection.recv()
        except EOFError:
            loop.remove_reader(connection.fileno())
            ended.set_result(None)
        else:
            delays_s[name] = delay_s

    loop.add_reader(connection.fileno(), read)
    await ended


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, delays_s: dict[str, float]
) -> None:
    """What is read leaves later, in order; what is under way keeps the delay that it had."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def write() -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                return
            writer.write(data)
            await writer.drain()

    writing = asyncio.create_task(write())
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            under_way.put_nowait((loop.time() + delays_s[name], data))
    under_way.put_nowait((loop.time() + delays_s[name], b""))
    with suppress(OSError):
        await writing
    writer.close()
