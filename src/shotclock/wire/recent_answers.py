"""Answers that were sent a moment ago, for a caller to whom one arrived damaged.

The caller sends its request again, with `resend`: it gets the same answer, and nothing is solved or paid for
a second time. An answer that is no longer here is refused, never computed again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

MIB = 1024 * 1024

Key = tuple[str, str, str, int]
"""The caller, the kind of its request, the request's id and the checksum of its payload."""


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

    def add(self, caller: str, request: Any, answer: bytes) -> None:
        """Remembers what this request was answered; without an id it could not be asked for."""
        if not request.request_id or len(answer) > self._answer_bytes:
            return
        key = _identify(caller, request)
        self._size_bytes += len(answer) - len(self._answers.pop(key, b""))
        self._answers[key] = answer
        while self._size_bytes > self._most_bytes:
            _, oldest = self._answers.popitem(last=False)
            self._size_bytes -= len(oldest)

    def find(self, caller: str, request: Any) -> bytes | None:
        """The answer to an equal request of the same caller; None where it is not remembered."""
        return self._answers.get(_identify(caller, request))


def _identify(caller: str, request: Any) -> Key:
    return caller, request.DESCRIPTOR.name, request.request_id, request.crc32c
