"""Contents of files that are small and ask for much: of memory, of time, or of the interpreter's stack."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DEEP = 100_000


def parquet(table: pa.Table, **options: object) -> bytes:
    """A table as a file's content."""
    out = BytesIO()
    pq.write_table(table, out, compression="zstd", **options)
    return out.getvalue()


def make_repeated_text() -> bytes:
    """A dictionary page of one text of 1 MB, which a million rows repeat at a bit each."""
    column = pa.DictionaryArray.from_arrays(np.zeros(900_000, np.int32), pa.array(["x" * 1_000_000]))
    table = pa.table(dict.fromkeys(("arm", "outcome", "cause", "answered_by"), column))
    return parquet(table, store_schema=False)  # which would say that they are dictionaries


def many_rows() -> bytes:
    """Five million equal rows."""
    column = pa.array(np.zeros(5_000_000, np.int64))
    return parquet(pa.table({"run": column, "seed": column, "step": column}))


def make_nested_columns() -> bytes:
    """Lists of lists where numbers belong."""
    kind = pa.int64()
    for _ in range(20):
        kind = pa.list_(kind)
    return parquet(pa.table({"step": pa.array([None], kind), "run": pa.array([None], kind)}))


def many_columns() -> bytes:
    """Five thousand of them, some with the name of ours."""
    names = ["step", "step", "arm", *map(str, range(5_000))]
    return parquet(pa.Table.from_arrays([pa.array([1])] * len(names), names))


def long_footer() -> bytes:
    """A footer that says it has 4 GB."""
    return b"PAR1" + b"\0" * 64 + b"\xff\xff\xff\xff" + b"PAR1"


def inflating_log() -> bytes:
    """A histogram of 400 MB of zeros."""
    packed = zlib.compressobj(9)
    payload = b"".join(packed.compress(bytes(1 << 20)) for _ in range(400)) + packed.flush()
    head = b"#[Histogram log format version 1.2]\n"
    return head + b"Tag=a.added_latency,0,1,1," + b64encode(b"\x1c\x84\x93\x14" + bytes(4) + payload) + b"\n"


CONTENTS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "not utf-8": lambda: b"\xff\xfe\x00\xd8" * 10,
    "utf-16": lambda: "schema = 1".encode("utf-16"),
    "zeros": lambda: bytes(1 << 20),
    "deep array of toml": lambda: b"a = " + b"[" * DEEP + b"]" * DEEP,
    "deep table of toml": lambda: b"a = " + b"{a=" * DEEP + b"1" + b"}" * DEEP,
    "deep key of toml": lambda: b".".join([b"a"] * DEEP) + b" = 1",
    "deep header of toml": lambda: b"[" + b".".join([b"'a b'"] * DEEP) + b"]",
    "tables below tables": lambda: b"".join(b"[" + b".".join([b"a"] * k) + b"]\n" for k in range(1, 500)),
    "deep array of json": lambda: b"[" * DEEP + b"]" * DEEP,
    "deep object of json": lambda: b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "digits of json": lambda: b'{"n": ' + b"9" * 1_000_000 + b"}",
    "digits of toml": lambda: b"n = " + b"9" * 200_000,
    "digits": lambda: b"9" * 1_000_000,
    "nan of json": lambda: b'{"n": NaN, "m": -Infinity}',
    "quotes": lambda: b'"' * 200_000,
    "urls": lambda: b"url(" * 200_000,
    "tags": lambda: b"<a <!-- " * 50_000,
    "packets": lambda: b"\n\0" * 500_000,
    "sqlite header": lambda: b"SQLite format 3\0" + bytes(4080),
    "repeated text of parquet": make_repeated_text,
    "rows of parquet": many_rows,
    "nested columns of parquet": make_nested_columns,
    "columns of parquet": many_columns,
    "footer of parquet": long_footer,
    "inflating histogram": inflating_log,
}
