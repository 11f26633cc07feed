"""Counts and articles in sentences: `1 call`, `2 calls`, `an object`."""

from __future__ import annotations

_IRREGULAR = {"query": "queries", "entry": "entries", "retry": "retries", "history": "histories"}


def count(number: int, noun: str) -> str:
    """`1 call`, `0 calls`, `1,234 calls`; the last word of the noun takes the plural."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Of the last word: call, calls; pass, passes; query, queries."""
    *before, last = noun.split(" ")
    if last not in _IRREGULAR and last.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    return " ".join((*before, _IRREGULAR.get(last, f"{last}s")))


def verb(number: int, singular: str, several: str) -> str:
    """The form of a verb that goes with a count: `verb(1, "was", "were")`."""
    return singular if number == 1 else several


def with_article(noun: str) -> str:
    """`an object`, `a call`: by the first letter, as the names of types are read."""
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"
