"""Which waiting subproblems share a job: everyone once, no overlap, the earliest deadline first."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotclock.domain.errors import SettingsError
from shotclock.orchestrator.batching import BatchLimits, Line, Packing, PubPlan, Waiting, pack

MS = 1_000_000
LIMITS = BatchLimits(max_pubs=3, max_shots=1000)
# Lines of different sizes overlap, as sets worked out one size at a time do.
LINES: dict[int, tuple[Line, ...]] = {
    2: ((8, 9), (0, 1), (2, 3), (4, 5)),
    3: ((0, 1, 2), (5, 6, 7), (3, 4, 9)),
    5: ((5, 6, 7, 8, 9), (0, 1, 2, 3, 4)),
}


def predict_s(pubs: tuple[PubPlan[str], ...], shots: int) -> float:
    """4 ms overhead, and 10 µs and 1 µs a qubit of the longest line for each shot of a PUB."""
    longest = sum(max(len(placement.line) for placement in pub) for pub in pubs)
    return 4e-3 + shots * (1e-5 * len(pubs) + 1e-6 * longest)


def plan_of(requests: list[Waiting[str]], limits: BatchLimits = LIMITS, free_at_ns: int = 0) -> Packing[str]:
    return pack(requests, LINES, limits, predict_s, free_at_ns)


def request(name: str, n: int = 2, deadline_ms: int = 1000, shots: int = 100) -> Waiting[str]:
    """A call named by itself, which arrived in the order of the names."""
    return Waiting(name, int.from_bytes(name.encode()), n, deadline_ms * MS, shots)


def where(plan: Packing[str]) -> dict[str, tuple[int, int, Line]]:
    """Job, PUB and line of each request placed."""
    return {
        placement.call: (job_number, pub_number, placement.line)
        for job_number, job in enumerate(plan.jobs)
        for pub_number, pub in enumerate(job.pubs)
        for placement in pub
    }


@st.composite
def waiting(draw: st.DrawFn) -> list[Waiting[str]]:
    requests = st.builds(
        request,
        st.just(""),
        st.sampled_from([2, 3, 4, 5]),
        st.integers(1, 60),
        st.integers(1, 1500),
    )
    drawn = draw(st.lists(requests, max_size=14))
    return [replace(request, call=f"r{number:02}", arrival=number) for number, request in enumerate(drawn)]


@given(waiting(), st.integers(1, 3), st.integers(0, 5 * MS))
def test_everyone_is_placed_once_or_refused_with_a_reason(
    requests: list[Waiting[str]], max_pubs: int, free_at_ns: int
) -> None:
    plan = plan_of(requests, BatchLimits(max_pubs, 1000), free_at_ns)
    placed = [placement.waiting for job in plan.jobs for pub in job.pubs for placement in pub]
    refused = [placement.waiting for placement in plan.unplaced]
    assert sorted(request.call for request in placed + refused) == [request.call for request in requests]
    for placement in plan.unplaced:
        assert placement.rejection.limit == ("lines" if placement.waiting.n == 4 else "remaining_budget")
        assert placement.rejection.present > placement.rejection.allowed


@given(waiting(), st.integers(1, 3), st.integers(0, 5 * MS))
def test_lines_limits_and_deadlines_are_kept(
    requests: list[Waiting[str]], max_pubs: int, free_at_ns: int
) -> None:
    plan = plan_of(requests, BatchLimits(max_pubs, 1000), free_at_ns)
    at_ns = free_at_ns
    for job in plan.jobs:
        at_ns += round(predict_s(job.pubs, job.shots) * 1e9)
        assert job.finished_ns == at_ns <= job.deadline_ns
        assert 1 <= len(job.pubs) <= max_pubs
        shots = [placement.waiting.shots for pub in job.pubs for placement in pub]
        assert job.shots == min(max(shots), 1000)
        for pub in job.pubs:
            qubits = [qubit for placement in pub for qubit in placement.line]
            assert len(set(qubits)) == len(qubits)
            assert all(placement.line in LINES[placement.waiting.n] for placement in pub)


@given(waiting(), st.data())
def test_an_earlier_deadline_never_loses_its_place_to_a_later_one(
    requests: list[Waiting[str]], data: st.DataObject
) -> None:
    requests.sort(key=lambda placement: (placement.deadline_ns, placement.arrival))
    number_kept = data.draw(st.integers(0, len(requests)))
    alone, together = where(plan_of(requests[:number_kept])), where(plan_of(requests))
    earlier = {request.call for request in requests[:number_kept]}
    assert alone == {placement: place for placement, place in together.items() if placement in earlier}


@given(waiting(), st.randoms())
def test_the_order_of_asking_does_not_matter(requests: list[Waiting[str]], random: Random) -> None:
    shuffled = requests[:]
    random.shuffle(shuffled)
    assert plan_of(shuffled) == plan_of(requests)


def test_side_by_side_then_another_pub_then_another_job() -> None:
    plan = plan_of([request(f"r{number}", n=5) for number in range(8)])
    assert [[len(pub) for pub in job.pubs] for job in plan.jobs] == [[2, 2, 2], [2]]
    assert [pub.line for pub in plan.jobs[0].pubs[0]] == list(LINES[5])


def test_different_sizes_share_a_pub_and_its_shots() -> None:
    plan = plan_of([request("a", n=5, shots=100), request("b", n=3, shots=300), request("c", n=2)])
    assert where(plan) == {"a": (0, 0, (5, 6, 7, 8, 9)), "b": (0, 0, (0, 1, 2)), "c": (0, 1, (8, 9))}
    assert plan.jobs[0].shots == 300


def test_who_would_delay_an_earlier_deadline_waits_for_the_next_job() -> None:
    early, greedy = request("early", deadline_ms=6, shots=100), request("greedy", shots=1000)
    plan = plan_of([greedy, early])
    assert where(plan)["early"][0] == 0
    assert where(plan)["greedy"][0] == 1
    assert [job.shots for job in plan.jobs] == [100, 1000]


def test_what_cannot_be_in_time_is_refused_with_the_time_it_would_take() -> None:
    (refused,) = plan_of([request("a", deadline_ms=3)], free_at_ns=MS).unplaced
    assert (refused.rejection.allowed, refused.rejection.unit) == (0.002, "s predicted p95")
    assert refused.rejection.present == pytest.approx(4e-3 + 100 * 1.2e-5)


def test_a_size_without_a_line_is_refused() -> None:
    (refused,) = plan_of([request("a", n=4)]).unplaced
    assert str(refused.rejection).startswith("lines: 1 lines of 4 qubits requested against a limit of 0")


@pytest.mark.parametrize(
    "requests", [[request("a"), request("a")], [request("a", n=0)], [request("a", shots=0)]]
)
def test_impossible_requests_are_settings_errors(requests: list[Waiting[str]]) -> None:
    with pytest.raises(SettingsError, match=r"arrival|call"):
        plan_of(requests)
