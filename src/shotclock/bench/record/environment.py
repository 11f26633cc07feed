"""Results of different environments don't merge, as pyperf refuses to compare them.

https://pyperf.readthedocs.io/en/latest/runner.html#metadata
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from shotclock.domain.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Described:
    """A result by name, and what its figures depend on."""

    name: str
    facts: Mapping[str, str]


def differences(first: Described, other: Described, despite: Collection[str] = ()) -> list[str]:
    """`key: value against value`, a fact that only one of them has included."""
    absent = "not recorded"
    keys = [key for key in {**first.facts, **other.facts} if key not in despite]
    return [
        f"{key}: {first.facts.get(key, absent)} against {other.facts.get(key, absent)}"
        for key in keys
        if first.facts.get(key) != other.facts.get(key)
    ]


def refuse_to_merge(results: Sequence[Described], despite: Collection[str] = ()) -> None:
    """SettingsError where any result's facts differ from the first one's; `despite`: keys that may."""
    for other in results[1:]:
        if difference := differences(results[0], other, despite):
            raise SettingsError(
                f"{results[0].name} and {other.name} don't compare: {'; '.join(difference)}; run both on one "
                f"machine in one environment, or accept it with --despite {difference[0].partition(':')[0]}"
            )
