"""Progress of a run on stderr: a spinner while it starts, a bar an arm while it trains."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.status import Status

from shotclock.bench.numbers import span
from shotclock.domain.plural import count

if TYPE_CHECKING:
    from shotclock.app import main_job

LONG_S = 600.0
"""From this estimate on, the plan names the virtual clock."""


class Bars:
    """A context in which a run's hooks draw; on something other than a terminal, plain lines.

    One thing is live at a time: a spinner while a phase lasts, bars while the arms train.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = Status("", console=console)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()
        self._stop_bars()

    def _stop_bars(self) -> None:
        if self._progress.live.is_started:
            self._progress.stop()

    def hooks(self) -> main_job.JobProgress:
        """What the run calls."""
        from shotclock.app.main_job import JobProgress  # noqa: PLC0415 - loads torch, which a report does not need

        return JobProgress(self.phase, self._on_plan, self._on_advance)

    def phase(self, text: str) -> None:
        """Something that takes a while begins."""
        self._stop_bars()
        if self._console.is_terminal:
            self._status.update(f"{text} …")
            self._status.start()
        else:
            self._console.print(f"{text} …")

    def _on_plan(self, steps: dict[str, int], estimate_s: float) -> None:
        self._status.stop()
        self._console.print(f"{count(len(steps), 'arm')}, about {span(estimate_s)}")
        if estimate_s > LONG_S:
            self._console.print(
                "most of it is emulated waiting: --clock virtual skips it; Ctrl-C keeps what ran"
            )
        if self._console.is_terminal:
            self._tasks = {arm: self._progress.add_task(arm, total=total) for arm, total in steps.items()}
            self._progress.start()

    def _on_advance(self, arm: str, steps: int) -> None:
        if arm in self._tasks:
            self._progress.advance(self._tasks[arm], steps)
