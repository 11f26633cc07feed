"""trace.pftrace: parsed back with Perfetto's own classes; slices nest and take time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

import synthetic
from shotclock.bench.record.rows import StepRow
from shotclock.bench.record.trace import call_slice, write_trace
from shotclock.domain.stages import Stage, StageTiming


@dataclass(frozen=True)
class DrawnSlice:
    track: int
    name: str
    depth: int
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class ParsedTrace:
    processes: dict[int, str]
    tracks: dict[int, tuple[int, str]]
    slices: list[DrawnSlice]
    values: dict[int, list[float]]


def parse(steps: list[StepRow], path: Path) -> ParsedTrace:
    """What a reader sees; fails on an end without a beginning, or on one that precedes it."""
    write_trace(steps, path)
    trace = Trace()
    trace.ParseFromString(path.read_bytes())
    parsed_trace = ParsedTrace({}, {}, [], defaultdict(list))
    open_slices: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for packet in trace.packet:
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            if track.HasField("process"):
                parsed_trace.processes[track.uuid] = track.process.process_name
            else:
                parsed_trace.tracks[track.uuid] = (track.parent_uuid, track.name)
            continue
        event = packet.track_event
        stack = open_slices[event.track_uuid]
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            assert not stack or stack[-1][1] <= packet.timestamp
            stack.append((event.name, packet.timestamp))
        elif event.type == TrackEvent.TYPE_SLICE_END:
            name, start = stack.pop()
            parsed_trace.slices.append(
                DrawnSlice(event.track_uuid, name, len(stack), start, packet.timestamp)
            )
        else:
            parsed_trace.values[event.track_uuid].append(event.double_counter_value)
    assert not any(open_slices.values())
    return parsed_trace


def assert_nested(slices: list[DrawnSlice]) -> None:
    """On one track, slices of one depth follow each other and lie within one of the depth above."""
    by_depth: dict[int, list[DrawnSlice]] = defaultdict(list)
    for drawn in slices:
        assert drawn.end_ns > drawn.start_ns
        by_depth[drawn.depth].append(drawn)
    for depth, level in by_depth.items():
        level.sort(key=lambda drawn: drawn.start_ns)
        assert all(a.end_ns <= b.start_ns for a, b in pairwise(level))
        for drawn in level if depth else []:
            assert any(
                up.start_ns <= drawn.start_ns and drawn.end_ns <= up.end_ns for up in by_depth[depth - 1]
            )


def test_a_process_an_arm_and_tracks_a_seed(tmp_path: Path) -> None:
    steps = synthetic.rows(synthetic.SMALL)
    trace = parse(steps, tmp_path / "trace.pftrace")
    assert len(trace.processes) == len(synthetic.ARMS)
    names = set(trace.processes.values())
    assert "classical-control" in names
    assert "hybrid-colocated (EMULATED)" in names
    assert all(parent in trace.processes for parent, _ in trace.tracks.values())
    iterations = [uuid for uuid, (_, name) in trace.tracks.items() if "iterations" in name]
    assert len(iterations) == len(synthetic.ARMS) * synthetic.SMALL.seeds
    assert sum(drawn.track in iterations for drawn in trace.slices) == len(steps)


def test_slices_nest_and_take_time(tmp_path: Path) -> None:
    steps = synthetic.rows(synthetic.SMALL)
    trace = parse(steps, tmp_path / "trace.pftrace")
    for track in trace.tracks:
        assert_nested([drawn for drawn in trace.slices if drawn.track == track])
    calls = [drawn for drawn in trace.slices if drawn.name.startswith("call ")]
    assert len(calls) == sum(step.call is not None for step in steps)
    assert {str(stage) for stage in synthetic.CLASSICAL_STAGES} <= {
        d.name for d in trace.slices if d.depth == 1
    }


def test_losses_are_counters(tmp_path: Path) -> None:
    steps = synthetic.rows(synthetic.SMALL)
    trace = parse(steps, tmp_path / "trace.pftrace")
    batch = [
        value for uuid, values in trace.values.items() if "batch" in trace.tracks[uuid][1] for value in values
    ]
    held_out = [
        v for uuid, values in trace.values.items() if "held-out" in trace.tracks[uuid][1] for v in values
    ]
    assert sorted(batch) == sorted(step.batch_loss for step in steps)
    assert len(held_out) == sum(step.eval_loss is not None for step in steps)


def test_stages_keep_their_distances_from_the_step() -> None:
    step = next(step for step in synthetic.rows(synthetic.SMALL) if step.call)
    assert step.call
    drawn = call_slice(step.call, 1_000)
    first = step.call.stages[0].start_ns
    assert drawn.start_ns == drawn.parts[0].start_ns == 1_000
    for part, timing in zip(drawn.parts, step.call.stages, strict=True):
        assert part.start_ns - 1_000 == timing.start_ns - first
        assert part.end_ns - part.start_ns == timing.duration_ns


def test_overlapping_stages_and_calls_still_nest(tmp_path: Path) -> None:
    step = next(step for step in synthetic.rows(synthetic.SMALL) if step.call)
    assert step.call
    overlapping = (
        StageTiming(Stage.PROPOSE, 500, 100),
        StageTiming(Stage.BIND, 550, 100),
        StageTiming(Stage.QPU_EXEC_TIME, 560, 20),
        StageTiming(Stage.COLLECT, 650, 0),
        StageTiming(Stage.APPLY, 700, 10_000),
    )
    call = replace(step.call, stages=overlapping)
    steps = [
        replace(step, step=k, start_ns=5_000 * k, total_iteration_time_ns=5_000, call=call) for k in range(4)
    ]
    trace = parse(steps, tmp_path / "trace.pftrace")
    for track in trace.tracks:
        assert_nested([drawn for drawn in trace.slices if drawn.track == track])
    assert sum(drawn.name.startswith("call ") for drawn in trace.slices) == 4


@pytest.mark.parametrize("stages", [(), (StageTiming(Stage.PROPOSE, 3, 0),)])
def test_a_call_without_time_is_still_a_slice(stages: tuple[StageTiming, ...]) -> None:
    step = next(step for step in synthetic.rows(synthetic.SMALL) if step.call)
    assert step.call
    drawn = call_slice(replace(step.call, stages=stages, added_latency_ns=0), 50)
    assert drawn.end_ns > drawn.start_ns
    assert drawn.parts == ()


def test_an_empty_run_is_an_empty_trace(tmp_path: Path) -> None:
    trace = parse([], tmp_path / "trace.pftrace")
    assert not trace.slices
