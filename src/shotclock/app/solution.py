"""What `shotclock.solve` and `shotclock.run` return: the answer in the model's own terms, who found it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shotclock.app.models import Label, Model, Sample
from shotclock.domain.circuit import Samples
from shotclock.domain.outcome import Degraded, Done, Executed, Provenance, why_no_samples
from shotclock.domain.summaries import facts, name_winner, table

MOST_NAMES = 6
"""Values, constraints or bit strings that a summary lists."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Solution:
    """The best answer by the deadline. `summary()` says it in a few lines.

    sample: the value of each of the model's variables, 0 or 1, −1 or 1 of a SPIN model, integers as such; the
        side of each node of a graph.
    objective: the model's own value: its energy, or the weight of a graph's cut.
    violations: of each violated constraint, by its label and amount; none without constraints.
    penalties: the weight of each constraint's penalty, by its label.
    outcome: Done with the QPU's samples, or Degraded with the reason for their absence; both have provenance.
    budget_ns: the budget, nanoseconds.
    kind: what the model was, in words.
    """

    sample: Sample
    objective: float
    violations: Mapping[Label, float]
    penalties: Mapping[Label, float]
    outcome: Done | Degraded
    budget_ns: int
    kind: str

    @classmethod
    def of(cls, model: Model, outcome: Done | Degraded, budget_ns: int) -> Solution:
        """An outcome of the model's subproblem."""
        sample = model.read(outcome.answer.bits)
        objective, violations = model.objective(sample), model.violations(sample)
        return cls(sample, objective, violations, model.penalties, outcome, budget_ns, model.kind)

    @property
    def is_feasible(self) -> bool:
        """Whether every constraint holds."""
        return not self.violations

    @property
    def provenance(self) -> Provenance:
        """Who did what."""
        return self.outcome.provenance

    def __repr__(self) -> str:
        value = f"cut {self.objective:.6g}" if "graph" in self.kind else f"objective {self.objective:.6g}"
        broken = "" if self.is_feasible else f", {len(self.violations)} constraints violated"
        degraded = ", degraded" if isinstance(self.outcome, Degraded) else ""
        emulated = ", EMULATED" if self.provenance.emulated else ""
        return f"<Solution: {value}, winner {name_winner(self.outcome.answer)}{broken}{degraded}{emulated}>"

    def summary(self) -> str:
        """The answer, the constraints, their penalties, the deadline and the provenance, a fact a line."""
        rows = [
            ("model", f"{self.kind}, {len(self.outcome.answer.bits)} bits"),
            ("sample", _list_some({label: str(value) for label, value in self.sample.items()})),
            ("winner", name_winner(self.outcome.answer)),
            ("deadline", f"{self.budget_ns * 1e-9:g} s, {self._describe_deadline()}"),
        ]
        if self.penalties:
            weights = {label: f"{weight:g}" for label, weight in self.penalties.items()}
            rows.append(("penalties", _list_some(weights)))
        if self.violations:
            amounts = {label: f"by {amount:g}" for label, amount in self.violations.items()}
            rows.append(("violated", _list_some(amounts)))
        return "\n".join((repr(self), *table([*rows, *facts(self.outcome)])))

    def _describe_deadline(self) -> str:
        if isinstance(self.outcome, Done):
            return "samples in time"
        return f"answered classically: {why_no_samples(self.outcome, figures=True)}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CircuitResult:
    """How often a circuit gave each bit string. `summary()` says it in a few lines.

    outcome: the samples with their provenance.
    budget_ns: the budget, nanoseconds.
    """

    outcome: Executed
    budget_ns: int

    @property
    def samples(self) -> Samples:
        """The distinct bit strings; column i is classical bit i."""
        return self.outcome.samples

    @property
    def counts(self) -> dict[str, int]:
        """As Qiskit writes them: the last classical bit comes first. The most frequent first."""
        rows = zip(self.samples.pool, self.samples.counts, strict=True)
        counts = {"".join(str(bit) for bit in bits[::-1].tolist()): int(count) for bits, count in rows}
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def shots(self) -> int:
        """How many."""
        return self.samples.shots

    @property
    def provenance(self) -> Provenance:
        """Who did what."""
        return self.outcome.provenance

    def __repr__(self) -> str:
        emulated = ", EMULATED" if self.provenance.emulated else ""
        return f"<CircuitResult: {self.shots} shots, {len(self.samples.pool)} bit strings{emulated}>"

    def summary(self) -> str:
        """The most frequent bit strings, the deadline and the provenance, a fact a line."""
        rows = [
            ("counts", _list_some({bits: str(count) for bits, count in self.counts.items()})),
            ("deadline", f"{self.budget_ns * 1e-9:g} s, samples in time"),
        ]
        return "\n".join((repr(self), *table([*rows, *facts(self.outcome)])))


def _list_some(words: Mapping[Label, str]) -> str:
    """The first few, and how many more there are."""
    shown = [f"{label} {text}" for label, text in list(words.items())[:MOST_NAMES]]
    more = len(words) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
