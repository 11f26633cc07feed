"""trace.pftrace: the run as a time line for Perfetto (https://perfetto.dev/docs/reference/synthetic-track-event).

A process track an arm; in it, for each seed, the training iterations, the calls with their stages inside,
and the losses as counters. Arms and seeds run on separate time lines, all beginning at 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket, TrackDescriptor, TrackEvent
from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder

from shotclock.bench.record.rows import CallRow, StepRow
from shotclock.domain import files
from shotclock.domain.stages import StageTiming

_SEQUENCE = 1
_BOOT_CLOCK = 6
"""BUILTIN_CLOCK_BOOTTIME: a trace's default, said aloud as the rows' own zero has no other name."""
_CLEARED = TracePacket.SEQ_INCREMENTAL_STATE_CLEARED


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice and what lies within it, in order.

    name: what a viewer shows.
    start_ns: where it begins, nanoseconds.
    end_ns: where it ends, nanoseconds.
    notes: names and values of its annotations.
    parts: the slices within it; they never overlap and never stick out.
    """

    name: str
    start_ns: int
    end_ns: int
    notes: tuple[tuple[str, str | int | float], ...] = ()
    parts: tuple[Slice, ...] = ()


class _Trace:
    """Packets of one sequence, written as they come; track ids are handed out here."""

    def __init__(self, builder: StreamingTraceProtoBuilder) -> None:
        self._builder = builder
        self._ids = count(1)

    def _packet(self) -> TracePacket:
        packet = self._builder.create_packet()
        packet.trusted_packet_sequence_id = _SEQUENCE
        return packet

    def process(self, name: str) -> int:
        """A process track; gives its id."""
        packet, uuid = self._packet(), next(self._ids)
        packet.track_descriptor.uuid = uuid
        packet.track_descriptor.process.pid = uuid
        packet.track_descriptor.process.process_name = name
        if uuid == 1:
            packet.sequence_flags = _CLEARED
        self._builder.write_packet(packet)
        return uuid

    def track(self, parent: int, name: str, *, counter: bool = False) -> int:
        """A track of slices, or of a counter's values, in a process; gives its id."""
        packet, uuid = self._packet(), next(self._ids)
        packet.track_descriptor.uuid = uuid
        packet.track_descriptor.parent_uuid = parent
        packet.track_descriptor.name = name
        # Seeds are separate time lines: tracks with equal names must not be merged.
        packet.track_descriptor.sibling_merge_behavior = TrackDescriptor.SIBLING_MERGE_BEHAVIOR_NONE
        if counter:
            packet.track_descriptor.counter.SetInParent()
        self._builder.write_packet(packet)
        return uuid

    def value(self, track: int, at_ns: int, value: float) -> None:
        """A counter's value from now on."""
        packet = self._event(track, at_ns, TrackEvent.TYPE_COUNTER)
        packet.track_event.double_counter_value = value
        self._builder.write_packet(packet)

    def slice(self, track: int, drawn: Slice) -> None:
        """A slice with its parts; packets of equal time keep their order, so nesting is by order."""
        packet = self._event(track, drawn.start_ns, TrackEvent.TYPE_SLICE_BEGIN)
        packet.track_event.name = drawn.name
        for name, value in drawn.notes:
            note = packet.track_event.debug_annotations.add()
            note.name = name
            if isinstance(value, str):
                note.string_value = value
            elif isinstance(value, float):
                note.double_value = value
            else:
                note.int_value = value
        self._builder.write_packet(packet)
        for part in drawn.parts:
            self.slice(track, part)
        self._builder.write_packet(self._event(track, drawn.end_ns, TrackEvent.TYPE_SLICE_END))

    def _event(self, track: int, at_ns: int, kind: TrackEvent.Type) -> TracePacket:
        packet = self._packet()
        packet.timestamp = at_ns
        packet.timestamp_clock_id = _BOOT_CLOCK
        packet.track_event.type = kind
        packet.track_event.track_uuid = track
        return packet


def write_trace(steps: list[StepRow], path: Path) -> None:
    """Writes the trace of these rows. Raises OSError where `path` cannot be written."""
    arms: dict[str, dict[int, list[StepRow]]] = {}
    for step in steps:
        arms.setdefault(step.arm, {}).setdefault(step.seed, []).append(step)
    with files.replace(path) as stream:
        trace = _Trace(StreamingTraceProtoBuilder(stream))
        for arm, seeds in arms.items():
            emulated = any(_has_waited(step) for own in seeds.values() for step in own)
            process = trace.process(f"{arm} (EMULATED)" if emulated else arm)
            for seed, own in seeds.items():
                _write_seed(trace, process, seed, own)


def _has_waited(step: StepRow) -> bool:
    return step.call is not None and any(timing.emulated_ns for timing in step.call.stages)


def _write_seed(trace: _Trace, process: int, seed: int, steps: list[StepRow]) -> None:
    iterations = trace.track(process, f"seed {seed}: iterations")
    loss = trace.track(process, f"seed {seed}: batch loss", counter=True)
    held_out = trace.track(process, f"seed {seed}: held-out loss", counter=True)
    lanes: list[int] = []
    free_from: list[int] = []
    for step in steps:
        end_ns = step.start_ns + max(1, step.total_iteration_time_ns)
        if not step.further_call:
            trace.slice(iterations, Slice(f"step {step.step}", step.start_ns, end_ns))
            trace.value(loss, end_ns, step.batch_loss)
        if step.eval_loss is not None:
            trace.value(held_out, end_ns, step.eval_loss)
        if step.call is None:
            continue
        drawn = call_slice(step.call, step.start_ns)
        # A call may outlive its step (mode = overlap): one still running when the next begins
        # cannot share a track with it, as slices of a track must nest.
        lane = next((i for i, free in enumerate(free_from) if free <= drawn.start_ns), len(lanes))
        if lane == len(lanes):
            lanes.append(trace.track(process, f"seed {seed}: calls" + (f" ({lane + 1})" if lane else "")))
            free_from.append(0)
        free_from[lane] = drawn.end_ns
        trace.slice(lanes[lane], drawn)


def call_slice(call: CallRow, step_start_ns: int) -> Slice:
    """The call from its first stage to its last, its first stage put at the step's start.

    Stage instants are on the process's monotonic clock, the step's on the arm's own time line, so only
    differences can be kept. A call without stages is as long as it blocked the training.
    """
    timings = sorted(call.stages, key=lambda timing: (timing.start_ns, -timing.duration_ns))
    origin = timings[0].start_ns if timings else 0
    last = max((timing.start_ns + timing.duration_ns for timing in timings), default=call.added_latency_ns)
    end_ns = step_start_ns + max(1, last - origin)
    notes: tuple[tuple[str, str | int | float], ...] = (
        ("outcome", call.outcome),
        ("decision", call.decision),
        ("winner", call.winner),
        ("cause", call.cause),
        ("attempts", call.attempts),
        ("added_latency_ns", call.added_latency_ns),
        ("qpu_s", call.qpu_s),
    )
    parts = tuple(_stage_slices(timings, step_start_ns - origin))
    return Slice(f"call {call.request_id}", step_start_ns, end_ns, notes, parts)


def _stage_slices(timings: list[StageTiming], shift_ns: int) -> Iterator[Slice]:
    """The stages one after another; what took no time is left out.

    Where stages overlap, the later is drawn from the earlier's end; its notes keep its true duration.
    """
    free_from = 0
    for timing in timings:
        start_ns = max(free_from, timing.start_ns + shift_ns)
        end_ns = timing.start_ns + timing.duration_ns + shift_ns
        if end_ns > start_ns:
            notes = (
                ("duration_ns", timing.duration_ns),
                ("emulated_ns", timing.emulated_ns),
                ("software_ns", timing.software_ns),
            )
            yield Slice(str(timing.stage), start_ns, end_ns, notes)
            free_from = end_ns
