"""`shotclock topology --hosts`: one graph of what the orchestrators of several hosts report of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shotclock.app.topology import View
from shotclock.domain.errors import MachineError, SettingsError, ShotclockError
from shotclock.domain.hosts import Endpoint, HostDescription, HostState, Rtt
from shotclock.placement.capabilities import list_capabilities
from shotclock.placement.graph import QPU, Edge, ReportedHost, Unreachable, build_graph, name_apart
from shotclock.placement.report import InvalidReportError, read_report
from shotclock.placement.rtt import TRANSPORT, add_round_trips, measure
from shotclock.placement.values import Absent
from shotclock.wire.channels import connect
from shotclock.wire.operations import GrpcOperations
from shotclock.wire.tls import ClientTls, Insecure

PROBE_TIMEOUT_S = 2.0
STALE_PERIODS = 3
"""A host that has not read its devices for so many of its periods is stale."""
IN_PROCESS = Absent("the provider is in the orchestrator's process")
NOT_MEASURED = Absent("the host measures none yet, or its placement.endpoint is not set")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one orchestrator says. rtt: of Probe, from here."""

    reported: ReportedHost
    endpoint: Endpoint
    rtt: Rtt


def read_hosts(targets: Sequence[str], security: ClientTls | Insecure) -> View:
    """See `ask_hosts`."""
    return asyncio.run(ask_hosts(targets, security))


async def ask_hosts(targets: Sequence[str], security: ClientTls | Insecure) -> View:
    """The graph of these orchestrators' hosts; one that does not answer is a line of it, not an error.

    Raises SettingsError where a target is invalid or named twice.
    """
    if len(set(targets)) < len(targets):
        raise SettingsError(f"--hosts: each must be named once (got {', '.join(targets)})")
    answers = await _ask_all(targets, security)
    unreachable = tuple(each for each in answers if isinstance(each, Unreachable))
    known = [each for each in answers if isinstance(each, _Answer)]
    hosts = name_apart(each.reported for each in known)
    here, edges, endpoints = os.uname().nodename, [], {}
    over = "gRPC with mutual TLS" if isinstance(security, ClientTls) else "gRPC"
    for host, answer in zip(hosts, known, strict=True):
        edges.append(Edge(here, host.source, over, answer.rtt))
        edges.append(_reach_qpu(host, answer.endpoint))
        endpoints[host.host.name] = answer.endpoint
    return View(build_graph(hosts, endpoints, edges, unreachable), compares=False)


async def _ask_all(targets: Sequence[str], security: ClientTls | Insecure) -> list[_Answer | Unreachable]:
    channels = [connect(target, security) for target in targets]
    clients = [GrpcOperations(each) for each in channels]
    try:
        return list(await asyncio.gather(*map(_ask, targets, clients)))
    finally:
        await asyncio.gather(*(client.close() for client in clients))


async def _ask(target: str, client: GrpcOperations) -> _Answer | Unreachable:
    async def probe() -> float:
        return (await client.probe(PROBE_TIMEOUT_S))[2]

    try:
        rtt = await measure(probe)
        state, endpoint, _ = await client.probe(PROBE_TIMEOUT_S)
        reported = _read(target, await client.describe_host(), state)
    except ShotclockError as error:
        return Unreachable(target, str(error).removeprefix(f"{target}: "))
    onward = state.rtts.get(endpoint.name)
    whole = rtt if onward is None else add_round_trips(rtt, onward)
    return _Answer(replace(reported, state=replace(state, rtts={**state.rtts, QPU: whole})), endpoint, rtt)


def _read(target: str, description: HostDescription, state: HostState) -> ReportedHost:
    """Raises MachineError on a report that is missing or invalid."""
    if not description.document:
        raise MachineError("it has not read its devices yet; ask again in some seconds")
    try:
        view = read_report(description.document)
    except InvalidReportError as error:
        raise MachineError(f"its report of its devices is not valid: {error}") from None
    is_stale = not 0.0 <= description.age_s <= STALE_PERIODS * description.every_s
    return ReportedHost(view.host, view.problems, target, state, description.age_s, is_stale)


def _reach_qpu(host: ReportedHost, endpoint: Endpoint) -> Edge:
    """The host's own way to its QPU, as it measures it."""
    rtt: Rtt | Absent | None = host.state.rtts.get(endpoint.name)
    if rtt is None:
        rtt = IN_PROCESS if endpoint.emulated else NOT_MEASURED
    in_process = rtt is IN_PROCESS
    ways = list_capabilities(
        is_same_host=in_process,
        has_accelerator=bool(host.host.accelerators),
        shared=host.state.fabrics & endpoint.fabrics,
    )
    transport = "in process" if in_process else TRANSPORT
    return Edge(host.host.name, endpoint.name, transport, rtt, ways)
