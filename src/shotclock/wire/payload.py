"""Arrays as bytes, their checksums, and what goes wrong with bytes from elsewhere."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import google_crc32c
import numpy as np
from google.protobuf.message import DecodeError

from shotclock.domain.circuit import Samples
from shotclock.domain.errors import ShotclockError
from shotclock.domain.subproblem import Bits, Float64s
from shotclock.wire.v1 import shotclock_pb2 as pb

M = TypeVar("M")

ONE_BYTE = 128
"""Numbers below it are one byte of a packed field."""
COUNTS_TAG = bytes((pb.Samples.DESCRIPTOR.fields_by_name["counts"].number << 3 | 2,))
"""Of the packed field."""


class PayloadCorruptedError(ShotclockError):
    """A payload does not match its checksum: nothing of it was used, it may be sent again."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: the payload does not match its CRC-32C")
        self.what = what

    def __reduce__(self) -> tuple[type[PayloadCorruptedError], tuple[str]]:
        return type(self), (self.what,)


class MalformedMessageError(ShotclockError):
    """Bytes that are not a message of this wire, or a message whose fields contradict each other."""


def parse(kind: type[M], data: bytes) -> M:
    """The message in these bytes; MalformedMessageError where they hold none."""
    message: Any = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise MalformedMessageError(f"not a {kind.__name__} of shotclock.v1") from error
    parsed: M = message
    return parsed


def checksum(*parts: bytes) -> int:
    """CRC-32C of the parts, one after the other."""
    crc = 0
    for part in parts:
        crc = google_crc32c.extend(crc, part)
    return crc


@cache
def _upper(n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return np.triu_indices(n, k=1)


@cache
def _places(n: int) -> np.ndarray[Any, Any]:
    """Where each element of a symmetric matrix is in a zero followed by its upper triangle."""
    places = np.zeros((n, n), dtype=np.intp)
    rows, columns = _upper(n)
    places[rows, columns] = places[columns, rows] = np.arange(1, len(rows) + 1)
    return places


def pack_floats(values: Float64s) -> bytes:
    """Little-endian float64."""
    return values.astype("<f8", copy=False).tobytes()


def unpack_floats(data: bytes) -> Float64s:
    """Of a length that is a multiple of 8."""
    return np.frombuffer(data, dtype="<f8").astype(np.float64)


def pack_upper(quadratic: Float64s) -> bytes:
    """The upper triangle without its diagonal, row by row; shape (n, n) → n(n−1)/2 float64."""
    return pack_floats(quadratic[_upper(quadratic.shape[0])])


def unpack_upper(data: bytes, n: int) -> Float64s:
    """The symmetric matrix of an upper triangle; n(n−1)/2 float64 → shape (n, n)."""
    # what is taken is a copy already, of the machine's own byte order
    return np.asarray(np.frombuffer(bytes(8) + data, dtype="<f8").take(_places(n)), dtype=np.float64)


def unpack_bits(data: bytes, what: str) -> Bits:
    """One byte a bit; MalformedMessageError where one is neither 0 nor 1."""
    others = data.translate(None, b"\0\1")
    if others:
        raise MalformedMessageError(f"{what}: each bit must be 0 or 1 (got {others[0]})")
    return np.frombuffer(data, dtype=np.uint8).copy()


def encode_samples(samples: Samples, message: pb.Samples, *, checked: bool = True) -> None:
    """Into the message; see `Samples` in the proto. checked: whether they get their own checksum."""
    pool = samples.pool.tobytes()
    counts = samples.counts.astype("<i8", copy=False)
    message.n = samples.pool.shape[1]
    message.pool = pool
    _encode_counts(counts, message)
    if checked:
        message.crc32c = checksum(pool, counts.tobytes())


def _encode_counts(counts: np.ndarray[Any, Any], message: pb.Samples) -> None:
    """Counts below 128 are a byte each on the wire, so an array of bytes is what they are serialized to.

    That takes half the time of handing over Python's numbers one by one; most samples have only such counts.
    """
    if not counts.size or counts.view(np.uint64).max() >= ONE_BYTE:
        message.counts.extend(counts.tolist())
        return
    packed = counts.astype(np.uint8).tobytes()
    message.MergeFromString(COUNTS_TAG + _varint(len(packed)) + packed)


def _varint(number: int) -> bytes:
    """A number of 0 or more as protobuf writes it: 7 bits a byte, the lowest first."""
    parts = bytearray()
    while number >= ONE_BYTE:
        parts.append(number % ONE_BYTE | ONE_BYTE)
        number //= ONE_BYTE
    return bytes((*parts, number))


def decode_samples(message: pb.Samples) -> Samples:
    """PayloadCorruptedError on a wrong checksum, MalformedMessageError on lengths that don't fit."""
    n, data = message.n, message.pool
    # as signed numbers, those beyond 63 bits are negative
    counts = np.array(message.counts, dtype=np.uint64).view(np.int64)
    if n < 1 or len(data) != n * len(counts):
        raise MalformedMessageError(f"samples: {len(data)} bytes for {len(counts)} bit strings of {n}")
    if len(counts) and counts.min() < 1:
        raise MalformedMessageError("samples: a count is below 1 or beyond 63 bits")
    if message.HasField("crc32c"):
        present = checksum(data, counts.astype("<i8", copy=False).tobytes())
        if present != message.crc32c:
            raise PayloadCorruptedError("samples")
    return Samples(unpack_bits(data, "samples").reshape(-1, n), counts)
