"""Orchestrators that share a PostgreSQL ledger, killed, stopped and cut off from it under load.

`run_replicas` makes any number of faults: CI a few, `benchmarks/soak_replicas.py` hundreds. The judge is the
vendor's account, and its count of the jobs that ran at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psycopg

from killing import BUDGET_S, BUSY, GRACE_S, HANG_S, PARKED_S, PAUSE_S, Calls, N, call_repeatedly, is_open
from paid_provider import LANES, PORT, ProviderAccount
from postgres_cluster import Cluster
from served import ServiceProcess, free_port
from shotclock.app.placed import connect_hosts
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints
from shotclock.domain.outcome import CircuitOutcome
from shotclock.domain.ports import Dispatcher
from shotclock.orchestrator.ledger.places import find_place
from shotclock.wire.tls import Insecure

REPLICAS = 3
LANES_SHARED = 3
LEASE_S = 2.0
POLL_S = 0.05
PAIRS = 2
"""Clients that ask in batches of two."""
POINTS = (CircuitPoints("x", 64, ("a",), np.zeros((2, 1))), CircuitPoints("y", 32, (), np.zeros((1, 0))))
"""Of circuits: two jobs, as their shots differ."""
STARTS = 3
"""Of one replica, as systemd starts it again after exit code 3."""


class DatabaseLink:
    """What a replica reaches the server by; cut, it carries no byte and closes no connection."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._open = asyncio.Event()
        self._open.set()
        self._carrying: set[asyncio.Task[None]] = set()
        self.port = 0

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[None]:
        """Carries until the end of the block."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in self._carrying:
                task.cancel()

    async def cut(self, seconds: float) -> None:
        """Loses nothing that was sent, and delivers it when it is over."""
        self._open.clear()
        await asyncio.sleep(seconds)
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await self._open.wait()
            onward, outward = await asyncio.open_connection("127.0.0.1", self._server_port)
            for source, target in ((reader, outward), (onward, writer)):
                task = asyncio.create_task(self._carry(source, target))
                self._carrying.add(task)
                task.add_done_callback(self._carrying.discard)
            return
        writer.close()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(65_536):
                await self._open.wait()
                target.write(chunk)
        target.close()


@dataclass
class Replica:
    """One of the orchestrators: its settings and its process, which is replaced by the next."""

    config: Path
    target: str
    environment: dict[str, str]
    process: ServiceProcess | None = None
    is_ready: bool = False

    async def replace(self) -> None:
        """The next process serves, once this returns; one without its database is started again."""
        for attempt in range(STARTS):
            self.process = await ServiceProcess.start(self.config, lean=True, environment=self.environment)
            self.process.go()
            try:
                await self.process.wait_for_event("ready")
            except AssertionError as ended:
                if "the ledger's database does not answer" not in str(ended) or attempt == STARTS - 1:
                    raise
            else:
                self.is_ready = True
                return

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.process.send_signal(number)

    async def end(self) -> None:
        if self.process is not None:
            await self.process.kill()


@dataclass
class Faults:
    """How many kills, restarts of the server, stops past a lease, and links cut past a lease.

    limit_s: no fault is caused later than that.
    """

    kills: int
    restarts: int
    stops: int = 0
    cuts: int = 0
    limit_s: float = math.inf


@dataclass
class Story:
    """What happened.

    calls: how they ended.
    circuits: how the points of batches of circuits ended.
    repeated: calls that were sent to another replica when theirs was lost.
    adoption_s: from each kill that left jobs open until another replica owned them all, seconds.
    codes: exit codes and stderr of the last processes.
    caused: faults by name.
    """

    calls: Calls = field(default_factory=Calls)
    circuits: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    adoption_s: list[float] = field(default_factory=list)
    codes: list[tuple[int, str]] = field(default_factory=list)
    caused: Counter[str] = field(default_factory=Counter)


@contextlib.asynccontextmanager
async def run_links(cluster: Cluster) -> AsyncIterator[list[DatabaseLink]]:
    async with contextlib.AsyncExitStack() as stack:
        links = [DatabaseLink(cluster.port) for _ in range(REPLICAS)]
        for link in links:
            await stack.enter_async_context(link.listen())
        yield links


def configure(folder: Path, account: ProviderAccount, url: str, number: int) -> Replica:
    port, config = free_port(), folder / f"replica-{number}.toml"
    config.write_text(f"""
[quantum]
provider = "paid_provider:connect"
max_money_per_run = 1e9
shots = 64
budget_ms = {BUDGET_S * 1e3}
[orchestrator]
batch_limit = 1
[serve]
listen = "127.0.0.1:{port}"
metrics = "127.0.0.1:0"
insecure = true
sizes = [{N}]
ledger = "{url}"
lease_s = {LEASE_S}
parked_grace_s = {3 * LEASE_S + PARKED_S}
drain_s = 5
""")
    environment = {PORT: str(account.port), LANES: str(LANES_SHARED)}
    return Replica(config, f"127.0.0.1:{port}", environment)


async def run_circuits(dispatcher: Dispatcher, over: asyncio.Event, endings: Counter[str]) -> None:
    """One client with one batch of circuits after the other, until it is over."""
    numbers = itertools.count()
    while not over.is_set():
        batch = CircuitBatch(POINTS, f"circuits-{next(numbers)}", round(BUDGET_S * NS_PER_S))
        outcomes: dict[int, CircuitOutcome] = {}
        async with asyncio.timeout(BUDGET_S + GRACE_S):
            await dispatcher.execute_batch(batch, outcomes.__setitem__)
        assert sorted(outcomes) == [0, 1, 2]
        endings.update(type(outcome).__name__ for outcome in outcomes.values())
        await asyncio.sleep(PAUSE_S)


async def run_replicas(
    folder: Path, cluster: Cluster, account: ProviderAccount, faults: Faults, *, seed: int
) -> Story:
    """Load over all faults, in random order; then everything settles, and the replicas are stopped."""
    rng, story, over = random.Random(seed), Story(), asyncio.Event()
    url = cluster.url()
    async with run_links(cluster) as links:
        replicas = [
            configure(folder, account, url.replace(f":{cluster.port}/", f":{link.port}/"), number)
            for number, link in enumerate(links)
        ]
        try:
            await asyncio.gather(*(replica.replace() for replica in replicas))
            placed = await connect_hosts([replica.target for replica in replicas], Insecure(), "round-robin")
            load = asyncio.create_task(call_repeatedly(placed, over, seed, story.calls, pairs=PAIRS))
            circuits = asyncio.create_task(run_circuits(placed, over, story.circuits))
            async with asyncio.TaskGroup() as aftermath:
                until_s = asyncio.get_running_loop().time() + faults.limit_s
                for fault in _order(faults, rng):
                    if asyncio.get_running_loop().time() > until_s:
                        break
                    story.caused[fault] += 1
                    await _wait_busy(account)
                    await asyncio.sleep(rng.uniform(0.0, 0.3))
                    await _cause(fault, replicas, links, cluster, story, rng, aftermath)
            await _wait_busy(account)
            over.set()
            await asyncio.gather(load, circuits)
            story.repeated = placed.repeated
            await placed.close()
            await _wait_settled(cluster)
            for replica in replicas:
                replica.send(signal.SIGTERM)
            for replica in replicas:
                assert replica.process is not None
                code, _, complaints = await replica.process.wait_ended()
                story.codes.append((code, complaints))
        finally:
            await asyncio.gather(*(replica.end() for replica in replicas))
    return story


def _order(faults: Faults, rng: random.Random) -> list[str]:
    """A kill of two counts as two."""
    kills = ["kill two"] * (2 * faults.kills // 5)
    kills += ["kill"] * (faults.kills - 2 * len(kills))
    order = [*kills, *["restart"] * faults.restarts, *["stop"] * faults.stops, *["cut"] * faults.cuts]
    rng.shuffle(order)
    return order


async def _cause(
    fault: str,
    replicas: Sequence[Replica],
    links: Sequence[DatabaseLink],
    cluster: Cluster,
    story: Story,
    rng: random.Random,
    aftermath: asyncio.TaskGroup,
) -> None:
    match fault:
        case "restart":
            await _choose(replicas, len(replicas), rng)  # one that starts would end, as it should
            await asyncio.to_thread(cluster.stop, rng.choice((signal.SIGINT, signal.SIGQUIT)))
            await asyncio.sleep(rng.uniform(0.0, 0.5))
            await asyncio.to_thread(cluster.start)
        case "stop":
            (stopped,) = await _choose(replicas, 1, rng)
            stopped.send(signal.SIGSTOP)
            await asyncio.sleep(LEASE_S * rng.uniform(1.2, 2.0))
            stopped.send(signal.SIGCONT)
        case "cut":
            (isolated,) = await _choose(replicas, 1, rng)
            await links[replicas.index(isolated)].cut(LEASE_S * rng.uniform(1.2, 2.0))
        case _:
            victims = await _choose(replicas, 2 if fault == "kill two" else 1, rng, others=1)
            epochs = await asyncio.to_thread(_read_epochs, cluster, victims)
            for victim in victims:
                assert victim.process is not None
                victim.is_ready = False
                await victim.process.kill()
            killed_s = asyncio.get_running_loop().time()
            aftermath.create_task(_time_adoption(cluster, epochs, killed_s, story))
            for victim in victims:
                aftermath.create_task(victim.replace())


async def _choose(
    replicas: Sequence[Replica], count: int, rng: random.Random, others: int = 0
) -> list[Replica]:
    """Of those that serve, once there are so many, and others beside them."""
    async with asyncio.timeout(HANG_S):
        while len(ready := [replica for replica in replicas if replica.is_ready]) < count + others:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
    return rng.sample(ready, count)


async def _time_adoption(cluster: Cluster, epochs: list[int], killed_s: float, story: Story) -> None:
    """Until nothing is owned by these leases, whose processes were killed."""
    waited = False
    async with asyncio.timeout(HANG_S):
        while await asyncio.to_thread(_count_owned, cluster, epochs):
            waited = True
            await asyncio.sleep(POLL_S)
    if waited:
        story.adoption_s.append(asyncio.get_running_loop().time() - killed_s)


def _query(cluster: Cluster, query: str, *words: object) -> list[tuple[int, ...]]:
    with psycopg.connect(cluster.url(), autocommit=True) as connection:
        return connection.execute(query, words).fetchall()


def _read_epochs(cluster: Cluster, replicas: Sequence[Replica]) -> list[int]:
    """Of the leases of their processes."""
    pids = [f"%-{replica.process.process.pid}-%" for replica in replicas if replica.process is not None]
    query = "SELECT epoch FROM shotclock.leases WHERE incarnation LIKE ANY(%s)"
    return [epoch for (epoch,) in _query(cluster, query, pids)]


def _count_owned(cluster: Cluster, epochs: list[int]) -> int:
    query = "SELECT count(*) FROM shotclock.open_jobs WHERE epoch = ANY(%s)"
    return int(_query(cluster, query, epochs)[0][0])


async def _wait_busy(account: ProviderAccount) -> None:
    """Until more jobs are paid for, so that a fault meets work and not a start."""
    paid = len(account.list_paid()) + BUSY
    async with asyncio.timeout(HANG_S):
        while len(account.list_paid()) < paid:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


async def _wait_settled(cluster: Cluster) -> None:
    """Until nothing is with the vendor, and nothing is owned by a lease that has ended."""
    orphans = (
        "SELECT count(*) FROM shotclock.open_jobs o WHERE NOT EXISTS "
        "(SELECT FROM shotclock.leases l WHERE l.epoch = o.epoch AND l.expires_at > clock_timestamp())"
    )
    place = find_place(cluster.url())

    def is_settled() -> bool:
        return not any(map(is_open, place.read_jobs())) and not _query(cluster, orphans)[0][0]

    async with asyncio.timeout(HANG_S):
        while not await asyncio.to_thread(is_settled):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.1)
