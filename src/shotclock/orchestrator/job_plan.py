"""The calls that share a job, before and after their circuits are bound."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from shotclock.domain.accounting import CallAccount
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit import DeviceCircuit, Pub
from shotclock.orchestrator.batching import PubPlan
from shotclock.orchestrator.call import Call, UserCircuits
from shotclock.orchestrator.planning import Fit
from shotclock.orchestrator.side_by_side import group_side_by_side


@dataclass(frozen=True, slots=True, eq=False)
class JobPlan:
    """A job to submit.

    pubs: the calls of each PUB, each with its line; an empty line leaves the choice to the device. A call
        of user circuits has one here, and a PUB for each of its circuits in the job.
    fit: shots, rep_delay and predicted time.
    calls: every call of the job.
    has_user_circuit: whether it is of user circuits, which share no job with subproblems.
    """

    pubs: tuple[PubPlan[Call], ...]
    fit: Fit
    calls: tuple[Call, ...] = field(init=False)
    has_user_circuit: bool = field(init=False)

    def __post_init__(self) -> None:
        calls = tuple([placement.call for pub in self.pubs for placement in pub])
        object.__setattr__(self, "calls", calls)
        object.__setattr__(self, "has_user_circuit", has_user_circuit(calls))

    @property
    def is_wanted(self) -> bool:
        """Whether any caller still waits."""
        return any(call.is_wanted for call in self.calls)


@dataclass(frozen=True, slots=True, eq=False)
class BoundJob:
    """A job with its circuits bound: the calls of each PUB with their circuits.

    A call of several user circuits is in as many PUBs.

    call_of_circuits: the call of each circuit, in the order of the job's samples.
    calls: the calls, each once.
    """

    bound: tuple[tuple[tuple[Call, DeviceCircuit], ...], ...]
    call_of_circuits: tuple[Call, ...] = field(init=False)
    calls: tuple[Call, ...] = field(init=False)

    def __post_init__(self) -> None:
        of_circuits = tuple([call for pub in self.bound for call, _ in pub])
        object.__setattr__(self, "call_of_circuits", of_circuits)
        object.__setattr__(self, "calls", tuple(dict.fromkeys(of_circuits)))

    def without_cancelled(self) -> BoundJob:
        """The same job without calls whose callers no longer wait, and without empty PUBs."""
        if all(call.is_wanted for call in self.calls) and all(self.bound):
            return self
        pubs = (tuple(pair for pair in pub if pair[0].is_wanted) for pub in self.bound)
        return BoundJob(tuple(pub for pub in pubs if pub))

    @property
    def pubs(self) -> tuple[Pub, ...]:
        """The circuits, as a provider expects them."""
        return tuple(Pub(tuple(circuit for _, circuit in pub)) for pub in self.bound)

    def without(self, left_out: Call) -> BoundJob:
        """The same job without this call."""
        pubs = (tuple(pair for pair in pub if pair[0] is not left_out) for pub in self.bound)
        return BoundJob(tuple(pub for pub in pubs if pub))

    def accounts(self, now_ns: int) -> tuple[CallAccount, ...]:
        """Each call's part in the job."""
        circuits = Counter(self.call_of_circuits)
        return tuple(
            CallAccount(
                call.work.request_id,
                call.caller,
                count,
                call.origin,
                call.origin.age_s + (now_ns - call.queued_ns) / NS_PER_S,
            )
            for call, count in circuits.items()
        )

    def split(self) -> tuple[BoundJob, ...]:
        """A job for each call."""
        return tuple(
            BoundJob(
                group_side_by_side(
                    (pair for pub in self.bound for pair in pub if pair[0] is owner), lambda pair: pair[1]
                )
            )
            for owner in self.calls
        )


def has_user_circuit(calls: tuple[Call, ...]) -> bool:
    """Whether one of the calls is of user circuits."""
    return any(isinstance(call.work, UserCircuits) for call in calls)
