"""Outcomes in words: one line, and a few lines with who did what."""

from __future__ import annotations

from shotclock.domain.circuit import Samples
from shotclock.domain.outcome import (
    Answer,
    CircuitOutcome,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    Outcome,
    Provenance,
    Shed,
    Winner,
    why_no_samples,
)

NS_PER_MS = 1e6
LABEL = 12
"""Characters of the first column."""


def headline(outcome: Outcome | CircuitOutcome) -> str:
    """One line."""
    words = [type(outcome).__name__]
    match outcome:
        case Done(answer=answer, samples=samples):
            words += [f"energy {answer.energy:.6g}", f"winner {name_winner(answer)}", _count(samples)]
        case Degraded(answer=answer):
            words += [f"energy {answer.energy:.6g}", f"winner {name_winner(answer)}"]
        case Executed(samples=samples):
            words.append(_count(samples))
        case Shed() | Late() | Failed():
            pass
    words += [reason] if (reason := why_no_samples(outcome, figures=True)) else []
    words += ["EMULATED"] if outcome.provenance.emulated else []
    return ", ".join(words)


def summarise(outcome: Outcome | CircuitOutcome) -> str:
    """The headline and the provenance, a fact a line; what is not known is left out."""
    return "\n".join((headline(outcome), *table(facts(outcome))))


def facts(outcome: Outcome | CircuitOutcome) -> list[tuple[str, str]]:
    """Each fact of the provenance with its name."""
    provenance = outcome.provenance
    rows = [("provider", f"{provenance.provider} (EMULATED)" if provenance.emulated else provenance.provider)]
    if isinstance(outcome, Done):
        rows.append(("gains", _describe_gains(outcome)))
    if provenance.job_id:
        shared = f", shared by {provenance.sharers} calls" if provenance.sharers > 1 else ""
        again = f", {provenance.attempts} submits" if provenance.attempts > 1 else ""
        rows.append(("job", f"{provenance.job_id}, {provenance.shots} shots{shared}{again}"))
    if provenance.cached:
        rows.append(("samples", "of an earlier, equal call"))
    if provenance.qpu_s:
        rows.append(("QPU time", f"{provenance.qpu_s:.3g} s"))
    if provenance.emulator_overrun:
        rows.append(("emulator", "computed longer than the time it emulates: do not trust the duration"))
    if provenance.stages:
        rows.append(("duration", _describe_stages(provenance)))
    return rows


def table(rows: list[tuple[str, str]]) -> list[str]:
    """The rows in two columns."""
    return [f"  {name:<{LABEL}}{text}" for name, text in rows]


def name_winner(answer: Answer) -> str:
    """Whose bits the answer is, and what provenance them."""
    if answer.winner is Winner.INCUMBENT:
        return "incumbent (all bits 0)"
    return f"{answer.winner} ({answer.solver})"


def _count(samples: Samples) -> str:
    return f"{samples.shots} shots, {len(samples.pool)} distinct" if len(samples.pool) else "no samples"


def _describe_gains(outcome: Done) -> str:
    provenance = outcome.provenance
    classical = f", classical answer {provenance.classical_gain:.6g}" if outcome.classical is not None else ""
    sampled = f"best sample {provenance.raw_gain:.6g}" if provenance.shots else "no samples"
    return f"{sampled}{classical} (energy of all bits 0 minus theirs)"


def _describe_stages(provenance: Provenance) -> str:
    ended_ns = max(timing.start_ns + timing.duration_ns for timing in provenance.stages)
    emulated_ns = sum(timing.emulated_ns for timing in provenance.stages)
    longest = sorted(provenance.stages, key=lambda timing: -timing.duration_ns)[:3]
    parts = ", ".join(f"{timing.stage} {timing.duration_ns / NS_PER_MS:.3g}" for timing in longest)
    emulated = f", {emulated_ns / NS_PER_MS:.3g} of them emulated" if emulated_ns else ""
    return f"{(ended_ns - provenance.began_ns) / NS_PER_MS:.3g} ms{emulated}; longest: {parts}"
