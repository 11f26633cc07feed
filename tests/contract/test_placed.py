"""Calls over several services: the shortest way is taken, a lost host is left, and no call is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from mtls_loopback import ScriptedDispatcher, ScriptedOperations, make_subproblem
from shotclock.app.placed import PlacedDispatcher, PlacedHost, Placer, connect_hosts
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.hosts import Endpoint, HostState, Rtt
from shotclock.domain.outcome import Decision, Done
from shotclock.domain.subproblem import Subproblem
from shotclock.placement.rules import Rules
from shotclock.wire.server import Server, serve
from shotclock.wire.tls import Insecure

QPU = Endpoint("emulated:heron-torino", frozenset({"cxl 7"}))


@dataclass
class SlowHost:
    """Implements HostClient: `rtt_ms` away, the QPU `onward_ms` further; None is silence."""

    rtt_ms: float | None
    onward_ms: float | None = None
    state: HostState = field(default_factory=lambda: HostState("itself"))

    async def probe(self, timeout_s: float) -> tuple[HostState, Endpoint, float]:
        if self.rtt_ms is None:
            raise MachineError("no answer in time")
        rtts = {} if self.onward_ms is None else {QPU.name: Rtt(self.onward_ms, self.onward_ms, 50, 0.0)}
        return HostState(self.state.name, self.state.fabrics, rtts), QPU, self.rtt_ms / 1e3


def make_placed(clients: dict[str, SlowHost], placement: str = "rtt") -> tuple[PlacedDispatcher, Placer]:
    placer = Placer(clients, placement, rules=Rules(fewest_probes=1), seed=1)  # type: ignore[arg-type]
    hosts = {name: PlacedHost(ScriptedDispatcher(), client) for name, client in clients.items()}
    return PlacedDispatcher(hosts, placer), placer


def test_the_whole_way_to_the_qpu_counts_and_a_changed_one_is_followed() -> None:
    async def work() -> None:
        clients = {"a": SlowHost(1.0, 50.0), "b": SlowHost(5.0, 2.0), "c": SlowHost(9.0)}
        dispatcher, placer = make_placed(clients)
        assert placer.choose() == "a"  # none has answered
        await placer.probe_all()
        assert placer.choose() == "b"
        clients["b"].rtt_ms = 100.0
        for _ in range(3):
            await placer.probe_all()
        assert placer.choose() == "c"
        assert placer.moves == 1
        await dispatcher.solve(make_subproblem())
        assert dispatcher.calls == {"a": 0, "b": 0, "c": 1}

    asyncio.run(work())


def test_the_fabric_of_the_qpu_comes_before_the_way() -> None:
    async def work() -> None:
        near = HostState("near", frozenset({"cxl 7"}))
        _, placer = make_placed({"a": SlowHost(1.0), "b": SlowHost(5.0, state=near)})
        await placer.probe_all()
        assert placer.choose() == "b"
        assert "1 on a fabric of QPU" in placer.choice.because

    asyncio.run(work())


def test_a_silent_host_is_left_and_comes_back_after_its_quarantine() -> None:
    async def work() -> None:
        clients = {"a": SlowHost(1.0), "b": SlowHost(50.0)}
        placer = Placer(clients, rules=Rules(fewest_probes=1, quarantine_s=0.05))
        await placer.probe_all()
        clients["a"].rtt_ms = None
        await placer.probe_all()
        assert placer.choose() == "b"
        clients["a"].rtt_ms = 1.0
        await placer.probe_all()
        assert placer.choose() == "b"
        await asyncio.sleep(0.06)
        await placer.probe_all()
        assert placer.choose() == "a"

    asyncio.run(work())


def test_the_other_placements_are_what_their_names_say() -> None:
    async def work() -> None:
        clients = {name: SlowHost(1.0) for name in "abc"}
        turns, _ = make_placed(clients, "round-robin")
        chance, _ = make_placed(clients, "random")
        for dispatcher in (turns, chance):
            for _ in range(30):
                await dispatcher.solve(make_subproblem())
        assert turns.calls == {"a": 10, "b": 10, "c": 10}
        assert min(chance.calls.values()) > 0
        assert chance.calls != turns.calls

    asyncio.run(work())


def read(state: HostState) -> tuple[HostState, Endpoint]:
    return state, QPU


@asynccontextmanager
async def run_services(count: int) -> AsyncIterator[list[tuple[Server, ScriptedDispatcher]]]:
    async with AsyncExitStack() as cleanup:
        running = []
        for number in range(count):
            dispatcher = ScriptedDispatcher()
            state = HostState(f"host-{number}", load=0.5 * number)
            server = await serve(
                dispatcher,
                ScriptedOperations(),
                "127.0.0.1:0",
                Insecure(),
                read_host=partial(read, state),
            )
            cleanup.push_async_callback(server.stop, 0)
            running.append((server, dispatcher))
        yield running


def test_a_lost_host_costs_one_call_and_decisions_go_where_the_answer_was_made() -> None:
    async def work() -> None:
        async with run_services(2) as running:
            by_target = {f"127.0.0.1:{server.port}": (server, scripted) for server, scripted in running}
            dispatcher = await connect_hosts(list(by_target), Insecure())
            assert isinstance(await dispatcher.solve(call("first")), Done)
            (target,) = [name for name, calls in dispatcher.calls.items() if calls]
            server, scripted = by_target.pop(target)
            await dispatcher.record_decision("first", Decision.APPLIED)
            assert scripted.decisions == [("first", Decision.APPLIED)]

            await server.stop(0)
            ended = [await dispatcher.solve(call(f"call-{number}")) for number in range(6)]
            ((_, other),) = by_target.values()
            answers = [outcome for outcome in ended if isinstance(outcome, Done)]
            assert ended[1:] == answers[-5:]  # a probe may have been quicker than the first
            assert (scripted.solved, other.solved) == (
                1,
                len(answers),
            )  # a failed call was not made again
            await dispatcher.close()

    asyncio.run(work())


def call(request_id: str) -> Subproblem:
    return replace(make_subproblem(), request_id=request_id)


def test_what_a_host_does_not_know_stays_unknown_over_the_wire() -> None:
    async def work() -> None:
        from shotclock.wire.channels import connect
        from shotclock.wire.operations import GrpcOperations

        rtt = Rtt(1.5, 2.5, 40, 0.25)
        whole = HostState("h", frozenset({"ualink p/1"}), {QPU.name: rtt}, 2**40, 0.25, ("ECC is off",))
        for state in (whole, HostState("h")):
            server = await serve(
                ScriptedDispatcher(),
                ScriptedOperations(),
                "127.0.0.1:0",
                Insecure(),
                read_host=partial(read, state),
            )
            operations = GrpcOperations(connect(f"127.0.0.1:{server.port}", Insecure()))
            answer, endpoint, took_s = await operations.probe(30.0)
            assert (answer, endpoint) == (state, QPU)
            assert took_s > 0.0
            await operations.close()
            await server.stop(0)

    asyncio.run(work())


def test_a_host_named_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="each must be named once"):
        asyncio.run(connect_hosts(["127.0.0.1:1", "127.0.0.1:1"], Insecure()))
