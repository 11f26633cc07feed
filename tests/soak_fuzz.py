"""Long fuzzing of everything that reads bytes from elsewhere: `make soak-fuzz`.

Each target runs under libFuzzer, in a separate process with limits of memory and of time for one input. What
it found interesting stays in the corpus folder, from which the next run goes on; an input that breaks a
promise is kept there as `finding-…`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fuzz.seeds import MAKERS, seeds

NAMES = tuple(MAKERS)
INPUT_S, MEMORY_MIB, LONGEST, LONGEST_PROGRAM = 20, 2048, 65_536, 2_048
"""Limits of one input; the memory is of the whole process, with Qiskit and pyarrow in it."""
TESTS = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What became of one target.

    executions: inputs that were run.
    seconds: its process's time, imports included.
    corpus: inputs that are kept for the next run.
    findings: names of the files with inputs that broke a promise, in this run or an earlier one.
    """

    executions: int
    seconds: float
    corpus: int
    findings: tuple[str, ...]


def main() -> int:
    """1 where a target has a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default 600)")
    parser.add_argument("--targets", default=",".join(NAMES), metavar="NAME,…", help="default: all")
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"), help="folder (default .fuzz)")
    arguments = parser.parse_args()
    _write("| target | executions | a second | s | corpus | findings |\n|---|---|---|---|---|---|")
    results = []
    for name in arguments.targets.split(","):
        result = run_target(name, arguments.corpus / name, arguments.seconds)
        results.append(result)
        findings = ", ".join(result.findings) or "none"
        facts = (result.executions, round(result.executions / result.seconds), round(result.seconds))
        _write(f"| {name} | {' | '.join(map(str, facts))} | {result.corpus} | {findings} |")
    _write(f"\n{sum(result.executions for result in results)} executions")
    return int(any(result.findings for result in results))


def run_target(name: str, folder: Path, seconds: int) -> Fuzzed:
    """One target in a separate process, for so many seconds from its first input."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (folder / f"seed-{number}").write_bytes(seed)
    options = {
        "max_total_time": seconds,
        "timeout": INPUT_S,
        "rss_limit_mb": MEMORY_MIB,
        "max_len": LONGEST_PROGRAM if name.startswith("qasm") else LONGEST,
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


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
