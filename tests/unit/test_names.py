"""Names say what they hold or do.

Functions are named by a verb in the imperative, never by a participle (`_seated`, `_landed`); values by what
they hold, never by a word that fits any value (`found`, `one`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
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
    "cancelled": "Qiskit's job interface names it so",
    "children": "the noun",
    "loosen_modes": "to loosen is the verb",
    "done": "asyncio.Future and Qiskit's jobs name it so",
    "_bound_area": "to bound is the verb",
    "_bound_method": "a bound method is Python's term",
}

GENERIC = frozenset(
    "asked done found given got held it kept left made one rest said seen taken thing told wanted".split()  # noqa: SIM905
)
"""Words that fit any value, so that a reader must follow the assignment to learn what it is."""
SIDES = frozenset(["right", "top"])
"""Beside one of these, `left` is a side and not a remainder."""
GENERIC_EXCEPTIONS = {
    "Check.said": "a key of `shotclock doctor --json`",
    "Piece.said": "the preflight's check, beside `Check.said`",
    "SanityArm.said": "a key of summary.json",
    "CurvePoint.said": "a key of summary.json",
    "CallCounts.asked": "beside skipped, in_flight and retry_after: how a due call ended",
}
"""Class and attribute, with the reason why the word stays."""


def is_participle(name: str) -> bool:
    """Whether a function's first word is a past participle; quantities (`consumed_s`) are nouns."""
    first = name.strip("_").split("_")[0]
    if first in VERBS or QUANTITY.search(name) or name.startswith("__"):
        return False
    return first in IRREGULAR or bool(
        re.search(r"..(ed|en)$", first) and first not in {"when", "token", "then"}
    )


@dataclass
class Scope:
    """What a function, class or module binds. Lines with their names; prefix: `Class.` of attributes."""

    prefix: str = ""
    values: list[tuple[int, str]] = field(default_factory=list)

    def generic(self) -> Iterator[tuple[int, str]]:
        """Its values named by a word that fits any, an attribute as `Class.name`."""
        has_sides = any(name in SIDES for _, name in self.values)
        for line, name in self.values:
            if name.strip("_") in GENERIC and not (name == "left" and has_sides):
                yield line, self.prefix + name


@dataclass
class Names:
    """A file's functions that are not a property or a fixture, and its scopes."""

    functions: list[tuple[int, str]] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)

    @classmethod
    def of(cls, source: str) -> Names:
        """One pass over the tree: parsing and walking are what these tests cost."""
        names = cls()
        names._read(ast.parse(source), Scope())
        return names

    @property
    def generic(self) -> list[tuple[int, str]]:
        return [each for scope in self.scopes for each in scope.generic()]

    def _read(self, root: ast.AST, scope: Scope) -> None:
        self.scopes.append(scope)
        pending = list(ast.iter_child_nodes(root))
        while pending:
            node = pending.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                decorators = (getattr(each, "func", each) for each in node.decorator_list)
                if not {getattr(each, "attr", getattr(each, "id", "")) for each in decorators} & NOUNS:
                    self.functions.append((node.lineno, node.name))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                self._read(node, Scope())
            elif isinstance(node, ast.ClassDef):
                self._read(node, Scope(f"{node.name}."))
            else:
                if name := read_binding(node):
                    scope.values.append((getattr(node, "lineno", 0), name))
                pending.extend(ast.iter_child_nodes(node))


def read_binding(node: ast.AST) -> str:
    """The name that this node binds to a value; "" where it binds none."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            return name
        case ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
            return name
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return name
    return ""


@cache
def names_of(path: Path) -> Names:
    return Names.of(path.read_text())


def sources() -> list[Path]:
    folders = (ROOT / "src", ROOT / "benchmarks", ROOT / "tests")
    return [
        path for folder in folders for path in sorted(folder.rglob("*.py")) if GENERATED not in path.parents
    ]


def test_no_function_is_named_by_a_participle() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sources()
        for line, name in names_of(path).functions
        if is_participle(name) and name not in EXCEPTIONS
    ]
    assert not faults, "name these by a verb in the imperative:\n" + "\n".join(faults)


def test_each_exception_is_still_needed() -> None:
    names = {name for path in sources() for _, name in names_of(path).functions}
    assert not EXCEPTIONS.keys() - names


def test_no_value_is_named_by_a_word_that_fits_any() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sources()
        for line, name in names_of(path).generic
        if name not in GENERIC_EXCEPTIONS
    ]
    assert not faults, "name these by what they hold:\n" + "\n".join(faults)


def test_each_generic_exception_is_still_needed() -> None:
    names = {name for path in sources() for _, name in names_of(path).generic}
    assert not GENERIC_EXCEPTIONS.keys() - names


@pytest.mark.parametrize(
    "source",
    [
        "def f(found): ...",
        "def f():\n    for one in rows: ...",
        "rows = [one for one in rows]",
        "def f():\n    self._asked = 1",
        "class A:\n    said: str",
        "key = lambda one: one.n",
        "def f():\n    left = 1",
        "def f():\n    with open() as held: ...",
        "def f():\n    try: ...\n    except E as it: ...",
        "def f():\n    match a:\n        case [*rest]: ...",
        "def f():\n    if made := g(): ...",
    ],
)
def test_a_generic_name_is_recognised(source: str) -> None:
    assert Names.of(source).generic


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    left, right = 1, 2",
        "class Box:\n    left: float\n    top: float",
        "f(found=rows)",
        "x = row.found",
        "one_row = 1",
    ],
)
def test_a_specific_name_is_not_generic(source: str) -> None:
    assert not Names.of(source).generic


@pytest.mark.parametrize("name", ["_told", "_seated", "landed", "_chosen_format", "gathered_rows"])
def test_a_participle_is_recognised(name: str) -> None:
    assert is_participle(name)


@pytest.mark.parametrize("name", ["tell", "shed", "_embed_loop", "consumed_s", "open_lease", "__len__"])
def test_a_verb_or_quantity_is_not_a_participle(name: str) -> None:
    assert not is_participle(name)
