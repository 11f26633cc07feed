"""The head and the end of every summary on a terminal, and how lines are printed."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from shotclock.bench.report.kit.wording import note_virtual_arms, took
from shotclock.bench.schema import Summary
from shotclock.domain.plural import count


def say(console: Console, words: RenderableType) -> None:
    """Prints text without markup, which a run's names might contain."""
    console.print(words, markup=False, highlight=False)


def say_title(console: Console, words: str, mark: str = "") -> None:
    """A part's title after an empty line, with the mark of its figures."""
    console.print()
    text = Text(words, style="bold")
    if mark:
        text.append(f"  {mark}", style="not bold")
    say(console, text)


def say_head(summary: Summary, console: Console, mark: str) -> None:
    """What ran, whether its QPU is emulated, how long it took, and whether it ended."""
    line = Text(f"shotclock bench  {summary.workload}, {summary.subject}  ", style="bold")
    line.append(mark if summary.clock == "virtual" else f"{mark}, wall clock")
    if summary.status != "complete":
        line.append(f"  {summary.status.upper()}: partial results", style="bold red")
    say(console, line)
    quick = ", quick" if summary.quick else ""
    steps = count(summary.common_steps, "common step")
    say(console, Text(f"run {summary.run_id}, took {took(summary)}, {steps}{quick}", style="dim"))
    if note := note_virtual_arms(summary):
        say(console, Text(note, style="dim"))


def say_folder(folder: Path, console: Console) -> None:
    """Prints the report's path on one line, so that it can be copied."""
    page = folder / "report.html"
    console.print()
    console.print(Text(f"Report: {page if page.exists() else folder}"), soft_wrap=True, highlight=False)
