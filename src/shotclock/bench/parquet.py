"""Parquet from elsewhere: size and schema are checked before it is read, values before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shotclock.domain import documents
from shotclock.domain.errors import SettingsError
from shotclock.domain.files import MIB

MOST_BYTES = 512 * MIB
MOST_DECODED = 2048 * MIB
"""Of all column chunks, as the footer has it."""
MOST_FOOTER = 16 * MIB
MOST_COLUMNS = 1_000
MOST_ROW_GROUPS = 10_000
LARGEST = 1e150
LARGEST_WHOLE = 10**18
LONGEST = 10_000
"""Of a text, in bytes."""
MOST_TEXT = 256 * MIB
"""Of a column's texts, decoded: a dictionary page repeats a long one at a bit a row."""
_UNPRINTABLE = r"[\x{00}-\x{08}\x{0b}-\x{1f}\x{7f}-\x{9f}]"


def read_table(
    path: Path,
    schema: pa.Schema,
    *,
    required: Sequence[str],
    most_rows: int,
    non_finite: Sequence[str] = (),
    nullable: Sequence[str] = (),
) -> pa.Table:
    """The columns of a file that `schema` knows; others are not read.

    required: columns that must be there; nullable: those that may lack values; non_finite: those that may
    have NaN and infinities. Raises SettingsError naming file and column.
    """
    try:
        if not path.is_file():
            raise SettingsError(f"{path}: is missing, or not a regular file")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise SettingsError(f"{path}: has {size / MIB:,.0f} MiB; the most is {MOST_BYTES // MIB:,}")
        with path.open("rb") as file:  # Arrow itself opens no name that is not UTF-8
            table = _read(file, size, path, schema, required, most_rows)
        table.validate(full=True)
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {documents.describe_reason(error)}") from error
    for name in table.column_names:
        _check_values(path, name, table[name], finite=name not in non_finite)
        if name not in nullable and table[name].null_count:
            raise SettingsError(f"{path}: {name}: {table[name].null_count:,} rows have no value")
    return table


def _read(
    file: BinaryIO, size: int, path: Path, schema: pa.Schema, required: Sequence[str], most_rows: int
) -> pa.Table:
    file.seek(max(0, size - 8))
    footer = int.from_bytes(file.read(4), "little")
    if size >= 12 and footer > MOST_FOOTER:
        raise SettingsError(f"{path}: its footer has {footer:,} bytes; the most is {MOST_FOOTER:,}")
    file.seek(0)
    limits = {
        "thrift_string_size_limit": MOST_FOOTER,
        "thrift_container_size_limit": MOST_COLUMNS * MOST_ROW_GROUPS,
    }
    parquet = pq.ParquetFile(file, **limits)
    _check_size(path, parquet.metadata, most_rows)
    names = parquet.schema_arrow.names
    if missing := [name for name in required if name not in names]:
        raise SettingsError(f"{path}: has no column {', '.join(missing)}")
    present_columns = [name for name in schema.names if name in names]
    texts = [name for name in present_columns if schema.field(name).type == pa.string()]
    for name in present_columns:
        if names.count(name) > 1:
            raise SettingsError(f"{path}: {name}: is there {names.count(name)} times")
        present, expected = parquet.schema_arrow.field(name).type, schema.field(name).type
        if present != expected:
            raise SettingsError(f"{path}: {name}: is of type {str(present)[:60]}, must be {expected}")
    # Texts stay in their dictionaries until their sizes are known.
    parquet = pq.ParquetFile(file, read_dictionary=texts, metadata=parquet.metadata, **limits)
    table = parquet.read(columns=present_columns, use_threads=False)
    for name in present_columns:
        if name in texts:
            column = _decode_texts(path, name, table[name])
            table = table.set_column(table.column_names.index(name), name, column)
    return table


def _check_size(path: Path, metadata: pq.FileMetaData, most_rows: int) -> None:
    for counted, number, most in (
        ("rows", metadata.num_rows, most_rows),
        ("row groups", metadata.num_row_groups, MOST_ROW_GROUPS),
        ("columns", metadata.num_columns, MOST_COLUMNS),
    ):
        if not 0 <= number <= most:
            raise SettingsError(f"{path}: has {number:,} {counted}; the most is {most:,}")
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    decoded = sum(max(0, group.total_byte_size) for group in groups)
    rows = sum(group.num_rows for group in groups)
    if decoded > MOST_DECODED:
        raise SettingsError(
            f"{path}: decodes to {decoded / MIB:,.0f} MiB; the most is {MOST_DECODED // MIB:,}"
        )
    if rows != metadata.num_rows or any(group.num_rows < 0 for group in groups):
        raise SettingsError(f"{path}: says {metadata.num_rows:,} rows, its row groups {rows:,}")


def _decode_texts(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """As text, once their sizes are known."""
    total = 0
    for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
        chunk.validate(full=True)
        lengths = pc.binary_length(chunk.dictionary)
        total += pc.sum(pc.take(lengths, chunk.indices)).as_py() or 0
        if (pc.max(lengths).as_py() or 0) > LONGEST or total > MOST_TEXT:
            raise SettingsError(f"{path}: {name}: has texts of more than {LONGEST:,} bytes, or too many")
    return column.cast(pa.string())


def _check_values(path: Path, name: str, column: pa.ChunkedArray, *, finite: bool) -> None:
    if column.type == pa.string():
        if pc.any(pc.match_substring_regex(column, _UNPRINTABLE)).as_py():
            raise SettingsError(f"{path}: {name}: has control characters")
        return
    if column.type == pa.bool_():
        return
    if column.type == pa.float64():
        if finite and not pc.all(pc.is_finite(column)).as_py() and len(column) > column.null_count:
            raise SettingsError(f"{path}: {name}: has NaN or infinite values")
        column = column.filter(pc.is_finite(column))
    largest = LARGEST if column.type == pa.float64() else LARGEST_WHOLE
    low, high = pc.min_max(column).as_py().values()
    if low is not None and (low < -largest or high > largest):
        raise SettingsError(f"{path}: {name}: has values beyond ±{largest:g}")
