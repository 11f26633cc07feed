"""Messages of the wire from elsewhere: what comes of them is a value, or an error of one line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np

from fuzz.promises import check_line
from shotclock.app.topology import View
from shotclock.app.topology_document import make_document
from shotclock.app.topology_picture import draw
from shotclock.app.topology_text import outline
from shotclock.domain.errors import ShotclockError
from shotclock.domain.hosts import Endpoint, HostState
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import SubproblemBatch
from shotclock.placement.graph import ReportedHost, build_graph, name_apart
from shotclock.placement.labels import list_domains
from shotclock.placement.report import InvalidReportError, read_report, write_report
from shotclock.wire import codec, hosts, outcomes, subproblem_batches
from shotclock.wire.integrity import serialize
from shotclock.wire.payload import PayloadCorruptedError, checksum, parse
from shotclock.wire.reports import ReportReader
from shotclock.wire.v1 import shotclock_pb2 as pb

READER = ReportReader()
VARIABLES = 3
"""As many were asked about, of every answer."""


def subproblem(content: bytes) -> str:
    """`Solve`, its checksum made to hold; the refusal, "" where it is a subproblem."""
    try:
        message = parse(pb.Subproblem, content)
        message.crc32c = checksum(message.quadratic, message.linear)
        _read_report(message)
        decoded = codec.decode_subproblem(message, "client")
    except ShotclockError as error:
        return _check_refusal(error)
    again = codec.decode_subproblem(codec.encode_subproblem(decoded, 1), "client")
    assert again.n == decoded.n
    return ""


def subproblem_batch(content: bytes) -> str:
    """`SolveBatch`, the checksums of its parts made to hold; the refusal, "" where it is a batch."""
    try:
        message = parse(pb.SubproblemBatch, content)
        for each in message.subproblems:
            each.crc32c = checksum(each.quadratic, each.linear)
        decoded = subproblem_batches.decode_subproblems(message, lambda budget_ns: budget_ns, "client")
        _read_report(message)
    except ShotclockError as error:
        return _check_refusal(error)
    again = subproblem_batches.decode_subproblems(
        subproblem_batches.encode_subproblems(decoded, lambda each: each.budget_ns), lambda _: 1
    )
    assert again.size == decoded.size
    return ""


def batch_answers(content: bytes) -> str:
    """What a service answers to `SolveBatch`, the checksums of its parts made to hold; the refusal, or ""."""
    zeros = Subproblem(np.zeros((VARIABLES, VARIABLES)), np.ones(VARIABLES))
    batch = SubproblemBatch((zeros,) * 4)
    try:
        message = parse(pb.SubproblemOutcomes, content)
        for each in message.outcomes:
            _seal_samples(each.outcome.done.samples if each.outcome.HasField("done") else None)
        numbered = subproblem_batches.read_answers(serialize(message), batch, range(4), (), 0, 1)
    except ShotclockError as error:
        return _check_refusal(error)
    assert len({index for index, _ in numbered}) == len(numbered) <= 4
    return ""


def circuit(content: bytes) -> str:
    """`SubmitCircuit`, its checksum made to hold; the refusal, "" where it is a circuit."""
    try:
        message = parse(pb.CircuitSpec, content)
        is_qpy = message.WhichOneof("source") == "qpy"
        message.crc32c = checksum(message.qpy if is_qpy else message.openqasm3.encode())
        _read_report(message)
        decoded = codec.decode_circuit(message, "client")
    except ShotclockError as error:
        return _check_refusal(error)
    again = codec.decode_circuit(codec.encode_circuit(decoded, 1), "client")
    assert again.content == decoded.content
    return ""


def decision(content: bytes) -> str:
    """`Decided`; the refusal, "" where it is a decision."""
    try:
        codec.decode_decided(parse(pb.DecidedRequest, content))
    except ShotclockError as error:
        return _check_refusal(error)
    return ""


def answer(content: bytes) -> str:
    """What a service answers to `Solve`, its checksum made to hold; the refusal, or ""."""
    try:
        message = parse(pb.Outcome, content)
        _seal_samples(message.done.samples if message.HasField("done") else None)
        decoded = outcomes.decode_outcome(message, VARIABLES)
    except ShotclockError as error:
        return _check_refusal(error)
    again = outcomes.decode_outcome(outcomes.encode_outcome(decoded), VARIABLES)
    assert type(again) is type(decoded)
    return ""


def circuit_answer(content: bytes) -> str:
    """What a service answers to `SubmitCircuit`, likewise."""
    try:
        message = parse(pb.CircuitOutcome, content)
        _seal_samples(message.executed.samples if message.HasField("executed") else None)
        decoded = outcomes.decode_circuit_outcome(message)
    except ShotclockError as error:
        return _check_refusal(error)
    again = outcomes.decode_circuit_outcome(outcomes.encode_circuit_outcome(decoded))
    assert type(again) is type(decoded)
    return ""


def status(content: bytes) -> str:
    """What a service sends to its watchers."""
    try:
        decoded = codec.decode_status(parse(pb.Status, content))
        codec.decode_rejection(parse(pb.Rejection, content))
        codec.decode_drained(parse(pb.Drained, content))
    except ShotclockError as error:
        return _check_refusal(error)
    codec.encode_status(decoded)
    return ""


def host_state(content: bytes) -> str:
    """What an orchestrator answers to `Probe`; the refusal, "" where it is a state."""
    try:
        decoded = hosts.decode_host(parse(pb.HostState, content))
        hosts.decode_description(parse(pb.HostDescription, content))
    except ShotclockError as error:
        return _check_refusal(error)
    assert hosts.decode_host(hosts.encode_host(*decoded)) == decoded
    return ""


def host_report(content: bytes) -> str:
    """A host's report of its devices; it is shown beside another that contradicts it, or refused."""
    try:
        view = read_report(content.decode(errors="replace"))
    except InvalidReportError as error:
        check_line(str(error))
        return str(error)
    assert read_report(write_report(view)) == view
    state = HostState(view.host.name, list_domains(view.host))
    reported = ReportedHost(view.host, view.problems, "a:1", state, 1.0)
    shown = name_apart([reported, replace(reported, source="b:1")])
    topology = build_graph(shown, {each.host.name: Endpoint("q", emulated=True) for each in shown}, [])
    assert all(line.isprintable() for line in outline(View(topology)))
    json.dumps(make_document(View(topology)), allow_nan=False)
    ElementTree.fromstring(draw(topology))
    return ""


def _read_report(message: Any) -> None:
    if message.HasField("report"):
        READER.read(message.report, "client")


def _seal_samples(samples: Any) -> None:
    if samples is not None:
        counts = b"".join(count.to_bytes(8, "little") for count in samples.counts)
        samples.crc32c = checksum(samples.pool, counts)


def _check_refusal(error: ShotclockError) -> str:
    """Never of the checksum, which every target makes hold."""
    assert not isinstance(error, PayloadCorruptedError)
    check_line(str(error))
    return str(error)
