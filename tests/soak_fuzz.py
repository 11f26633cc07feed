"""Long fuzzing of everything that reads bytes from elsewhere: `make soak-fuzz`.

Each target runs under libFuzzer, in a separate process with limits of memory and of time for one input. What
it found interesting stays in the corpus folder, from which the next run goes on; an input that breaks a
promise is kept there as `finding-…`. The executions and the time of every target so far are in the page
(`--page FILE`), which is read first and written after each target, so that a run can be stopped and resumed.

A run shares its time so that the targets with the least time so far catch up: equal time, not equal
executions, because an execution of one target takes ten thousand times as long as one of another.
"""

from __future__ import annotations

import argparse
import platform
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from fuzz.seeds import MAKERS, MESSAGES, seeds

NAMES = tuple(MAKERS)
SHORTEST_S = 20
"""No target runs for less: starting it takes seconds."""
INPUT_S, MEMORY_MIB, LONGEST, LONGEST_PROGRAM, LONGEST_MESSAGE = 120, 2048, 65_536, 2_048, 1_024
"""Limits of one input; the memory is of the whole process, with Qiskit and pyarrow in it."""
TESTS = Path(__file__).parent


PAGE = """# Fuzzing of everything that reads bytes from elsewhere

Written by `make soak-fuzz` (libFuzzer by atheris {atheris}, Python {python}), summed over its runs; the last
one began with {start}. An input may take {input_s} s and the process {memory:,} MiB; more is a finding, and
so is anything but a result or one line of error. Time is that of the target's processes by the clock on the
wall, imports included, and what they had of a processor, as far as it was counted. A run shares its time so
that the targets with the least so far catch up.

| target | executions | a second | time, s | processor, s | corpus | findings |
|---|---|---|---|---|---|---|
{rows}

{total:,} executions in {hours:.1f} hours; {findings}. Without `{largest}`, which has the most, {others:,}.
What earlier runs found is mended, and has a test in `tests/faults/test_fuzz_findings.py`.
{notes}"""
NOTES, UNKNOWN = "## Notes", "–"
ROW = re.compile(
    r"^\| ([a-z-]+) \| ([\d,]+) \| [\d,]+" + 3 * r" \| ([\d,–]+)" + r" \| (.+) \|$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What became of one target.

    executions: inputs that were run.
    seconds: its processes' time by the clock on the wall, imports included.
    processor_s: what they had of a processor, as far as it was counted; 0 if it never was.
    corpus: inputs that are kept for the next run.
    findings: names of the files with inputs that broke a promise.
    """

    executions: int = 0
    seconds: float = 0.0
    processor_s: float = 0.0
    corpus: int = 0
    findings: tuple[str, ...] = ()

    def follow(self, earlier: Fuzzed) -> Fuzzed:
        """With the executions and the time of the earlier runs."""
        return replace(
            self,
            executions=earlier.executions + self.executions,
            seconds=earlier.seconds + self.seconds,
            processor_s=earlier.processor_s + self.processor_s,
        )

    def row(self, name: str) -> str:
        """Of the table."""
        rate = self.executions / max(1.0, self.seconds)
        used = f"{self.processor_s:,.0f}" if self.processor_s else UNKNOWN
        facts = (f"{self.executions:,}", f"{rate:,.0f}", f"{self.seconds:,.0f}", used)
        return f"| {name} | {' | '.join(facts)} | {self.corpus:,} | {', '.join(self.findings) or 'none'} |"


NONE = Fuzzed()


def main() -> int:
    """1 where a target has a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=240, help="for all targets (default 240)")
    parser.add_argument("--targets", default=",".join(NAMES), metavar="NAME,…", help="default: all")
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"), help="folder (default .fuzz)")
    parser.add_argument("--page", type=Path, help="where the table of all runs so far is, and goes")
    arguments = parser.parse_args()
    # Ends the target's process too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    results, notes = read_page(arguments.page)
    waiting, ends_at = arguments.targets.split(","), time.monotonic() + 60 * arguments.minutes
    start = "the corpus of the one before" if arguments.corpus.is_dir() else "an empty corpus"
    while waiting and (left_s := ends_at - time.monotonic()) >= SHORTEST_S:
        name, seconds = share_time(left_s, {name: results.get(name, NONE) for name in waiting})
        result = run_target(name, arguments.corpus / name, seconds)
        _write(result.row(name))
        waiting.remove(name)
        results[name] = result.follow(results.get(name, NONE))
        if arguments.page is not None:
            arguments.page.write_text(draw_page(results, start, notes), encoding="utf-8")
    _write(f"\n{sum(result.executions for result in results.values()):,} executions so far")
    return int(any(result.findings for result in results.values()))


def share_time(total_s: float, results: Mapping[str, Fuzzed]) -> tuple[str, int]:
    """The target that runs next, of those with the least time so far, and for how many seconds.

    These have had the same time then, if each runs for its share of the total; who is ahead does not run.
    """
    behind = sorted(results, key=lambda name: results[name].seconds)
    while True:
        level_s = (total_s + sum(results[name].seconds for name in behind)) / len(behind)
        if len(behind) == 1 or level_s - results[behind[-1]].seconds >= SHORTEST_S:
            break
        behind.pop()
    name = min(behind, key=lambda name: results[name].executions)
    return name, round(level_s - results[name].seconds)


def read_page(page: Path | None) -> tuple[dict[str, Fuzzed], str]:
    """What the table of the earlier runs says, and the notes below it, which people write."""
    text = page.read_text(encoding="utf-8") if page is not None and page.is_file() else ""
    results = {
        name: Fuzzed(
            _number(executions),
            _number(seconds),
            _number(processor_s),
            _number(corpus),
            () if findings == "none" else tuple(findings.split(", ")),
        )
        for name, executions, seconds, processor_s, corpus, findings in ROW.findall(text)
    }
    return results, text.partition(NOTES)[2].strip()


def _number(text: str) -> int:
    return 0 if text == UNKNOWN else int(text.replace(",", ""))


def draw_page(results: Mapping[str, Fuzzed], start: str, notes: str) -> str:
    """The table, the totals and the notes."""
    findings = sum(len(result.findings) for result in results.values())
    largest = max(results, key=lambda name: results[name].executions)
    total = sum(result.executions for result in results.values())
    return PAGE.format(
        atheris=version("atheris"),
        python=platform.python_version(),
        input_s=INPUT_S,
        memory=MEMORY_MIB,
        rows="\n".join(results[name].row(name) for name in NAMES if name in results),
        total=total,
        largest=largest,
        others=total - results[largest].executions,
        start=start,
        notes=f"\n{NOTES}\n\n{notes}\n" if notes else "",
        hours=sum(result.seconds for result in results.values()) / 3600,
        findings=f"{findings} findings" if findings else "no crash, no hang",
    )


def run_target(name: str, folder: Path, seconds: int) -> Fuzzed:
    """One target in a separate process, for so many seconds from its first input."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (folder / f"seed-{number}").write_bytes(seed)
    options = {
        "max_total_time": seconds,
        "timeout": INPUT_S,
        "report_slow_units": INPUT_S,
        "rss_limit_mb": MEMORY_MIB,
        "max_len": longest(name),
        "print_final_stats": 1,
        "artifact_prefix": f"{folder.absolute()}/finding-",
    }
    words = [f"-{option}={value}" for option, value in options.items()]
    command = [sys.executable, "-m", "fuzz.long_target", name, *words, str(folder.absolute())]
    began, used_s = time.monotonic(), _processor_s()
    ended = subprocess.run(
        command, cwd=TESTS, stderr=subprocess.PIPE, text=True, errors="replace", check=False
    )
    duration_s = time.monotonic() - began
    executed = re.search(r"number_of_executed_units:\s*(\d+)", ended.stderr)
    findings = tuple(sorted(path.name for path in folder.glob("finding-*")))
    if executed is None and not findings:
        sys.exit(f"soak-fuzz: {name} did not run: {ended.stderr[-2000:]}")
    inputs = sum(1 for _ in folder.iterdir()) - len(findings)
    executions = int(executed[1]) if executed else 0
    return Fuzzed(executions, duration_s, _processor_s() - used_s, inputs, findings)


def _processor_s() -> float:
    """Of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def longest(name: str) -> int:
    """Bytes of an input: few where a long one takes long and says little more."""
    if name in MESSAGES:
        return LONGEST_MESSAGE
    return LONGEST_PROGRAM if name.startswith("qasm") else LONGEST


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
