"""From rows, seeds and a grid of values to jobs of one image each."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, product

from ..jobs import Job, PipelineKey
from ..jobs.job import check_prompt
from ..utils.files import stem_of
from .rows import MOST_ROWS, Row, why_no_json

MOST_JOBS = MOST_ROWS
"""The most jobs of a batch: all are in memory, and each is one image."""
_LONGEST_WORDS = 160
"""Bytes of a prompt in a file name; with the seed and the identity it stays below the 255 that systems allow."""

Axes = Mapping[str, Sequence[object]]
"""Fields and the values that each takes; every row is generated with every combination."""


def parse_seeds(text: str) -> list[int]:
    """``0-9,20`` as eleven seeds.

    Raises:
        ValueError: the text has another form.
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,20})(?:-(\d{1,20}))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if last < first:
            raise ValueError(f"seeds must be numbers and ranges such as 0-9,20, got {text[:60]!r}")
        if len(seeds) + last - first >= MOST_JOBS:
            raise ValueError(f"seeds {text[:60]!r} are more than the {MOST_JOBS:,} that a batch takes")
        seeds.extend(range(first, last + 1))
    return seeds


def parse_axis(text: str) -> tuple[str, list[object]]:
    """``steps=10,20`` as the field and its values; values with commas are given as a JSON list.

    Raises:
        ValueError: the text has another form.
    """
    name, sign, values = text.partition("=")
    name = name.strip().removeprefix("--").replace("-", "_")
    if not sign or not name or not values.strip():
        raise ValueError(f"grid search takes FIELD=VALUE,VALUE such as steps=10,20, got {text[:60]!r}")
    if not values.lstrip().startswith("["):
        return name, list(values.split(","))
    try:
        return name, list(json.loads(values))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"grid search: {name} is no JSON list: {why_no_json(error)}") from None


def make_jobs(
    rows: Iterable[Row],
    axes: Axes,
    defaults: Mapping[str, object],
    check: Callable[[PipelineKey], None] | None = None,
) -> list[Job]:
    """The jobs of every row with every combination of the axes' values, one image each.

    A job of several images becomes several jobs with the seeds of the images. A missing seed is derived from the job's
    other fields, so that the same list gives the same images again.

    Args:
        rows: what to generate; a row's values override the defaults.
        axes: the fields that take several values each; no row may set one of them.
        defaults: for fields that neither row nor axis sets.
        check: raises ValueError or OSError for a pipeline that does not load; called once for each.

    Raises:
        ValueError: a field is refused, unknown, or set by both a row and an axis, or there are more than `MOST_JOBS`;
            the message says where.
    """
    try:
        combinations = math.prod(len(values) for values in axes.values())
    except OverflowError:  # a range longer than any list
        combinations = MOST_JOBS + 1
    if combinations > MOST_JOBS:
        raise ValueError(
            f"{', '.join(axes)} have more combinations than the {MOST_JOBS:,} images that a batch takes; split it"
        )
    listed = list(islice(rows, MOST_JOBS + 1))
    if len(listed) * combinations > MOST_JOBS:
        raise ValueError(
            f"{listed[0].where}: a batch takes up to {MOST_JOBS:,} images and these are more: {len(listed):,} rows "
            f"with {combinations:,} combinations each; split it"
        )
    several: list[Job] = []
    checked: set[PipelineKey] = set()
    images = 0
    for row in listed:
        own = {name: value for name, value in row.values.items() if value is not None and value != ""}
        if "prompt" in row.values:
            own.setdefault("prompt", row.values["prompt"])
        twice = next((name for name in axes if name in own), None)
        if twice is not None:
            raise ValueError(f"{row.where}: {twice} is set here and as several values for all; leave one out")
        for values in product(*axes.values()):
            try:
                several.append(_with_seed({**defaults, **own, **dict(zip(axes, values))}))
                if check is not None and (key := several[-1].pipeline_key) not in checked:
                    check(key)
                    checked.add(key)
            except (ValueError, OSError) as error:
                where = row.where
                if axes and _is_valid({**defaults, **own}):
                    where = "grid search, " + ", ".join(f"{name}={value}" for name, value in zip(axes, values))
                raise ValueError(f"{where}: {error}") from None
            images += several[-1].num_images
            if images > MOST_JOBS:
                raise ValueError(f"{row.where}: a batch takes up to {MOST_JOBS:,} images and these are more; split it")
    # All fields have been checked, and so has the last seed.
    return [
        job.model_copy(update={"seed": job.seed + i, "num_images": 1}) for job in several for i in range(job.num_images)
    ]


def _is_valid(fields: Mapping[str, object]) -> bool:
    try:
        _with_seed(fields)
    except ValueError:
        return False
    return True


def identity(job: Job) -> str:
    """Sixteen hexadecimal digits derived from the job's fields: the same for the same job in every run."""
    fields = json.dumps(job.to_dict(), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(fields.encode()).hexdigest()[:16]


def file_name(job: Job) -> str:
    """The file of a job's image: a name that reads like the prompt, with the seed and the job's identity."""
    return f"{stem_of(job.prompt, 40, _LONGEST_WORDS)}-{job.seed}-{identity(job)}.png"


def _with_seed(fields: Mapping[str, object]) -> Job:
    """The job, whose prompt must not be empty; a missing seed is derived from its other fields."""
    has_seed = fields.get("seed") not in (None, "")
    job = Job.from_texts(fields if has_seed else {**fields, "seed": 0})
    check_prompt(job.prompt)
    if not has_seed:
        job = job.changed(seed=int(identity(job)[:8], 16))
    job.changed(seed=job.seed + job.num_images - 1)
    return job
