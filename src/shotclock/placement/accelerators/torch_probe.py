"""Asks torch about every CUDA device and writes one JSON document; run as a script, in a child process.

A separate process, because discovery must not initialise CUDA in the caller. It imports nothing of ours.
Used memory is not asked for: that would make a context of hundreds of megabytes on every device.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any


def probe() -> dict[str, Any]:
    """The document: `devices`, or `because`."""
    try:
        torch = importlib.import_module("torch")
        numbers = range(torch.cuda.device_count())
        devices = [_describe(torch.cuda.get_device_properties(number)) for number in numbers]
    except Exception as error:  # noqa: BLE001 - a driver that does not fit, a library that is missing
        return {"because": f"torch: {type(error).__name__}: {' '.join(str(error).split())}"[:300]}
    return {"version": torch.__version__, "devices": devices}


def _describe(properties: Any) -> dict[str, Any]:
    """The UUID is there on every torch that we support; the name is the driver's too."""
    uuid = str(getattr(properties, "uuid", ""))
    return {"uuid": f"GPU-{uuid.removeprefix('GPU-')}", "total_bytes": properties.total_memory}


def main() -> None:
    """Keeps the real stdout for the document."""
    answer = os.dup(sys.stdout.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with os.fdopen(answer, "w", encoding="utf-8") as file:
        json.dump(probe(), file, default=str)
    os._exit(0)  # CUDA's threads are not waited for


if __name__ == "__main__":
    main()
