"""Every drill, unattended, each on a new site; writes the table of detection and recovery times.

Real `shotclock serve`, Prometheus and Alertmanager; the QPU is EMULATED.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import _extras
from _machine import machine
from shotclock.app.drills.catalog import BY_NAME, ENTRIES

if TYPE_CHECKING:
    from shotclock.app.drills.record import DrillRecord

PAGE = """# Drills

Written by `make soak-drills` on {machine}. The load average at the end was {load:.0f}.

Each incident was rehearsed with a real `shotclock serve`, Prometheus and Alertmanager; the QPU is EMULATED.
The fault was caused at its source, the alert reached a webhook of Alertmanager, the steps of the
[runbook](runbooks/README.md) were performed as written.

*Detection*: from the fault to the notification, with the rules' times divided by *scale*
([why](decisions/2026-11-30-drills.md)). *Rule adds*: what `for`, scrape and evaluation intervals and the
group's wait of the exported rule add to that. *Window*: the longest that the exported rule looks at.
*Recovery*: from the notification of the alert to that of its end and calls with samples, steps included, at
the same scale. *Lost*: calls that never ended.

| drill | alert | passed | scale | detection | rule adds | window | recovery | steps | calls | lost |
|---|---|---|---|---|---|---|---|---|---|---|
{rows}
"""


def main() -> None:
    """Prints a line for each step to stderr; ends with 1 where a drill did not pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="drills (default: all)")
    parser.add_argument(
        "--records", type=Path, help="a folder where a file for each drill is written, and read"
    )
    parser.add_argument("--page", type=Path, help="where the markdown goes; stdout without it")
    words = parser.parse_args()
    names = words.names or [entry.name for entry in ENTRIES]
    documents = {}
    for name in names:
        documents[name] = run(name, words.records)
    text = PAGE.format(
        machine=machine(), load=os.getloadavg()[1], rows="\n".join(map(row, documents.values()))
    )
    if words.page is None:
        print(text)
    else:
        words.page.write_text(text, encoding="utf-8")
        for document in documents.values():
            write_times(words.page.parent / "runbooks", document)
    if not all(document["passed"] for document in documents.values()):
        sys.exit(1)


def run(name: str, records: Path | None) -> dict[str, object]:
    """The drill's record as a document; from its file where an earlier run passed it."""
    from shotclock.app.drills.registry import run_drill  # noqa: PLC0415 - `--help` must not wait for it

    file = records / f"{name}.json" if records is not None else None
    if file is not None and file.is_file():
        document: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
        if document["passed"]:
            return document
    record: DrillRecord = run_drill(name, lambda what: print(f"{name}: {what}", file=sys.stderr))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record.document(), indent=2), encoding="utf-8")
    return record.document()


def write_times(runbooks: Path, document: dict[str, object]) -> None:
    """Replaces the last line of the drill's runbook, which has its times."""
    page = runbooks / f"{document['name']}.md"
    detection, recovery = _seconds(document["detection_s"]), _seconds(document["recovery_s"])
    line = (
        f"**Drill** `shotclock drill {document['name']}`: detected after {detection}, "
        f"recovered {recovery} later, with the rules' times\ndivided by {document['scale']:g}; "
        f"as exported the rule adds {_seconds(document['unscaled_adds_s'])} (QPU EMULATED)."
    )
    text, separator, _ = page.read_text(encoding="utf-8").partition("**Drill** ")
    if not separator:
        raise SystemExit(f"{page}: must end with a line that begins with **Drill**")
    page.write_text(f"{text}{line}\n", encoding="utf-8")


def row(document: dict[str, object]) -> str:
    """A line of the table."""
    name, calls = str(document["name"]), document["calls"]
    assert isinstance(calls, dict)
    steps = document["steps"]
    assert isinstance(steps, list | tuple)
    cells = (
        f"[{name}](runbooks/{name}.md)",
        f"`{BY_NAME[name].alert}`",
        "yes" if document["passed"] else f"**no**: {document['failure']}",
        f"{document['scale']:g}",
        _seconds(document["detection_s"]),
        _seconds(document["unscaled_adds_s"]),
        _seconds(document["unscaled_window_s"]),
        _seconds(document["recovery_s"]),
        str(len(steps)),
        f"{calls['total']:,}",
        str(calls["lost"]),
    )
    return f"| {' | '.join(cells)} |"


def _seconds(value: object) -> str:
    return f"{value:,.0f} s" if isinstance(value, float | int) else "–"


if __name__ == "__main__":
    _extras.run(main)
