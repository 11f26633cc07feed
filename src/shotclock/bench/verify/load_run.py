"""The folder of `shotclock load`: the summary worked out anew from the calls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from shotclock.bench.load.arrivals import Plan
from shotclock.bench.load.folder import CALLS, SUMMARY, read_calls
from shotclock.bench.load.judge import judge
from shotclock.bench.load.records import CallRecord
from shotclock.bench.load.schema import LoadSummary
from shotclock.bench.load.summarise import Price, cost
from shotclock.bench.verify.bench_run import RECORDED
from shotclock.bench.verify.faults import Fault, disagreements
from shotclock.bench.verify.page import check_charts, check_page
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.errors import SettingsError

FILES = (CALLS, "machine.json", "report.html")


def check_load(folder: Path) -> list[Fault]:
    """Every fault; an invalid measurement is one."""
    faults = [Fault(name, "is missing") for name in FILES if not (folder / name).is_file()]
    try:
        summary = LoadSummary.model_validate_json((folder / SUMMARY).read_bytes())
    except ValidationError as error:
        return faults + [
            Fault(SUMMARY, f"{'.'.join(map(str, found['loc'])) or 'document'}: {found['msg']}")
            for found in error.errors()
        ]
    faults += _environment(folder, summary)
    faults += check_page(folder / "report.html", emulated=summary.emulated)
    faults += check_charts(folder / "charts", emulated=summary.emulated)
    if summary.status != "complete":
        faults.append(Fault(SUMMARY, f"status: {summary.status}: partial results are kept, not compared"))
    faults += [
        Fault(SUMMARY, f"runs[{number}]: no valid measurement: {fault}")
        for number, run in enumerate(summary.runs)
        for fault in run.faults
    ]
    if (folder / CALLS).is_file():
        try:
            faults += _figures(read_calls(folder), summary)
        except SettingsError as error:
            faults.append(Fault(CALLS, str(error).removeprefix(f"{folder / CALLS}:").strip()))
    return faults


def _environment(folder: Path, summary: LoadSummary) -> Iterator[Fault]:
    for key in RECORDED:
        if not summary.environment.get(key):
            yield Fault(SUMMARY, f"environment.{key}: is missing; results of unknown origin don't merge")
    file = folder / "machine.json"
    if file.is_file() and json.loads(file.read_bytes()) != summary.environment:
        yield Fault(file.name, f"is not the environment of {SUMMARY}")


def _figures(calls: Sequence[CallRecord], summary: LoadSummary) -> Iterator[Fault]:
    if any(call.emulated for call in calls) and not summary.emulated:
        yield Fault(SUMMARY, "emulated: says false, and calls were answered by an emulation")
    for call in calls:
        if call.issued_ns < call.scheduled_ns or call.completed_ns < call.issued_ns:
            yield Fault(CALLS, f"run {call.run}, query {call.query}: time runs backwards")
    if strays := {call.run for call in calls} - set(range(len(summary.runs))):
        yield Fault(CALLS, f"has calls of runs that {SUMMARY} does not have: {sorted(strays)}")
    yield from _cost(calls, summary)
    deadline_ns = round(summary.deadline_ms * NS_PER_MS)
    plan = Plan(summary.scenario, summary.rate_per_s, summary.duration_s, deadline_ns, summary.n)
    for number, told in enumerate(summary.runs):
        own = [call for call in calls if call.run == number]
        planned = replace(plan, rate_per_s=told.rate_per_s, duration_s=told.duration_s, seed=told.seed)
        found = judge(own, planned, summary.basis)
        yield from disagreements(SUMMARY, told.model_dump(), found.model_dump(), f"runs[{number}]")


def _cost(calls: Sequence[CallRecord], summary: LoadSummary) -> Iterator[Fault]:
    if summary.cost is not None:
        price = Price(summary.cost.currency, summary.cost.qpu_second)
        found = cost(summary.runs, calls, summary.quoted, price)
        given = {} if found is None else found.model_dump()
        yield from disagreements(SUMMARY, summary.cost.model_dump(), given, "cost")
