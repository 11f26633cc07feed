"""Where a call comes from, in gRPC metadata: its allocation, and whether it was sent elsewhere before."""

from __future__ import annotations

import re
from typing import Any

from shotclock.domain.accounting import HERE, Allocation, Origin
from shotclock.domain.errors import SettingsError

ALLOCATION = "shotclock-allocation"
"""Job id, account and user, separated by semicolons; each may be empty."""
REPEATED = "shotclock-repeated"
"""How often it was sent before, and how many seconds ago for the first time, separated by a semicolon."""
_REPEATED = re.compile(r"([1-9][0-9]{0,2});([0-9]{1,6}(?:\.[0-9]{1,6})?)")
SEPARATOR = ";"


def origin_metadata(origin: Origin) -> tuple[tuple[str, str], ...]:
    """The metadata to send with a call."""
    allocation = origin.allocation
    labels = (allocation.job, allocation.account, allocation.user)
    named = ((ALLOCATION, SEPARATOR.join(labels)),) if any(labels) else ()
    return (*named, (REPEATED, f"{origin.repeats};{origin.age_s:.6f}")) if origin.repeats else named


def read_origin(context: Any) -> Origin:
    """What the caller sent. Raises SettingsError on what `origin_metadata` does not make."""
    sent = {key: value for key, value in context.invocation_metadata() or () if key in {ALLOCATION, REPEATED}}
    if not sent:
        return HERE
    labels = str(sent.get(ALLOCATION, SEPARATOR * 2)).split(SEPARATOR)
    if len(labels) != 3:
        raise SettingsError(f"allocation: must be job, account and user (got {len(labels)} labels)")
    repeated = _REPEATED.fullmatch(str(sent.get(REPEATED, "")))
    if repeated is None:
        if REPEATED in sent:
            raise SettingsError(f"{REPEATED}: must be a count and seconds (got {str(sent[REPEATED])[:40]!r})")
        return Origin(Allocation(*labels))
    return Origin(Allocation(*labels), int(repeated[1]), float(repeated[2]))
