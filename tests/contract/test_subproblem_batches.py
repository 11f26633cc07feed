"""Batches of subproblems over gRPC with mutual TLS, and in the orchestrator on virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from certificates import TRAINER, Site
from harness import random_subproblem, run_virtual
from mtls_loopback import CALLS, LONG_NS, SERVICE, Loopback, at_once, never, run_loopback, secure, zeros
from shotclock.app.host_failure import FailingMemory
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.errors import SubproblemError
from shotclock.domain.outcome import (
    CALLER_QUOTA,
    DeadlinePassed,
    Degraded,
    Done,
    Failed,
    Late,
    Outcome,
    Provenance,
    Shed,
)
from shotclock.domain.ports import Dispatcher
from shotclock.domain.status import Phase
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import SubproblemBatch
from shotclock.orchestrator.quotas import CallerQuota
from shotclock.wire import methods, subproblem_batches
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.integrity import serialize
from shotclock.wire.payload import parse
from shotclock.wire.v1 import shotclock_pb2 as pb
from virtual_orchestrator import System, make_scripted, make_subproblem, simulate


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.at(tmp_path)


def make_batch(*sizes: int, budget_ns: int = LONG_NS) -> SubproblemBatch:
    return SubproblemBatch(
        tuple(
            replace(random_subproblem(n, seed), request_id=f"b{seed}", budget_ns=budget_ns)
            for seed, n in enumerate(sizes)
        )
    )


async def ask(dispatcher: Dispatcher, batch: SubproblemBatch) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}

    def deliver(index: int, outcome: Outcome) -> None:
        assert index not in outcomes
        outcomes[index] = outcome

    await dispatcher.solve_batch(batch, deliver)
    assert sorted(outcomes) == list(range(len(batch.subproblems)))
    return [outcomes[index] for index in range(len(outcomes))]


def test_subproblems_of_different_sizes_are_solved_in_one_request(site: Site) -> None:
    batch = make_batch(3, 12, 1, *[5] * 61)

    async def work(system: Loopback) -> None:
        outcomes = await ask(system.trainer(), batch)
        for subproblem, outcome in zip(batch.subproblems, outcomes, strict=True):
            assert isinstance(outcome, Done)
            assert len(outcome.answer.bits) == subproblem.n
        for subproblem, arrived in zip(batch.subproblems, system.dispatcher.subproblems, strict=True):
            assert np.array_equal(arrived.quadratic, subproblem.quadratic)
            assert (arrived.request_id, arrived.caller) == (subproblem.request_id, TRAINER)
            assert 0 < arrived.budget_ns < subproblem.budget_ns

    run_loopback(site, work)


@pytest.mark.parametrize(
    ("count", "n", "message"),
    [
        (0, 1, r"^subproblem\.batch: must have 1 to 64 subproblems \(got 0\)"),
        (65, 1, r"^subproblem\.batch: must have 1 to 64 subproblems \(got 65\); send several batches"),
        (64, 256, r"^subproblem\.batch: must have at most 4,194,304 bytes of coefficients"),
    ],
)
def test_a_batch_states_its_limits(count: int, n: int, message: str) -> None:
    with pytest.raises(SubproblemError, match=message):
        SubproblemBatch((random_subproblem(n, 0),) * count)


def harm_sizes(message: Any) -> None:
    message.subproblems[1].n = 4


def harm_number(message: Any) -> None:
    message.subproblems[1].offset = float("nan")


def empty(message: Any) -> None:
    del message.subproblems[:]


def repeat(message: Any) -> None:
    message.subproblems.extend([message.subproblems[0]] * 63)


def enlarge(message: Any) -> None:
    wide = subproblem_batches.encode_subproblems(make_batch(256), lambda _: LONG_NS).subproblems[0]
    message.subproblems.extend([wide] * 16)


def take_time(message: Any) -> None:
    for each in message.subproblems:
        each.budget_ns = 0


@pytest.mark.parametrize(
    ("harm", "code", "details"),
    [
        (harm_sizes, "INVALID_ARGUMENT", "subproblem.batch[1].quadratic: must have 48 bytes"),
        (harm_number, "INVALID_ARGUMENT", "subproblem.batch[1].offset: must be finite"),
        (empty, "INVALID_ARGUMENT", "subproblem.batch: must have 1 to 64 subproblems (got 0)"),
        (repeat, "INVALID_ARGUMENT", "subproblem.batch: must have 1 to 64 subproblems (got 65)"),
        (enlarge, "INVALID_ARGUMENT", "subproblem.batch: must have at most 4,194,304 bytes"),
        (take_time, "INVALID_ARGUMENT", "no deadline"),
    ],
)
def test_a_hostile_batch_is_one_refusal_and_nothing_is_solved(
    site: Site, harm: Callable[[Any], None], code: str, details: str
) -> None:
    message = subproblem_batches.encode_subproblems(make_batch(3, 5), lambda _: LONG_NS)
    harm(message)

    async def work(system: Loopback) -> None:
        async with secure(system, site.issue(TRAINER)) as channel:
            stream = channel.unary_stream(methods.SOLVE_BATCH)(serialize(message))
            assert (await stream.code()).name == code
            assert (await stream.details()).startswith(details) or details == "no deadline"
            assert details in await stream.details()
        assert system.dispatcher.solved == 0

    run_loopback(site, work)


def test_a_batch_larger_than_its_bytes_may_be_is_refused_unread(site: Site) -> None:
    async def work(system: Loopback) -> None:
        outcomes = await ask(system.trainer(), make_batch(30, 30))
        for outcome in outcomes:
            assert isinstance(outcome, Failed)
            assert "the limit is 1000" in outcome.cause.message
        assert system.dispatcher.solved == 0

    run_loopback(site, work, replace(SERVICE, batch_bytes=1000))


@pytest.mark.parametrize(("times", "attempts"), [(1, 2), (99, 3)])
def test_a_damaged_batch_is_sent_again_a_few_times(
    site: Site, monkeypatch: pytest.MonkeyPatch, times: int, attempts: int
) -> None:
    sent: list[bytes] = []

    def damage(message: Any) -> bytes:
        content = serialize(message)
        sent.append(content)
        return content[:-1] + bytes([content[-1] ^ 1]) if len(sent) <= times else content

    async def work(system: Loopback) -> None:
        trainer = system.trainer()
        lane = trainer._channels.lane
        lane.streams[methods.SOLVE_BATCH] = lane.channel.unary_stream(
            methods.SOLVE_BATCH, request_serializer=damage
        )
        outcomes = await ask(trainer, make_batch(3, 4))
        assert len(sent) == attempts
        assert {type(outcome) for outcome in outcomes} == {Done if times == 1 else Failed}
        assert system.dispatcher.solved == (2 if times == 1 else 0)
        assert system.damaged["request", TRAINER] == min(times, 3)

    run_loopback(site, work)


@pytest.mark.parametrize("harm", ["index", "size"])
def test_answers_that_cannot_be_used_end_the_batch_and_are_not_asked_for_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    encode = subproblem_batches.encode_answers

    def damage(numbered: Any) -> Any:
        message = encode(numbered)
        if harm == "index":
            message.outcomes[0].index = message.outcomes[-1].index
        else:
            message.outcomes[0].outcome.done.answer.bits = b"\1"
        return message

    monkeypatch.setattr(subproblem_batches, "encode_answers", damage)

    async def work(system: Loopback) -> None:
        for outcome in await ask(system.trainer(), make_batch(3, 4)):
            assert isinstance(outcome, Failed)
            assert "unusable answer" in outcome.cause.message
        outcomes = await ask(system.trainer(fallback=zeros), make_batch(3, 4))
        assert all(isinstance(outcome, Degraded) for outcome in outcomes)
        assert system.dispatcher.solved == 4

    run_loopback(site, work)


@pytest.mark.parametrize(
    ("every", "remembered", "expected"),
    [(3, True, {Done: 6}), (1, True, {Failed: 6}), (3, False, {Done: 4, Failed: 2})],
)
def test_answers_that_arrived_damaged_are_asked_for_again_and_solved_once(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    every: int,
    remembered: bool,
    expected: dict[type[Outcome], int],
) -> None:
    monkeypatch.setattr(subproblem_batches, "HOLD_SHARE", 0.0)  # more than one message of answers
    if not remembered:
        monkeypatch.setattr("shotclock.wire.recent_answers.RecentAnswers.find", lambda *_: None)

    async def work(system: Loopback) -> None:
        channels, memory = system.channels(TRAINER), FailingMemory(every)
        memory.attach(channels)
        memory.is_failing = True

        async def answer_after_the_last(subproblem: Subproblem) -> Outcome:
            while memory._messages < int(subproblem.request_id[1:]):  # noqa: ASYNC110 - a client's
                await asyncio.sleep(0.001)
            return await at_once(subproblem)

        system.dispatcher.solves = answer_after_the_last
        outcomes = await ask(GrpcDispatcher(channels), make_batch(*[4] * 6))
        assert Counter(type(outcome) for outcome in outcomes) == expected
        assert system.dispatcher.solved == 6
        assert memory.flips > 0
        assert system.damaged["answer", TRAINER] > 0

    run_loopback(site, work)


def test_an_answer_to_a_subproblem_that_has_ended_here_loses_no_other() -> None:
    batch = make_batch(3, 4)
    answers = [(index, asyncio.run(at_once(each))) for index, each in enumerate(batch.subproblems)]
    message = serialize(subproblem_batches.encode_answers(answers))
    ((index, outcome),) = subproblem_batches.read_answers(message, batch, {1}, {0}, 0, 5)
    assert index == 1
    assert isinstance(outcome, Done)


def test_each_subproblem_ends_by_its_own_deadline(site: Site) -> None:
    async def solve(subproblem: Subproblem) -> Outcome:
        return await (never if subproblem.request_id == "b0" else at_once)(subproblem)

    first, second = make_batch(3, 4).subproblems
    batch = SubproblemBatch((replace(first, budget_ns=200 * NS_PER_MS), second))

    async def work(system: Loopback) -> None:
        system.dispatcher.solves = solve
        late, answered = await ask(system.trainer(), batch)
        assert isinstance(late, Late)
        assert late.cause == DeadlinePassed(200 * NS_PER_MS)
        assert isinstance(answered, Done)
        degraded, _ = await ask(system.trainer(replace(CALLS, fallback_s=0.01), zeros), batch)
        assert isinstance(degraded, Degraded)
        assert isinstance(degraded.cause, DeadlinePassed)

    run_loopback(site, work)


def test_a_batch_that_is_given_up_ends_its_calls(site: Site) -> None:
    async def work(system: Loopback) -> None:
        system.dispatcher.solves = never
        call = asyncio.create_task(system.trainer().solve_batch(make_batch(3, 4), lambda *_: None))
        for _ in range(2):
            await system.dispatcher.began.acquire()
        call.cancel()
        await asyncio.wait((call,))
        for _ in range(2):
            await system.dispatcher.cancelled.acquire()

    run_loopback(site, work)


def test_a_service_that_does_not_accept_calls_says_so_of_each(site: Site) -> None:
    async def work(system: Loopback) -> None:
        system.operations.now = replace(system.operations.now, phase=Phase.DRAINING)
        for outcome in await ask(system.trainer(), make_batch(3, 4)):
            assert isinstance(outcome, Failed)
            assert "draining" in outcome.cause.message

    run_loopback(site, work)


def test_a_bug_of_the_dispatcher_ends_the_stream(site: Site) -> None:
    async def fail(subproblem: Subproblem) -> Outcome:
        raise ZeroDivisionError(subproblem.request_id)

    async def work(system: Loopback) -> None:
        system.dispatcher.solves = fail
        assert {type(outcome) for outcome in await ask(system.trainer(), make_batch(3, 4))} == {Failed}

    run_loopback(site, work)


def test_outcomes_of_a_few_milliseconds_share_a_message(site: Site) -> None:
    async def work(system: Loopback) -> None:
        request = serialize(subproblem_batches.encode_subproblems(make_batch(*[3] * 64), lambda _: LONG_NS))
        async with secure(system, site.issue(TRAINER)) as channel:
            replies = [reply async for reply in channel.unary_stream(methods.SOLVE_BATCH)(request)]
            messages = [parse(pb.SubproblemOutcomes, reply) for reply in replies]
        numbers = [each.index for message in messages for each in message.outcomes]
        assert sorted(numbers) == list(range(64))
        assert len(replies) < 64

    run_loopback(site, work)


def make_calls(count: int, budget_ms: float = 200, **words: Any) -> SubproblemBatch:
    return SubproblemBatch(tuple(replace(make_subproblem(seed, budget_ms), **words) for seed in range(count)))


@pytest.mark.parametrize(
    ("delivered_ms", "written_ms"),
    [((10, 16), [18]), ((10, 19), [18, 27]), ((10, 191), [18, 199]), ((10, 195), [18, 199])],
)
def test_outcomes_wait_for_others_and_not_so_long_at_their_deadline(
    delivered_ms: tuple[int, ...], written_ms: list[int]
) -> None:
    written: list[float] = []

    class Delivering:
        async def solve_batch(self, batch: SubproblemBatch, deliver: Callable[[int, Outcome], None]) -> None:
            for index, at_ms in enumerate(delivered_ms):
                await asyncio.sleep(at_ms / 1e3 - asyncio.get_running_loop().time())
                deliver(index, Late(DeadlinePassed(0), Provenance("test", emulated=True, base_version=0)))
            await asyncio.sleep(1)

    class Context:
        async def write(self, message: bytes) -> None:
            written.append(round(asyncio.get_running_loop().time() * 1e3, 3))

    async def hold(numbered: object) -> None:
        del numbered

    async def work() -> None:
        dispatcher = cast("Dispatcher", Delivering())
        await subproblem_batches.stream_answers(
            dispatcher, make_calls(2), Context(), hold, lambda index, message: None
        )

    run_virtual(work())
    assert written == written_ms


def test_quotas_count_each_subproblem_and_refuse_the_others() -> None:
    async def work(system: System) -> None:
        outcomes = await ask(system.orchestrator, make_calls(8, 5_000, caller="a"))
        refused = [outcome for outcome in outcomes if isinstance(outcome, Shed)]
        assert len(refused) == 3
        assert {outcome.rejection.limit for outcome in refused} == {CALLER_QUOTA}
        assert sum(isinstance(outcome, Done) for outcome in outcomes) == 5

    simulate(make_scripted(protected=True, queue_limit=64, quota=CallerQuota(calls=5)), work)


def test_a_batch_takes_turns_with_the_calls_of_others() -> None:
    order: list[str] = []

    async def work(system: System) -> None:
        async def solve_one() -> None:
            await asyncio.sleep(0.001)
            await system.orchestrator.solve(replace(make_subproblem(99, 60_000), caller="b"))
            order.append("other")

        batch = make_calls(12, 60_000, caller="a")
        await asyncio.gather(
            system.orchestrator.solve_batch(batch, lambda index, outcome: order.append("batch")), solve_one()
        )

    limits = replace(make_scripted()().provider.limits, lanes=1)
    simulate(make_scripted(limits=limits, queue_limit=64), work)
    assert order.index("other") <= 2
    assert len(order) == 13
