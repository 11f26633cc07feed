"""Runs a script that asks a vendor's library in a child process, with a time limit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from shotclock.placement.values import Absent


def run_script(script: Path, what: str, wait_s: float, python: str = sys.executable) -> bytes | Absent:
    """What it wrote; a child that does not end in time is killed, and not waited for any longer."""
    child = subprocess.Popen(  # noqa: S603 - our script
        [python, "-P", str(script)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=wait_s)
    except subprocess.TimeoutExpired:
        child.kill()
        if child.stdout is not None:
            child.stdout.close()
        return Absent(f"{what} did not answer within {wait_s:g} s")
    return output


def parse_document(output: bytes, what: str) -> dict[str, Any] | Absent:
    """The script's JSON object with `version` and `devices`, a list of objects."""
    try:
        document = json.loads(output)
        if "devices" not in document:
            return Absent(str(document["because"]))
        if all(isinstance(device, dict) for device in document["devices"]) and "version" in document:
            return dict(document)
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    return Absent(f"{what}: the child process did not write its document")
