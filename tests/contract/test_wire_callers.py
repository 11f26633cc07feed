"""What one caller may take of the service before its requests are understood."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from certificates import TRAINER, Site
from mtls_loopback import (
    LONG_NS,
    SERVICE,
    Loopback,
    at_once,
    make_subproblem,
    never,
    run_loopback,
    secure,
    status_of,
)
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.outcome import CALLER_QUOTA, Done, Executed, Outcome, Provenance, Rejection, Shed
from shotclock.domain.status import Phase
from shotclock.domain.subproblem import Subproblem
from shotclock.wire import methods
from shotclock.wire.authorization import Policy
from shotclock.wire.callers import CallerLimits
from shotclock.wire.codec import encode_subproblem
from shotclock.wire.operations import GrpcOperations

HANG_S = 60.0
OTHER, ATTACHED = "other.trainer.example.com", 200
CIRCUIT = CircuitSpec("OPENQASM 3.0; qubit q;", 100, request_id="c1", budget_ns=LONG_NS)
PROVENANCE = Provenance("scripted", emulated=True, base_version=0)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.at(tmp_path)


def test_refusals_are_answered_at_the_callers_pace_and_nothing_else_is_held_back(site: Site) -> None:
    async def work(system: Loopback) -> None:
        async with secure(system, site.issue(TRAINER)) as channel:
            asking = channel.unary_unary(methods.SOLVE)
            mistakes = {asyncio.ensure_future(status_of(asking(b"x", timeout=2 * HANG_S))) for _ in range(5)}
            unanswered = mistakes
            while len(unanswered) > 2:
                _, unanswered = await asyncio.wait(unanswered, return_when=asyncio.FIRST_COMPLETED)
            assert isinstance(await system.trainer().solve(make_subproblem()), Done)
            assert not any(mistake.done() for mistake in unanswered)
            await system.server.stop(HANG_S)
            assert {(await mistake)[0] for mistake in mistakes} == {grpc.StatusCode.INVALID_ARGUMENT}

    slow = CallerLimits(refusals_per_s=1e-3, refusal_burst=3, longest_hold_s=HANG_S)
    run_loopback(site, work, replace(SERVICE, callers=slow))


def test_a_caller_over_its_quota_is_answered_at_its_pace(site: Site) -> None:
    async def work(system: Loopback) -> None:
        async def over_quota(subproblem: Subproblem) -> Outcome:
            return Shed(Rejection(CALLER_QUOTA, 1, 1, "calls of this caller", 0.1), PROVENANCE)

        system.dispatcher.solves = over_quota
        dispatcher = system.trainer()
        assert isinstance(await dispatcher.solve(make_subproblem()), Shed)
        late = asyncio.create_task(dispatcher.solve(make_subproblem(1)))
        await system.dispatcher.began.acquire()
        await system.dispatcher.began.acquire()
        assert isinstance(await dispatcher.execute(CIRCUIT), Executed)
        assert not late.done()
        await system.server.stop(HANG_S)
        assert isinstance(await late, Shed)

    slow = CallerLimits(refusals_per_s=1e-3, refusal_burst=1, longest_hold_s=HANG_S)
    run_loopback(site, work, replace(SERVICE, callers=slow))


def test_requests_that_do_not_arrive_hold_the_turns_of_their_caller_alone(site: Site) -> None:
    async def work(system: Loopback) -> None:
        async with secure(system, site.issue(TRAINER)) as channel:
            silent = channel.stream_unary(methods.SUBMIT_CIRCUIT)
            calls = [silent(timeout=HANG_S) for _ in range(6)]
            assert (await system.operator().status()).phase is Phase.READY
            endings = [await status_of(call) for call in calls]
            assert {code for code, _ in endings} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            reasons = Counter(details.partition(": ")[2] for _, details in endings)
            assert reasons == {
                "the request did not arrive within 0.5 s; send it at once": 3,
                "3 calls of this caller wait to be read, the limit is 3; send fewer at once": 3,
            }
            assert isinstance(await system.trainer().execute(CIRCUIT), Executed)
            empty = silent(iter(()), timeout=HANG_S)
            code, details = await status_of(empty)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert details.endswith("no request; send one message")

    run_loopback(site, work, replace(SERVICE, callers=CallerLimits(requests=2, unread=3, request_s=0.5)))


def test_hundreds_of_attached_loops_of_one_caller_take_nothing_from_another(site: Site) -> None:
    """Each is a connection that watches the status, waits for an answer and sends half a request."""

    async def hold(subproblem: Subproblem) -> Outcome:
        return await (at_once if subproblem.caller == OTHER else never)(subproblem)

    async def work(system: Loopback) -> None:
        system.dispatcher.solves = hold
        other = system.trainer(name=OTHER)
        payload = encode_subproblem(make_subproblem(), LONG_NS).SerializeToString()
        files = site.issue(TRAINER)
        async with AsyncExitStack() as loops:
            channels = [await loops.enter_async_context(secure(system, files)) for _ in range(ATTACHED)]
            watching = [channel.unary_stream(methods.WATCH)(b"", timeout=HANG_S) for channel in channels]
            codes = Counter(await asyncio.gather(*map(first_code, watching)))
            assert codes == {
                grpc.StatusCode.OK: SERVICE.watch_streams,
                grpc.StatusCode.RESOURCE_EXHAUSTED: ATTACHED - SERVICE.watch_streams,
            }
            calls = [channel.unary_unary(methods.SOLVE)(payload, timeout=HANG_S) for channel in channels]
            for _ in calls:
                await system.dispatcher.began.acquire()
            calls += [channel.stream_unary(methods.SUBMIT_CIRCUIT)(timeout=HANG_S) for channel in channels]
            for seed in range(20):
                assert isinstance(await other.solve(make_subproblem(seed)), Done)
            assert isinstance(await other.execute(CIRCUIT), Executed)
            assert (await GrpcOperations(system.channels(OTHER)).status()).phase is Phase.READY
            for call in calls:
                call.cancel()

    policy = Policy.of(trainers=frozenset({TRAINER, OTHER}))
    run_loopback(site, work, policy=policy)


async def first_code(watch: Any) -> grpc.StatusCode:
    """OK where a status comes."""
    try:
        await watch.read()
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
