"""Traps of a site's set-up that no error reports: QRMI's names, its sessions, and Aer without the GPU.

QRMI 0.23 renamed QRMI_IBM_QRS_* to QRMI_IBM_QCS_*. The Slurm plugin ignores a `--qpu` name that its
configuration lacks. A session is dedicated and lasts 28,800 s unless its variables say otherwise.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

CONFIGURATION = "etc/slurm/qrmi_config.json"
"""Where the plugin's configuration is by its own instructions; plugstack.conf may name another file."""
PLUGSTACK = "etc/slurm/plugstack.conf"
STALE = re.compile(r"(?:.*_)?QRMI_IBM_QRS_\w+")
NAMED = re.compile(r"spank_qrmi\S*\s+(\S+\.json)")
DEFAULT_TTL_S = 28_800.0
MOST_BYTES = 1024 * 1024
ROCM_BUILD = (
    "build Aer from source for ROCm: CMAKE_ARGS='-DAER_THRUST_BACKEND=ROCM -DAER_ROCM_ARCH=gfx942' "
    "QISKIT_AER_PACKAGE_NAME=qiskit-aer-gpu-rocm pip install --no-binary :all: git+https://github.com/Qiskit/qiskit-aer"
)


@dataclass(frozen=True, slots=True)
class Trap:
    """What is set up so that it fails or costs without a word. name: what was looked at; fix: what to do."""

    name: str
    details: str
    fix: str


def find_traps(
    environment: Mapping[str, str],
    root: Path,
    backend: str,
    *,
    has_amd: bool = False,
    list_aer_devices: Callable[[], tuple[str, ...]] = tuple,
) -> Iterator[Trap]:
    """Every trap of this host.

    backend: QRMI's name of the QPU; "" where QRMI is not used.
    has_amd: whether the host has an AMD accelerator.
    list_aer_devices: the devices that the installed Aer computes on; asked for only with an AMD accelerator.
    """
    yield from _find_stale_names(environment)
    if backend:
        yield from _find_unknown_qpu(root, backend)
        yield from _find_long_session(environment, backend)
    if has_amd and (devices := list_aer_devices()) and "GPU" not in devices:
        details = f"an AMD accelerator, and Qiskit Aer computes on {', '.join(devices)} alone"
        yield Trap("Aer", details, ROCM_BUILD)


def _find_stale_names(environment: Mapping[str, str]) -> Iterator[Trap]:
    """A variable under the old name alone."""
    stale = sorted(
        name
        for name in environment
        if STALE.fullmatch(name) and name.replace("_IBM_QRS_", "_IBM_QCS_") not in environment
    )
    if stale:
        details = f"{', '.join(stale[:5])}{', …' if len(stale) > 5 else ''}: names from before QRMI 0.23"
        yield Trap("QRMI variables", details, "rename QRMI_IBM_QRS_ to QRMI_IBM_QCS_ in each")


def _find_unknown_qpu(root: Path, backend: str) -> Iterator[Trap]:
    """A QPU that the Slurm plugin's configuration lacks; nothing on a host without one."""
    path = _find_configuration(root)
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(MOST_BYTES))
        names = [str(resource["name"]) for resource in document["resources"]]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        fix = "make it readable JSON with a list `resources`; the plugin offers no QPU otherwise"
        yield Trap("QRMI configuration", f"{path}: {type(error).__name__}", fix)
        return
    if backend not in names:
        details = (
            f"{path} has no {backend!r} (it has {', '.join(names) or 'none'}): --qpu={backend} is ignored"
        )
        yield Trap("QRMI configuration", details, f"add {backend!r} to it, or correct quantum.backend")


def _find_configuration(root: Path) -> Path:
    try:
        named = NAMED.search((root / PLUGSTACK).read_text(encoding="utf-8", errors="replace")[:MOST_BYTES])
    except OSError:
        named = None
    return root / (named[1].lstrip("/") if named else CONFIGURATION)


def _find_long_session(environment: Mapping[str, str], backend: str) -> Iterator[Trap]:
    """A dedicated session that is charged for hours if its owner is killed."""
    for kind in ("QRMI_IBM_QCS", "QRMI_IBM_QRS"):
        prefix = f"{backend}_{kind}"
        if f"{prefix}_ENDPOINT" not in environment:
            continue
        mode = environment.get(f"{prefix}_SESSION_MODE", "") or "dedicated"
        ttl_s = _read_seconds(environment.get(f"{prefix}_SESSION_MAX_TTL", ""))
        if mode == "dedicated" and ttl_s >= DEFAULT_TTL_S:
            details = (
                f"{backend}: a dedicated session lasts {ttl_s:,.0f} s, and is charged until it is closed"
            )
            fix = f"set {prefix}_SESSION_MODE=batch, or {prefix}_SESSION_MAX_TTL to the allocation's length"
            yield Trap("QRMI session", details, fix)
        return


def _read_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        return DEFAULT_TTL_S
    return seconds if math.isfinite(seconds) else DEFAULT_TTL_S
