"""Chooses the host of quantum-bound work: matching fabric, then RTT p95, then free memory, then load.

Each rule keeps the candidates that are as good as the best one within its tolerance, and the next rule
decides among those. Unlike a sort by weighted figures that gives a reason a person can check, and two
hosts that differ by less than the measurement's noise are equal.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from shotclock.domain.hosts import Endpoint, HostState, Rtt
from shotclock.domain.plural import count
from shotclock.placement.narrowing import Bools, Float64s, Narrowing, NoCandidateError, Step
from shotclock.placement.rules import DEFAULT_RULES, NO_NEEDS, Needs, Rules

MIB = 2**20
TAKES_CALLS = "whose health policy takes calls"


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen host and why.

    host: its name; None where there is no candidate.
    because: one line.
    steps: the rules that removed candidates, in order.
    lacks_needs: hosts have reported, and none has what the work must have.
    """

    host: str | None
    because: str
    steps: tuple[Step, ...] = ()
    lacks_needs: bool = False

    def __str__(self) -> str:
        return f"{self.host or 'no host'}: {self.because}"


def choose_host(
    hosts: Iterable[HostState],
    endpoint: Endpoint,
    needs: Needs = NO_NEEDS,
    *,
    rules: Rules = DEFAULT_RULES,
    current: str = "",
    key: str = "",
) -> Choice:
    """The host that quantum-bound work for this endpoint should run on, from states of this instant.

    current: the host it runs on; it stays while the rules leave it among the equals.
    key: spreads different callers over equal hosts; the same key always gets the same one.
    """
    site = Site(rules)
    for state in hosts:
        site.update(state, 0.0)
    return site.choose(endpoint, needs, now_s=0.0, current=current, key=key)


class Site:
    """The latest state of every host, in columns: a decision among thousands is a few array operations.

    Instants are those of one monotonic clock, seconds.
    """

    def __init__(self, rules: Rules = DEFAULT_RULES, capacity: int = 16) -> None:
        self.rules = rules
        self._names: list[str] = []
        self._rows: dict[str, int] = {}
        self._problems: dict[int, tuple[str, ...]] = {}
        self._free = np.full(capacity, np.nan)
        self._load = np.full(capacity, np.nan)
        self._seen_s = np.full(capacity, -np.inf)
        self._unhealthy_until_s = np.full(capacity, -np.inf)
        self._refusals: dict[int, tuple[str, ...]] = {}
        self._members: dict[str, Bools] = {}
        self._rtts: dict[str, _Rtts] = {}

    def __len__(self) -> int:
        return len(self._names)

    @property
    def refusing(self) -> frozenset[str]:
        """The hosts whose health policy refuses calls."""
        return frozenset(self._names[row] for row in self._refusals)

    @property
    def names(self) -> tuple[str, ...]:
        """Every host that has reported, in the order of its first report."""
        return tuple(self._names)

    def update(self, state: HostState, now_s: float) -> None:
        """Replaces what is known of the host; RTTs to endpoints that the state does not name are kept."""
        row = self._row(state.name)
        self._seen_s[row] = now_s - state.age_s
        self._free[row] = np.nan if state.free_memory_bytes is None else state.free_memory_bytes
        self._load[row] = np.nan if state.load is None else state.load
        self._refusals.pop(row, None)
        if state.refusals:
            self._refusals[row] = state.refusals
        if state.problems:
            self._problems[row] = state.problems
            self._unhealthy_until_s[row] = now_s - state.age_s + self.rules.quarantine_s
        for fabric in state.fabrics - self._members.keys():
            self._members[fabric] = np.zeros(len(self._free), dtype=np.bool_)
        for fabric, members in self._members.items():
            members[row] = fabric in state.fabrics
        for endpoint, rtt in state.rtts.items():
            self._rtts.setdefault(endpoint, _Rtts(len(self._free))).set(row, rtt, now_s)

    def fail(self, host: str, problem: str, now_s: float) -> None:
        """Records that a call to the host failed; it comes after the healthy ones for `quarantine_s`."""
        row = self._row(host)
        self._problems[row] = (problem,)
        self._unhealthy_until_s[row] = now_s + self.rules.quarantine_s

    def choose(
        self, endpoint: Endpoint, needs: Needs = NO_NEEDS, *, now_s: float, current: str = "", key: str = ""
    ) -> Choice:
        """See `choose_host`."""
        if not self._names:
            return Choice(None, "no host has reported")
        narrowing = Narrowing(len(self._names))
        try:
            self._require(narrowing, endpoint, needs, now_s)
        except NoCandidateError as error:
            is_heard = bool((self._seen_s[: len(self)] >= now_s - self.rules.gone_s).any())
            return Choice(None, str(error), tuple(narrowing.steps), lacks_needs=is_heard)
        self._prefer_health_and_fabric(narrowing, endpoint, now_s)
        p95_ms = self._prefer_rtt(narrowing, endpoint, now_s)
        stays = self._keep_current(narrowing, current)
        if not stays:
            self._prefer_memory_and_load(narrowing)
        row = narrowing.first if stays else self._break_tie(narrowing, key)
        because = self._explain(narrowing, row, endpoint, p95_ms)
        return Choice(self._names[row], because, tuple(narrowing.steps))

    def _row(self, name: str) -> int:
        row = self._rows.get(name)
        if row is not None:
            return row
        row = self._rows[name] = len(self._names)
        self._names.append(name)
        if row == len(self._free):
            self._grow()
        return row

    def _grow(self) -> None:
        added = len(self._free)
        self._free, self._load = _extend(self._free, np.nan, added), _extend(self._load, np.nan, added)
        self._seen_s = _extend(self._seen_s, -np.inf, added)
        self._unhealthy_until_s = _extend(self._unhealthy_until_s, -np.inf, added)
        for fabric, members in self._members.items():
            self._members[fabric] = np.concatenate([members, np.zeros(added, dtype=np.bool_)])
        for rtts in self._rtts.values():
            rtts.grow(added)

    def _require(self, narrowing: Narrowing, endpoint: Endpoint, needs: Needs, now_s: float) -> None:
        """Removes the hosts that miss a requirement; the last rule that left none is the reason."""
        hosts, rules = len(self._names), self.rules
        heard = self._seen_s[:hosts] >= now_s - rules.gone_s
        narrowing.require(heard, f"heard from in the last {rules.gone_s:g} s")
        if needs.memory_bytes:
            words = f"known to have {needs.memory_bytes / MIB:.0f} MiB free"
            narrowing.require(self._free[:hosts] >= needs.memory_bytes, words)
        if needs.same_fabric:
            narrowing.require(self._membership(endpoint, hosts), f"on a fabric of {endpoint.name}")
        if needs.rtt_p95_ms is not None:
            p95_ms = self._fresh_p95_ms(endpoint, now_s)
            words = f"with a fresh RTT p95 to {endpoint.name} of at most {needs.rtt_p95_ms:g} ms"
            narrowing.require(p95_ms <= needs.rtt_p95_ms, words)

    def _prefer_health_and_fabric(self, narrowing: Narrowing, endpoint: Endpoint, now_s: float) -> None:
        hosts = len(self._names)
        if self._refusals:
            takes = np.ones(hosts, dtype=np.bool_)
            takes[list(self._refusals)] = False
            narrowing.prefer(takes, TAKES_CALLS)
        narrowing.prefer(self._unhealthy_until_s[:hosts] <= now_s, "healthy")
        narrowing.prefer(self._membership(endpoint, hosts), f"on a fabric of {endpoint.name}")

    def _prefer_rtt(self, narrowing: Narrowing, endpoint: Endpoint, now_s: float) -> Float64s:
        """The p95 of each host, NaN where it is unknown or too old."""
        p95_ms = self._fresh_p95_ms(endpoint, now_s)
        narrowing.prefer(~np.isnan(p95_ms), f"with a fresh RTT to {endpoint.name}")
        best = narrowing.least(p95_ms)
        if best is not None:
            limit = max(best * (1.0 + self.rules.rtt_tolerance), best + self.rules.rtt_floor_ms)
            narrowing.prefer(p95_ms <= limit, f"with an RTT p95 near the lowest, {best:.3g} ms")
        return p95_ms

    def _prefer_memory_and_load(self, narrowing: Narrowing) -> None:
        hosts, rules = len(self._names), self.rules
        most = narrowing.least(-self._free[:hosts])
        if most is not None:
            enough = self._free[:hosts] >= -most * (1.0 - rules.memory_tolerance)
            narrowing.prefer(enough, f"with free memory near the most, {-most / 2**30:,.1f} GiB")
        least = narrowing.least(self._load[:hosts])
        if least is not None:
            idle = self._load[:hosts] <= least + rules.load_tolerance
            narrowing.prefer(idle, f"with a load near the lowest, {least:.0%}")

    def _keep_current(self, narrowing: Narrowing, current: str) -> bool:
        """Whether the present host stays: an equal one does not repay the loss of its warm templates."""
        row = self._rows.get(current)
        if row is None or not narrowing.candidates[row]:
            return False
        only = np.zeros(len(self._names), dtype=np.bool_)
        only[row] = True
        narrowing.prefer(only, "where the work is already")
        return True

    def _break_tie(self, narrowing: Narrowing, key: str) -> int:
        """Rendezvous hashing: a host that comes or goes moves only its own callers."""
        rows = np.flatnonzero(narrowing.candidates)
        if len(rows) > 1 and not key:
            narrowing.steps.append(Step("the first by name", 1))
            return int(min(rows, key=lambda row: self._names[row]))
        if len(rows) > 1:
            narrowing.steps.append(Step("by hash of the caller", 1))
        return int(max(rows, key=lambda row: zlib.crc32(f"{key}\0{self._names[row]}".encode())))

    def _membership(self, endpoint: Endpoint, hosts: int) -> Bools:
        members = np.zeros(hosts, dtype=np.bool_)
        for fabric in endpoint.fabrics & self._members.keys():
            members |= self._members[fabric][:hosts]
        return members

    def _fresh_p95_ms(self, endpoint: Endpoint, now_s: float) -> Float64s:
        hosts, rules = len(self._names), self.rules
        rtts = self._rtts.get(endpoint.name)
        if rtts is None:
            return np.full(hosts, np.nan)
        fresh = (rtts.at_s[:hosts] >= now_s - rules.stale_s) & (rtts.n[:hosts] >= rules.fewest_probes)
        return np.where(fresh, rtts.p95_ms[:hosts], np.nan)

    def _explain(self, narrowing: Narrowing, row: int, endpoint: Endpoint, p95_ms: Float64s) -> str:
        parts = [count(len(self._names), "host")]
        parts += [f"{step.remaining} {step.what}" for step in narrowing.steps]
        if np.isnan(p95_ms[row]):
            parts.append(f"its RTT to {endpoint.name} is unknown or too old")
        if narrowing.is_unmet(TAKES_CALLS):
            refusals = ", ".join(self._refusals[row])
            parts.append(f"its health policy refuses calls, and no other is left: {refusals}")
        elif row in self._problems and narrowing.is_unmet("healthy"):
            parts.append(f"no healthy one is left: {', '.join(self._problems[row])}")
        return "; ".join(parts)


class _Rtts:
    """The RTTs to one endpoint, in columns."""

    def __init__(self, capacity: int) -> None:
        self.p95_ms = np.full(capacity, np.nan)
        self.at_s = np.full(capacity, -np.inf)
        self.n = np.zeros(capacity, dtype=np.int64)

    def set(self, row: int, rtt: Rtt, now_s: float) -> None:
        self.p95_ms[row], self.at_s[row], self.n[row] = rtt.p95_ms, now_s - rtt.age_s, rtt.n

    def grow(self, added: int) -> None:
        self.p95_ms = _extend(self.p95_ms, np.nan, added)
        self.at_s = _extend(self.at_s, -np.inf, added)
        self.n = np.concatenate([self.n, np.zeros(added, dtype=np.int64)])


def _extend(column: Float64s, value: float, added: int) -> Float64s:
    return np.concatenate([column, np.full(added, value)])
