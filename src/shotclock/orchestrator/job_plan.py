"""The calls that share a job, before and after their circuits are bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

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
    """

    pubs: tuple[PubPlan[Call], ...]
    fit: Fit

    def calls(self) -> Iterator[Call]:
        """Every call of the job."""
        return (placement.call for pub in self.pubs for placement in pub)

    @property
    def has_user_circuit(self) -> bool:
        """Whether it is of user circuits, which share no job with subproblems."""
        return any(isinstance(call.work, UserCircuits) for call in self.calls())

    @property
    def is_wanted(self) -> bool:
        """Whether any caller still waits."""
        return any(call.is_wanted for call in self.calls())


@dataclass(frozen=True, slots=True, eq=False)
class BoundJob:
    """A job with its circuits bound: the calls of each PUB with their circuits.

    A call of several user circuits is in as many PUBs.
    """

    bound: tuple[tuple[tuple[Call, DeviceCircuit], ...], ...]

    def without_cancelled(self) -> BoundJob:
        """The same job without calls whose callers no longer wait, and without empty PUBs."""
        pubs = (tuple(pair for pair in pub if pair[0].is_wanted) for pub in self.bound)
        return BoundJob(tuple(pub for pub in pubs if pub))

    @property
    def pubs(self) -> tuple[Pub, ...]:
        """The circuits, as a provider expects them."""
        return tuple(Pub(tuple(circuit for _, circuit in pub)) for pub in self.bound)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls, each once."""
        return tuple(dict.fromkeys(self.call_of_circuits))

    @property
    def call_of_circuits(self) -> tuple[Call, ...]:
        """The call of each circuit, in the order of the job's samples."""
        return tuple(call for pub in self.bound for call, _ in pub)

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
