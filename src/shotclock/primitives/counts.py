"""How the calls of one primitive ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from qiskit.primitives import PrimitiveResult

from shotclock.domain.errors import CallError
from shotclock.domain.outcome import CircuitOutcome


@dataclass(frozen=True, slots=True)
class PrimitiveCounts:
    """Of calls whose result was asked for.

    answered: calls whose PUBs all have samples of the QPU.
    degraded: calls with a PUB that the fallback answered.
    unanswered: calls that raised DeadlineExceeded or another CallError.
    pubs: of the calls that returned.
    qpu_s: their share of their jobs' QPU time, seconds, as known when the samples came.
    """

    answered: int = 0
    degraded: int = 0
    unanswered: int = 0
    pubs: int = 0
    qpu_s: float = 0.0

    def line(self) -> str:
        """For people."""
        return (
            f"  calls       {self.answered} answered, {self.degraded} degraded, {self.unanswered} unanswered"
            f", {self.qpu_s:.3g} QPU s"
        )


class Tally:
    """Counts calls, from any thread; each once, however often its result is asked for."""

    def __init__(self) -> None:
        self.counts = PrimitiveCounts()
        self._lock = threading.Lock()

    def count(
        self, finish: Callable[[Sequence[CircuitOutcome]], PrimitiveResult]
    ) -> Callable[[Sequence[CircuitOutcome]], PrimitiveResult]:
        """What makes one call's result, counted."""
        is_counted = False

        def finish_counted(outcomes: Sequence[CircuitOutcome]) -> PrimitiveResult:
            nonlocal is_counted
            try:
                result = finish(outcomes)
            except CallError:
                self._add(PrimitiveCounts(unanswered=not is_counted))
                is_counted = True
                raise
            is_counted = True
            answered = [each.metadata for each in result if not each.metadata["degraded"]]
            degraded = len(answered) < len(result)
            qpu_s = sum(metadata["qpu_s"] for metadata in answered)
            self._add(PrimitiveCounts(not degraded, degraded, 0, len(result), qpu_s))
            return result

        return finish_counted

    def _add(self, more: PrimitiveCounts) -> None:
        with self._lock:
            counts = self.counts
            self.counts = replace(
                counts,
                answered=counts.answered + more.answered,
                degraded=counts.degraded + more.degraded,
                unanswered=counts.unanswered + more.unanswered,
                pubs=counts.pubs + more.pubs,
                qpu_s=counts.qpu_s + more.qpu_s,
            )
