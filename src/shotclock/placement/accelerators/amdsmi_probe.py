"""Asks the host's amdsmi about every GPU and writes one JSON document; run as a script, in a child process.

A separate process, because the library prints to stdout, raises anything on import, and may hang in a driver.
It imports nothing of Shotclock. `pcie_bw` is not asked for: it blocks for a second.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

FIGURES = {
    "address": "amdsmi_get_gpu_device_bdf",
    "enumeration": "amdsmi_get_gpu_enumeration_info",
    "asic": "amdsmi_get_gpu_asic_info",
    "vram_usage": "amdsmi_get_gpu_vram_usage",
    "vram_info": "amdsmi_get_gpu_vram_info",
    "activity": "amdsmi_get_gpu_activity",
    "bad_pages": "amdsmi_get_gpu_bad_page_info",
    "power": "amdsmi_get_power_info",
    "pcie": "amdsmi_get_pcie_info",
    "numa_node": "amdsmi_topo_get_numa_node_number",
    "links": "amdsmi_get_link_metrics",
    "compute_partition": "amdsmi_get_gpu_compute_partition",
    "memory_partition": "amdsmi_get_gpu_memory_partition",
    "driver": "amdsmi_get_gpu_driver_info",
    "fabric": "amdsmi_get_gpu_fabric_info",
}
"""What is asked of each GPU; a build may lack any of these functions."""


def probe() -> dict[str, Any]:
    """The document: `devices`, or `because`."""
    try:
        library = importlib.import_module("amdsmi")
        library.amdsmi_init()
        handles = library.amdsmi_get_processor_handles()
    except Exception as error:  # noqa: BLE001 - KeyError, AttributeError, OSError and its own were all seen
        return {"because": _explain("amdsmi", error)}
    version = getattr(library, "__version__", "")
    return {"version": version, "devices": [_ask(library, handle) for handle in handles]}


def _ask(library: Any, handle: Any) -> dict[str, Any]:
    answers = {figure: _call(library, name, handle) for figure, name in FIGURES.items()}
    answers["ecc"] = _call(library, "amdsmi_get_gpu_ecc_count", handle, "AmdSmiGpuBlock.UMC")
    for figure, sensor in (("temperature", "HOTSPOT"), ("memory_temperature", "VRAM")):
        answers[figure] = _call(
            library,
            "amdsmi_get_temp_metric",
            handle,
            f"AmdSmiTemperatureType.{sensor}",
            "AmdSmiTemperatureMetric.CURRENT",
        )
    return answers


def _call(library: Any, name: str, handle: Any, *constants: str) -> dict[str, Any]:
    """The function's value, or why it has none; constants are names in the library."""
    function: Callable[..., Any] | None = getattr(library, name, None)
    if function is None:
        return {"because": f"this amdsmi has no {name}"}
    try:
        arguments = []
        for constant in constants:
            kind, _, member = constant.partition(".")
            arguments.append(getattr(getattr(library, kind), member))
        return {"value": function(handle, *arguments)}
    except Exception as error:  # noqa: BLE001 - as above
        return {"because": _explain(name, error)}


def _explain(what: str, error: Exception) -> str:
    return f"{what}: {type(error).__name__}: {' '.join(str(error).split())}"[:300]


def main() -> None:
    """Keeps the real stdout for the document, and gives the library another one."""
    answer = os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    with os.fdopen(answer, "w", encoding="utf-8") as file:
        json.dump(probe(), file, default=str)
    os._exit(0)  # the library's threads and destructors are not waited for


if __name__ == "__main__":
    main()
