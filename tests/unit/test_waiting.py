"""The bounded queue, beside a plain list that is sorted each time."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shotclock.domain.subproblem import Priority
from shotclock.orchestrator.waiting import PASSES, WaitingCalls

LOW, NORMAL, HIGH = Priority.LOW, Priority.NORMAL, Priority.HIGH


def fill_queue(limit: int, *calls: tuple[str, int, Priority]) -> WaitingCalls[str]:
    queue: WaitingCalls[str] = WaitingCalls(limit)
    for name, deadline, priority in calls:
        assert queue.put(name, deadline, priority) is None
    return queue


def test_priority_then_deadline_then_arrival() -> None:
    queue = fill_queue(9, ("a", 5, NORMAL), ("b", 5, NORMAL), ("c", 9, HIGH), ("d", 4, NORMAL), ("e", 1, LOW))
    assert queue.peek(9) == ["c", "d", "a", "b", "e"]
    assert queue.peek(2) == ["c", "d"]
    assert queue.earliest_deadline_ns() == 1


def test_a_full_queue_gives_up_its_least_urgent_lowest_for_a_higher_priority() -> None:
    queue = fill_queue(3, ("early", 1, LOW), ("late", 9, LOW), ("normal", 5, NORMAL))
    assert queue.put("newcomer", 99, NORMAL) == "late"
    assert queue.put("higher", 99, HIGH) == "early"
    assert queue.peek(3) == ["higher", "normal", "newcomer"]


@pytest.mark.parametrize("priority", [LOW, NORMAL])
def test_an_earlier_deadline_alone_displaces_nobody(priority: Priority) -> None:
    queue = fill_queue(1, ("here", 9, NORMAL))
    assert queue.put("newcomer", 1, priority) == "newcomer"
    assert queue.peek(1) == ["here"]


def test_who_was_displaced_or_left_may_come_back() -> None:
    queue = fill_queue(1, ("low", 1, LOW))
    assert queue.put("high", 1, HIGH) == "low"
    queue.discard("low")
    queue.discard("high")
    assert queue.put("low", 1, LOW) is None
    assert queue.peek(1) == ["low"]


def test_no_room_at_all_refuses_everyone() -> None:
    assert fill_queue(0).put("newcomer", 1, HIGH) == "newcomer"


def test_waiting_twice_and_taking_the_absent_are_bugs() -> None:
    queue = fill_queue(4, ("a", 1, NORMAL))
    with pytest.raises(ValueError, match="already"):
        queue.put("a", 2, HIGH)
    with pytest.raises(KeyError):
        queue.take(["b"])
    assert queue.peek(4) == ["a"]


def test_an_empty_queue_has_no_earliest_deadline() -> None:
    with pytest.raises(ValueError, match="empty"):
        fill_queue(4).earliest_deadline_ns()


def fill_shared(limit: int, **calls: int) -> WaitingCalls[str]:
    """As many calls of each caller, named by it and numbered, all of one deadline."""
    queue: WaitingCalls[str] = WaitingCalls(limit)
    for caller, count in calls.items():
        for number in range(count):
            assert queue.put(f"{caller}{number}", 9, NORMAL, caller) is None
    return queue


def test_callers_take_turns_however_many_calls_each_has() -> None:
    queue = fill_shared(99, a=5, b=2, c=1)
    assert queue.peek(99) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"]


def test_a_caller_that_comes_while_another_waits_is_next() -> None:
    queue = fill_shared(99, a=10)
    queue.take(queue.peek(4))
    queue.put("b0", 99, LOW, "b")
    assert queue.peek(3) == ["b0", "a4", "a5"]


def test_a_caller_saves_up_no_turns_and_does_not_lose_its_debt_by_leaving() -> None:
    queue = fill_shared(99, a=3)
    queue.take(["a0", "a1", "a2"])
    for name in ("b0", "b1"):
        queue.put(name, 9, NORMAL, "b")
    queue.put("a3", 1, HIGH, "a")  # after its third turn, though it had no call for a moment
    assert queue.peek(9) == ["b0", "a3", "b1"]
    queue.take(["b0", "a3", "b1"])
    queue.put("c0", 9, NORMAL, "c")  # never here before: it joins at the present turn, not at the first
    queue.put("c1", 9, NORMAL, "c")
    queue.put("b2", 1, NORMAL, "b")
    assert queue.peek(9) == ["c0", "b2", "c1"]


def test_a_long_call_costs_its_caller_as_many_turns() -> None:
    queue: WaitingCalls[str] = WaitingCalls(99)
    for number in range(2):
        queue.put(f"long{number}", 9, NORMAL, "long", cost=3.0)
    for number in range(6):
        queue.put(f"short{number}", 9, NORMAL, "short")
    serve_alone(queue, "passing", PASSES)
    assert queue.peek(99) == [
        "long0",
        "short0",
        "short1",
        "short2",
        "long1",
        "short3",
        "short4",
        "short5",
    ]


def serve_alone(queue: WaitingCalls[str], caller: str, jobs: int) -> None:
    """So many jobs of one call each, whoever else waits."""
    for number in range(jobs):
        queue.put(f"{caller}{number}", 9, NORMAL, caller)
        queue.take([f"{caller}{number}"])


def test_a_long_call_lets_some_jobs_pass_and_no_more() -> None:
    queue = fill_shared(99, short=PASSES + 2)
    queue.put("long0", 1, HIGH, "long", cost=8.0)
    served = []
    while (first := queue.peek(1)) and len(queue):
        served += first
        queue.take(first)
    assert served.index("long0") == PASSES


def test_a_caller_over_its_share_comes_after_all_that_are_not() -> None:
    queue: WaitingCalls[str] = WaitingCalls(99)
    serve_alone(queue, "light", 2)
    serve_alone(queue, "heavy", 40)
    for number in range(5):
        queue.put(f"l{number}", 9, NORMAL, "light")
    queue.put("h", 1, HIGH, "heavy")
    assert queue.peek(9) == ["l0", "l1", "l2", "l3", "l4", "h"]
    assert [queue.ahead_of(NORMAL, name) for name in ("light", "heavy", "new")] == [5, 6, 1]


def test_the_highest_priority_passes_only_calls_of_its_own_caller() -> None:
    queue = fill_shared(99, a=2, b=2)
    queue.put("urgent", 1, HIGH, "a")
    assert queue.peek(99) == ["urgent", "b0", "a0", "b1", "a1"]


def test_a_full_queue_gives_up_the_last_call_of_whoever_has_the_most() -> None:
    queue = fill_shared(4, greedy=4)
    assert queue.put("m0", 9, LOW, "modest") == "greedy3"
    assert queue.put("m1", 9, LOW, "modest") == "greedy2"
    assert queue.put("m2", 9, HIGH, "modest") == "m1"  # two each: from now on among its own
    assert queue.put("g4", 9, HIGH, "greedy") == "greedy1"
    assert queue.put("g5", 1, NORMAL, "greedy") == "g5"
    assert sorted(queue.peek(9)) == ["g4", "greedy0", "m0", "m2"]


def test_who_is_ahead_is_counted_by_turns() -> None:
    queue = fill_shared(99, greedy=20, modest=1)
    assert queue.ahead_of(NORMAL, "greedy") == 21
    assert queue.ahead_of(HIGH, "greedy") == 1
    assert queue.ahead_of(NORMAL, "modest") == 3  # its own, and the two turns of the other before its second
    assert queue.ahead_of(NORMAL, "new") == 2
    assert queue.ahead_of(LOW, "new") == 2


class AnyQueue(RuleBasedStateMachine):
    """Puts, takes and leavings in any order; the model is sorted from scratch each time."""

    @initialize(limit=st.integers(1, 6))
    def begin(self, limit: int) -> None:
        self.queue: WaitingCalls[int] = WaitingCalls(limit)
        self.limit = limit
        self.model: list[tuple[Priority, int, int]] = []
        self.names = 0

    def order(self) -> list[int]:
        return [name for _, _, name in sorted(self.model, key=lambda entry: (-entry[0], entry[1], entry[2]))]

    @rule(deadline=st.integers(0, 5), priority=st.sampled_from(Priority))
    def put(self, deadline: int, priority: Priority) -> None:
        self.names += 1
        newcomer = (priority, deadline, self.names)
        back = self.queue.put(self.names, deadline, priority)
        self.model.append(newcomer)
        if len(self.model) <= self.limit:
            assert back is None
            return
        below = [entry for entry in self.model if entry[0] < priority]
        lowest = min((entry[0] for entry in below), default=priority)
        least_urgent = max(
            (entry for entry in below if entry[0] is lowest),
            key=lambda entry: (entry[1], entry[2]),
            default=newcomer,
        )
        assert back == least_urgent[2]
        self.model.remove(least_urgent)

    @rule(count=st.integers(0, 7))
    def take_the_first(self, count: int) -> None:
        first = self.queue.peek(count)
        assert first == self.order()[:count]
        self.queue.take(first)
        self.model = [entry for entry in self.model if entry[2] not in first]

    @rule(data=st.data())
    def take_any(self, data: st.DataObject) -> None:
        names = data.draw(st.lists(st.sampled_from(self.order()), unique=True)) if self.model else []
        self.queue.take(names)
        self.model = [entry for entry in self.model if entry[2] not in names]

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        leaver = data.draw(st.integers(0, self.names))
        self.queue.discard(leaver)
        self.model = [entry for entry in self.model if entry[2] != leaver]

    @invariant()
    def it_is_the_sorted_list(self) -> None:
        assert self.queue.peek(100) == self.order()
        assert len(self.queue) == len(self.model)
        if self.model:
            assert self.queue.earliest_deadline_ns() == min(entry[1] for entry in self.model)


TestAnyQueue = AnyQueue.TestCase
