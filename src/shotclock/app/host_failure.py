"""A host whose memory fails: it flips bits of the messages of calls."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from shotclock.wire import methods
from shotclock.wire.channels import Channels
from shotclock.wire.integrity import TRAILER, serialize


class HeldAnswers:
    """The answers of a stream, each held in a memory before it is read."""

    def __init__(self, answers: Any, hold: Callable[[bytes], bytes]) -> None:
        self._answers = answers
        self._hold = hold

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for answer in self._answers:
            yield self._hold(answer)

    def cancel(self) -> None:
        """Ends the stream."""
        self._answers.cancel()


class FailingMemory:
    """A client's memory: while `is_failing`, flips a bit of every n-th message of a call.

    A request is changed after it was serialized, an answer before it is parsed, where TLS protects neither;
    of a batch only the answers. The bit is one that the checksum covers.
    """

    def __init__(self, every: int, seed: int = 0) -> None:
        self.is_failing = False
        self.flips = 0
        self._every = every
        self._messages = 0
        self._random = random.Random(seed)

    def attach(self, channels: Channels) -> None:
        """Lets the messages of calls on the present lane go through this memory."""
        lane = channels.lane
        for method in (methods.SOLVE, methods.SUBMIT_CIRCUIT):
            send = lane.channel.unary_unary(method)

            async def call(request: Any, *, send: Any = send, **details: Any) -> bytes:
                return self.hold(await send(self.hold(serialize(request)), **details))

            lane.unary[method] = call
        for method in (methods.SUBMIT_CIRCUITS, methods.SOLVE_BATCH):
            receive = lane.streams[method]

            def stream(request: Any, *, receive: Any = receive, **details: Any) -> HeldAnswers:
                return HeldAnswers(receive(request, **details), self.hold)

            lane.streams[method] = stream

    def hold(self, data: bytes) -> bytes:
        """The bytes as they are read again."""
        self._messages += 1
        if not self.is_failing or self._messages % self._every:
            return data
        self.flips += 1
        bit = self._random.randrange(8 * (len(data) - TRAILER.size))
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)
