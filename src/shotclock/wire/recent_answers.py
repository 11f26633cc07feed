"""Answers that were sent a moment ago, for a caller to whom one arrived damaged.

The caller sends its request again, with `resend`: it gets the same answer, and nothing is solved or paid for
a second time. An answer that is no longer here is refused, never computed again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from shotclock.wire.payload import checksum

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Key:
    """What makes two requests equal.

    caller: who asked.
    kind: of the message.
    request_id: the caller's name for it; "" is never remembered.
    crc32c: of its payload.
    point: of a batch of circuits; of one of subproblems, the first in a message; 0 otherwise.
    """

    caller: str
    kind: str
    request_id: str
    crc32c: int
    point: int = 0


def identify(caller: str, request: Any) -> Key:
    """A request with one answer."""
    return Key(caller, request.DESCRIPTOR.name, request.request_id, request.crc32c)


def identify_points(caller: str, batch: Any) -> Callable[[int], Key]:
    """The points of a batch of circuits, which is identified by the checksums of all circuits."""
    crc32c = checksum(b"".join(circuit.crc32c.to_bytes(4, "little") for circuit in batch.circuits))

    return partial(Key, caller, batch.DESCRIPTOR.name, batch.request_id, crc32c)


def identify_subproblems(caller: str, batch: Any) -> Callable[[int], Key]:
    """The subproblems of a batch, which is identified by their ids and linear terms.

    Their quadratic terms would take as long to sum up as to decode.
    """
    parts = (part for each in batch.subproblems for part in (each.request_id.encode(), each.linear))
    request_id = batch.subproblems[0].request_id if batch.subproblems else ""
    return partial(Key, caller, batch.DESCRIPTOR.name, request_id, checksum(*parts))


class RecentAnswers:
    """The newest answers, serialized; the oldest is dropped first.

    most_bytes: of all of them together.
    answer_bytes: a longer answer is not remembered.
    """

    def __init__(self, most_bytes: int = 8 * MIB, answer_bytes: int = MIB) -> None:
        self._most_bytes = most_bytes
        self._answer_bytes = answer_bytes
        self._answers: OrderedDict[Key, bytes] = OrderedDict()
        self._size_bytes = 0

    def add(self, key: Key, answer: bytes) -> None:
        """Remembers what this request was answered; without an id it could not be asked for."""
        if not key.request_id or len(answer) > self._answer_bytes:
            return
        self._size_bytes += len(answer) - len(self._answers.pop(key, b""))
        self._answers[key] = answer
        while self._size_bytes > self._most_bytes:
            _, oldest = self._answers.popitem(last=False)
            self._size_bytes -= len(oldest)

    def find(self, key: Key) -> bytes | None:
        """The answer to an equal request of the same caller; None where it is not remembered."""
        return self._answers.get(key)
