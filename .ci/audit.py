"""`make audit`: advisories on the pinned dependencies.

Exits with 0 where every pin was looked up and none has an advisory, 1 where one has, or is unknown to the
service, and 3 where the service did not answer; with `--tolerate-outage` (CI) that is a warning and 0.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = Path(__file__).parents[1] / "constraints.txt"
COMMAND = (
    "pip-audit",
    "--disable-pip",
    "--no-deps",
    "--progress-spinner=off",
    "--format=json",
    "-r",
    str(PINS),
)
WAIT_S = 600
OUTAGE = 3


def ask_service() -> list[dict[str, Any]] | str:
    """Each pin as pip-audit reports it, or why there is no report."""
    try:
        ran = subprocess.run(COMMAND, capture_output=True, text=True, timeout=WAIT_S, check=False)  # noqa: S603
        return list(json.loads(ran.stdout)["dependencies"])
    except subprocess.TimeoutExpired:
        return f"pip-audit did not end within {WAIT_S} s"
    except (OSError, ValueError) as error:
        lines = ran.stderr.strip().splitlines() if isinstance(error, ValueError) else [str(error)]
        return lines[-1] if lines else "pip-audit wrote no report"


def judge(pins: list[dict[str, Any]] | str) -> tuple[int, list[str]]:
    """The exit status, and the lines to write."""
    if isinstance(pins, str):
        return OUTAGE, [f"audit: the advisory service did not answer ({pins}); try again"]
    unknown = [pin["name"] for pin in pins if "skip_reason" in pin]
    if len(unknown) == len(pins):
        reason = "it looked up none of the pins"
        return OUTAGE, [f"audit: the advisory service did not answer ({reason}); try again"]
    lines = [
        f"audit: {pin['name']} {pin['version']}: {advisory['id']}; "
        f"fixed in {', '.join(advisory['fix_versions']) or 'no version'}"
        for pin in pins
        for advisory in pin.get("vulns", ())
    ]
    if unknown:
        lines.append(f"audit: the advisory service does not know {', '.join(unknown)}; pin what it has")
    return (1, lines) if lines else (0, [f"audit: pins looked up: {len(pins)}, advisories: 0"])


def main() -> int:
    """Writes the lines; a tolerated outage is a warning of the workflow."""
    status, lines = judge(ask_service())
    if status == OUTAGE and "--tolerate-outage" in sys.argv[1:]:
        status, lines = 0, [f"::warning title=Audit::{line}" for line in lines]
    sys.stdout.write("\n".join(lines) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
