"""A record's docstring has one line for each of its attributes, in the order of the fields.

Records are dataclasses, pydantic models and named tuples with more than `FEW` public fields. An attribute's
line begins `name: `; attributes that share an explanation are written `a, b: `.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "src" / "shotclock" / "wire" / "v1"
FEW = 3

ATTRIBUTES = re.compile(r"([a-z]\w*(?:, [a-z]\w*)*): ", re.ASCII)
"""The names that a line of a docstring explains."""


@dataclass(frozen=True)
class Record:
    """A class with its fields.

    name: the class.
    line: where it begins in its file.
    fields: the names of the public fields it defines, in order.
    docstring: without indentation; "" if it has none.
    """

    name: str
    line: int
    fields: tuple[str, ...]
    docstring: str


def names_of(nodes: Iterable[ast.expr]) -> set[str]:
    """The last name of each expression: `dataclass` of `@dataclasses.dataclass(slots=True)`."""
    names = set()
    for node in nodes:
        bare = node.func if isinstance(node, ast.Call) else node
        bare = bare.value if isinstance(bare, ast.Subscript) else bare
        names.add(getattr(bare, "attr", getattr(bare, "id", "")))
    return names


def classes(source: str) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef))


def find_models(sources: Iterable[str]) -> frozenset[str]:
    """Names of classes that descend from a base whose annotated attributes are fields."""
    bases = {node.name: names_of(node.bases) for source in sources for node in classes(source)}
    models = {"BaseModel", "BaseSettings", "NamedTuple"}
    while more := {name for name, parents in bases.items() if parents & models} - models:
        models |= more
    return frozenset(models)


def records(source: str, models: frozenset[str]) -> Iterator[Record]:
    for node in classes(source):
        if names_of(node.decorator_list) & {"dataclass"} or names_of(node.bases) & models:
            names = (
                item.target.id
                for item in node.body
                if isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and names_of([item.annotation]).isdisjoint({"ClassVar", "InitVar"})
            )
            fields = tuple(name for name in names if not name.startswith("_"))
            if len(fields) > FEW:
                yield Record(node.name, node.lineno, fields, ast.get_docstring(node) or "")


def find_fault(record: Record) -> str:
    """What is wrong with the record's docstring; "" if nothing is."""
    explained: list[str] = []
    for line in record.docstring.splitlines():
        if match := ATTRIBUTES.match(line):
            explained += match[1].split(", ")
            crowded = re.findall(r"[;.] ([a-z]\w*): ", line)
            if shared := set(crowded) & set(record.fields):
                return f"more than one attribute on a line: {', '.join(sorted(shared))}"
    if missing := [name for name in record.fields if name not in explained]:
        return f"no line for {', '.join(missing)}"
    if [name for name in explained if name in record.fields] != list(record.fields):
        return f"not in the order of the fields: {', '.join(record.fields)}"
    return ""


def test_each_attribute_of_a_record_has_a_line() -> None:
    paths = [path for path in sorted((ROOT / "src").rglob("*.py")) if GENERATED not in path.parents]
    sources = {path: path.read_text() for path in paths}
    models = find_models(sources.values())
    faults = [
        f"{path.relative_to(ROOT)}:{record.line}: {record.name}: {fault}"
        for path, source in sources.items()
        for record in records(source, models)
        if (fault := find_fault(record))
    ]
    assert not faults, "write one attribute per docstring line (`name: what it is`):\n" + "\n".join(faults)


HEADS = ("@dataclass\nclass R:", "@dataclasses.dataclass(frozen=True)\nclass R(Generic[T]):", "class R(M):")
FIELDS = "    a: int\n    b: int = 0\n    c: int = 0\n    d: int = 0\n    _hidden: int = 0\n"


def check(docstring: str, head: str = HEADS[0]) -> str:
    """The fault of a record with the fields a, b, c, d."""
    source = f'class M(BaseModel):\n    pass\n{head}\n    """Summary.\n\n{docstring}\n    """\n{FIELDS}'
    (record,) = records(source, find_models([source]))
    return find_fault(record)


@pytest.mark.parametrize("head", HEADS)
def test_every_kind_of_record_is_checked(head: str) -> None:
    assert check("    a, b: both\n    c: one\n        that goes on\n    d: another", head) == ""
    assert check("    a: one\n    c: another", head) == "no line for b, d"


@pytest.mark.parametrize(
    ("docstring", "fault"),
    [
        ("    a: one; b: another\n    c: one\n    d: one", "more than one attribute on a line: b"),
        ("    b: one\n    a: one\n    c: one\n    d: one", "not in the order of the fields: a, b, c, d"),
        ("    Everything of a, b, c and d: nothing", "no line for a, b, c, d"),
    ],
)
def test_a_faulty_docstring_is_found(docstring: str, fault: str) -> None:
    assert check(docstring) == fault
