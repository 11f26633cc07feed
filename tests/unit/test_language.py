"""Texts for readers avoid the words of `AVOIDED`, which says what to write instead.

Texts are string constants, docstrings and comments of the package and the benchmarks, docstrings and
comments of the tests, templates and data files of the package, the wire's comments, the docs, the pages at
the root of the repository, its Makefile and the scripts of CI.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "src" / "shotclock" / "wire" / "v1"


@dataclass(frozen=True)
class Word:
    """A word or phrase to avoid.

    pattern: a regular expression for whole words; a space matches any white space, line breaks included.
    instead: what to write.
    sample: a text that the pattern must find.
    """

    pattern: str
    instead: str
    sample: str


AVOIDED = (
    Word(
        r"(?<!you\s)(?<!they\s)(?<!we\s)(?<!who\s)wants?",
        "must be, expected, needs, requires",
        "--shots 0: wants at least 1",
    ),
    Word(r"(is|are|was|were) (?-i:none)", "does not exist, is not a valid X", "charts: there is none"),
    Word(
        r"(?<!there\s)(is|are) no (?!longer|more|less|fewer|better|worse|larger|smaller|use)\w+",
        "is not a valid X",
        "mode: 'sometimes' is no mode",
    ),
    Word(r"(un)?told", "reported, unreported; said", "the figure cannot be told"),
    Word(r"settle[sd]? nothing", "is inconclusive", "two pairs settle nothing"),
    Word(r"anew", "again", "compiled anew"),
    Word(
        r"founding document('s)?",
        "the reference figures; the specification",
        "the founding document's range",
    ),
    Word(r"(has|have|had) to see to|sees? to", "needs attention", "what a person has to see to"),
    Word(
        r"(stands?|stood|standing) (in|beside|behind|over|by|here|there)",
        "is in, is shown next to",
        "a percentile stands beside its bound",
    ),
    Word(
        r"of (its|their|your|his|her|our|my|one's|the user's) own",
        "user X, separate X, dedicated X",
        "a circuit of your own",
    ),
    Word(r"(?<!in\s)(?<!in[-_])flights?", "job, calls that share a job", "a flight of three calls"),
    Word(r"passengers?", "call", "each passenger of the job"),
    Word(r"boarding", "calls that share a job", "boarding ends at the token"),
    Word(r"manifests?", "job plan", "the manifest of a job"),
    Word(r"books|booked|booking", "ledger; records, counts", "the provider books the usage"),
    Word(r"weather", "injected delays, faults", "the weather is made up"),
    Word(r"house", "name the thing", "the map of the house"),
)

EXCEPTIONS = {
    "untold": "load.json's cost: calls whose QPU seconds are unknown",
    "abandoned_untold": "summary.json's usage: abandoned jobs whose usage is unknown",
    "sessions_untold": "summary.json's usage: sessions whose usage is unknown",
}
"""Identifiers of the wire, of file formats and of settings, each with its place. They do not count as words
where they are a whole string, a field of a docstring (`name:`), or in backticks."""


@dataclass(frozen=True)
class Text:
    """A string, a docstring, a block of comments, or a whole file that is not Python; line: its first."""

    path: Path
    line: int
    content: str


def compile_pattern(pattern: str) -> re.Pattern[str]:
    whole = pattern.replace(" ", r"\s+")
    return re.compile(rf"(?<![A-Za-z])(?:{whole})(?![A-Za-z])", re.IGNORECASE)


PATTERNS = [(compile_pattern(word.pattern), word) for word in AVOIDED]
ANY = re.compile("|".join(pattern.pattern for pattern, _ in PATTERNS), re.IGNORECASE)


def exception_pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"^{name}$|`{name}`|(?<!\w){name}(?=:|, \w+:)")


INDENTATION = re.compile(r"\n[ \t]+")
IDENTIFIERS = re.compile("|".join(exception_pattern(name).pattern for name in EXCEPTIONS))


def find(text: Text) -> Iterator[str]:
    """The words to avoid in a text, each with its place and what to write instead."""
    content = INDENTATION.sub("\n", IDENTIFIERS.sub("", text.content))
    if not ANY.search(content):
        return
    for pattern, word in PATTERNS:
        for match in pattern.finditer(content):
            line = text.line + content.count("\n", 0, match.start())
            place = f"{text.path.relative_to(ROOT)}:{line}"
            yield f"{place}: {' '.join(match[0].split())}; write {word.instead} instead"


def read_python(path: Path) -> Iterator[Text]:
    """Strings and comments; of a test's strings only docstrings, because the others are its input."""
    source = path.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(source)))
    if path.is_relative_to(ROOT / "tests"):
        nodes = [node.value for node in nodes if isinstance(node, ast.Expr)]
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Text(path, node.lineno, node.value)
    comments = "\n".join(line.lstrip("# ") for line in re.findall("#.*", source))
    if not ANY.search(comments):
        return  # saves the tokenizing, which is slow
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if block and line != last + 1:
            yield Text(path, first, "\n".join(block))
            block = []
        first = first if block else line
        last = line
        block.append(token.string.lstrip("# "))
    if block:
        yield Text(path, first, "\n".join(block))


def list_files() -> list[Path]:
    package, docs = ROOT / "src" / "shotclock", ROOT / "docs"
    paths = [
        path for kind in ("*.py", "*.j2", "*.toml", "*.y*ml", "*.sbatch") for path in package.rglob(kind)
    ]
    paths += [*(ROOT / "proto").rglob("*.proto"), *docs.rglob("*.md"), *(ROOT / "benchmarks").glob("*.py")]
    paths += [*(ROOT / "tests").rglob("*.py"), *(ROOT / ".ci").iterdir(), *(ROOT / ".github").rglob("*.yml")]
    paths += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile")]
    return [
        path
        for path in sorted(paths)
        if path.is_file() and GENERATED not in path.parents and path != Path(__file__)
    ]


@pytest.fixture(scope="module")
def texts() -> list[Text]:
    texts: list[Text] = []
    for path in list_files():
        if path.suffix == ".py":
            texts += read_python(path)
        else:
            texts.append(Text(path, 1, path.read_text(encoding="utf-8")))
    return texts


def test_texts_avoid_private_words(texts: list[Text]) -> None:
    avoidable = [line for text in texts for line in find(text)]
    assert not avoidable, "\n" + "\n".join(avoidable)


@pytest.mark.parametrize("word", AVOIDED, ids=lambda word: word.sample)
def test_each_pattern_finds_its_sample(word: Word) -> None:
    (pattern,) = (pattern for pattern, other in PATTERNS if other is word)
    assert pattern.search(word.sample)
    assert len(list(find(Text(ROOT / "README.md", 1, word.sample)))) == 1


def test_words_are_found_across_lines_and_at_their_line() -> None:
    text = Text(ROOT / "docs" / "load.md", 10, "first\nstarts a service of\nits own\n")
    (fault,) = find(text)
    assert fault == "docs/load.md:11: of its own; write user X, separate X, dedicated X instead"


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_each_exception_is_needed(name: str, texts: list[Text]) -> None:
    assert any(pattern.search(name) for pattern, _ in PATTERNS)
    assert any(exception_pattern(name).search(text.content) for text in texts)
