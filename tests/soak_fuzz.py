"""Long fuzzing of everything that reads bytes from elsewhere: `make soak-fuzz`.

Each target runs under libFuzzer, in a separate process with limits of memory and of time for one input. What
it found interesting stays in the corpus folder, from which the next run goes on; an input that breaks a
promise is kept there as `finding-…`. The folder also has the executions and the time of every target so far,
so that a run can be stopped between two targets and resumed; `--page FILE` writes them as a page.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from fuzz.seeds import MAKERS, MESSAGES, seeds

NAMES = tuple(MAKERS)
INPUT_S, MEMORY_MIB, LONGEST, LONGEST_PROGRAM, LONGEST_MESSAGE = 120, 2048, 65_536, 2_048, 1_024
"""Limits of one input; the memory is of the whole process, with Qiskit and pyarrow in it."""
TESTS = Path(__file__).parent


PAGE = """# Fuzzing of everything that reads bytes from elsewhere

Written by `make soak-fuzz` (libFuzzer by atheris {atheris}, Python {python}), summed over its runs on one
corpus. An input may take {input_s} s and the process {memory:,} MiB; more is a finding, and so is anything
but a result or one line of error. Time is that of the target's processes, imports included.

| target | executions | a second | time, s | corpus | findings |
|---|---|---|---|---|---|
{rows}

{total:,} executions in {hours:.1f} hours; {findings}. What earlier runs found is mended, and has
a test in `tests/faults/test_fuzz_findings.py`.
"""


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What became of one target.

    executions: inputs that were run.
    seconds: its processes' time, imports included.
    corpus: inputs that are kept for the next run.
    findings: names of the files with inputs that broke a promise.
    """

    executions: int = 0
    seconds: float = 0.0
    corpus: int = 0
    findings: tuple[str, ...] = ()

    def follow(self, earlier: Fuzzed) -> Fuzzed:
        """With the executions and the time of the earlier runs."""
        return replace(
            self, executions=earlier.executions + self.executions, seconds=earlier.seconds + self.seconds
        )

    def row(self, name: str) -> str:
        """Of the table."""
        facts = (f"{self.executions:,}", f"{self.executions / self.seconds:,.0f}", f"{self.seconds:,.0f}")
        return f"| {name} | {' | '.join(facts)} | {self.corpus:,} | {', '.join(self.findings) or 'none'} |"


def main() -> int:
    """1 where a target has a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default 600)")
    parser.add_argument("--targets", default=",".join(NAMES), metavar="NAME,…", help="default: all")
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"), help="folder (default .fuzz)")
    parser.add_argument("--page", type=Path, help="where the table of all runs so far goes, as markdown")
    arguments = parser.parse_args()
    # Ends the target's process too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    file = arguments.corpus / "executions.json"
    results = read_results(file)
    for name in arguments.targets.split(","):
        result = run_target(name, arguments.corpus / name, arguments.seconds)
        _write(result.row(name))
        results[name] = result.follow(results.get(name, Fuzzed()))
        file.write_text(json.dumps({each: asdict(results[each]) for each in results}, indent=1))
        if arguments.page is not None:
            arguments.page.write_text(draw_page(results), encoding="utf-8")
    _write(f"\n{sum(result.executions for result in results.values()):,} executions so far")
    return int(any(result.findings for result in results.values()))


def read_results(file: Path) -> dict[str, Fuzzed]:
    """Of the earlier runs on the same corpus; none if this is the first."""
    stored = json.loads(file.read_text()) if file.is_file() else {}
    return {name: Fuzzed(**{**facts, "findings": tuple(facts["findings"])}) for name, facts in stored.items()}


def draw_page(results: dict[str, Fuzzed]) -> str:
    """The table and the total."""
    findings = sum(len(result.findings) for result in results.values())
    return PAGE.format(
        atheris=version("atheris"),
        python=platform.python_version(),
        input_s=INPUT_S,
        memory=MEMORY_MIB,
        rows="\n".join(results[name].row(name) for name in NAMES if name in results),
        total=sum(result.executions for result in results.values()),
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
    began = time.monotonic()
    ended = subprocess.run(
        command, cwd=TESTS, stderr=subprocess.PIPE, text=True, errors="replace", check=False
    )
    duration_s = time.monotonic() - began
    executed = re.search(r"number_of_executed_units:\s*(\d+)", ended.stderr)
    findings = tuple(sorted(path.name for path in folder.glob("finding-*")))
    if executed is None and not findings:
        sys.exit(f"soak-fuzz: {name} did not run: {ended.stderr[-2000:]}")
    inputs = sum(1 for _ in folder.iterdir()) - len(findings)
    return Fuzzed(int(executed[1]) if executed else 0, duration_s, inputs, findings)


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
