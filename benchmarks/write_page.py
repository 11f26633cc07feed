"""Runs every benchmark in this folder and writes docs/benchmarks.md from their output.

A module whose name starts with an underscore is part of a benchmark; `soak_…` takes half an hour and is
`make soak-kills`. `--quick` before names of scripts shortens these to under a minute; the page says so.
`--only SCRIPT` runs one script and replaces its section, with the date and the machine of that run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import _extras
from _machine import machine

HEAD = """# Benchmarks

Written by `make benchmarks`; every figure was measured in one run on the machine below, side by side with
its peers and its controls. Latencies of an emulated QPU say EMULATED.
"""

FIRST = ("quantum_path.py", "orchestrator.py")
"""Where a QPU could matter at all opens the page; scripts not named here follow by name."""


def main() -> None:
    """The page's path is the first argument; it is written after every script has succeeded."""
    if sys.argv[2:3] == ["--only"]:
        replace_section(Path(sys.argv[1]), _run(Path(__file__).with_name(sys.argv[3])))
        return
    page, quick = Path(sys.argv[1]), set(sys.argv[3:]) if sys.argv[2:3] == ["--quick"] else set[str]()
    sections = [HEAD, f"Machine: {machine()}.\n"]
    if quick:
        sections.append(f"Quick, with fewer repeats: {', '.join(sorted(quick))}.\n")
    for script in _scripts(Path(__file__).parent):
        words = ["--quick"] if script.name in quick else []
        sections.append(_run(script, *words))
    page.write_text("\n".join(sections), encoding="utf-8")
    print(page)


def _run(script: Path, *words: str) -> str:
    """Its markdown."""
    print(" ".join(["running", script.name, *words]), file=sys.stderr)
    ended = subprocess.run([sys.executable, script, *words], stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        sys.exit(ended.returncode)  # the script has printed the reason
    return ended.stdout


def replace_section(page: Path, markdown: str) -> None:
    """Replaces the section with this one's heading, or adds it at the end."""
    heading, _, body = markdown.partition("\n")
    date = datetime.now(UTC).date().isoformat()
    section = f"{heading}\n\nMeasured by itself on {date}: {machine()}.\n{body}"
    sections = re.split(r"^(?=## )", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    places = [number for number, text in enumerate(sections) if text.partition("\n")[0] == heading]
    at = places[0] if places else len(sections)
    sections[at : at + 1] = [section]
    page.write_text("\n".join(text.rstrip("\n") + "\n" for text in sections), encoding="utf-8")
    print(page)


def _scripts(folder: Path) -> list[Path]:
    by_name = {script.name: script for script in sorted(folder.glob("[!_]*.py"))}
    del by_name[Path(__file__).name]
    first = [by_name.pop(name) for name in FIRST]
    return first + [script for name, script in by_name.items() if not name.startswith("soak_")]


if __name__ == "__main__":
    _extras.run(main)
