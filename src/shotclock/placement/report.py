"""A host's view as text, for the wire, and back. What another host sends is not trusted."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from shotclock.domain.untrusted import find_fault
from shotclock.placement.fabrics.cxl import CxlMemory
from shotclock.placement.fabrics.pcie import PcieLink
from shotclock.placement.fabrics.rdma import RdmaDevice
from shotclock.placement.fabrics.ualink import UALink
from shotclock.placement.fabrics.xgmi import Hive
from shotclock.placement.topology import HostView

MOST_CHARACTERS = 16 << 20
"""Of one host: eight devices of eight partitions, each linked to all others, are about 0.8 million."""
KINDS: dict[str, type] = {
    "xgmi": Hive,
    "ualink": UALink,
    "cxl": CxlMemory,
    "rdma": RdmaDevice,
    "pcie": PcieLink,
}
_VIEW = TypeAdapter(HostView)


class InvalidReportError(Exception):
    """A report that no host of ours would send; one line."""


def write_report(view: HostView) -> str:
    """JSON, from which `read_report` makes an equal view."""
    return _VIEW.dump_json(view).decode()


def read_report(text: str) -> HostView:
    """The view. Raises InvalidReportError."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidReportError(f"has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read")
    try:
        view = _VIEW.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "its text"
        raise InvalidReportError(f"{place[:200]}: {first['msg'][:200]}") from None
    fault = find_fault(view) or _find_misplaced(view)
    if fault:
        raise InvalidReportError(fault)
    return view


def _find_misplaced(view: HostView) -> str:
    kinds = [fabric.kind for fabric in view.host.fabrics]
    if kinds != list(KINDS):
        return f"host.fabrics: must be {', '.join(KINDS)} (got {', '.join(kinds)[:200] or 'none'})"
    for fabric in view.host.fabrics:
        if not all(isinstance(device, KINDS[fabric.kind]) for device in fabric.devices):
            return f"host.fabrics: {fabric.kind} has a device of another kind"
    return ""
