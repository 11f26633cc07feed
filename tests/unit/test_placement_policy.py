"""Which host is chosen, by rules in order; and that the choice never breaks a requirement."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotclock.domain.hosts import Endpoint, HostState, Rtt
from shotclock.placement.policy import Site, choose_host
from shotclock.placement.rules import Needs, Rules

GIB = 2**30
QPU = Endpoint("torino", frozenset({"cxl 7"}))


def host(
    name: str, p95_ms: float | None = 1.0, *, n: int = 100, rtt_age_s: float = 0.0, **known: Any
) -> HostState:
    rtts = {} if p95_ms is None else {"torino": Rtt(p95_ms / 2, p95_ms, n, rtt_age_s)}
    return dataclasses.replace(HostState(name, rtts=rtts), **known)


REFUSING: dict[str, Any] = {"problems": ("ECC is off",), "refusals": ("ECC is off",)}
ON_FABRIC: dict[str, Any] = {"fabrics": frozenset({"cxl 7", "rdma a"})}


@pytest.mark.parametrize(
    ("hosts", "chosen"),
    [
        ([host("far", 0.1), host("near", 5.0, **ON_FABRIC)], "near"),
        ([host("a", 2.0, **ON_FABRIC), host("b", 1.0, **ON_FABRIC)], "b"),
        ([host("a", 1.0, free_memory_bytes=GIB), host("b", 1.05, free_memory_bytes=9 * GIB)], "b"),
        ([host("a", 1.0, free_memory_bytes=GIB), host("b", 1.2, free_memory_bytes=9 * GIB)], "a"),
        ([host("a", load=0.9), host("b", load=0.1)], "b"),
        ([host("a", load=None), host("b", load=0.8)], "b"),
        ([host("b"), host("a")], "a"),
        ([host("a", None), host("b", 900.0)], "b"),
        ([host("a", 1.0, rtt_age_s=61.0), host("b", 900.0)], "b"),
        ([host("a", 1.0, n=19), host("b", 900.0)], "b"),
        ([host("a", 1.0, problems=("HBM: ECC is off",)), host("b", 900.0)], "b"),
        ([host("a", 1.0, age_s=31.0), host("b", 900.0)], "b"),
        ([host("a", 1.0, **REFUSING), host("b", 900.0)], "b"),
        ([host("a", 1.0, **REFUSING), host("b", 900.0, problems=("the breaker is open",))], "b"),
    ],
    ids=[
        "fabric before RTT", "RTT", "memory among equal RTTs", "RTT before memory", "load", "known load",
        "name", "a known RTT", "a fresh RTT", "enough probes", "a healthy one", "one that reports",
        "one that takes calls", "an unhealthy one before one that refuses",
    ],
)  # fmt: skip
def test_the_first_rule_that_tells_hosts_apart_decides(hosts: list[HostState], chosen: str) -> None:
    assert choose_host(hosts, QPU).host == chosen
    assert choose_host(reversed(hosts), QPU).host == chosen


def test_an_unhealthy_host_is_better_than_none_and_the_reason_says_so() -> None:
    choice = choose_host([host("a", problems=("HBM: ECC is off",))], QPU)
    assert choice.host == "a"
    assert "no healthy one is left: HBM: ECC is off" in choice.because


def test_a_host_that_refuses_is_chosen_only_alone_and_is_equal_again_at_once_when_it_does_not() -> None:
    choice = choose_host([host("a", **REFUSING)], QPU)
    assert choice.host == "a"
    assert "its health policy refuses calls, and no other is left: ECC is off" in choice.because
    site = Site(Rules(quarantine_s=0.0))
    site.update(host("a", 1.0, **REFUSING), 0.0)
    site.update(host("b", 9.0), 0.0)
    assert site.refusing == {"a"}
    assert site.choose(QPU, now_s=1.0).host == "b"
    site.update(host("a", 1.0), 1.0)
    assert site.refusing == frozenset()
    assert site.choose(QPU, now_s=1.0, current="b").host == "a"


@pytest.mark.parametrize(
    ("hosts", "needs", "because"),
    [
        ([], Needs(), "no host has reported"),
        ([host("a", age_s=40.0)], Needs(), "no host is heard from in the last 30 s, of 1 candidate"),
        (
            [host("a"), host("b")],
            Needs(memory_bytes=GIB),
            "no host is known to have 1024 MiB free, of 2 candidates",
        ),
        ([host("a")], Needs(same_fabric=True), "no host is on a fabric of torino, of 1 candidate"),
        (
            [host("a", 3.0), host("b", 0.1, rtt_age_s=100.0)],
            Needs(rtt_p95_ms=2.0),
            "no host is with a fresh RTT p95 to torino of at most 2 ms, of 2 candidates",
        ),
    ],
)  # fmt: skip
def test_without_a_candidate_the_requirement_is_named(
    hosts: list[HostState], needs: Needs, because: str
) -> None:
    choice = choose_host(hosts, QPU, needs)
    assert (choice.host, choice.because) == (None, because)


def test_work_stays_where_it_is_among_equals_and_moves_from_a_worse_host() -> None:
    equal = [host("a", 1.0), host("b", 1.05)]
    assert choose_host(equal, QPU, current="b").host == "b"
    assert choose_host([host("a", 1.0), host("b", 2.0)], QPU, current="b").host == "a"


def test_callers_are_spread_over_equal_hosts_and_only_those_of_a_lost_one_move() -> None:
    hosts = [host(name) for name in "abcd"]
    before = {key: choose_host(hosts, QPU, key=key).host for key in map(str, range(400))}
    shares = [list(before.values()).count(name) for name in "abcd"]
    assert min(shares) > 60
    after = {key: choose_host(hosts[:-1], QPU, key=key).host for key in before}
    assert all(after[key] == name for key, name in before.items() if name != "d")


def test_a_failed_host_is_last_until_its_quarantine_ends() -> None:
    site = Site(Rules(gone_s=1e9, stale_s=1e9, quarantine_s=300.0))
    for name, p95_ms in (("a", 1.0), ("b", 9.0)):
        site.update(host(name, p95_ms), 0.0)
    site.fail("a", "a call failed", 10.0)
    assert site.choose(QPU, now_s=11.0).host == "b"
    assert site.choose(QPU, now_s=309.0).host == "b"
    assert site.choose(QPU, now_s=311.0).host == "a"


def test_a_report_replaces_fabrics_and_memory_and_keeps_the_round_trips_it_does_not_name() -> None:
    site = Site()
    site.update(host("a", 1.0, free_memory_bytes=GIB, **ON_FABRIC), 0.0)
    site.update(HostState("a"), 5.0)
    choice = site.choose(QPU, now_s=5.0)
    assert (choice.host, "unknown or too old" in choice.because) == ("a", False)
    assert site.choose(QPU, Needs(same_fabric=True), now_s=5.0).host is None
    assert site.choose(QPU, Needs(memory_bytes=1), now_s=5.0).host is None


STATES = st.builds(
    lambda name, p95, age, memory, load, on, problem: host(
        f"h{name}",
        p95,
        age_s=age,
        free_memory_bytes=memory,
        load=load,
        fabrics=frozenset({"cxl 7"} if on else ()),
        problems=("no",) if problem else (),
    ),
    st.integers(0, 40),
    st.none() | st.floats(0.001, 1e4),
    st.sampled_from([0.0, 29.0, 31.0]),
    st.none() | st.integers(0, 2 * GIB),
    st.none() | st.floats(0.0, 1.0),
    st.booleans(),
    st.booleans(),
)
NEEDS = st.builds(
    Needs, st.sampled_from([0, 1, GIB]), st.booleans(), st.none() | st.sampled_from([0.01, 1.0, 100.0])
)


def meets(state: HostState, needs: Needs) -> bool:
    rtt = state.rtts.get("torino")
    return (
        state.age_s <= 30.0
        and (not needs.memory_bytes or (state.free_memory_bytes or 0) >= needs.memory_bytes)
        and (not needs.same_fabric or "cxl 7" in state.fabrics)
        and (needs.rtt_p95_ms is None or (rtt is not None and rtt.p95_ms <= needs.rtt_p95_ms))
    )


@given(st.lists(STATES, max_size=30, unique_by=lambda state: state.name), NEEDS, st.randoms())
def test_a_choice_meets_every_requirement_in_any_order(
    hosts: list[HostState], needs: Needs, order: Any
) -> None:
    candidates = {state.name: state for state in hosts if meets(state, needs)}
    choice = choose_host(hosts, QPU, needs)
    assert (choice.host is None) == (not candidates)
    shuffled = list(hosts)
    order.shuffle(shuffled)
    assert choose_host(shuffled, QPU, needs).host == choice.host
    if choice.host is not None:
        chosen = candidates[choice.host]
        healthy = [state for state in candidates.values() if not state.problems]
        assert not (healthy and chosen.problems)
        pool = healthy or list(candidates.values())
        on_fabric = [state for state in pool if state.fabrics]
        assert not (on_fabric and not chosen.fabrics)
        lowest = min((s.rtts["torino"].p95_ms for s in on_fabric or pool if s.rtts), default=None)
        if lowest is not None:
            assert chosen.rtts["torino"].p95_ms <= max(lowest * 1.1, lowest + 0.05) * (1 + 1e-12)
