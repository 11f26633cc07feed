"""The accelerators that a process may use, by the masks that its scheduler set.

ROCm applies ROCR_VISIBLE_DEVICES first (numbers or UUIDs), then HIP_VISIBLE_DEVICES or CUDA_VISIBLE_DEVICES
to what that leaves: https://rocm.docs.amd.com/en/latest/conceptual/gpu-isolation.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shotclock.placement.accelerators.record import Accelerator

OF_ROCM = "ROCR_VISIBLE_DEVICES"
OF_PROGRAM = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
"""The first that is set counts."""


def select_visible(
    accelerators: Sequence[Accelerator], environ: Mapping[str, str]
) -> tuple[Accelerator, ...]:
    """Those that the masks leave; all of them without a mask."""
    visible = _apply(accelerators, environ.get(OF_ROCM))
    return _apply(visible, next((environ[name] for name in OF_PROGRAM if name in environ), None))


def _apply(accelerators: Sequence[Accelerator], mask: str | None) -> tuple[Accelerator, ...]:
    """In the mask's order, up to its first entry that names none, as the runtimes do."""
    if mask is None:
        return tuple(accelerators)
    by_entry = {str(number): each for number, each in enumerate(accelerators)}
    by_entry |= {each.id.lower(): each for each in accelerators}
    chosen: dict[str, Accelerator] = {}
    for entry in mask.split(","):
        each = by_entry.get(entry.strip().lower())
        if each is None:
            break
        chosen[each.id] = each
    return tuple(chosen.values())
