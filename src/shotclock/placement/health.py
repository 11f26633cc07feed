"""Judges a host's health from each reading of it; what follows is the settings' choice, by cause."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shotclock.domain.plural import count
from shotclock.placement.accelerators.record import ECC_OFF
from shotclock.placement.components import Record, find_changes, needs_acknowledgement
from shotclock.placement.error_bursts import BurstRules, BurstWatch
from shotclock.placement.topology import Host, HostView
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, Integer

Action = Literal["warn", "degrade", "refuse"]
"""Report it; come after healthy hosts too; be not ready, and do not start, too."""
Cause = Literal["ecc_off", "unpinned", "change", "transfer_errors"]
FIXES: dict[Cause, str] = {
    "ecc_off": "enable ECC and load the driver again",
    "unpinned": "raise the limit of locked memory (`ulimit -l`, LimitMEMLOCK=)",
    "change": "check them, then run `shotclock topology acknowledge`",
    "transfer_errors": "check the slot, the cable or the link",
}
LIMITS = "proc/self/limits"
_LOCKED = re.compile(r"^Max locked memory\s+(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. action: what follows."""

    cause: Cause
    text: str
    action: Action

    def __str__(self) -> str:
        return f"{self.text}; {FIXES[self.cause]}"


@dataclass(frozen=True, slots=True)
class HealthRules:
    """What is wrong, and what follows.

    actions: by cause
    read_record: the acknowledged versions; None where none were, so that no change is known
    pinned_bytes: that transfers pin
    bursts: what a burst of transfer errors is
    """

    actions: Mapping[Cause, Action]
    read_record: Callable[[], Record | None]
    pinned_bytes: int
    bursts: BurstRules


class HealthJudge:
    """`judge` each reading, in one thread: errors are counted from one reading to the next.

    clock: seconds.
    bursts: of transfer errors, as judged last.
    """

    def __init__(self, tree: Tree, rules: HealthRules, clock: Callable[[], float] = time.monotonic) -> None:
        self._tree = tree
        self._rules = rules
        self._clock = clock
        self.bursts = BurstWatch(rules.bursts)

    def judge(self, view: HostView) -> tuple[Finding, ...]:
        """What is wrong at present."""
        texts: dict[Cause, Sequence[str]] = {
            "ecc_off": [each for each in view.problems if each.endswith(ECC_OFF)],
            "unpinned": list(self._find_unpinned(view.host)),
            "change": list(self._find_changes(view.host)),
            "transfer_errors": self.bursts.observe(view.host, self._clock()),
        }
        actions = self._rules.actions
        return tuple(Finding(cause, text, actions[cause]) for cause in texts for text in texts[cause])

    def _find_unpinned(self, host: Host) -> Iterator[str]:
        if not host.accelerators and not host.fabric("rdma").devices:
            return
        limit, needed = read_lock_limit(self._tree), self._rules.pinned_bytes
        if not isinstance(limit, Absent) and limit < needed:
            yield f"buffers are not pinned: {limit:,} bytes may be locked, {needed:,} are needed"

    def _find_changes(self, host: Host) -> Iterator[str]:
        record = self._rules.read_record()
        if record is None:
            return
        if changes := needs_acknowledgement(find_changes(record, host.components)):
            listed = ", ".join(map(str, changes[:3])) + (", …" if len(changes) > 3 else "")
            yield f"{count(len(changes), 'version')} not acknowledged: {listed}"


def read_lock_limit(tree: Tree) -> Integer:
    """Bytes that this process may lock in memory; absent where there is no limit."""
    text = tree.content(LIMITS)
    if isinstance(text, Absent):
        return text
    match = _LOCKED.search(text)
    if match is None or not match[1].isdecimal():
        return Absent(f"/{LIMITS}: sets no limit of locked memory")
    return int(match[1])


def list_other_problems(view: HostView) -> tuple[str, ...]:
    """The reading's problems that no action of the settings decides on."""
    return tuple(each for each in view.problems if not each.endswith(ECC_OFF))
