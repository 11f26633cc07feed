"""The Dispatcher contract over gRPC with mutual TLS on loopback, and the service's own promises."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from certificates import OPERATOR, PROBE, TRAINER, Site
from mtls_loopback import (
    LONG_NS,
    READY,
    SERVICE,
    Loopback,
    ScriptedDispatcher,
    make_subproblem,
    never,
    open_mtls_loopback,
    run_loopback,
    secure,
    status_of,
    zeros,
)
from overviews import ILL
from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.canary import CanaryRequest
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.errors import CircuitError, MachineError, SettingsError, SubproblemError
from shotclock.domain.outcome import (
    Answer,
    CircuitOutcome,
    DeadlinePassed,
    Decision,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    Outcome,
    Provenance,
    ProviderFault,
    Rejection,
    Shed,
    Winner,
)
from shotclock.domain.overview import to_json
from shotclock.domain.ports import Dispatcher
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.status import Drained, Phase, Status
from shotclock.domain.subproblem import Priority, Subproblem
from shotclock.solvers.fallback import Classical
from shotclock.wire import methods
from shotclock.wire.channels import ChannelLimits
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.operations import GrpcOperations
from shotclock.wire.outcomes import encode_circuit_outcome, until_arrival_ns
from shotclock.wire.v1 import shotclock_pb2 as pb

CIRCUIT = CircuitSpec("OPENQASM 3.0; qubit q;", 100, request_id="c1", budget_ns=LONG_NS)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.at(tmp_path)


def test_the_client_is_a_dispatcher(site: Site) -> None:
    async def work(system: Loopback) -> None:
        async def optimum(subproblem: Subproblem) -> Outcome:
            bits = Classical().solve(subproblem)
            answer = Answer(bits, subproblem.energy(bits), Winner.CLASSICAL, "exact")
            return Degraded(
                answer, ProviderFault("no QPU"), Provenance("none", False, subproblem.base_version)
            )

        system.dispatcher.solves = optimum
        dispatcher: Dispatcher = system.trainer()
        for seed in range(4):
            subproblem = make_subproblem(seed)
            outcome = await dispatcher.solve(subproblem)
            assert isinstance(outcome, Degraded)
            assert outcome.provenance.base_version == 7
            assert outcome.answer.energy == pytest.approx(subproblem.energy(outcome.answer.bits))
            exact = subproblem.energy(Classical().solve(subproblem))
            assert outcome.answer.energy <= min(exact, subproblem.offset) + 1e-9
        await dispatcher.record_decision("r0", Decision.REVALIDATED)
        assert system.dispatcher.decisions == [("r0", Decision.REVALIDATED)]

    run_loopback(site, work)


PROVENANCE = Provenance(
    "emulated", True, 7, (StageTiming(Stage.BIND, 10, 20, 5),), job_id="j", attempts=2, sharers=3, cached=True
)
REJECTION = Rejection("queue_limit", 4, 4, "calls waiting", 0.2)


def round_trip(ending: CircuitOutcome) -> pb.CircuitOutcome:
    return encode_circuit_outcome(ending, until_arrival_ns(ending.provenance))


@pytest.mark.parametrize(
    "ending",
    [
        Shed(REJECTION, PROVENANCE),
        Late(DeadlinePassed(5), PROVENANCE),
        Failed(ProviderFault("the fridge is warm"), PROVENANCE),
    ],
)
def test_an_ending_arrives_as_it_was(site: Site, ending: Shed | Late | Failed) -> None:
    async def work(system: Loopback) -> None:
        async def end(subproblem: Subproblem) -> Outcome:
            return ending

        async def end_circuit(spec: CircuitSpec) -> CircuitOutcome:
            return ending

        system.dispatcher.solves, system.dispatcher.executes = end, end_circuit
        dispatcher = system.trainer()
        solved, executed = await dispatcher.solve(make_subproblem()), await dispatcher.execute(CIRCUIT)
        assert not isinstance(solved, Done | Degraded)
        assert round_trip(solved) == round_trip(executed) == round_trip(ending)

    run_loopback(site, work)


def test_what_is_asked_arrives_as_it_was_with_less_budget(site: Site) -> None:
    async def work(system: Loopback) -> None:
        dispatcher = system.trainer()
        urgent = replace(make_subproblem(3), kind="qat_flip", priority=Priority.HIGH)
        assert isinstance(await dispatcher.solve(urgent), Done)
        assert isinstance(await dispatcher.execute(CIRCUIT), Executed)
        (heard,) = system.dispatcher.subproblems
        assert 0 < heard.budget_ns < urgent.budget_ns
        assert np.array_equal(heard.quadratic, urgent.quadratic)
        assert np.array_equal(heard.linear, urgent.linear)
        assert (heard.kind, heard.priority, heard.request_id) == ("qat_flip", Priority.HIGH, "r3")
        (circuit,) = system.dispatcher.circuits
        assert 0 < circuit.budget_ns < CIRCUIT.budget_ns
        assert replace(circuit, budget_ns=CIRCUIT.budget_ns, caller="") == CIRCUIT

    run_loopback(site, work)


def test_the_caller_is_who_the_certificate_names_whatever_the_message_says(site: Site) -> None:
    async def work(system: Loopback) -> None:
        dispatcher = system.trainer()
        await dispatcher.solve(replace(make_subproblem(), caller="another"))
        await dispatcher.execute(replace(CIRCUIT, caller="another"))
        assert system.dispatcher.subproblems[-1].caller == TRAINER
        assert system.dispatcher.circuits[-1].caller == TRAINER

    run_loopback(site, work)


def test_nobody_answers_so_the_call_is_late_and_given_up_at_the_provider(site: Site) -> None:
    async def work(system: Loopback) -> None:
        system.dispatcher.solves = never
        budget_ns = 100 * NS_PER_MS
        outcome = await system.trainer().solve(make_subproblem(budget_ns=budget_ns))
        assert isinstance(outcome, Late)
        assert outcome.cause == DeadlinePassed(budget_ns)
        await system.dispatcher.cancelled.acquire()

    run_loopback(site, work)


def test_nobody_answers_so_the_fallback_does(site: Site) -> None:
    async def work(system: Loopback) -> None:
        system.dispatcher.solves = never
        outcome = await system.trainer(fallback=zeros).solve(make_subproblem(budget_ns=100 * NS_PER_MS))
        assert isinstance(outcome, Degraded)
        assert outcome.cause == DeadlinePassed(100 * NS_PER_MS)
        assert outcome.provenance.base_version == 7

    run_loopback(site, work)


def test_a_spent_budget_asks_nobody(site: Site) -> None:
    async def work(system: Loopback) -> None:
        assert isinstance(await system.trainer().solve(make_subproblem(budget_ns=0)), Late)
        assert not system.dispatcher.subproblems

    run_loopback(site, work)


def test_a_caller_that_goes_away_cancels_the_dispatchers_call(site: Site) -> None:
    async def work(system: Loopback) -> None:
        system.dispatcher.solves = never
        call = asyncio.create_task(system.trainer().solve(make_subproblem()))
        await system.dispatcher.began.acquire()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await system.dispatcher.cancelled.acquire()

    run_loopback(site, work)


def test_a_caller_s_own_mistake_is_raised_as_in_process(site: Site) -> None:
    async def work(system: Loopback) -> None:
        async def refuse(spec: CircuitSpec) -> CircuitOutcome:
            raise CircuitError("source", "line 3: no gate named 'hh'")

        async def refuse_numbers(subproblem: Subproblem) -> Outcome:
            raise SubproblemError("linear", "too steep")

        system.dispatcher.executes, system.dispatcher.solves = refuse, refuse_numbers
        dispatcher = system.trainer()
        with pytest.raises(CircuitError) as caught:
            await dispatcher.execute(CIRCUIT)
        assert (caught.value.field, caught.value.message) == ("source", "line 3: no gate named 'hh'")
        with pytest.raises(SubproblemError, match="too steep"):
            await dispatcher.solve(make_subproblem())

    run_loopback(site, work)


def test_every_call_has_a_deadline(site: Site) -> None:
    requests: dict[str, Any] = {
        methods.SOLVE: pb.Subproblem(),
        methods.SUBMIT_CIRCUIT: pb.CircuitSpec(),
        methods.DECIDED: pb.DecidedRequest(),
        methods.DRAIN: pb.DrainRequest(),
        methods.RESUME: pb.ResumeRequest(),
    }

    async def work(system: Loopback) -> None:
        async with secure(system, site.issue(TRAINER, OPERATOR)) as channel:
            for method, request in requests.items():
                code, details = await status_of(channel.unary_unary(method)(request.SerializeToString()))
                assert code is grpc.StatusCode.INVALID_ARGUMENT
                assert "no deadline" in details
            watching = channel.unary_stream(methods.WATCH)(b"")
            assert await watching.code() is grpc.StatusCode.INVALID_ARGUMENT
            batch = channel.unary_stream(methods.SUBMIT_CIRCUITS)(b"")
            assert await batch.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert system.operations.drains == []

    run_loopback(site, work)


def test_the_shorter_of_both_budgets_counts(site: Site) -> None:
    async def work(system: Loopback) -> None:
        channels = system.channels(TRAINER)
        solve = channels.lane.unary[methods.SOLVE]
        # gRPC rounds its own up
        for budget_ns, timeout_s in ((20 * NS_PER_S, 60.0), (LONG_NS, 20.0), (0, 20.0)):
            message = pb.Subproblem(n=1, linear=bytes(8), crc32c=0x8C28B28A, budget_ns=budget_ns)
            await solve(message, timeout=timeout_s)
            assert 0 < system.dispatcher.subproblems[-1].budget_ns < 30 * NS_PER_S
        await solve(pb.Subproblem(n=1, linear=bytes(8), crc32c=0x8C28B28A, budget_ns=5 * NS_PER_S))
        assert system.dispatcher.subproblems[-1].budget_ns == 5 * NS_PER_S

    run_loopback(site, work)


def test_what_is_too_large_is_refused_with_its_limit(site: Site) -> None:
    async def work(system: Loopback) -> None:
        dispatcher = system.trainer()
        outcome = await dispatcher.execute(replace(CIRCUIT, source="x" * 2000))
        assert isinstance(outcome, Failed)
        assert "RESOURCE_EXHAUSTED" in outcome.cause.message
        assert "the limit is 1024" in outcome.cause.message
        huge = await dispatcher.execute(replace(CIRCUIT, source="x" * 1_000_000))
        assert isinstance(huge, Failed)
        solved = await dispatcher.solve(make_subproblem())
        assert isinstance(solved, Failed)
        assert system.dispatcher.solved == 0
        assert system.dispatcher.circuits == []

    run_loopback(site, work, replace(SERVICE, circuit_bytes=1024, subproblem_bytes=64))


def test_too_many_calls_at_once_are_shed_and_others_go_on(site: Site) -> None:
    async def work(system: Loopback) -> None:
        system.dispatcher.solves = never
        dispatcher = system.trainer()
        calls = [asyncio.create_task(dispatcher.solve(make_subproblem(seed))) for seed in range(2)]
        for _ in calls:
            await system.dispatcher.began.acquire()
        shed = await dispatcher.solve(make_subproblem(2))
        assert isinstance(shed, Shed)
        assert (shed.rejection.limit, shed.rejection.allowed) == ("concurrent_calls", 2)
        assert isinstance(await dispatcher.execute(CIRCUIT), Executed)
        assert (await system.operator().status()).phase is Phase.READY
        for call in calls:
            call.cancel()
        for _ in calls:
            await system.dispatcher.cancelled.acquire()
        system.dispatcher.solves = ScriptedDispatcher().solves
        assert isinstance(await dispatcher.solve(make_subproblem(3)), Done)

    run_loopback(site, work, replace(SERVICE, concurrent_calls=2))


def test_an_orchestrator_drains_and_resumes(site: Site) -> None:
    async def work(system: Loopback) -> None:
        dispatcher, operator = system.trainer(), system.operator()
        assert await operator.drain(NS_PER_S) == Drained(3, 1)
        assert system.operations.drains == [NS_PER_S]
        for outcome in (await dispatcher.solve(make_subproblem()), await dispatcher.execute(CIRCUIT)):
            assert isinstance(outcome, Failed)
            assert "drained and accepts nothing more" in outcome.cause.message
        assert isinstance(await system.trainer(fallback=zeros).solve(make_subproblem()), Degraded)
        await dispatcher.record_decision("r0", Decision.APPLIED)
        assert system.dispatcher.decisions == [("r0", Decision.APPLIED)]
        assert (await operator.resume()).phase is Phase.READY
        assert isinstance(await dispatcher.solve(make_subproblem()), Done)

    run_loopback(site, work)


def test_a_canary_and_a_validation_value_arrive_as_they_were(site: Site) -> None:
    request = CanaryRequest(25, "keep", None, 200, 0.02, 0.03, 0.04, 0.5)

    async def work(system: Loopback) -> None:
        operator = system.operator()
        await operator.start_canary(request)
        await operator.start_canary(replace(request, slow_ms=80.0, on_pass="promote"))
        await operator.abort_canary()
        await system.trainer().report_validation("run7", "qat_flip", 0.25)
        assert system.rollout.canaries == [
            (request, OPERATOR),
            (replace(request, slow_ms=80.0, on_pass="promote"), OPERATOR),
        ]
        assert system.rollout.aborted_by == [OPERATOR]
        assert system.rollout.values == [("run7", "qat_flip", 0.25, TRAINER)]

    run_loopback(site, work)


def test_a_watcher_hears_at_once_then_of_changes_and_a_heartbeat(site: Site) -> None:
    async def work(system: Loopback) -> None:
        statuses = GrpcOperations(system.channels(OPERATOR)).watch(60.0)
        first = await anext(statuses)
        system.operations.now = replace(first, waiting=9)
        while (await anext(statuses)).waiting != 9:
            pass  # a heartbeat from before
        assert (await anext(statuses)).waiting == 9  # unchanged: the heartbeat
        await statuses.aclose()

    run_loopback(site, work, replace(SERVICE, heartbeat_s=0.05))


def test_one_watcher_cannot_open_the_streams_of_the_others(site: Site) -> None:
    async def work(system: Loopback) -> None:
        operators = [system.operator() for _ in range(2)]
        open_streams = [operator.watch(60.0) for operator in operators]
        for statuses in open_streams:
            await anext(statuses)
        for operator in operators:
            refused = "Watch: this caller has 2 open streams, the limit is 2; close one"
            with pytest.raises(MachineError, match=refused):
                await operator.status()
        assert (await GrpcOperations(system.channels(TRAINER)).status()).phase is Phase.READY
        await open_streams.pop().aclose()
        async with asyncio.timeout(60.0):
            while (status := await _status_or_none(operators[1])) is None:  # noqa: ASYNC110 - the server's
                await asyncio.sleep(0.01)
        assert status.phase is Phase.READY

    run_loopback(site, work, replace(SERVICE, watch_streams=2))


async def _status_or_none(operator: GrpcOperations) -> Status | None:
    """None while the server has not noticed yet that a stream was closed."""
    with suppress(MachineError):
        return await operator.status()
    return None


def test_a_stop_ends_the_watchers(site: Site) -> None:
    async def work(system: Loopback) -> None:
        statuses = GrpcOperations(system.channels(OPERATOR)).watch(60.0)
        await anext(statuses)
        await system.server.stop(60.0)
        assert [status async for status in statuses] == []

    run_loopback(site, work)


def test_health_follows_readiness(site: Site) -> None:
    async def work(system: Loopback) -> None:
        async with secure(system, site.issue(PROBE)) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(health_pb2.HealthCheckRequest(service=methods.SERVICE))
            answers = aiter(watch)
            while (await anext(answers)).status != health_pb2.HealthCheckResponse.SERVING:
                pass
            system.operations.now = replace(system.operations.now, phase=Phase.DRAINING)
            assert (await anext(answers)).status == health_pb2.HealthCheckResponse.NOT_SERVING
            alive = await stub.Check(health_pb2.HealthCheckRequest(service=""))
            assert alive.status == health_pb2.HealthCheckResponse.SERVING
            watch.cancel()

    run_loopback(site, work)


def test_reflection_names_the_service(site: Site) -> None:
    async def work(system: Loopback) -> None:
        async with secure(system, site.issue(OPERATOR)) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            asking = stub.ServerReflectionInfo()
            await asking.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            reply = await asking.read()
            assert methods.SERVICE in {service.name for service in reply.list_services_response.service}
            asking.cancel()

    run_loopback(site, work)


def test_keepalive_stays_above_the_servers_floor() -> None:
    with pytest.raises(SettingsError, match="below 10 s"):
        ChannelLimits(keepalive_s=9.0)


def test_a_channel_is_renewed_before_it_is_old_and_no_call_fails(site: Site) -> None:
    async def work(system: Loopback) -> None:
        channels = system.channels(TRAINER, poll_s=0.01, renew_s=0.02)
        dispatcher, lanes = GrpcDispatcher(channels), {channels.lane}
        while len(lanes) < 4:
            calls = (dispatcher.solve(make_subproblem(seed)) for seed in range(8))
            assert all(isinstance(outcome, Done) for outcome in await asyncio.gather(*calls))
            lanes.add(channels.lane)

    run_loopback(site, work)


def test_closing_waits_for_the_calls_in_flight(site: Site) -> None:
    async def work(system: Loopback) -> None:
        go = asyncio.Event()

        async def later(subproblem: Subproblem) -> Outcome:
            await go.wait()
            return await ScriptedDispatcher().solves(subproblem)

        system.dispatcher.solves = later
        dispatcher = system.trainer()
        call = asyncio.create_task(dispatcher.solve(make_subproblem()))
        await system.dispatcher.began.acquire()
        closing = asyncio.create_task(dispatcher.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        go.set()
        assert isinstance(await call, Done)
        await closing

    run_loopback(site, work)


def test_an_operator_reads_the_overview_and_others_the_status(site: Site) -> None:
    documents = iter(["", to_json(ILL), to_json(ILL).replace('"waiting": 412', '"waiting": null')])

    async def main() -> None:
        async with open_mtls_loopback(site, document=lambda: next(documents)) as system:
            operator = system.operator()
            assert await operator.describe() == READY  # a server without an overview
            assert await operator.describe() == ILL
            with pytest.raises(MachineError, match="cannot be read at waiting; is it of another version"):
                await operator.describe()
            assert await GrpcOperations(system.channels(TRAINER)).describe() == READY

    asyncio.run(main())
