"""One dispatcher over the orchestrators of several hosts: each call goes to the host that placement chose."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from shotclock.domain.accounting import Allocation
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.circuit_batch import CircuitBatch, Deliver
from shotclock.domain.errors import MachineError, SettingsError, ShotclockError
from shotclock.domain.hosts import Endpoint, HostState
from shotclock.domain.outcome import Cause, CircuitOutcome, Decision, Degraded, Failed, Outcome, ProviderFault
from shotclock.domain.ports import Dispatcher
from shotclock.domain.recorders import ClientRecorder
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import DeliverOutcome, SubproblemBatch
from shotclock.domain.trace import Tracer
from shotclock.placement.policy import MIB, Choice, Site
from shotclock.placement.rtt import RttWindow, add_round_trips
from shotclock.placement.rules import NO_NEEDS, Needs, Rules
from shotclock.settings import Settings
from shotclock.wire.channels import connect
from shotclock.wire.client import Fallback, GrpcDispatcher
from shotclock.wire.operations import GrpcOperations
from shotclock.wire.repeats import repeat
from shotclock.wire.tls import ClientTls, Insecure
from shotclock.wire.uncounted import UNCOUNTED

log = logging.getLogger(__name__)

PlacementName = Literal["rtt", "round-robin", "random"]
"""How a host is chosen; the last two are there to compare with."""
PROBE_EVERY_S, PROBE_TIMEOUT_S = 0.5, 2.0
RULES = Rules(gone_s=3.0, stale_s=10.0, fewest_probes=3, quarantine_s=10.0)
"""A host that does not answer for three seconds is not called; one whose call failed is avoided for ten."""
WINDOW = 20
"""Round trips kept of a host: a changed way is followed after WINDOW × PROBE_EVERY_S = 10 s at the latest."""
MOST_CHOICES = 50
"""Reasons of choices that are kept, the latest."""
UNDECIDED = 10_000
"""Answers of which the deciding host is remembered."""


class HostClient(Protocol):
    """What is asked of each host besides solving."""

    async def probe(self, timeout_s: float) -> tuple[HostState, Endpoint, float]:
        """The host's state, the endpoint of its QPU, and the time of the call, seconds."""


@dataclass(frozen=True, slots=True)
class PlacedHost:
    """A host that calls can go to. dispatcher: solves there; client: tells of it."""

    dispatcher: Dispatcher
    client: HostClient


class Placer:
    """Chooses the host of the next call; `keep_current` probes all hosts, `choose` never waits.

    The expected round trip of a host is this process's to it plus the host's own to the QPU, both p95.
    """

    def __init__(
        self,
        clients: Mapping[str, HostClient],
        placement: PlacementName = "rtt",
        *,
        needs: Needs = NO_NEEDS,
        rules: Rules = RULES,
        seed: int | None = None,
        every_s: float = PROBE_EVERY_S,
    ) -> None:
        self._clients = dict(clients)
        self.placement: PlacementName = placement
        self._needs = needs
        self._every_s = every_s
        self._site = Site(rules)
        self._windows = {name: RttWindow(WINDOW) for name in clients}
        self._turns = itertools.cycle(sorted(clients))
        self._random = random.Random(seed)
        self._endpoint = Endpoint("QPU")
        self.choice = Choice(None, "no host has answered yet")
        self._last = min(clients)
        self.choices: deque[str] = deque(maxlen=MOST_CHOICES)
        self.moves = 0

    def choose(self) -> str:
        """The host's name; the first by name while none has answered, the last one while none is fit."""
        if self.placement == "rtt":
            return self._last
        taking = sorted(self._clients.keys() - self._site.refusing) or sorted(self._clients)
        if self.placement == "random":
            return self._random.choice(taking)
        return next(host for host in self._turns if host in taking)

    def choose_other(self, lost: str) -> str:
        """The host of a call that another one has lost."""
        chosen = self.choose()
        if chosen != lost:
            return chosen
        others = sorted(name for name in self._clients if name != lost)
        return self._random.choice(others)

    def fail(self, host: str, reason: str) -> None:
        """A call to the host did not reach it: the next one goes elsewhere."""
        self._site.fail(host, reason, _now_s())
        self._decide()

    async def probe_all(self, times: int = 1) -> None:
        """Asks all hosts at the same time; one that does not answer is asked only once."""
        await asyncio.gather(*(self._probe(*named, times) for named in self._clients.items()))
        self._decide()

    async def keep_current(self) -> None:
        """Probes until it is cancelled; each host at its own pace, so that a silent one delays none."""
        async with asyncio.TaskGroup() as tasks:
            for name, client in self._clients.items():
                tasks.create_task(self._keep_current(name, client))

    async def _keep_current(self, name: str, client: HostClient) -> None:
        while True:
            began = _now_s()
            await self._probe(name, client)
            self._decide()
            await asyncio.sleep(max(0.0, began + self._every_s - _now_s()))

    async def _probe(self, name: str, client: HostClient, times: int = 1) -> None:
        for _ in range(times):
            if not await self._probe_once(name, client):
                return

    async def _probe_once(self, name: str, client: HostClient) -> bool:
        try:
            state, endpoint, took_s = await client.probe(PROBE_TIMEOUT_S)
        except ShotclockError as error:
            self._windows[name].reset()
            self._site.fail(name, str(error), _now_s())
            return False
        now_s = _now_s()
        self._windows[name].add(took_s, now_s)
        own = self._windows[name].summarise(now_s)
        onward = state.rtts.get(endpoint.name)
        rtt = own if own is None or onward is None else add_round_trips(own, onward)
        # one name for all: hosts may reach the same QPU by different addresses
        self._endpoint = Endpoint("QPU", endpoint.fabrics)
        state = replace(state, name=name, rtts={} if rtt is None else {"QPU": rtt})
        self._site.update(state, now_s)
        return True

    def _decide(self) -> None:
        current = self.choice.host or ""
        choice = self._site.choose(self._endpoint, self._needs, now_s=_now_s(), current=current)
        if choice.host != self.choice.host:
            if self.placement == "rtt":
                self.moves += bool(current)
                self.choices.append(str(choice))
            log.info("quantum calls go to %s: %s", choice.host, choice.because)
        self.choice = choice
        self._last = choice.host or self._last


class PlacedDispatcher:
    """Implements Dispatcher. A call, or a batch, whose host was lost goes to another one, see `wire.repeats`.

    A batch of circuits is sent again as a whole with the points that are answered; each subproblem that has
    no answer is sent again as a call.
    """

    def __init__(
        self,
        hosts: Mapping[str, PlacedHost],
        placer: Placer,
        closes: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._closes = closes
        self._probing: asyncio.Task[None] | None = None
        self._hosts = dict(hosts)
        self.placer = placer
        self._host_of: OrderedDict[str, str] = OrderedDict()
        self.calls = dict.fromkeys(hosts, 0)
        self.unanswered = dict.fromkeys(hosts, 0)
        self.repeated = 0

    async def start(self) -> str:
        """Probes every host as often as its RTT needs to count, then goes on; returns why it chose.

        Raises MachineError where hosts answer and none has what the work must have.
        """
        await self.placer.probe_all(RULES.fewest_probes)
        if self.placer.placement == "rtt" and self.placer.choice.lacks_needs:
            raise MachineError(f"hosts: {self.placer.choice.because}; name others, or ask for less")
        self._probing = asyncio.create_task(self.placer.keep_current())
        return str(self.placer.choice)

    async def warm(self, subproblem: Subproblem) -> None:
        """Calls every host once, uncounted, so that none compiles in a later call."""
        calls = (
            host.dispatcher.solve(replace(subproblem, request_id=f"warm-{number}"))
            for number, host in enumerate(self._hosts.values())
        )
        await asyncio.gather(*calls)

    async def solve(self, subproblem: Subproblem) -> Outcome:
        """See `Dispatcher.solve`."""
        host = self._choose(subproblem.request_id)
        outcome = await self._hosts[host].dispatcher.solve(subproblem)
        self._note(host, outcome)
        return outcome

    async def solve_batch(self, batch: SubproblemBatch, deliver: DeliverOutcome) -> None:
        """See `Dispatcher.solve_batch`; all of a batch goes to one host."""
        host = self._choose(*(subproblem.request_id for subproblem in batch.subproblems))

        def note(index: int, outcome: Outcome) -> None:
            self._note(host, outcome)
            deliver(index, outcome)

        await self._hosts[host].dispatcher.solve_batch(batch, note)

    async def execute(self, spec: CircuitSpec) -> CircuitOutcome:
        """See `Dispatcher.execute`."""
        host = self._choose(spec.request_id)
        outcome = await self._hosts[host].dispatcher.execute(spec)
        self._note(host, outcome)
        return outcome

    async def solve_again(self, subproblem: Subproblem, cause: object, spent_ns: int) -> Outcome | None:
        """See `Elsewhere.solve_again`."""
        repeated = repeat(subproblem, cause, spent_ns, len(self._hosts) - 1)
        if repeated is None:
            return None
        host = self._leave(subproblem.request_id, str(cause))
        return await self._hosts[host].dispatcher.solve(repeated)

    async def execute_again(self, spec: CircuitSpec, cause: object, spent_ns: int) -> CircuitOutcome | None:
        """See `Elsewhere.execute_again`."""
        repeated = repeat(spec, cause, spent_ns, len(self._hosts) - 1)
        if repeated is None:
            return None
        host = self._leave(spec.request_id, str(cause))
        return await self._hosts[host].dispatcher.execute(repeated)

    async def execute_batch_again(
        self, batch: CircuitBatch, deliver: Deliver, cause: object, spent_ns: int
    ) -> bool:
        """See `Elsewhere.execute_batch_again`."""
        repeated = repeat(batch, cause, spent_ns, len(self._hosts) - 1)
        if repeated is None:
            return False
        host = self._leave(batch.request_id, str(cause))
        await self._hosts[host].dispatcher.execute_batch(repeated, deliver)
        return True

    async def execute_batch(self, batch: CircuitBatch, deliver: Deliver) -> None:
        """See `Dispatcher.execute_batch`; all of a batch goes to one host."""
        host = self._choose(batch.request_id)

        def note(index: int, outcome: CircuitOutcome) -> None:
            self._note(host, outcome)
            deliver(index, outcome)

        await self._hosts[host].dispatcher.execute_batch(batch, note)

    async def record_decision(
        self, request_id: str, decision: Decision, *, stale: bool = False, caller: str = ""
    ) -> None:
        """See `Dispatcher.record_decision`; it goes to the host that answered."""
        host = self._host_of.pop(request_id, None) or self.placer.choose()
        await self._hosts[host].dispatcher.record_decision(request_id, decision, stale=stale, caller=caller)

    async def close(self) -> None:
        """Ends the probes, then every connection."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait((self._probing,))
        await asyncio.gather(*(close() for close in self._closes))

    def _leave(self, request_id: str, reason: str) -> str:
        """Another host for a call whose host was lost."""
        lost = self._host_of[request_id]
        self.unanswered[lost] += 1
        self.repeated += 1
        self.placer.fail(lost, reason)
        return self._choose(request_id, host=self.placer.choose_other(lost))

    def _choose(self, *request_ids: str, host: str = "") -> str:
        host = host or self.placer.choose()
        self.calls[host] += len(request_ids)
        self._host_of.update(dict.fromkeys(request_ids, host))
        while len(self._host_of) > UNDECIDED:
            self._host_of.popitem(last=False)
        return host

    def _note(self, host: str, outcome: Outcome | CircuitOutcome) -> None:
        """A host that could not be reached is avoided from the next call on."""
        cause: Cause | None = None
        if isinstance(outcome, Degraded | Failed):
            cause = outcome.cause
        if isinstance(cause, ProviderFault) and outcome.provenance.provider == host:
            self.unanswered[host] += 1
            self.placer.fail(host, cause.message)


async def connect_hosts(
    targets: Sequence[str],
    security: ClientTls | Insecure,
    placement: PlacementName = "rtt",
    *,
    needs: Needs = NO_NEEDS,
    fallback: Fallback | None = None,
    recorder: ClientRecorder = UNCOUNTED,
    tracer: Tracer | None = None,
) -> PlacedDispatcher:
    """A dispatcher over the services of these hosts, HOST:PORT each; every one is probed before it returns.

    Raises SettingsError where a target is invalid or named twice, MachineError where hosts answer and none
    has what the work must have.
    """
    if len(set(targets)) < len(targets):
        raise SettingsError(f"hosts: each must be named once (got {', '.join(targets)})")
    hosts, closes = {}, []
    dispatchers: list[GrpcDispatcher] = []
    for target in targets:
        dispatcher = GrpcDispatcher(
            connect(target, security),
            fallback=fallback,
            recorder=recorder,
            tracer=tracer,
            allocation=Allocation.of(os.environ),
        )
        operations = GrpcOperations(connect(target, security))
        dispatchers.append(dispatcher)
        hosts[target] = PlacedHost(dispatcher, operations)
        closes += [dispatcher.close, operations.close]
    clients = {target: host.client for target, host in hosts.items()}
    placed = PlacedDispatcher(hosts, Placer(clients, placement, needs=needs), closes)
    for dispatcher in dispatchers:
        dispatcher.elsewhere = placed
    try:
        log.info("placement: %s", await placed.start())
    except BaseException:
        await placed.close()
        raise
    return placed


def find_needs(settings: Settings) -> Needs:
    """What quantum-bound work must have of its host, by `[placement]`."""
    return Needs(memory_bytes=settings.placement.needs_memory_mib * MIB)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
