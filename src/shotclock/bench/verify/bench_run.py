"""Checks a folder of `shotclock bench`: all files exist, are complete, and agree with the rows."""

from __future__ import annotations

import itertools
import zlib
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf.message import DecodeError
from hdrh.log import HistogramLogReader
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace
from pydantic import ValidationError

from shotclock.bench.judge import metrics as figures
from shotclock.bench.judge.gates import Threshold, judge, resolve
from shotclock.bench.judge.metrics import ArmRows, Prices
from shotclock.bench.judge.modes import meeting
from shotclock.bench.judge.pre_evaluation import find_pre_evaluated
from shotclock.bench.judge.summarise import metric_holds
from shotclock.bench.judge.surrogate import median_error
from shotclock.bench.record.arm_runs import BASELINE, Arm
from shotclock.bench.record.hdr import histogram
from shotclock.bench.record.rows import StepRow, read_table, steps
from shotclock.bench.record.samples import SAMPLES
from shotclock.bench.schema import Cost, GateResult, Summary, UnitPrices
from shotclock.bench.verify.contradictions import Contradiction, collect, disagreements
from shotclock.bench.verify.findings import check_cited, check_conclusions, check_worth
from shotclock.bench.verify.lock import LOCK, check_loads, check_settings
from shotclock.bench.verify.machine import check_machine
from shotclock.bench.verify.origin import check_origin
from shotclock.bench.verify.page import EMULATED, check_charts, check_page
from shotclock.bench.verify.samples import check_samples
from shotclock.domain import documents, encoding, files
from shotclock.domain.accounting import Charges
from shotclock.domain.circuit import find_worst
from shotclock.domain.errors import SettingsError

FILES = (
    "summary.json",
    "steps.parquet",
    "config.lock.toml",
    "machine.json",
    "latency.hlog",
    "trace.pftrace",
    "report.html",
)
SUMMARY, ROWS = "summary.json", "steps.parquet"
MOST_LOG_BYTES = 16 * files.MIB
MOST_TRACE_BYTES = 256 * files.MIB
MACHINE = "machine.json"


def check_bench(folder: Path) -> list[Contradiction]:
    """All faults; a folder without any can be compared with others."""
    faults = [Contradiction(name, "is missing") for name in FILES if not (folder / name).is_file()]
    faults += collect(LOCK, check_loads(folder / LOCK))
    summary, more = _summary(folder)
    faults += more
    rows, more = _rows(folder)
    faults += more
    if summary is not None:
        faults += collect(MACHINE, check_machine(folder / MACHINE, summary.environment, SUMMARY))
        faults += collect(LOCK, check_settings(folder / LOCK, summary))
        faults += collect(SUMMARY, _status(summary))
        faults += collect(SUMMARY, check_cited(summary))
        page = check_page(folder / "report.html", summary.run_id, emulated=summary.emulated)
        faults += collect("report.html", page)
        faults += collect("charts", check_charts(folder / "charts", emulated=summary.emulated))
    if summary is not None and rows is not None:
        faults += collect(ROWS, check_origin(folder / ROWS, summary.run_id, emulated=summary.emulated))
        faults += collect(ROWS, check_rows(rows, summary))
        faults += collect(SAMPLES, check_samples(folder, rows, summary))
        wrong = collect(SUMMARY, check_figures(rows, summary))
        faults += wrong
        if not wrong:  # conclusions are only checked if the figures are right
            faults += collect(SUMMARY, check_worth(rows, summary))
            faults += collect(SUMMARY, check_conclusions(summary))
        faults += collect("latency.hlog", check_log(folder, rows, summary))
        faults += collect("trace.pftrace", check_trace(folder, rows, summary))
    return faults


def _summary(folder: Path) -> tuple[Summary | None, list[Contradiction]]:
    file = folder / SUMMARY
    if not file.is_file():
        return None, []
    try:
        text = encoding.decode(files.read_regular(file, documents.MOST_BYTES))
        documents.parse_json(text)
        return Summary.model_validate_json(text), []
    except OSError as error:
        return None, [Contradiction(SUMMARY, f"cannot be read: {error.strerror}")]
    except (UnicodeError, documents.DocumentError) as error:
        return None, [Contradiction(SUMMARY, str(error))]
    except ValidationError as error:
        return None, [
            Contradiction(SUMMARY, f"{'.'.join(map(str, fault['loc'])) or 'document'}: {fault['msg']}")
            for fault in error.errors()
        ]


def _rows(folder: Path) -> tuple[list[StepRow] | None, list[Contradiction]]:
    file = folder / ROWS
    if not file.is_file():
        return None, []
    try:
        return steps(read_table(file, whole=True)), []
    except SettingsError as error:
        return None, [Contradiction(ROWS, str(error).removeprefix(f"{file}:").strip())]


def _status(summary: Summary) -> Iterator[Contradiction]:
    if summary.status != "complete":
        yield Contradiction(SUMMARY, f"status: {summary.status}: partial results are kept, not compared")
    if summary.emulated != any(arm.emulated for arm in summary.arms.values()):
        yield Contradiction(SUMMARY, f"emulated: says {summary.emulated}, its arms say otherwise")
    for name, arm in summary.arms.items():
        if arm.provider == "emulated" and not arm.emulated:
            yield Contradiction(SUMMARY, f"arms.{name}: ran on the emulated provider and is not marked")


def check_rows(rows: list[StepRow], summary: Summary) -> Iterator[Contradiction]:
    """Checks for repeated or missing steps, time running backwards, and more emulated than total time."""
    keys: set[tuple[str, int, int]] = set()
    for row in rows:
        where = f"{row.arm}, seed {row.seed}, step {row.step}"
        key = row.arm, row.seed, row.step
        if key in keys and not row.further_call:
            yield Contradiction(ROWS, f"{where}: occurs twice")
        keys.add(key)
        if row.arm not in summary.arms:
            yield Contradiction(ROWS, f"{where}: the summary has no such arm")
        if row.total_iteration_time_ns < 0 or row.start_ns < 0:
            yield Contradiction(ROWS, f"{where}: a time below 0")
        if row.call is not None:
            for timing in row.call.stages:
                if timing.duration_ns < 0 or not 0 <= timing.emulated_ns <= timing.duration_ns:
                    yield Contradiction(
                        ROWS,
                        f"{where}: {timing.stage} took {timing.duration_ns} ns, of which "
                        f"{timing.emulated_ns} ns emulated",
                    )
            arm_summary = summary.arms.get(row.arm)
            if arm_summary is not None and not arm_summary.emulated and row.call.quantum_emulated_ns:
                yield Contradiction(
                    ROWS, f"{where}: has emulated waits, and its arm is not marked {EMULATED}"
                )
    for (arm, seed), numbers in _by_seed(rows).items():
        steps_present = set(numbers)
        if missing := list(itertools.islice((n for n in range(max(numbers)) if n not in steps_present), 5)):
            yield Contradiction(ROWS, f"{arm}, seed {seed}: steps missing: {missing}")


def _by_seed(rows: list[StepRow]) -> dict[tuple[str, int], list[int]]:
    numbers: dict[tuple[str, int], list[int]] = {}
    for row in rows:
        numbers.setdefault((row.arm, row.seed), []).append(row.step)
    return numbers


def check_figures(rows: list[StepRow], summary: Summary) -> Iterator[Contradiction]:
    """Recomputes the summary's metrics, counts, losses and gates from the rows."""
    arms = {name: _arm(name, summary) for name in summary.arms}
    by_arm = figures.by_arm([row for row in rows if row.arm in arms], arms.values())
    common = figures.common_steps(by_arm.values())
    yield from disagreements(SUMMARY, summary.common_steps, common, "common_steps")
    metrics: dict[str, dict[str, object]] = {}
    for name, arm in by_arm.items():
        for figure, sample in figures.samples(arm).items():
            metrics[f"{name}.{figure}"] = figures.latency(sample, figures.find_censoring_ms(arm)).model_dump()
        for figure, counts in figures.ratios(arm).items():
            metrics[f"{name}.{figure}"] = figures.as_ratio(counts).model_dump()
        yield from _counts(arm, by_arm, summary, common)
    for name, metric in metrics.items():
        metric["ok"] = metric_holds(name, summary.thresholds)
    written = {name: metric.model_dump() for name, metric in summary.metrics.items()}
    yield from disagreements(SUMMARY, written, metrics, "metrics")
    for kind, gates in (("mission_gates", summary.mission_gates), ("thresholds", summary.thresholds)):
        for gate in gates:
            yield from _gate(kind, gate, arms, by_arm)


def _arm(name: str, summary: Summary) -> Arm:
    """The part of an arm's definition that its figures need."""
    written = summary.arms[name]
    return Arm(
        name,
        calls=written.call_every is not None,
        quantum=written.calls_quantum,
        race=True,
        protected=written.protected,
        profile=written.profile,
    )


def _counts(
    arm: ArmRows, by_arm: Mapping[str, ArmRows], summary: Summary, common: int
) -> Iterator[Contradiction]:
    written, calls = summary.arms[arm.name], arm.calls
    recomputed = {
        "seeds": sorted({step.seed for step in arm.steps}),
        "steps": sum(not step.further_call for step in arm.steps),
        "calls": len(calls),
        "outcomes": figures.counts(call.outcome for call in calls),
        "decisions": figures.counts(call.decision for call in calls if call.decision),
        "winners": figures.counts(call.winner for call in calls if call.winner),
        "phases": figures.counts(call.phase for call in calls if call.phase),
        "emulator_overruns": sum(call.emulator_overrun for call in calls),
        "penalised_calls": sum(call.penalised and call.in_time for call in calls),
        "loss": figures.loss(arm, by_arm.get(BASELINE), common).model_dump(),
    }
    if written.cost.prices is not None:  # older summaries do not hold them
        recomputed["cost"] = _cost(arm, by_arm, common, written.cost, written.cost.prices).model_dump()
    if written.simulation:  # older summaries do not say
        recomputed["simulation"] = str(find_worst(call.simulation for call in calls))
    if written.surrogate_error is not None:
        recomputed["surrogate_error"] = median_error(calls)
    if written.causes:  # older summaries do not hold them, nor how calls met training
        recomputed["causes"] = figures.counts(call.cause for call in calls if call.cause)
    if (evaluation := find_pre_evaluated(calls)) is not None:
        recomputed["pre_evaluated"] = evaluation.model_dump()
    if written.cache_hits is not None:
        recomputed["cache_hits"] = figures.count_hits(calls).model_dump()
    if written.meeting is not None:
        recomputed["meeting"] = meeting(arm.steps).model_dump()
    dumped = written.model_dump()
    yield from disagreements(
        SUMMARY, {key: dumped[key] for key in recomputed}, recomputed, f"arms.{arm.name}"
    )


def _cost(
    arm: ArmRows, by_arm: Mapping[str, ArmRows], common: int, written: Cost, prices: UnitPrices
) -> Cost:
    """The rows' consumption at the summary's prices, plus the charges that rows do not hold: abandoned jobs
    and sessions.
    """
    session = written.qpu_idle_s is not None
    charges = Charges(
        abandoned=written.abandoned_jobs,
        abandoned_s=written.abandoned_qpu_s,
        abandoned_untold=written.abandoned_untold,
        sessions=int(session),
        sessions_s=written.qpu_s if session else 0.0,
        sessions_untold=written.sessions_untold,
    )
    contract = Prices(written.currency, prices.qpu_second, prices.gpu_hour)
    return figures.cost(arm, by_arm.get(BASELINE), common, contract, charges)


def _gate(
    kind: str, gate: GateResult, arms: Mapping[str, Arm], by_arm: Mapping[str, ArmRows]
) -> Iterator[Contradiction]:
    threshold = Threshold(gate.metric, gate.limit, gate.direction)
    try:
        target = resolve(threshold, list(arms.values()))
    except SettingsError as error:
        yield Contradiction(SUMMARY, f"{kind}: {error}")
        return
    judged = judge(threshold, target, by_arm[target.arm])
    # older gates do not hold the number of calls needed
    absent = {"needed"} if gate.needed is None else set()
    written, recomputed = (each.model_dump(exclude=absent) for each in (gate, judged))
    yield from disagreements(SUMMARY, written, recomputed, f"{kind}.{gate.metric}")


def _check_log_size(file: Path) -> None:
    """ValueError where a histogram would inflate to more than any has."""
    for line in files.read_regular(file, MOST_LOG_BYTES).splitlines():
        text = line.rpartition(b",")[2]
        if line.startswith((b"#", b'"')) or not text:
            continue
        payload = b64decode(text)[8:]  # after the cookie and the length
        if payload and len(zlib.decompressobj().decompress(payload, MOST_LOG_BYTES)) >= MOST_LOG_BYTES:
            raise ValueError(f"a histogram inflates to more than {MOST_LOG_BYTES:,} bytes")


def check_log(folder: Path, rows: list[StepRow], summary: Summary) -> Iterator[Contradiction]:
    """Checks that the HDR log holds every call of every arm that makes calls."""
    file = folder / "latency.hlog"
    if not file.is_file():
        return
    logged: dict[str, int] = {}
    try:
        _check_log_size(file)
        reader = HistogramLogReader(str(file), histogram())
        while (interval := reader.get_next_interval_histogram()) is not None:
            logged[interval.get_tag()] = interval.get_total_count()
    except Exception as error:  # noqa: BLE001 - the reader raises various exceptions on a bad log
        yield Contradiction(file.name, f"cannot be read: {type(error).__name__}: {error}")
        return
    for name, arm in summary.arms.items():
        calls = sum(row.call is not None for row in rows if row.arm == name)
        tag = f"{name}.added_latency"
        if calls and logged.get(tag) != calls:
            yield Contradiction(file.name, f"{tag}: holds {logged.get(tag, 0):,} calls of {calls:,}")
        if calls and arm.calls_quantum and f"{name}.quantum_latency" not in logged:
            yield Contradiction(file.name, f"{name}.quantum_latency: is missing")


def check_trace(folder: Path, rows: list[StepRow], summary: Summary) -> Iterator[Contradiction]:
    """Checks that the trace parses, has a process per arm, and marks the emulated ones."""
    file = folder / "trace.pftrace"
    if not file.is_file():
        return
    trace = Trace()
    try:
        trace.ParseFromString(files.read_regular(file, MOST_TRACE_BYTES))
    except OSError as error:
        yield Contradiction(file.name, str(error.strerror))
        return
    except DecodeError as error:
        yield Contradiction(file.name, f"is not a Perfetto trace: {error}")
        return
    tracks = {
        packet.track_descriptor.process.process_name
        for packet in trace.packet
        if packet.HasField("track_descriptor") and packet.track_descriptor.HasField("process")
    }
    for name in {row.arm for row in rows} & summary.arms.keys():
        if not {name, f"{name} ({EMULATED})"} & tracks:
            yield Contradiction(file.name, f"has no process for {name}")
        waited = any(row.call and row.call.quantum_emulated_ns for row in rows if row.arm == name)
        if waited and name in tracks:
            yield Contradiction(file.name, f"{name}: waited for an emulation and is not marked {EMULATED}")
