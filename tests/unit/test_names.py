"""Functions are named by a verb in the imperative, never by a participle (`_told`, `_landed`)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "src" / "shotclock" / "wire" / "v1"

IRREGULAR = frozenset(
    [
        "begun",
        "bought",
        "bound",
        "broken",
        "brought",
        "built",
        "caught",
        "chosen",
        "come",
        "done",
        "drawn",
        "driven",
        "fed",
        "felt",
        "found",
        "given",
        "gone",
        "grown",
        "heard",
        "held",
        "hidden",
        "kept",
        "known",
        "laid",
        "led",
        "left",
        "lost",
        "made",
        "meant",
        "met",
        "paid",
        "said",
        "seen",
        "sent",
        "shown",
        "sold",
        "spent",
        "spoken",
        "stood",
        "struck",
        "taken",
        "thought",
        "thrown",
        "told",
        "worn",
        "wrapped",
        "written",
    ]
)
VERBS = frozenset(
    "embed feed need seed shed speed flatten happen lengthen listen open reopen shorten widen".split()  # noqa: SIM905
)
"""Imperatives, and verbs of other spellings, that end like a participle."""
QUANTITY = re.compile(r"_(s|ns|ms)$")
NOUNS = {"property", "cached_property", "fixture"}
"""Decorators that make a function a value: a noun."""
EXCEPTIONS = {
    "xOpen": "SQLite's interface names it so",
    "children": "the noun",
    "loosen_modes": "to loosen is the verb",
    "done": "asyncio.Future and Qiskit's jobs name it so",
    "_bound_area": "to bound is the verb",
    "_bound_method": "a bound method is Python's term",
}


def is_participle(name: str) -> bool:
    """Whether a function's first word is a past participle; quantities (`consumed_s`) are nouns."""
    first = name.strip("_").split("_")[0]
    if first in VERBS or QUANTITY.search(name) or name.startswith("__"):
        return False
    return first in IRREGULAR or bool(
        re.search(r"..(ed|en)$", first) and first not in {"when", "token", "then"}
    )


def functions(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each function that is not a property or a fixture."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = (getattr(each, "func", each) for each in node.decorator_list)
            decorators = {getattr(each, "attr", getattr(each, "id", "")) for each in names}
            if not decorators & NOUNS:
                yield node.lineno, node.name


def sources() -> list[Path]:
    folders = (ROOT / "src", ROOT / "benchmarks", ROOT / "tests")
    return [
        path for folder in folders for path in sorted(folder.rglob("*.py")) if GENERATED not in path.parents
    ]


def test_no_function_is_named_by_a_participle() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sources()
        for line, name in functions(path.read_text())
        if is_participle(name) and name not in EXCEPTIONS
    ]
    assert not found, "name these by a verb in the imperative:\n" + "\n".join(found)


def test_each_exception_is_still_needed() -> None:
    names = {name for path in sources() for _, name in functions(path.read_text())}
    assert not EXCEPTIONS.keys() - names


@pytest.mark.parametrize("name", ["_told", "_seated", "landed", "_chosen_format", "gathered_rows"])
def test_a_participle_is_recognised(name: str) -> None:
    assert is_participle(name)


@pytest.mark.parametrize("name", ["tell", "shed", "_embed_loop", "consumed_s", "open_lease", "__len__"])
def test_a_verb_or_quantity_is_not_a_participle(name: str) -> None:
    assert not is_participle(name)
