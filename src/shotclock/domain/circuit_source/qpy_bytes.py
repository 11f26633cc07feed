"""Reading a binary file by its own lengths, without allocating by a number in it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from shotclock.domain.errors import CircuitError


@dataclass(slots=True)
class Cursor:
    """A slice of a file and the place in it; every move raises CircuitError where the slice ends early."""

    data: bytes
    at: int
    end: int

    def take(self, layout: str) -> tuple[Any, ...]:
        """The values of a layout of `struct`."""
        begin = self.at
        self.skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self.data, begin)

    def skip(self, size: int) -> None:
        """Passes over so many bytes."""
        if size > self.end - self.at:
            raise CircuitError("source", f"not QPY: it ends within the {size} bytes after byte {self.at}")
        self.at += size

    def part(self, size: int) -> Cursor:
        """The next bytes as a separate slice."""
        begin = self.at
        self.skip(size)
        return Cursor(self.data, begin, self.at)

    def text(self, size: int) -> bytes:
        """The next bytes."""
        begin = self.at
        self.skip(size)
        return self.data[begin : self.at]
