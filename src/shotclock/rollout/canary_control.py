"""Runs one canary at a time: a share of the calls on the QPU, judged while it runs, ended by its verdict.

Every change of the share is written to the state's file before it is written to the flag file (`pending`), so
that a service that is killed in between completes it at its next start.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from shotclock.domain.canary import (
    NO_CANARY,
    CanaryMeasure,
    CanaryPhase,
    CanaryReport,
    CanaryRequest,
)
from shotclock.domain.errors import SettingsError, ShotclockError
from shotclock.domain.flags import QUANTUM_PATH, QUANTUM_SHARE, FlagDecision, FlagState
from shotclock.domain.outcome import Outcome
from shotclock.domain.ports import Offload
from shotclock.rollout.canary import Comparison, Judgement, Verdict, judge
from shotclock.rollout.canary_groups import Group
from shotclock.rollout.canary_state import CanaryState, make_plan, read_state, write_state
from shotclock.rollout.document_flags import DocumentFlags

OFF, ON = "off", "on"

GROWTH = 1.01
"""Judging takes 10 to 40 ms of processor time."""

audit = logging.getLogger("shotclock.audit")


class CanaryControl:
    """The canary of a service; its methods are called one at a time, except those that only count or report.

    path: the file in which the canary is kept; one that cannot be used ends it and leaves the share as it is.
    budget_ms: the limit of a slow call where the operator names none, milliseconds.
    on_trouble: called with what needs attention.
    """

    def __init__(
        self,
        flags: DocumentFlags,
        path: Path,
        offload: Offload,
        budget_ms: float,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._flags = flags
        self._path = path
        self._offload = offload
        self._budget_ms = budget_ms
        self._on_trouble = on_trouble
        self._judgement: Judgement | None = None
        self._judged = [0] * 4
        self._state: CanaryState | None = None
        try:
            self._state = read_state(path)
        except SettingsError as error:
            on_trouble(f"{error}; its canary is over, and quantum_share stays as it is")
        self._written = self._state.text() if self._state is not None else ""

    def report(self) -> CanaryReport:
        """See `Flags.canary`."""
        state, judgement = self._state, self._judgement
        if state is None:
            return NO_CANARY
        request = state.request
        return CanaryReport(
            state.phase,
            request.share,
            state.previous,
            state.caller,
            request.on_pass,
            request.slow_ms or 0.0,
            judgement.verdict if judgement else "",
            judgement.needed if judgement else 0,
            state.reason,
            state.canary.report(),
            state.control.report(),
            tuple(map(_measure, judgement.comparisons)) if judgement else (),
        )

    def record_end(self, decision: FlagDecision, outcome: Outcome, duration_ns: int, budget_ns: int) -> None:
        """See `Flags.record_end`."""
        if (group := self._group(decision)) is not None:
            group.add_call(outcome, duration_ns, budget_ns)

    def record_value(self, decision: FlagDecision, value: float) -> None:
        """A value of the validation metric of a run on which the flags decide so."""
        if (group := self._group(decision)) is not None:
            group.add_value(value)

    def _group(self, decision: FlagDecision) -> Group | None:
        """A call that another flag keeps from the QPU is on neither side."""
        state = self._state
        if state is None or state.phase is not CanaryPhase.RUNNING or state.pending:
            return None
        return {"": state.canary, QUANTUM_SHARE: state.control}.get(decision.kept_by)

    async def start(self, request: CanaryRequest, caller: str) -> None:
        """See `Rollout.start_canary`."""
        previous = self._check_start(request)
        make_plan(request)
        slow_ms = request.slow_ms if request.slow_ms is not None else self._budget_ms
        if not (slow_ms > 0 and math.isfinite(slow_ms)):
            raise SettingsError(f"canary start: slow_ms must be above 0 (got {slow_ms:g})")
        request = replace(request, slow_ms=slow_ms)
        before = self._state
        state = CanaryState(
            CanaryPhase.RUNNING,
            request,
            previous,
            caller,
            Group(slow_ms),
            Group(slow_ms),
            pending=f"{request.share}",
        )
        try:
            await self._keep(state)
            await self._write_share(state)
        except ShotclockError:
            self._state = before
            raise
        self._judgement, self._judged = None, [0] * 4
        audit.info("canary start", extra={"caller": caller, "previous": previous, **asdict(request)})

    async def abort(self, caller: str) -> None:
        """See `Rollout.abort_canary`."""
        state = self._state
        if state is None or state.phase is not CanaryPhase.RUNNING:
            raise SettingsError("canary abort: no canary is running")
        await self._end(state, CanaryPhase.ABORTED, "aborted by an operator", caller, state.previous)
        if state.pending:
            raise SettingsError(f"canary abort: {state.reason}")

    async def advance(self) -> None:
        """Judges the canary on what its calls have shown since, and ends it with its verdict."""
        state = self._state
        if state is None:
            return
        if state.pending:
            await self._try_share(state)
            return
        if state.phase is not CanaryPhase.RUNNING:
            return
        setting = self._flags.report().settings[QUANTUM_SHARE]
        if setting != f"{state.request.share}":
            reason = f"quantum_share was set to {setting} while it ran"
            await self._end(state, CanaryPhase.ABORTED, reason, "", "")
        elif self._has_grown(state):
            judgement = await self._offload.run(judge, state.canary.sample, state.control.sample, state.plan)
            await self._follow(state, judgement)

    def _has_grown(self, state: CanaryState) -> bool:
        """Whether a side has one call in a hundred more than when it was judged, or a value more."""
        sizes = [size for group in (state.canary, state.control) for size in (group.calls, group.values)]
        if all(size <= judged * GROWTH for size, judged in zip(sizes, self._judged, strict=True)):
            return False
        self._judged = sizes
        return True

    async def _follow(self, state: CanaryState, judgement: Judgement) -> None:
        self._judgement = judgement
        minimum, caller = state.plan.minimum, state.caller
        state.reason = ""
        if judgement.verdict is Verdict.ROLL_BACK:
            worse = next(each for each in judgement.comparisons if each.low > 0)
            reason = f"more {worse.measure.replace('_', ' ')} than the control, by {worse.low:.3g} at least"
            await self._end(state, CanaryPhase.ROLLED_BACK, reason, caller, state.previous)
        elif judgement.verdict is Verdict.PROMOTE and state.canary.sampled >= minimum:
            promotes = state.request.on_pass == "promote"
            phase = CanaryPhase.PROMOTED if promotes else CanaryPhase.PASSED
            await self._end(state, phase, "within every margin", caller, ON if promotes else "")
        else:
            if judgement.verdict is Verdict.PROMOTE:
                self._judgement = replace(judgement, verdict=Verdict.INCONCLUSIVE)
                state.reason = f"only {state.canary.sampled} of its calls had samples, {minimum} are needed"
            await self._keep(state)

    async def _end(
        self, state: CanaryState, phase: CanaryPhase, reason: str, caller: str, share: str
    ) -> None:
        """Ends the canary and sets the share, "" leaves it as it is."""
        state.phase, state.reason, state.pending = phase, reason, share
        audit.info(f"canary {phase}", extra={"caller": caller, "reason": reason, **_figures(state)})
        await self._try_share(state)

    async def _try_share(self, state: CanaryState) -> None:
        """A share that cannot be written is tried again with the next `advance`."""
        reason = state.reason.partition("; quantum_share")[0]
        try:
            await self._keep(state)
            await self._write_share(state)
        except ShotclockError as error:
            text = f"{reason}; quantum_share is not {state.pending} yet: {error}"
            if text != state.reason:
                self._on_trouble(f"canary: {text}")
            state.reason = text
        else:
            state.reason = reason

    async def _write_share(self, state: CanaryState) -> None:
        if not state.pending:
            return
        await self._offload.run(self._flags.set_flag, QUANTUM_SHARE, state.pending)
        state.pending = ""
        await self._keep(state)

    async def _keep(self, state: CanaryState) -> None:
        self._state, text = state, state.text()
        if text != self._written:
            await self._offload.run(write_state, self._path, text)
            self._written = text

    def _check_start(self, request: CanaryRequest) -> str:
        """The share's present setting. Raises SettingsError where a canary cannot start."""
        report, state = self._flags.report(), self._state
        if state is not None and (state.phase is CanaryPhase.RUNNING or state.pending):
            raise SettingsError("canary start: a canary is running; abort it first")
        if report.state is not FlagState.OK:
            raise SettingsError(f"canary start: the flag file must be usable: {report.reason}")
        if report.settings[QUANTUM_PATH] != ON:
            raise SettingsError(f"canary start: {QUANTUM_PATH} must be on; no call would be on the QPU")
        if not 1 <= request.share <= 99:
            raise SettingsError(
                f"canary start: share must be 1 to 99, so that a control remains (got {request.share})"
            )
        previous = report.settings[QUANTUM_SHARE]
        present = 0 if previous == OFF else int(previous) if previous.isdecimal() else 100
        if present >= request.share:
            raise SettingsError(
                f"canary start: {QUANTUM_SHARE} is {previous}, and a rollback sets it again; "
                f"set it below {request.share} first"
            )
        return previous


def _measure(comparison: Comparison) -> CanaryMeasure:
    low, high = comparison.low, comparison.high
    return CanaryMeasure(
        comparison.measure,
        low if math.isfinite(low) else None,
        high if math.isfinite(high) else None,
        comparison.margin,
    )


def _figures(state: CanaryState) -> dict[str, object]:
    """The numbers of an audit record."""
    sides = (("canary", state.canary), ("control", state.control))
    return {"share": state.request.share, "previous": state.previous} | {
        f"{side}_{name}": getattr(group, name)
        for side, group in sides
        for name in ("calls", "missed", "slow", "values")
    }
