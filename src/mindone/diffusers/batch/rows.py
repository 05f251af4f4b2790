"""Lists of jobs as files: each row holds values by the names of the command line's options."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..jobs import Job
from ..jobs.fields import unknown_field
from ..utils.extras import needs
from ..utils.files import check_file, numbered_lines, read_utf8

MOST_ROWS = 10**5
"""The most rows of a list: each is a job, and all are in memory at some kilobytes each."""
MOST_TEXT = 256 * 2**20
"""The most bytes of a Parquet file's values once unpacked."""
_ROWS_AT_ONCE = 1024
SUFFIXES = (".jsonl", ".csv", ".parquet")


@dataclass(frozen=True)
class Row:
    """A row's values by field; what is None or empty is unset."""

    values: Mapping[str, object]
    where: str
    """Its name in error messages: the file and the line."""


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """The rows of a JSONL, CSV or Parquet file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind, is damaged, or has more than `MOST_ROWS` rows or, as Parquet, more than
            `MOST_TEXT` bytes; the message names the line.
        ImportError: a Parquet file without pyarrow.
    """
    file = Path(path)
    readers = dict(zip(SUFFIXES, (_jsonl, _csv, _parquet)))
    if file.suffix.lower() not in readers:
        raise ValueError(f"a list of jobs must be a file that ends in {', '.join(SUFFIXES)}, got {os.fspath(path)!r}")
    check_file(file)
    return _counted(readers[file.suffix.lower()](file), file, "jobs")


def read_prompts(path: str | os.PathLike[str]) -> list[Row]:
    """A row for each line of a text file; empty lines do not count. Raises as `read_rows`."""
    file = Path(path)
    rows = (Row({"prompt": line}, f"{file}, line {number}") for number, line in numbered_lines(file))
    return _counted(rows, file, "prompts")


def _counted(rows: Iterator[Row], file: Path, what: str) -> list[Row]:
    first = list(islice(rows, MOST_ROWS + 1))
    if not first:
        raise ValueError(f"{file} holds no {what}")
    if len(first) > MOST_ROWS:
        raise ValueError(f"{first[-1].where}: a batch takes up to {MOST_ROWS:,} {what} and these are more; split it")
    return first


def why_no_json(error: ValueError | RecursionError) -> str:
    """What is wrong with a JSON text, from the error of `json.loads`."""
    if isinstance(error, json.JSONDecodeError):
        return f"column {error.colno}: {error.msg}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else "a number has thousands of digits"


def _jsonl(file: Path) -> Iterator[Row]:
    for number, line in enumerate(read_utf8(file).split("\n"), 1):
        where = f"{file}, line {number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: not valid JSON: {why_no_json(error)}") from None
        if not isinstance(values, dict):
            raise ValueError(f'{where}: must be a JSON object such as {{"prompt": "a cat"}}, got {line.strip()[:60]}')
        yield Row(values, where)


def _csv(file: Path) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(read_utf8(file), newline=""))
    try:
        for values in reader:
            where = f"{file}, line {reader.line_num}"
            if None in values:
                raise ValueError(f"{where}: more values than the header has columns; quote texts that contain commas")
            yield Row(values, where)
    except csv.Error as error:
        raise ValueError(f"{file}, line {reader.line_num + 1}: no readable CSV: {error}") from None


def _parquet(file: Path) -> Iterator[Row]:
    """The rows, a few at a time: a file of some hundred bytes may unpack to more than fits into memory."""
    parquet = needs("pyarrow.parquet", "Parquet files")
    try:
        with parquet.ParquetFile(file) as opened:
            leaves = [opened.schema.column(i) for i in range(len(opened.schema))]
            names = opened.schema_arrow.names
            groups = [opened.metadata.row_group(i) for i in range(opened.num_row_groups)]
            chunks = [group.column(i) for group in groups for i in range(len(leaves))]
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is no readable Parquet file: {error}") from None
    unknown = next((name for name in names if name not in Job.model_fields), None)
    if unknown is not None:
        raise ValueError(f"{file}: {unknown_field(unknown, Job.model_fields)}")
    sizes = [chunk.total_uncompressed_size + 8 * chunk.num_values for chunk in chunks]
    too_much = f"its values take more than the {MOST_TEXT // 2**20} MB that a batch accepts; split it"
    if sum(sizes) > MOST_TEXT:
        raise ValueError(f"{file}: {too_much}")
    # Texts stored once and referenced often stay compact, but Arrow cannot do that for delta-encoded texts, which are
    # stored as differences from the one before. No text is larger than its chunk, so reading few rows stays within the
    # limit.
    deltas = {chunk.path_in_schema for chunk in chunks if "DELTA_BYTE_ARRAY" in chunk.encodings}
    texts = [
        leaf.path
        for leaf in leaves
        if leaf.physical_type == "BYTE_ARRAY" and (leaf.path not in deltas or leaf.path not in names)
    ]
    at_once = min(_ROWS_AT_ONCE, max(MOST_TEXT // max(sizes, default=1), 1))
    number = taken = 0
    try:
        with parquet.ParquetFile(file, read_dictionary=texts) as opened:
            for batch in opened.iter_batches(at_once):
                where = f"{file}, row {number + 1}"
                taken += sum(_bytes(column) for column in batch.columns)
                if taken > MOST_TEXT:
                    break
                for values in batch.to_pylist():
                    number += 1
                    yield Row(values, f"{file}, row {number}")
    except (OSError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{file} is no readable Parquet file: {error}") from None
    if taken > MOST_TEXT:
        raise ValueError(f"{where}: {too_much}")


def _bytes(column: Any) -> int:
    """The bytes that a column's values take, without unpacking them."""
    types, compute = needs("pyarrow.types", "Parquet files"), needs("pyarrow.compute", "Parquet files")
    kind = column.type
    if types.is_list(kind) or types.is_large_list(kind):
        return _bytes(column.flatten())
    if types.is_nested(kind):
        raise ValueError(f"a field is a text, a number or a list of them, not {str(kind)[:60]}")
    if types.is_dictionary(kind) and not types.is_primitive(kind.value_type):
        lengths = compute.binary_length(column.dictionary)
        return int(compute.sum(lengths.take(column.indices)).as_py() or 0)
    return int(column.nbytes)
