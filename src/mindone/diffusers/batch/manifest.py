"""The manifest: one line for each image, or for the reason why there is none."""

import io
import json
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Annotated, Any, get_args, get_origin

from pydantic import AfterValidator, Field

from ..jobs import Job
from ..jobs.fields import Fields, plain_type
from ..utils.errors import one_line
from ..utils.extras import is_there, needs
from ..utils.printable import shown
from .combinations import file_name, identity
from .outputs import Output
from .queue import Outcome
from .rows import why_no_json

NAME = "manifest.jsonl"
PARQUET_NAME = "manifest.parquet"


def _job_values(values: dict[str, Any]) -> dict[str, Any]:
    """The job's given fields, in the table's types."""
    return {name: value for name, value in Job.of(values).to_dict().items() if name in values}


_MOST = 2**31
"""Numbers in a line are smaller."""


class Record(Fields):
    """The result of a job."""

    id: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    """`combinations.identity` of the job."""
    file: str | None
    """The image in the same folder; None if there is none."""
    seconds: Annotated[float | None, Field(ge=0, lt=_MOST)]
    """Seconds to generate it; jobs that shared a call of the pipeline get equal parts."""
    machine: str | None
    """The worker's machine; None if the run was killed between writing the image and its line."""
    tries: Annotated[int, Field(ge=0, lt=_MOST)]
    error: str | None
    """Why there is no image, in one line."""
    finished: str
    """When, in UTC."""
    job: Annotated[dict[str, Any], AfterValidator(_job_values)]


class Manifest:
    """The records of an output folder, old and new. If several have the same id, the last one counts.

    Raises:
        ValueError: a line of the file is no record.
        OSError: it cannot be written, or another batch has it open.
    """

    def __init__(self, output: Output):
        self._output, self._log = output, output.open_log(NAME)
        self.records: dict[str, Record] = {}
        try:
            for number, line in enumerate(self._log.text.split("\n"), 1):
                if line:
                    record = _record(line, f"{output}/{NAME}, line {number}")
                    self.records[record.id] = record
        except ValueError:
            self._log.close()
            raise

    def add(self, outcome: Outcome, tries: int) -> Record:
        """Record the result of a job, durably."""
        job, seconds = outcome.job, outcome.seconds
        record = Record(
            id=identity(job),
            file=None if outcome.error else file_name(job),
            seconds=None if seconds is None else round(seconds, 4),
            machine=outcome.machine,
            tries=tries,
            error=outcome.error,
            finished=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            job=job.to_dict(),
        )
        self._log.add(json.dumps(record.model_dump(), ensure_ascii=False))
        self.records[record.id] = record
        return record

    def whole(self, jobs: Iterable[Job]) -> set[str]:
        """The ids of the jobs whose images exist and are complete.

        Each image is read: a damaged one, or one of another job, does not count. An image without a line, which a
        killed run may leave, gets its line now. In remote storage only images without a line are fetched.
        """
        names, ids = self._output.names(), set()
        for job in jobs:
            id, name = identity(job), file_name(job)
            if name not in names:
                continue
            record = self.records.get(id)
            is_new = record is None or record.error is not None
            if is_new or self._output.is_local:
                about = self._said(name, job)
                if about is None:
                    continue
                if is_new:
                    self.add(Outcome(job, seconds=_seconds(about.get("seconds"))), tries=1)
            ids.add(id)
        return ids

    def _said(self, name: str, job: Job) -> dict[str, Any] | None:
        """The image's own metadata; None if it is not the job's, or incomplete."""
        from ..jobs.png import read_parameters

        try:
            about = read_parameters(name, self._output.read(name))
            is_it = Job.of(dict(about["job"])) == job  # type: ignore[call-overload]
        except (ValueError, OSError, KeyError, TypeError):
            return None
        return about if is_it else None

    def close(self) -> None:
        """Bring the file up to date, and write a Parquet table too if pyarrow is installed."""
        self._log.close()
        if self.records and is_there("pyarrow"):
            self._output.write(PARQUET_NAME, _parquet(self.records.values()))


def _seconds(said: Any) -> float | None:
    """The seconds that an image claims; anyone may have written them."""
    return float(said) if isinstance(said, (int, float)) and 0 <= said < _MOST else None


def _record(line: str, where: str) -> Record:
    """A line as a record; raises ValueError, in one line, if it is none."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = why_no_json(error)
    else:
        try:
            if isinstance(values, dict):
                return Record.of(values)
            why = f"must be a JSON object, got {shown(values)}"
        except ValueError as error:
            why = str(error)
    raise ValueError(one_line(f"{where} is no record of a batch: {why}; fix the file or give another folder"))


def _parquet(records: Iterable[Record]) -> bytes:
    """The records as a table; each field of a job is a column."""
    arrow, parquet = needs("pyarrow", "Parquet files"), needs("pyarrow.parquet", "Parquet files")
    own = {name: arrow.string() for name in ("id", "file", "machine", "error", "finished")}
    own |= {"seconds": arrow.float64(), "tries": arrow.int64()}
    fields = {name: _arrow_type(arrow, plain_type(field)) for name, field in Job.model_fields.items()}
    fields["seed"] = arrow.uint64()
    schema = arrow.schema({**own, **fields})
    rows = []
    for record in records:
        values = {**record.job, **record.model_dump()}
        rows.append({name: values.get(name) for name in schema.names})
    file = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), file)
    return file.getvalue()


def _arrow_type(arrow: Any, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        return arrow.list_(_arrow_type(arrow, get_args(kind)[0]))
    types: dict[Any, Any] = {int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
    return types.get(kind, arrow.string())
