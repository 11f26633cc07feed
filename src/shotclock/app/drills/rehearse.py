"""Runs a drill: site, monitoring, load, fault, alert, runbook, recovery."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from shotclock.app.drills import catalog
from shotclock.app.drills.load import BUDGET_S, Load, run_load, wait_for
from shotclock.app.drills.monitoring import Pager, Programs, find_programs, read_delay, watch_service
from shotclock.app.drills.record import DrillRecord, StepRecord
from shotclock.app.drills.runbook import Step, perform, read_steps
from shotclock.app.drills.site import TRAINER, Site, SitePlan, open_site
from shotclock.app.host_failure import FailingMemory
from shotclock.domain.errors import RunError
from shotclock.ops.export import FILES

ALERT_S = 300.0
RECOVERY_S = 420.0
"""Only where an alert does not fire, or is not resolved, does it take so long."""
RATE = 4.0
"""Honest calls a second."""

Action = Callable[[Site], Awaitable[None]]
Report = Callable[[str], None]


async def do_nothing(site: Site) -> None:
    """The runbook's steps end the cause, or nothing causes it but the plan."""
    del site


@dataclass(frozen=True, slots=True)
class Drill:
    """A drill.

    name: its name in the catalog.
    cause: causes the fault, at its source.
    plan: the site.
    end: ends the cause.
    ends_before: text of the step before which somebody else than the operator ends it: a vendor, a network;
        "" where the steps end its effect, and it goes on until the drill is over.
    rate: honest calls a second.
    budget_s: of each honest call, seconds.
    warm_s: healthy time before the fault, where the rule compares with it, seconds.
    fallback: whether the honest client computes the classical answer itself where the service gives none.
    memory: of the honest client, which may fail.
    """

    name: str
    cause: Action
    plan: SitePlan = field(default_factory=SitePlan)
    end: Action = do_nothing
    ends_before: str = ""
    rate: float = RATE
    budget_s: float = BUDGET_S
    warm_s: float = 0.0
    fallback: bool = True
    memory: FailingMemory | None = None


async def rehearse(drills: tuple[Drill, ...], report: Report) -> tuple[DrillRecord, ...]:
    """Runs the drills one after the other on one site; they must have the same plan and scale."""
    entries = [catalog.BY_NAME[drill.name] for drill in drills]
    programs = find_programs(tuple(dict.fromkeys(need for entry in entries for need in entry.needs)))
    with tempfile.TemporaryDirectory(prefix="shotclock-drill-") as folder:
        report("starts the service and its QPU")
        async with open_site(Path(folder), drills[0].plan) as site:
            return tuple([await _run_one(drill, site, programs, report) for drill in drills])


async def _run_one(drill: Drill, site: Site, programs: Programs, report: Report) -> DrillRecord:
    entry = catalog.BY_NAME[drill.name]
    delay = read_delay(
        (FILES / "prometheus" / "shotclock-alerts.yml").read_text(encoding="utf-8"), entry.alert
    )
    run = _Run(drill, entry, site, report)
    async with (
        watch_service(site.folder / f"ops-{drill.name}", programs, site.http_port, entry.scale) as pager,
        run_load(
            site.target,
            site.identity(TRAINER),
            rate=drill.rate,
            fallback=drill.fallback,
            budget_s=drill.budget_s,
            memory=drill.memory,
        ) as load,
    ):
        try:
            await run.execute(pager, load)
        except (TimeoutError, RunError) as error:
            run.failure = str(error) or "timed out"
        finally:
            if not run.has_ended:
                await drill.end(site)
    if not run.failure and load.endings["lost"]:
        run.failure = f"{load.endings['lost']} calls were lost"
    return DrillRecord(
        drill.name,
        entry.alert,
        entry.scale,
        run.detection_s,
        delay.hold_s * (1 - 1 / entry.scale),
        delay.window_s,
        run.recovery_s,
        tuple(run.steps),
        load.record(),
        run.failure,
    )


class _Run:
    """One drill in progress."""

    def __init__(self, drill: Drill, entry: catalog.DrillEntry, site: Site, report: Report) -> None:
        self.steps: list[StepRecord] = []
        self.detection_s: float | None = None
        self.recovery_s: float | None = None
        self.failure = ""
        self.has_ended = False
        self._drill, self._entry, self._site, self._report = drill, entry, site, report

    async def execute(self, pager: Pager, load: Load) -> None:
        """From the fault to the recovery. Raises TimeoutError that says what did not happen."""
        await self._wait_calls(load, "calls with samples before the fault")
        await asyncio.sleep(self._drill.warm_s)
        self._report(f"causes the fault: {self._entry.summary}")
        began = time.monotonic()
        await self._drill.cause(self._site)
        await self._wait_status(pager, "firing", ALERT_S)
        notified = time.monotonic()
        self.detection_s = notified - began
        self._report(f"{self._entry.alert} fires after {self.detection_s:.1f} s")
        for step in read_steps(self._drill.name):
            await self._perform(step)
        await self._wait_status(pager, "resolved", RECOVERY_S)
        await self._wait_calls(load, "calls with samples after the recovery")
        self.recovery_s = time.monotonic() - notified
        self._report(f"recovered {self.recovery_s:.1f} s after the alert")

    async def _perform(self, step: Step) -> None:
        if self._drill.ends_before and self._drill.ends_before in step.command:
            await self._end_cause()
        self._report("\n".join(f"$ {line}" for line in step.command.splitlines() if line.strip()[:1] != "#"))
        record = await perform(step, self._site.folder, self._site.environment())
        self.steps.append(record)
        if record.has_failed:
            raise RunError(f"a step ended with {record.exit_code}: {step.command.strip()}: {record.output}")

    async def _end_cause(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            await self._drill.end(self._site)

    async def _wait_status(self, pager: Pager, status: str, limit_s: float) -> None:
        try:
            await pager.wait_status(self._entry.alert, status, limit_s)
        except TimeoutError:
            raise TimeoutError(f"{self._entry.alert} is not {status} within {limit_s:g} s") from None

    async def _wait_calls(self, load: Load, what: str) -> None:
        enough = load.endings["Done"] + 5
        await wait_for(lambda: load.endings["Done"] >= enough, what, RECOVERY_S)
