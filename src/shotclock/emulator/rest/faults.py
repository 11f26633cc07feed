"""Faults by schedule or by request: a grammar, and a plan that decides what befalls each request. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import Enum, StrEnum

import numpy as np

from shotclock.domain.errors import SettingsError


class Scope(Enum):
    """What a rule counts."""

    REQUEST = "request"
    """Every request of the API, tokens apart."""
    SUBMIT = "submit"
    """Every POST of a job."""


class Fault(StrEnum):
    """What can go wrong. Those of `SUBMIT_FAULTS` befall a submit or the job it makes."""

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


MEANINGS: dict[Fault, str] = {
    Fault.UNAUTHORIZED: "a request is refused: 401",
    Fault.FORBIDDEN: "a submit is refused: 403",
    Fault.CONFLICT: "a submit is refused: 409, the instance's limit",
    Fault.TOO_MANY_REQUESTS: "a submit is refused: 429 with code 1202, too many requests",
    Fault.PENDING_LIMIT: "a submit is refused: 429 with code 3458, too many pending jobs",
    Fault.SERVER_ERROR: "a request ends in 500",
    Fault.BAD_GATEWAY: "a request ends in 502",
    Fault.UNAVAILABLE: "a request ends in 503",
    Fault.GATEWAY_TIMEOUT: "a request ends in 504",
    Fault.SLOW: "a request is answered 3 s late",
    Fault.DROP: "the connection is cut after a submit took effect",
    Fault.DROP_BEFORE: "the connection is cut before a submit took effect",
    Fault.FAIL: "a job fails half-way by the system's fault, and is not charged",
    Fault.CANCEL: "a job is cancelled by the service before it runs",
    Fault.RAN_TOO_LONG: "a job is cancelled half-way with code 1305, and charged",
    Fault.CORRUPT: "a job's results are cut in half",
    Fault.LATE: "a job's end shows 30 emulated s after it",
    Fault.MAINTENANCE: "the devices are in maintenance for 60 emulated s: jobs wait",
    Fault.CALIBRATION: "the devices are calibrated: properties and their date change",
    Fault.EXHAUSTED: "the instance's usage is exhausted until faults are cleared: jobs wait",
}

SUBMIT_FAULTS = frozenset(
    {
        Fault.FORBIDDEN,
        Fault.CONFLICT,
        Fault.TOO_MANY_REQUESTS,
        Fault.PENDING_LIMIT,
        Fault.DROP,
        Fault.DROP_BEFORE,
        Fault.FAIL,
        Fault.CANCEL,
        Fault.RAN_TOO_LONG,
        Fault.CORRUPT,
        Fault.LATE,
    }
)

ALIASES = {"429": "1202", "timeout": "1305"}
GRAMMAR = re.compile(
    r"(?P<kind>[a-z0-9-]+?)"
    r"(?:@(?P<first>\d{1,9})(?:-(?P<last>\d{1,9}))?|/(?P<every>\d{1,9})|:(?P<rate>[\d.]+))?"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """When a fault strikes, by the count of requests in its scope from 1.

    At first to last; or at every `every`-th; or each time with the chance `rate`.
    """

    fault: Fault
    first: int = 0
    last: int = 0
    every: int = 0
    rate: float = 0.0

    @property
    def scope(self) -> Scope:
        """Which requests the rule counts."""
        return Scope.SUBMIT if self.fault in SUBMIT_FAULTS else Scope.REQUEST


def parse(text: str) -> Rule:
    """`KIND@N`, `KIND@N-M`, `KIND/N` (every N-th), `KIND:RATE`, or `KIND` (the next).

    Raises SettingsError on anything else, with the nearest kind.
    """
    found = GRAMMAR.fullmatch(text.strip().lower())
    if found is None:
        raise SettingsError(f"--fault {text!r}: wants KIND, KIND@N, KIND@N-M, KIND/N or KIND:RATE")
    kind = ALIASES.get(found["kind"], found["kind"])
    known = [fault.value for fault in Fault]
    if kind not in known:
        near = difflib.get_close_matches(kind, [*known, *ALIASES], n=1, cutoff=0.0)[0]
        raise SettingsError(
            f"--fault {text!r}: no fault {kind!r}; did you mean {near!r}? known: {', '.join(known)}"
        )
    fault = Fault(kind)
    if found["every"]:
        return Rule(fault, every=_positive(text, int(found["every"])))
    if found["rate"]:
        return Rule(fault, rate=_chance(text, found["rate"]))
    first = _positive(text, int(found["first"] or 1))
    last = int(found["last"] or first)
    if last < first:
        raise SettingsError(f"--fault {text!r}: the range ends before it begins")
    return Rule(fault, first=first, last=last)


def _positive(text: str, number: int) -> int:
    if number < 1:
        raise SettingsError(f"--fault {text!r}: requests are counted from 1")
    return number


def _chance(text: str, rate: str) -> float:
    try:
        chance = float(rate)
    except ValueError as error:
        raise SettingsError(f"--fault {text!r}: the rate is no number") from error
    if not 0.0 <= chance <= 1.0:
        raise SettingsError(f"--fault {text!r}: a rate is between 0 and 1")
    return chance


class FaultPlan:
    """Decides which faults strike a request. The same seed, rules and requests give the same faults."""

    def __init__(self, rules: tuple[Rule, ...], seed: int) -> None:
        self._seed = seed
        self._counts = dict.fromkeys(Scope, 0)
        self._made = 0
        self._rules: list[tuple[Rule, int, np.random.Generator]] = []
        self.struck: list[Fault] = []
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        """From now on this rule holds too; it counts from here."""
        rng = np.random.default_rng((self._seed, self._made))
        self._rules.append((rule, self._counts[rule.scope], rng))
        self._made += 1

    def clear(self) -> None:
        """No rule holds any more."""
        self._rules.clear()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that hold."""
        return tuple(rule for rule, _, _ in self._rules)

    def strike(self, scope: Scope) -> tuple[Fault, ...]:
        """What befalls the next request of this scope, in the order of the rules."""
        self._counts[scope] += 1
        struck = tuple(
            rule.fault
            for rule, base, rng in self._rules
            if rule.scope is scope and _strikes(rule, self._counts[scope] - base, rng)
        )
        self.struck.extend(struck)
        return struck


def _strikes(rule: Rule, count: int, rng: np.random.Generator) -> bool:
    if rule.rate:
        return bool(rng.random() < rule.rate)
    if rule.every:
        return count % rule.every == 0
    return rule.first <= count <= rule.last
