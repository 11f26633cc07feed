"""Calls over several services: the shortest way is taken, and what a lost host had goes to another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from mtls_loopback import (
    LONG_NS,
    ScriptedDispatcher,
    ScriptedOperations,
    at_once,
    make_subproblem,
    never,
)
from shotclock.app.placed import PlacedDispatcher, PlacedHost, Placer, connect_hosts
from shotclock.app.topology import View
from shotclock.app.topology_document import make_document
from shotclock.app.topology_hosts import ask_hosts
from shotclock.app.topology_picture import draw
from shotclock.app.topology_text import outline
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.hosts import Endpoint, HostDescription, HostState, Rtt
from shotclock.domain.outcome import CircuitOutcome, Decision, Done, Executed, Outcome, ProviderFault
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import SubproblemBatch
from shotclock.placement.report import KINDS, write_report
from shotclock.placement.rules import Needs, Rules
from shotclock.placement.topology import Fabric, Host, HostView
from shotclock.wire.hosts import decode_host, encode_host
from shotclock.wire.payload import MalformedMessageError
from shotclock.wire.refusals import Unreachable
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
        return replace(self.state, rtts=rtts), QPU, self.rtt_ms / 1e3


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


def test_a_batch_goes_to_one_host_which_gets_its_decisions() -> None:
    async def work() -> None:
        placed, placer = make_placed({name: SlowHost(1.0) for name in "ab"}, "round-robin")
        batch = SubproblemBatch(tuple(replace(make_subproblem(), request_id=f"r{each}") for each in range(3)))
        indices: list[int] = []
        await placed.solve_batch(batch, lambda index, outcome: indices.append(index))
        assert sorted(indices) == [0, 1, 2]
        assert placed.calls == {"a": 3, "b": 0}
        await placed.record_decision("r2", Decision.APPLIED)
        assert placer.choose() == "b"  # the decision took no turn

    asyncio.run(work())


@pytest.mark.parametrize("placement", ["rtt", "round-robin", "random"])
def test_no_placement_calls_a_host_that_refuses_while_another_takes_calls(placement: str) -> None:
    refusing = HostState("itself", refusals=("ECC is off",))

    async def work() -> None:
        clients = {"a": SlowHost(1.0, state=refusing), "b": SlowHost(50.0), "c": SlowHost(60.0)}
        dispatcher, placer = make_placed(clients, placement)
        await placer.probe_all()
        for _ in range(20):
            await dispatcher.solve(make_subproblem())
        assert dispatcher.calls["a"] == 0
        for each in clients.values():
            each.state = refusing
        await placer.probe_all()
        await dispatcher.solve(make_subproblem())  # none is left: the host itself refuses
        assert sum(dispatcher.calls.values()) == 21

    asyncio.run(work())


def test_needs_that_no_host_meets_are_an_error_at_the_start_and_never_move_work_later() -> None:
    async def work() -> None:
        needs = Needs(memory_bytes=2**30)
        clients = {name: SlowHost(1.0, state=HostState("itself", free_memory_bytes=2**20)) for name in "ab"}
        placer = Placer(clients, needs=needs, rules=Rules(fewest_probes=1))
        dispatcher = PlacedDispatcher({}, placer)
        with pytest.raises(
            MachineError, match=r"^hosts: no host is known to have 1024 MiB free, of 2 .*; name others"
        ):
            await dispatcher.start()
        clients["b"].state = HostState("itself", free_memory_bytes=2**31)
        await placer.probe_all()
        assert placer.choose() == "b"
        clients["b"].state = clients["a"].state
        await placer.probe_all()
        assert (placer.choice.host, placer.choose()) == (None, "b")
        silent = PlacedDispatcher({}, Placer({"a": SlowHost(None)}, needs=needs))
        assert "no host is heard from" in await silent.start()  # it may come yet
        await silent.close()

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


def test_a_lost_host_costs_no_call_and_decisions_go_where_the_answer_was_made() -> None:
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
            assert all(isinstance(outcome, Done) for outcome in ended)
            assert (scripted.solved, other.solved) == (1, 6)
            assert dispatcher.repeated <= 1  # a probe may have been quicker than the first
            await dispatcher.close()

    asyncio.run(work())


def test_a_repeated_call_says_how_often_and_how_long_ago_it_was_sent_and_ends_after_the_last_host() -> None:
    async def work() -> None:
        async with run_services(2) as running:
            dispatcher = await connect_hosts([f"127.0.0.1:{each.port}" for each, _ in running], Insecure())
            (first, _), (_, other) = running
            await first.stop(0)
            lost = f"127.0.0.1:{first.port}"
            dispatcher._host_of["c"] = lost
            repeated = await dispatcher.solve_again(call("c"), Unreachable("gone"), 250_000_000)
            assert isinstance(repeated, Done)
            (received,) = other.subproblems
            assert (received.origin.repeats, received.origin.age_s) == (1, 0.25)
            assert received.budget_ns <= call("c").budget_ns - 250_000_000
            for again, cause, spent_ns in (
                (received, Unreachable("gone"), 0),
                (call("c"), Unreachable("gone"), call("c").budget_ns),
                (call("c"), ProviderFault("unusable answer"), 0),
            ):
                assert await dispatcher.solve_again(again, cause, spent_ns) is None
            await dispatcher.close()

    asyncio.run(work())


async def lose_the_called(
    dispatcher: PlacedDispatcher, running: list[tuple[Server, ScriptedDispatcher]]
) -> None:
    """Stops the host that a call went to."""
    (target,) = [name for name, calls in dispatcher.calls.items() if calls]
    (server,) = [each for each, _ in running if target.endswith(f":{each.port}")]
    await server.stop(0)


def test_subproblems_of_a_batch_that_a_lost_host_had_not_answered_go_to_another_one() -> None:
    async def answer_the_first(subproblem: Subproblem) -> Outcome:
        is_answered = subproblem.request_id == "s0" or subproblem.origin.repeats
        return await (at_once if is_answered else never)(subproblem)

    async def work() -> None:
        async with run_services(2) as running:
            for _, scripted in running:
                scripted.solves = answer_the_first
            dispatcher = await connect_hosts([f"127.0.0.1:{each.port}" for each, _ in running], Insecure())
            outcomes: dict[int, Outcome] = {}
            batch = SubproblemBatch(tuple(call(f"s{number}") for number in range(4)))
            solving = asyncio.create_task(dispatcher.solve_batch(batch, outcomes.__setitem__))
            while not outcomes:  # noqa: ASYNC110 - a callback's
                await asyncio.sleep(0.001)
            await lose_the_called(dispatcher, running)
            await solving
            assert sorted(outcomes) == [0, 1, 2, 3]
            assert all(isinstance(outcome, Done) for outcome in outcomes.values())
            received = [each for _, scripted in running for each in scripted.subproblems]
            assert sorted(each.request_id for each in received if each.origin.repeats) == ["s1", "s2", "s3"]
            assert dispatcher.repeated == 3
            await dispatcher.close()

    asyncio.run(work())


def test_points_of_a_batch_that_a_lost_host_had_not_answered_go_to_another_one() -> None:
    async def work() -> None:
        async with run_services(2) as running:
            for _, scripted in running:
                scripted.answers_first_point_alone = True
            dispatcher = await connect_hosts([f"127.0.0.1:{each.port}" for each, _ in running], Insecure())
            outcomes: dict[int, CircuitOutcome] = {}
            points = CircuitPoints("OPENQASM 3.0;", 64, ("a",), np.zeros((4, 1)))
            asking = asyncio.create_task(
                dispatcher.execute_batch(CircuitBatch((points,), "b", LONG_NS), outcomes.__setitem__)
            )
            while not outcomes:  # noqa: ASYNC110 - a callback's
                await asyncio.sleep(0.001)
            await lose_the_called(dispatcher, running)
            await asking
            assert sorted(outcomes) == [0, 1, 2, 3]
            assert all(isinstance(outcome, Executed) for outcome in outcomes.values())
            received = [each for _, scripted in running for each in scripted.batches]
            assert sorted((each.origin.repeats, sorted(each.answered)) for each in received) == [
                (0, []),
                (1, [0]),
            ]
            await dispatcher.close()

    asyncio.run(work())


def call(request_id: str) -> Subproblem:
    return replace(make_subproblem(), request_id=request_id)


def test_what_a_host_does_not_know_stays_unknown_over_the_wire() -> None:
    async def work() -> None:
        from shotclock.wire.channels import connect
        from shotclock.wire.operations import GrpcOperations

        rtt = Rtt(1.5, 2.5, 40, 0.25)
        problems = ("ECC is off", "a port is down")
        whole = HostState(
            "h", frozenset({"ualink p/1"}), {QPU.name: rtt}, 2**40, 0.25, problems, problems[:1]
        )
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


READ = HostView(
    Host("n", "6.12", (), "no device", tuple(Fabric(kind, (), False, "none") for kind in KINDS), ()), ()
)
DOCUMENTS = {
    "a": write_report(replace(READ, host=replace(READ.host, name="a"), problems=("ECC is off",))),
    "garbage": '{"host": {"name": "\\u001b[2J"}}',
    "nothing yet": "",
}


def test_hosts_are_one_graph_and_those_without_a_report_are_lines_of_it() -> None:
    async def work() -> View:
        async with AsyncExitStack() as cleanup:
            targets = ["127.0.0.1:1"]
            for name, document in DOCUMENTS.items():
                state = HostState(name, frozenset({"cxl 7"}), {QPU.name: Rtt(3.0, 4.0, 150, 1.0)})
                server = await serve(
                    ScriptedDispatcher(),
                    ScriptedOperations(),
                    "127.0.0.1:0",
                    Insecure(),
                    read_host=partial(read, state),
                    describe_host=partial(HostDescription, document, 100.0, 15.0),
                )
                cleanup.push_async_callback(server.stop, 0)
                targets.append(f"127.0.0.1:{server.port}")
            return await ask_hosts(targets, Insecure())

    document: dict[str, Any] = make_document(view := asyncio.run(work()))
    (host,) = document["hosts"]
    assert (host["name"], host["age_s"], host["stale"]) == ("a", 100.0, True)
    silent, garbage, early = (each["because"] for each in document["unreachable"])
    assert silent
    assert garbage.startswith("its report of its devices is not valid: host.")
    assert early == "it has not read its devices yet; ask again in some seconds"
    assert [line for line in document["problems"] if line.startswith("a: ")] == [
        "a: ECC is off",
        "a: its devices were last read 100 s ago: stale",
    ]
    to_host, to_qpu = document["edges"]
    assert (to_host["endpoint"], to_host["transport"]) == (host["source"], "gRPC")
    assert to_host["rtt_ms"]["n"] >= 1
    assert (to_qpu["host"], to_qpu["transport"]) == ("a", "TCP handshake")
    assert to_qpu["rtt_ms"] == {"n": 150, "age_s": 1.0, "p50": 3.0, "p95": 4.0}
    assert to_qpu["capabilities"][0] == {
        "name": "same fabric",
        "available": True,
        "because": "both are on cxl 7, as the site says",
    }
    assert document["roots"] == [{"fabrics": ["cxl 7"], "hosts": ["a"], "endpoints": [QPU.name]}]
    assert document["choice"] == {"because": "it is the only host that answers", "host": "a"}
    text = "\n".join(outline(view))
    assert "127.0.0.1:1 is not in this graph" in text
    assert text.replace("\n", "").isprintable()
    assert "127.0.0.1:1" in draw(view.topology)


@pytest.mark.parametrize(
    "state", [HostState("\x1b[31m"), HostState("h", load=float("nan")), HostState("h", load=-1.0)]
)
def test_a_state_that_cannot_be_right_is_an_error_of_one_line(state: HostState) -> None:
    with pytest.raises(MalformedMessageError, match=r"not valid: state\[0\]\.(name|load)"):
        decode_host(encode_host(state, QPU))


def test_a_host_named_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="each must be named once"):
        asyncio.run(ask_hosts(["127.0.0.1:1", "127.0.0.1:1"], Insecure()))
    with pytest.raises(SettingsError, match="each must be named once"):
        asyncio.run(connect_hosts(["127.0.0.1:1", "127.0.0.1:1"], Insecure()))
