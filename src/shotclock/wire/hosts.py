"""States of hosts as messages and back."""

from __future__ import annotations

from shotclock.domain.hosts import Endpoint, HostDescription, HostState, Rtt
from shotclock.domain.untrusted import find_fault
from shotclock.wire.payload import MalformedMessageError
from shotclock.wire.v1 import shotclock_pb2 as pb


def encode_host(state: HostState, endpoint: Endpoint) -> pb.HostState:
    """Every field under its own name; what is unknown stays absent."""
    message = pb.HostState(
        name=state.name,
        fabrics=sorted(state.fabrics),
        round_trips=[
            pb.RoundTrips(endpoint=name, p50_ms=rtt.p50_ms, p95_ms=rtt.p95_ms, n=rtt.n, age_s=rtt.age_s)
            for name, rtt in sorted(state.rtts.items())
        ],
        problems=state.problems,
        endpoint=endpoint.name,
        endpoint_fabrics=sorted(endpoint.fabrics),
        refusals=state.refusals,
    )
    if state.free_memory_bytes is not None:
        message.free_memory_bytes = state.free_memory_bytes
    if state.load is not None:
        message.load = state.load
    if endpoint.emulated is not None:
        message.endpoint_emulated = endpoint.emulated
    return message


def decode_host(message: pb.HostState) -> tuple[HostState, Endpoint]:
    """The host's state, as old as its transport, and the endpoint of its QPU.

    Raises MalformedMessageError where a value cannot be right.
    """
    state = HostState(
        name=message.name,
        fabrics=frozenset(message.fabrics),
        rtts={
            trips.endpoint: Rtt(trips.p50_ms, trips.p95_ms, trips.n, trips.age_s)
            for trips in message.round_trips
        },
        free_memory_bytes=message.free_memory_bytes if message.HasField("free_memory_bytes") else None,
        load=message.load if message.HasField("load") else None,
        problems=tuple(message.problems),
        refusals=tuple(message.refusals),
    )
    emulated = message.endpoint_emulated if message.HasField("endpoint_emulated") else None
    endpoint = Endpoint(message.endpoint, frozenset(message.endpoint_fabrics), emulated)
    if fault := find_fault((state, endpoint), "state"):
        raise MalformedMessageError(f"the host's report is not valid: {fault}")
    return state, endpoint


def encode_description(description: HostDescription) -> pb.HostDescription:
    """Every field under its own name."""
    return pb.HostDescription(json=description.document, age_s=description.age_s, every_s=description.every_s)


def decode_description(message: pb.HostDescription) -> HostDescription:
    """The document is as the host sent it: who reads it checks it."""
    return HostDescription(message.json, message.age_s, message.every_s)
