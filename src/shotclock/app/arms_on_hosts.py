"""The arms of `shotclock bench --hosts`: their calls go to running orchestrators, a host chosen for each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shotclock.app.placed import PlacedDispatcher, PlacementName, connect_hosts
from shotclock.bench.placement import HostCalls, Placement
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import MachineError, ShotclockError
from shotclock.domain.recorders import ClientRecorder
from shotclock.domain.status import Status
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.race import classical
from shotclock.placement.rules import Needs
from shotclock.solvers.fallback import Classical
from shotclock.wire.channels import connect
from shotclock.wire.operations import GrpcOperations
from shotclock.wire.tls import ClientTls, Insecure

WARM_NS = 60 * NS_PER_S
"""A first call may compile its template."""


@dataclass(frozen=True, slots=True)
class OpenHosts:
    """Hosts that are ready for an arm.

    dispatcher: places its calls
    provider: the provider's name; several, joined by commas, where hosts have different ones
    emulated: whether any of them is emulated
    predicted_p95_s: of the slowest host, seconds
    """

    dispatcher: PlacedDispatcher
    provider: str
    emulated: bool
    predicted_p95_s: float


async def open_hosts(
    targets: Sequence[str],
    security: ClientTls | Insecure,
    placement: PlacementName,
    recorder: ClientRecorder,
    sample: Subproblem,
    needs: Needs,
) -> OpenHosts:
    """Connects, and calls every host once with `sample`; hosts that do not answer may answer later.

    Raises MachineError where none answers or has what the work must have, SettingsError where a target is
    invalid.
    """
    solver = Classical()
    dispatcher = await connect_hosts(
        targets,
        security,
        placement,
        needs=needs,
        fallback=lambda subproblem: classical(subproblem, solver),
        recorder=recorder,
    )
    try:
        answers = await asyncio.gather(*(_ask(target, security) for target in targets))
        statuses = [answer for answer in answers if isinstance(answer, Status)]
        if not statuses:
            raise MachineError(f"bench.hosts: no host answers: {'; '.join(map(str, answers))}")
        await dispatcher.warm(replace(sample, budget_ns=WARM_NS))
    except BaseException:
        await dispatcher.close()
        raise
    return OpenHosts(
        dispatcher,
        ", ".join(sorted({status.provider for status in statuses})),
        any(status.emulated for status in statuses),
        max(status.service_p95_s for status in statuses),
    )


async def _ask(target: str, security: ClientTls | Insecure) -> Status | ShotclockError:
    operations = GrpcOperations(connect(target, security))
    try:
        return await operations.status()
    except ShotclockError as error:
        return error
    finally:
        await operations.close()


def describe_placement(dispatcher: PlacedDispatcher) -> Placement:
    """Where the calls went, for the summary."""
    placer = dispatcher.placer
    return Placement(
        policy=placer.placement,
        hosts={
            host: HostCalls(calls=calls, unanswered=dispatcher.unanswered[host])
            for host, calls in dispatcher.calls.items()
        },
        moves=placer.moves,
        choices=tuple(placer.choices),
    )
