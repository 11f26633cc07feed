"""Checks a folder of `shotclock load`: recomputes the summary from the calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from shotclock.bench.load.arrivals import ArrivalPlan
from shotclock.bench.load.folder import CALLS, SUMMARY, read_calls
from shotclock.bench.load.judge import judge
from shotclock.bench.load.records import CallRecord
from shotclock.bench.load.schema import LoadSummary
from shotclock.bench.load.summarise import LoadFacts, QpuPrice, summarise
from shotclock.bench.verify.contradictions import Contradiction, collect, disagreements
from shotclock.bench.verify.machine import check_machine
from shotclock.bench.verify.origin import check_origin
from shotclock.bench.verify.page import check_charts, check_page
from shotclock.domain import documents, encoding, files
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.errors import SettingsError

FILES = (CALLS, "machine.json", "report.html")


def check_load(folder: Path) -> list[Contradiction]:
    """All faults; an invalid measurement is one."""
    faults = [Contradiction(name, "is missing") for name in FILES if not (folder / name).is_file()]
    try:
        text = encoding.decode(files.read_regular(folder / SUMMARY, documents.MOST_BYTES))
        documents.parse_json(text)
        summary = LoadSummary.model_validate_json(text)
    except OSError as error:
        return [*faults, Contradiction(SUMMARY, f"cannot be read: {error.strerror}")]
    except (UnicodeError, documents.DocumentError) as error:
        return [*faults, Contradiction(SUMMARY, str(error))]
    except ValidationError as error:
        return faults + [
            Contradiction(SUMMARY, f"{'.'.join(map(str, fault['loc'])) or 'document'}: {fault['msg']}")
            for fault in error.errors()
        ]
    faults += collect("machine.json", check_machine(folder / "machine.json", summary.environment, SUMMARY))
    page = check_page(folder / "report.html", summary.run_id, emulated=summary.emulated)
    faults += collect("report.html", page)
    faults += collect("charts", check_charts(folder / "charts", emulated=summary.emulated))
    if summary.status != "complete":
        faults.append(
            Contradiction(SUMMARY, f"status: {summary.status}: partial results are kept, not compared")
        )
    faults += [
        Contradiction(SUMMARY, f"runs[{number}]: not a valid measurement: {fault}")
        for number, run in enumerate(summary.runs)
        for fault in run.faults
    ]
    if (folder / CALLS).is_file():
        try:
            faults += collect(SUMMARY, _figures(read_calls(folder), summary))
            origin = check_origin(folder / CALLS, summary.run_id, emulated=summary.emulated)
            faults += collect(CALLS, origin)
        except SettingsError as error:
            faults.append(Contradiction(CALLS, str(error).removeprefix(f"{folder / CALLS}:").strip()))
    return faults


def _figures(calls: Sequence[CallRecord], summary: LoadSummary) -> Iterator[Contradiction]:
    if any(call.emulated for call in calls) and not summary.emulated:
        yield Contradiction(SUMMARY, "emulated: says false, and calls were answered by an emulation")
    for call in calls:
        if call.issued_ns < call.scheduled_ns or call.completed_ns < call.issued_ns:
            yield Contradiction(CALLS, f"run {call.run}, query {call.query}: time runs backwards")
    if strays := {call.run for call in calls} - set(range(len(summary.runs))):
        yield Contradiction(CALLS, f"has calls of runs that {SUMMARY} does not have: {sorted(strays)[:5]}")
    deadline_ns = round(summary.deadline_ms * NS_PER_MS)
    plan = ArrivalPlan(
        summary.scenario,
        summary.rate_per_s,
        summary.duration_s,
        deadline_ns,
        summary.n,
        batch=summary.batch,
    )
    for number, run in enumerate(summary.runs):
        run_calls = [call for call in calls if call.run == number]
        run_plan = replace(plan, rate_per_s=run.rate_per_s, duration_s=run.duration_s, seed=run.seed)
        judged = judge(run_calls, run_plan, summary.basis)
        yield from disagreements(SUMMARY, run.model_dump(), judged.model_dump(), f"runs[{number}]")
    yield from _over_runs(calls, plan, summary)


def _over_runs(
    calls: Sequence[CallRecord], plan: ArrivalPlan, summary: LoadSummary
) -> Iterator[Contradiction]:
    """Checks the figures over all runs."""
    price = None if summary.cost is None else QpuPrice(summary.cost.currency, summary.cost.qpu_second)
    facts = LoadFacts(
        shotclock=summary.shotclock,
        started_at=summary.started_at,
        run_id=summary.run_id,
        interrupted=summary.status == "interrupted",
        target=summary.target,
        provider=summary.provider,
        emulated=summary.emulated,
        clock=summary.clock,
        environment=summary.environment,
        basis=summary.basis,
        knee=summary.knee,
        circuit=summary.circuit,
        price=price,
    )
    recomputed = summarise(summary.runs, calls, plan, facts)
    keys = {"quoted", "official", "interval", *(() if price is None else ("cost",))}
    yield from disagreements(SUMMARY, summary.model_dump(include=keys), recomputed.model_dump(include=keys))
    if summary.runs:
        written = summary.model_dump(include={"rate_per_s", "duration_s"})
        first = summary.runs[0].model_dump(include=set(written))
        yield from disagreements(SUMMARY, written, first, source="its first run says")
