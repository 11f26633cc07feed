"""The files of a machine below one folder. Every reader reads them here, within limits.

A tree may come from another machine (`root`), and then nothing in it is trusted: a link that leaves it, a
pipe, a device, a huge or binary file is an `Absent` value with its reason, never an exception, and never 0.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import weakref
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from shotclock.placement.values import Absent, Integer, Text, Value, parse_integer, parse_text

MOST_BYTES = 1 << 16
"""Of one file; sysfs gives an attribute 4 KiB, KFD's and the list of retired pages have more."""
MOST_NAMES = 16_384
"""Entries of one folder that are looked at: a node of 64 partitions has 64 links, /sys/module about 300."""
MOST_STUCK = 4
"""Reads that have not ended yet, while which the tree is not read any more: each holds a thread."""
MOST_READS = 20_000
"""In one pass over a host: 64 partitions with their links need 5,000, and links may multiply a folder."""
WAIT_S = 5.0


class _Reader:
    """A thread that works until it is given None. Queues, because futures cost more than the reads."""

    def __init__(self) -> None:
        self.requests: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.answers: SimpleQueue[Any] = SimpleQueue()
        self.thread = threading.Thread(target=_serve, args=(self.requests, self.answers), daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Lets the thread end, once its work does."""
        self.requests.put(None)


class Tree:
    """The files below `root`; paths are relative to it. For one thread at a time.

    wait_s: what one read has, because a driver may hold a read for as long as its firmware takes.
    """

    def __init__(self, root: Path = Path("/"), wait_s: float = WAIT_S) -> None:
        self._top = os.path.realpath(root)
        self._inside = self._top.rstrip("/") + "/"
        self.root = Path(self._top)
        self._wait_s = wait_s
        self._stuck: list[threading.Thread] = []
        self._reads = 0
        self._reader: _Reader | None = None

    @property
    def is_this_machine(self) -> bool:
        """Whether the tree is the file system of the machine that reads it."""
        return self.root == Path("/")

    def begin_pass(self) -> None:
        """Allows as many reads again."""
        self._reads = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether this pass has read all that it may, so that the rest is absent."""
        return self._reads >= MOST_READS

    def text(self, path: str) -> Text:
        """What the file says, without surrounding white space; absent where its value means unknown."""
        return _parse(path, self.content(path), parse_text)

    def integer(self, path: str) -> Integer:
        """The file's number, decimal or hexadecimal."""
        return _parse(path, self.content(path), parse_integer)

    def content(self, path: str) -> Text:
        """The file's text as it is, empty or not."""
        return self._ask(path, lambda: _read(self._resolve(path)))

    def names(self, path: str, pattern: str) -> tuple[str, ...]:
        """The folder's entries that match the whole pattern, numbers in order; () if it cannot be listed."""
        names = self._ask(path, lambda: _list(self._resolve(path)))
        if isinstance(names, Absent):
            return ()
        matching = [name for name in names if re.fullmatch(pattern, name)]
        return tuple(sorted(matching, key=_by_number))

    def resolve(self, path: str) -> Text:
        """Where the path leads, relative to the root, through links that stay in the tree."""
        return self._ask(path, lambda: self._resolve(path).removeprefix(self._inside))

    def has(self, path: str) -> bool:
        """Whether the path leads to a file or a folder of the tree."""
        return not isinstance(self.resolve(path), Absent)

    def _resolve(self, path: str) -> str:
        """Raises OSError, also where a link leaves the tree or leads to itself."""
        resolved = os.path.realpath(f"{self._inside}{path}", strict=True)
        if resolved != self._top and not resolved.startswith(self._inside):
            raise OSError(0, "is a link that leaves the tree")
        return resolved

    def _ask(self, path: str, work: Callable[[], Value]) -> Value | Absent:
        """The work's result or the reason without one; it runs in a thread that is abandoned if it hangs."""
        if self.is_exhausted:
            return Absent(f"/{path}: was not read, because {MOST_READS} other files were")
        self._reads += 1
        self._stuck = [thread for thread in self._stuck if thread.is_alive()]
        if len(self._stuck) >= MOST_STUCK:
            return Absent(f"/{path}: was not read, because {MOST_STUCK} earlier reads have not ended")
        if self._reader is None:
            self._reader = _Reader()
            weakref.finalize(self, self._reader.end)
        self._reader.requests.put(partial(_attempt, path, work))
        try:
            answer: Value | Absent = self._reader.answers.get(timeout=self._wait_s)
        except Empty:
            self._reader.end()
            self._stuck.append(self._reader.thread)
            self._reader = None
            return Absent(f"/{path}: did not answer within {self._wait_s:g} s")
        return answer


def _attempt(path: str, work: Callable[[], Value]) -> Value | Absent:
    """The reason instead of an exception, whose traceback would keep the tree alive."""
    try:
        return work()
    except OSError as error:
        return Absent(f"/{path}: {error.strerror or error}")
    except ValueError as error:  # a NUL in a link, bytes that are not text
        return Absent(f"/{path}: {error}")


def _serve(requests: SimpleQueue[Callable[[], Any] | None], answers: SimpleQueue[Any]) -> None:
    """Answers until the tree is gone or stops waiting."""
    while (work := requests.get()) is not None:
        answers.put(work())
        del work  # it refers to the tree, which is to be collected


def _read(resolved: str) -> str:
    """The text of a regular file; opening a pipe or a device might wait, or act on the device."""
    if not stat.S_ISREG(Path(resolved).lstat().st_mode):
        raise OSError(0, "is not a regular file")
    descriptor = os.open(resolved, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        content = b""
        while len(content) <= MOST_BYTES and (part := os.read(descriptor, MOST_BYTES + 1 - len(content))):
            content += part
    finally:
        os.close(descriptor)
    if len(content) > MOST_BYTES:
        raise OSError(0, f"has more than {MOST_BYTES} bytes")
    text = content.decode(errors="replace")
    if not text.translate(_WHITE).isprintable() or "\ufffd" in text:
        raise ValueError("is not text")
    return text


_WHITE = str.maketrans("\n\t\r", "   ")


def _list(resolved: str) -> list[str]:
    with os.scandir(resolved) as entries:
        return [entry.name for entry in islice(entries, MOST_NAMES)]


def _by_number(name: str) -> tuple[tuple[int, str], ...]:
    """The order of card2 before card10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name))


def _parse(path: str, text: Text, parse: Callable[[str], Value | Absent]) -> Value | Absent:
    """The value; where it is absent, with the file that says so."""
    if isinstance(text, Absent):
        return text
    value = parse(text)
    return Absent(f"/{path}: {value.because}") if isinstance(value, Absent) else value
