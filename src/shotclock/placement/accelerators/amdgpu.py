"""An AMD device as the amdgpu driver shows it in sysfs.

https://docs.kernel.org/gpu/amdgpu/driver-misc.html and amdgpu/ras.html document the files.
"""

from __future__ import annotations

import re

from shotclock.placement.accelerators.pci import PciFunction
from shotclock.placement.accelerators.record import Device, ErrorCount
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, Integer, Number, Text, is_known, or_else, prefer, scale

MODULE = "sys/module/amdgpu"
ROCM = "opt/rocm/.info/version"
SEVERITIES = {"ue": "uncorrectable", "ce": "correctable", "de": "deferred"}
UMC_BIT = 1
"""Of the mask in ras/features: the memory controllers' errors are counted."""
_PAGE = re.compile(r"0x[0-9a-fA-F]+\s*:\s*0x[0-9a-fA-F]+\s*:\s*([RPF])")


def read_device(tree: Tree, function: PciFunction) -> Device:
    """The function's figures."""
    path = function.path
    busy = _percent(tree.integer(f"{path}/mem_busy_percent"))
    mask = _read_ras_mask(tree, path)
    return Device(
        address=function.address,
        vendor=function.vendor,
        name=tree.text(f"{path}/product_name"),
        uuid=_uuid(tree.text(f"{path}/unique_id")),
        card=function.card,
        driver=read_driver_name(tree, path),
        numa_node=tree.integer(f"{path}/numa_node"),
        compute_partition=tree.text(f"{path}/current_compute_partition"),
        memory_partition=tree.text(f"{path}/current_memory_partition"),
        memory_total_bytes=tree.integer(f"{path}/mem_info_vram_total"),
        memory_used_bytes=tree.integer(f"{path}/mem_info_vram_used"),
        memory_busy_ratio=busy,
        memory_maximum_bytes_per_s=Absent("sysfs does not have it"),
        memory_bandwidth_ratio=busy,
        memory_bandwidth_method="estimate" if is_known(busy) else Absent("the busy share is not known"),
        has_ecc=mask if isinstance(mask, Absent) else bool(mask & UMC_BIT),
        ecc=_read_errors(tree, path, mask),
        retired_pages=_read_retired_pages(tree, path, mask),
        power_w=scale(_first(tree, path, r"power1_(average|input)"), 1e-6),
        temperature_c=scale(_read_temperature(tree, path, ("junction", "edge")), 1e-3),
        memory_temperature_c=scale(_read_temperature(tree, path, ("mem",)), 1e-3),
        pcie_replays=tree.integer(f"{path}/pcie_replay_count"),
        vbios=tree.text(f"{path}/vbios_version"),
        firmware=_read_firmware(tree, path),
    )


def read_changing(tree: Tree, function: PciFunction) -> Device:
    """What may change from one call to the next, in few reads; the other figures are absent."""
    path = function.path
    busy = _percent(tree.integer(f"{path}/mem_busy_percent"))
    return Device(
        address=function.address,
        vendor=function.vendor,
        memory_used_bytes=tree.integer(f"{path}/mem_info_vram_used"),
        memory_bandwidth_ratio=busy,
        memory_bandwidth_method="estimate" if is_known(busy) else Absent("the busy share is not known"),
        ecc=_read_errors(tree, path, _read_ras_mask(tree, path)),
        pcie_replays=tree.integer(f"{path}/pcie_replay_count"),
    )


def read_driver_name(tree: Tree, path: str) -> Text:
    """The kernel module that is bound to the device."""
    resolved = tree.resolve(f"{path}/driver")
    return resolved if isinstance(resolved, Absent) else resolved.rpartition("/")[2]


def read_driver(tree: Tree) -> str:
    """The amdgpu module's version, or its source checksum if it was built with the kernel; "" if it is not
    loaded or reports neither.
    """
    if version := or_else(tree.text(f"{MODULE}/version"), ""):
        return version
    source = or_else(tree.text(f"{MODULE}/srcversion"), "")
    return f"the kernel's own, srcversion {source}" if source else ""


def read_rocm(tree: Tree) -> str:
    """The installed ROCm's version; "" if the usual file does not exist."""
    return or_else(tree.text(ROCM), "")


def _uuid(unique_id: Text) -> Text:
    """As ROCR_VISIBLE_DEVICES takes it."""
    if isinstance(unique_id, Absent):
        return unique_id
    digits = unique_id.lower().removeprefix("0x")
    if not re.fullmatch(r"[0-9a-f]{1,16}", digits) or int(digits, 16) == 0:
        return Absent(f"unique_id is not an identity (got {unique_id!r})")
    return f"GPU-{digits:0>16}"


def _percent(value: Integer) -> Number:
    if isinstance(value, Absent):
        return value
    return value / 100 if value <= 100 else Absent(f"is not a percentage (got {value})")


def _read_ras_mask(tree: Tree, path: str) -> Integer:
    """Which blocks count errors, a bit each."""
    text = tree.content(f"{path}/ras/features")
    if isinstance(text, Absent):
        return text
    match = re.search(r"feature mask:\s*(0x[0-9a-fA-F]{1,16})", text)
    return int(match[1], 16) if match else Absent(f"/{path}/ras/features: has no feature mask")


def _read_errors(tree: Tree, path: str, mask: Integer) -> tuple[ErrorCount, ...] | Absent:
    """Counts of every block; a 0 is trusted only where the driver says that it counts."""
    files = {name.removesuffix("_err_count"): name for name in tree.names(f"{path}/ras", r"\w+_err_count")}
    newer = {name.removeprefix("aca_"): name for name in tree.names(f"{path}/ras", r"aca_\w+")}
    errors, because = [], f"/{path}/ras: has no error counts"
    for block, name in sorted((newer | files).items()):
        text = tree.content(f"{path}/ras/{name}")
        if isinstance(text, Absent):
            because = text.because
            continue
        counts = re.findall(r"\b(ue|ce|de)\s*:\s*(\d{1,19})\b", text)
        if not counts:
            because = f"/{path}/ras/{name}: has no counts"
        is_counting = is_known(mask) and (block != "umc" or bool(or_else(mask, 0) & UMC_BIT))
        for severity, count in counts:
            if int(count) or is_counting:
                errors.append(ErrorCount(block, SEVERITIES[severity], int(count)))
            else:
                because = _explain_zero(mask)
    return tuple(errors) if errors else Absent(because)


def _explain_zero(mask: Integer) -> str:
    if isinstance(mask, Absent):
        return f"a count of 0 is not trusted: {mask.because}"
    return "a count of 0 is not trusted: ras/features says that the memory's errors are not counted"


def _read_retired_pages(tree: Tree, path: str, mask: Integer) -> Integer:
    """Lines of address, size and R (retired), P (pending) or F (cannot be retired)."""
    file = f"{path}/ras/gpu_vram_bad_pages"
    text = tree.content(file)
    if isinstance(text, Absent):
        return text
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    states = [_PAGE.fullmatch(line) for line in lines]
    if not all(states):
        return Absent(f"/{file}: is not a list of pages")
    pages = sum(match[1] == "R" for match in states if match)
    return pages if pages or is_known(mask) else Absent(_explain_zero(mask))


def _first(tree: Tree, path: str, pattern: str) -> Integer:
    """The first readable sensor of that name."""
    value: Integer = Absent(f"/{path}/hwmon: has no sensor {pattern}")
    for sensor in tree.names(f"{path}/hwmon", r"hwmon\d+"):
        for name in tree.names(f"{path}/hwmon/{sensor}", pattern):
            value = prefer(tree.integer(f"{path}/hwmon/{sensor}/{name}"), value)
    return value


def _read_temperature(tree: Tree, path: str, labels: tuple[str, ...]) -> Integer:
    """Of the first of these labels that has a reading."""
    value: Integer = Absent(f"/{path}/hwmon: has no temperature {' or '.join(labels)}")
    for sensor in tree.names(f"{path}/hwmon", r"hwmon\d+"):
        folder = f"{path}/hwmon/{sensor}"
        inputs = {
            tree.text(f"{folder}/{name}"): f"{folder}/{name.removesuffix('_label')}_input"
            for name in tree.names(folder, r"temp\d+_label")
        }
        for label in labels:
            if label in inputs:
                value = prefer(value, tree.integer(inputs[label]))
    return value


def _read_firmware(tree: Tree, path: str) -> dict[str, str]:
    names = tree.names(f"{path}/fw_version", r"\w+")
    versions = {name.removesuffix("_fw_version"): tree.text(f"{path}/fw_version/{name}") for name in names}
    return {
        block: str(version)
        for block, version in sorted(versions.items())
        if is_known(version) and str(version).strip("0x")
    }
