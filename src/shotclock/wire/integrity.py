"""The checksum of a whole message: bytes that changed after they were serialized are never used.

The messages of a call end with `message_crc32c`, the CRC-32C of every byte before that field. TLS protects
bytes between two hosts; this also covers the memory of both, from serializing to parsing, and every field,
not the arrays alone. A message without the field comes from an older peer and is not checked here.
"""

from __future__ import annotations

import struct
from typing import Any, TypeVar

from shotclock.wire.payload import MalformedMessageError, PayloadCorruptedError, checksum, parse

M = TypeVar("M")

FIELD = "message_crc32c"
TRAILER = struct.Struct("<BI")
"""The field's tag and its value; the tag has one byte, as for every number up to 15."""
FIXED32 = 5
"""The wire type of the field."""


def serialize(message: Any) -> bytes:
    """The message's bytes; where its kind has the field, that is the last one."""
    data: bytes = message.SerializeToString()
    tag = _read_tag(type(message))
    return data + TRAILER.pack(tag, checksum(data)) if tag else data


def parse_checked(kind: type[M], data: bytes) -> M:
    """The message in these bytes.

    Raises PayloadCorruptedError where they do not match their checksum, MalformedMessageError where they have
    none and cannot be parsed.
    """
    tag, body, trailer = _read_tag(kind), data[: -TRAILER.size], data[-TRAILER.size :]
    has_trailer = tag != 0 and len(trailer) == TRAILER.size and trailer[0] == tag
    if has_trailer and TRAILER.unpack(trailer)[1] == checksum(body):
        return parse(kind, data)
    try:
        message: Any = parse(kind, data)
    except MalformedMessageError:
        if has_trailer:
            raise PayloadCorruptedError(kind.__name__) from None
        raise
    if tag and message.HasField(FIELD):
        raise PayloadCorruptedError(kind.__name__)
    parsed: M = message
    return parsed


def _read_tag(kind: Any) -> int:
    """Of the field in messages of this kind; 0 where they have none."""
    field = kind.DESCRIPTOR.fields_by_name.get(FIELD)
    return field.number << 3 | FIXED32 if field is not None else 0
