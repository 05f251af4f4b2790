"""Many jobs, each generated once, on one machine or a Ray cluster; a killed run resumes where it was.

    jobs = make_jobs(read_rows("jobs.csv"), {"seed": range(4)}, {"steps": 20})
    summary = run(jobs, "out")

Everything but Parquet files, clusters and URLs works without the ``[batch]`` extra.
"""

from .combinations import make_jobs, parse_axis, parse_seeds
from .rows import Row, read_prompts, read_rows
from .run import Summary, run

__all__ = ["Row", "Summary", "make_jobs", "parse_axis", "parse_seeds", "read_prompts", "read_rows", "run"]
