"""HBM, counters and idle time around calls: the page's table and the terminal's lines."""

from __future__ import annotations

from collections import Counter

from shotclock.bench.analysis import AroundCalls
from shotclock.bench.numbers import NOTHING, number, percent, span
from shotclock.bench.report.kit.grid import Cell, Grid, plain
from shotclock.bench.report.run.tables import badge
from shotclock.bench.schema import Summary
from shotclock.domain.host_figures import COUNTERS
from shotclock.domain.memory import BlockingPoint
from shotclock.domain.plural import count

GIB = 2**30
WORDS = {
    "ecc_errors": "ECC errors",
    "pcie_replays": "PCIe replays",
    "rdma_bytes": "RDMA bytes",
    "rdma_errors": "RDMA errors",
    "cxl_errors": "CXL errors",
}


def list_around(summary: Summary) -> Grid:
    """An arm a row; no groups where nothing was read. Columns are those that an arm has."""
    arms = summary.accelerators.arms if summary.accelerators else {}
    counters = [name for name in COUNTERS if any(getattr(each, name) is not None for each in arms.values())]
    rows: list[tuple[str | Cell, ...]] = [
        (
            Cell(name, badge(summary, summary.arms[name])),
            f"{around.calls:,}",
            _gib(around.hbm_used_before_bytes),
            _gib(around.hbm_used_after_bytes),
            _gib(around.hbm_used_peak_bytes),
            Cell(percent(around.hbm_bandwidth_ratio), around.hbm_bandwidth_method or ""),
            _seconds(around.gpu_idle_per_call_s),
            _seconds(around.gpu_idle_s),
            *(_count(getattr(around, counter)) for counter in counters),
        )
        for name, around in arms.items()
    ]
    head = ("arm", "calls read", "HBM before, GiB", "HBM after", "HBM peak", "bandwidth", "idle a call")
    title = "HBM in use, idle time and counters around calls"
    grid = plain(title, (*head, "idle, whole run", *(WORDS[name] for name in counters)), rows, mixed=True)
    return grid if rows else Grid(title, head)


def name_devices(summary: Summary) -> str:
    """The accelerators of the run: "8 × AMD Instinct MI300X OAM, 1,536 GiB of HBM"."""
    accelerators = summary.accelerators
    if accelerators is None or not accelerators.devices:
        return say_nothing(summary).rstrip(".")
    names = Counter(each.name or "accelerator of unknown name" for each in accelerators.devices)
    words = ", ".join(f"{how_many} × {name}" for name, how_many in sorted(names.items()))
    sizes = [each.hbm_total_bytes for each in accelerators.devices]
    total = sum(size for size in sizes if size is not None)
    return f"{words}, {total / GIB:,.0f} GiB of HBM" if None not in sizes else words


def note_clock(summary: Summary) -> str:
    """Where waits are counted on the virtual clock, nothing waited for them."""
    has_virtual = any(arm.clock == "virtual" for arm in summary.arms.values())
    return ", on the virtual clock by its time" if has_virtual else ""


def say_nothing(summary: Summary) -> str:
    """One line where nothing was read around calls."""
    because = summary.accelerators.because if summary.accelerators else "not recorded"
    if summary.accelerators and summary.accelerators.devices:
        return f"No counters were read around calls ({because})."
    return f"No accelerator on this host: {because}."


def say_point(summary: Summary) -> str:
    """From how many calls on one must wait; "" where no memory is known."""
    point = summary.accelerators.blocking_point if summary.accelerators else None
    if point is None:
        return ""
    return f"Memory: {BlockingPoint(**point.model_dump())}; a further call waits for one of them to end."


def list_lines(summary: Summary) -> list[str]:
    """A line an arm."""
    arms = summary.accelerators.arms if summary.accelerators else {}
    return [f"{name}: {_say(around)}" for name, around in arms.items()]


def _say(around: AroundCalls) -> str:
    parts = [f"{count(around.calls, 'call')} read"]
    if around.hbm_used_before_bytes is not None and around.hbm_used_after_bytes is not None:
        before, after = _gib(around.hbm_used_before_bytes), _gib(around.hbm_used_after_bytes)
        parts.append(f"HBM {before} GiB before and {after} after")
    if around.hbm_bandwidth_ratio is not None:
        parts.append(f"bandwidth {percent(around.hbm_bandwidth_ratio)} ({around.hbm_bandwidth_method})")
    if around.gpu_idle_s is not None:
        parts.append(
            f"idle {_seconds(around.gpu_idle_per_call_s)} a call, {_seconds(around.gpu_idle_s)} in all"
        )
    parts += [
        f"{WORDS[name]} {getattr(around, name):,}" for name in COUNTERS if getattr(around, name) is not None
    ]
    return ", ".join(parts)


def _gib(size: float | None) -> str:
    return NOTHING if size is None else number(size / GIB)


def _seconds(seconds: float | None) -> str:
    return NOTHING if seconds is None else span(seconds)


def _count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"
