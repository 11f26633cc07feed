"""The bounded queue, beside a plain list that is sorted each time."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shotclock.domain.subproblem import Priority
from shotclock.orchestrator.waiting import WaitingCalls

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


class AnyQueue(RuleBasedStateMachine):
    """Puts, takes and leavings in any order; the model is sorted from scratch each time."""

    @initialize(limit=st.integers(1, 6))
    def begin(self, limit: int) -> None:
        self.queue: WaitingCalls[int] = WaitingCalls(limit)
        self.limit = limit
        self.model: list[tuple[Priority, int, int]] = []
        self.names = 0

    def ordered(self) -> list[int]:
        return [name for _, _, name in sorted(self.model, key=lambda one: (-one[0], one[1], one[2]))]

    @rule(deadline=st.integers(0, 5), priority=st.sampled_from(Priority))
    def put(self, deadline: int, priority: Priority) -> None:
        self.names += 1
        newcomer = (priority, deadline, self.names)
        back = self.queue.put(self.names, deadline, priority)
        self.model.append(newcomer)
        if len(self.model) <= self.limit:
            assert back is None
            return
        below = [one for one in self.model if one[0] < priority]
        lowest = min((one[0] for one in below), default=priority)
        least_urgent = max(
            (one for one in below if one[0] is lowest), key=lambda one: (one[1], one[2]), default=newcomer
        )
        assert back == least_urgent[2]
        self.model.remove(least_urgent)

    @rule(count=st.integers(0, 7))
    def take_the_first(self, count: int) -> None:
        first = self.queue.peek(count)
        assert first == self.ordered()[:count]
        self.queue.take(first)
        self.model = [one for one in self.model if one[2] not in first]

    @rule(data=st.data())
    def take_any(self, data: st.DataObject) -> None:
        taken = data.draw(st.lists(st.sampled_from(self.ordered()), unique=True)) if self.model else []
        self.queue.take(taken)
        self.model = [one for one in self.model if one[2] not in taken]

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        leaver = data.draw(st.integers(0, self.names))
        self.queue.discard(leaver)
        self.model = [one for one in self.model if one[2] != leaver]

    @invariant()
    def it_is_the_sorted_list(self) -> None:
        assert self.queue.peek(100) == self.ordered()
        assert len(self.queue) == len(self.model)
        if self.model:
            assert self.queue.earliest_deadline_ns() == min(one[1] for one in self.model)


TestAnyQueue = AnyQueue.TestCase
