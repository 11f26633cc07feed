"""What both primitives do: make a request's batches and submit them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NoReturn
from uuid import uuid4

from shotclock.domain.budget import read_budget_ns
from shotclock.domain.circuit_batch import CircuitBatch
from shotclock.domain.outcome import CircuitOutcome
from shotclock.domain.ports import CircuitCaller
from shotclock.primitives.counts import PrimitiveCounts, Tally
from shotclock.primitives.job import Finish, Job
from shotclock.primitives.options import CallOptions
from shotclock.primitives.requests import Place, Request

DEFAULT_OPTIONS = CallOptions()


class Submitter:
    """Submits the requests of one primitive, with its options."""

    def __init__(self, caller: CircuitCaller, options: CallOptions) -> None:
        self.options = options
        self._caller = caller
        self._numbers = itertools.count()
        self._tally = Tally()
        self._name = uuid4().hex[:8]

    def __deepcopy__(self, memo: dict[int, object]) -> Submitter:
        """Itself: a copy of a model with a primitive in it shares the connection."""
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "primitive: cannot be pickled, as it holds a connection; call shotclock.connect in each process"
        )

    @property
    def counts(self) -> PrimitiveCounts:
        """How the calls ended so far."""
        return self._tally.counts

    def submit(
        self, request: Request, budget: str | float | None, finish: Finish, *, has_fallback: bool
    ) -> Job:
        """Starts the request's batches."""
        budget_ns = read_budget_ns(self.options.budget if budget is None else budget)
        name = f"{self._name}-{next(self._numbers)}"
        batches = [
            self._caller.submit(
                CircuitBatch(
                    circuits, f"{self.options.run}/{name}-{number}", budget_ns, self.options.priority
                )
            )
            for number, circuits in enumerate(request.batches())
        ]
        return Job(name, batches, self._tally.count(finish), has_fallback=has_fallback)


def outcomes_at(places: Sequence[Place], outcomes: dict[Place, CircuitOutcome]) -> list[CircuitOutcome]:
    """The outcomes of these places, in order."""
    return [outcomes[place] for place in places]
