"""Scheduled faults: a grammar for rules, and a plan that decides which faults a request gets. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import Enum, StrEnum

import numpy as np

from shotclock.domain.errors import SettingsError


class Scope(Enum):
    """The requests that a rule counts."""

    REQUEST = "request"
    """Every request of the API except token requests."""
    SUBMIT = "submit"
    """Every POST of a job."""


class InjectedFault(StrEnum):
    """The kinds of faults. Those in `SUBMIT_FAULTS` affect a submit or its job."""

    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    CONFLICT = "409"
    TOO_MANY_REQUESTS = "1202"
    PENDING_LIMIT = "3458"
    SERVER_ERROR = "500"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    GATEWAY_TIMEOUT = "504"
    SLOW = "slow"
    DROP = "drop"
    DROP_BEFORE = "drop-before"
    FAIL = "fail"
    CANCEL = "cancel"
    RAN_TOO_LONG = "1305"
    CORRUPT = "corrupt"
    LATE = "late"
    MAINTENANCE = "maintenance"
    CALIBRATION = "calibration"
    EXHAUSTED = "exhausted"


MEANINGS: dict[InjectedFault, str] = {
    InjectedFault.UNAUTHORIZED: "a request is refused with 401",
    InjectedFault.FORBIDDEN: "a submit is refused with 403",
    InjectedFault.CONFLICT: "a submit is refused with 409, the instance's limit",
    InjectedFault.TOO_MANY_REQUESTS: "a submit is refused with 429 and code 1202, too many requests",
    InjectedFault.PENDING_LIMIT: "a submit is refused with 429 and code 3458, too many pending jobs",
    InjectedFault.SERVER_ERROR: "a request ends in 500",
    InjectedFault.BAD_GATEWAY: "a request ends in 502",
    InjectedFault.UNAVAILABLE: "a request ends in 503",
    InjectedFault.GATEWAY_TIMEOUT: "a request ends in 504",
    InjectedFault.SLOW: "a request is answered 3 s late",
    InjectedFault.DROP: "the connection is cut after a submit took effect",
    InjectedFault.DROP_BEFORE: "the connection is cut before a submit took effect",
    InjectedFault.FAIL: "a job fails half-way because of a system error, and is not charged",
    InjectedFault.CANCEL: "a job is cancelled by the service before it runs",
    InjectedFault.RAN_TOO_LONG: "a job is cancelled half-way with code 1305, and charged",
    InjectedFault.CORRUPT: "a job's results are cut in half",
    InjectedFault.LATE: "a job's end becomes visible 30 emulated s later",
    InjectedFault.MAINTENANCE: "the devices are in maintenance for 60 emulated s: jobs wait",
    InjectedFault.CALIBRATION: "the devices are calibrated: properties and their date change",
    InjectedFault.EXHAUSTED: "the instance's usage is exhausted until faults are cleared: jobs wait",
}

SUBMIT_FAULTS = frozenset(
    {
        InjectedFault.FORBIDDEN,
        InjectedFault.CONFLICT,
        InjectedFault.TOO_MANY_REQUESTS,
        InjectedFault.PENDING_LIMIT,
        InjectedFault.DROP,
        InjectedFault.DROP_BEFORE,
        InjectedFault.FAIL,
        InjectedFault.CANCEL,
        InjectedFault.RAN_TOO_LONG,
        InjectedFault.CORRUPT,
        InjectedFault.LATE,
    }
)

ALIASES = {"429": "1202", "timeout": "1305"}
GRAMMAR = re.compile(
    r"(?P<kind>[a-z0-9-]+?)"
    r"(?:@(?P<first>\d{1,9})(?:-(?P<last>\d{1,9}))?|/(?P<every>\d{1,9})|:(?P<rate>[\d.]+))?"
)


@dataclass(frozen=True, slots=True)
class FaultRule:
    """When a fault occurs, by the number of requests in its scope since the rule was added.

    fault: the kind
    first, last: range of request numbers, counted from 1
    every: or every N-th request
    rate: or each request with this probability
    """

    fault: InjectedFault
    first: int = 0
    last: int = 0
    every: int = 0
    rate: float = 0.0

    @property
    def scope(self) -> Scope:
        """Which requests the rule counts."""
        return Scope.SUBMIT if self.fault in SUBMIT_FAULTS else Scope.REQUEST


def parse(text: str) -> FaultRule:
    """`KIND@N`, `KIND@N-M`, `KIND/N` (every N-th), `KIND:RATE`, or `KIND` (the next).

    Raises SettingsError on anything else, with the nearest kind.
    """
    match = GRAMMAR.fullmatch(text.strip().lower())
    if match is None:
        raise SettingsError(f"--fault {text!r}: expected KIND, KIND@N, KIND@N-M, KIND/N or KIND:RATE")
    kind = ALIASES.get(match["kind"], match["kind"])
    kinds = [fault.value for fault in InjectedFault]
    if kind not in kinds:
        near = difflib.get_close_matches(kind, [*kinds, *ALIASES], n=1, cutoff=0.0)[0]
        raise SettingsError(
            f"--fault {text!r}: no fault {kind!r}; did you mean {near!r}? known: {', '.join(kinds)}"
        )
    fault = InjectedFault(kind)
    if match["every"]:
        return FaultRule(fault, every=_check_positive(text, int(match["every"])))
    if match["rate"]:
        return FaultRule(fault, rate=_parse_rate(text, match["rate"]))
    first = _check_positive(text, int(match["first"] or 1))
    last = int(match["last"] or first)
    if last < first:
        raise SettingsError(f"--fault {text!r}: the range ends before it begins")
    return FaultRule(fault, first=first, last=last)


def _check_positive(text: str, number: int) -> int:
    if number < 1:
        raise SettingsError(f"--fault {text!r}: requests are counted from 1")
    return number


def _parse_rate(text: str, rate: str) -> float:
    try:
        probability = float(rate)
    except ValueError as error:
        raise SettingsError(f"--fault {text!r}: the rate is not a number") from error
    if not 0.0 <= probability <= 1.0:
        raise SettingsError(f"--fault {text!r}: the rate must be between 0 and 1")
    return probability


class FaultPlan:
    """Decides which faults a request gets; deterministic for a seed, rules and requests."""

    def __init__(self, rules: tuple[FaultRule, ...], seed: int) -> None:
        self._seed = seed
        self._counts = dict.fromkeys(Scope, 0)
        self._rules_added = 0
        self._rules: list[tuple[FaultRule, int, np.random.Generator]] = []
        self.struck: list[InjectedFault] = []
        for rule in rules:
            self.add(rule)

    def add(self, rule: FaultRule) -> None:
        """Adds a rule, which counts requests from now on."""
        rng = np.random.default_rng((self._seed, self._rules_added))
        self._rules.append((rule, self._counts[rule.scope], rng))
        self._rules_added += 1

    def clear(self) -> None:
        """Removes all rules."""
        self._rules.clear()

    @property
    def rules(self) -> tuple[FaultRule, ...]:
        """The active rules."""
        return tuple(rule for rule, _, _ in self._rules)

    def strike(self, scope: Scope) -> tuple[InjectedFault, ...]:
        """The faults of the next request in this scope, in the order of the rules."""
        self._counts[scope] += 1
        struck = tuple(
            rule.fault
            for rule, base, rng in self._rules
            if rule.scope is scope and _strikes(rule, self._counts[scope] - base, rng)
        )
        self.struck.extend(struck)
        return struck


def _strikes(rule: FaultRule, count: int, rng: np.random.Generator) -> bool:
    if rule.rate:
        return bool(rng.random() < rule.rate)
    if rule.every:
        return count % rule.every == 0
    return rule.first <= count <= rule.last
