"""Runs every benchmark beside this file and writes docs/benchmarks.md from what they print.

A module whose name starts with an underscore is a part of one, not one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from shotclock.bench.run_folder import environment

HEAD = """# Benchmarks

Written by `make benchmarks`; every figure was measured in one run on the machine below, side by side with
its peers. Latencies of an emulated QPU say EMULATED.
"""


def main() -> None:
    """The page's path is the only argument."""
    page = Path(sys.argv[1])
    machine = ", ".join(f"{name} {value}" for name, value in environment().items())
    sections = [HEAD, f"Machine: {machine}.\n"]
    for script in sorted(Path(__file__).parent.glob("[!_]*.py")):
        if script != Path(__file__):
            print(f"running {script.name}", file=sys.stderr)
            done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, check=True)
            sections.append(done.stdout)
    page.write_text("\n".join(sections), encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
