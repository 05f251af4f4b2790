"""Lists of jobs as files: each row holds what a command line would say, by the options' names."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..utils.extras import needs
from ..utils.files import check_file, numbered_lines, read_utf8

MOST_ROWS = 10**6
"""The most rows of a list: each is a job, and all of them are in memory."""
SUFFIXES = (".jsonl", ".csv", ".parquet")


@dataclass(frozen=True)
class Row:
    """A row's values by field; what is None or empty is unset."""

    values: Mapping[str, object]
    where: str
    """What an error message calls it: the file and the line."""


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """The rows of a JSONL, CSV or Parquet file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another kind of file, or one that is damaged; the message names the line.
        ImportError: a Parquet file without pyarrow.
    """
    file = Path(path)
    readers = dict(zip(SUFFIXES, (_jsonl, _csv, _parquet)))
    if file.suffix.lower() not in readers:
        raise ValueError(f"a list of jobs must be a file that ends in {', '.join(SUFFIXES)}, got {os.fspath(path)!r}")
    check_file(file)
    rows = list(readers[file.suffix.lower()](file))
    if not rows:
        raise ValueError(f"{file} holds no jobs")
    return rows


def read_prompts(path: str | os.PathLike[str]) -> list[Row]:
    """A row for each line of a text file; empty lines do not count. Raises as `read_rows`."""
    file = Path(path)
    rows = [Row({"prompt": line}, f"{file}, line {number}") for number, line in numbered_lines(file)]
    if not rows:
        raise ValueError(f"{file} holds no prompts")
    return rows


def why_no_json(error: ValueError | RecursionError) -> str:
    """What is wrong with a JSON text, as `json.loads` raises it."""
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
    parquet = needs("pyarrow.parquet", "Parquet files")
    try:
        with parquet.ParquetFile(file) as opened:
            count = opened.metadata.num_rows
            table = opened.read() if count <= MOST_ROWS else None
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is no readable Parquet file: {error}") from None
    if table is None:
        raise ValueError(f"{file} has {count:,} rows and a batch takes up to {MOST_ROWS:,}; split it")
    for number, values in enumerate(table.to_pylist(), 1):
        yield Row(values, f"{file}, row {number}")
