"""Where a call comes from, in gRPC metadata: its allocation, and whether it was sent elsewhere before."""

from __future__ import annotations

from typing import Any

from shotclock.domain.accounting import Allocation, Origin
from shotclock.domain.errors import SettingsError

ALLOCATION = "shotclock-allocation"
"""Job id, account and user, separated by semicolons; each may be empty."""
REPEATED = "shotclock-repeated"
SEPARATOR = ";"


def origin_metadata(origin: Origin) -> tuple[tuple[str, str], ...]:
    """The metadata to send with a call."""
    allocation = origin.allocation
    labels = (allocation.job, allocation.account, allocation.user)
    named = ((ALLOCATION, SEPARATOR.join(labels)),) if any(labels) else ()
    return (*named, (REPEATED, "1")) if origin.is_repeated else named


def read_origin(context: Any) -> Origin:
    """What the caller sent. Raises SettingsError on labels that are not as `Allocation` has them."""
    sent = {key: value for key, value in context.invocation_metadata() or () if key in {ALLOCATION, REPEATED}}
    labels = str(sent.get(ALLOCATION, SEPARATOR * 2)).split(SEPARATOR)
    if len(labels) != 3:
        raise SettingsError(f"allocation: must be job, account and user (got {len(labels)} labels)")
    return Origin(Allocation(*labels), sent.get(REPEATED) == "1")
