"""``mindone-diffusers batch``: many jobs, on one machine or a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from .. import batch as batches
from ..jobs import Job
from .options import options_of

_FAILED = 3
"""The exit code if some jobs failed."""
_SHOWN_FAILURES = 10


class _WithGrid(click.Command):
    """``--grid-search a=1,2 b=3,4`` is ``--grid-search a=1,2 --grid-search b=3,4``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spelled_out: list[str] = []
        follows = False
        for word in args:
            is_axis = follows and "=" in word and not word.startswith("-")
            if is_axis and spelled_out[-1] != "--grid-search":
                spelled_out.append("--grid-search")
            spelled_out.append(word)
            follows = word == "--grid-search" or is_axis
        return super().parse_args(ctx, spelled_out)


@click.command(cls=_WithGrid)
@click.argument("jobs", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FOLDER_OR_URL",
    help="Folder for the images and the manifest, or an fsspec address such as s3://bucket/images.",
)
@click.option("--prompts", type=click.Path(path_type=Path), metavar="FILE", help="A text file, one prompt per line.")
@click.option("--seeds", metavar="LIST", help="Generate everything with each of these seeds: 0-9,20 are eleven.")
@click.option(
    "--grid-search",
    multiple=True,
    metavar="FIELD=VALUE,VALUE…",
    help="Generate everything with each combination of these options' values: steps=10,20 "
    "scheduler=unipc,dpm++. Write values that contain commas as a JSON list.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many images that differ only in prompt and seed to generate in one call. In half precision this changes "
    "the images' last bits.",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Run on a Ray cluster: auto is the one that this machine belongs to, local starts one here, and an address "
    "is its head's. [default: on this machine, without Ray]",
)
@click.option(
    "--sheet",
    is_flag=True,
    help="Lay out the images in sheet.png: the first field of --grid-search from left to right, the second (or the "
    "seeds, or the prompts) from top to bottom, and one sheet for each combination of the others. "
    "Without a seed of their own, all images have seed 0.",
)
@options_of(Job, leave_out=["prompt"])
def batch(
    jobs: Path | None,
    output: str,
    prompts: Path | None,
    seeds: str | None,
    grid_search: tuple[str, ...],
    batch_size: int,
    ray: str | None,
    sheet: bool,
    **defaults: object,
) -> None:
    """Generate all JOBS, a JSONL, CSV or Parquet file whose fields are the options below.

    The options are defaults for fields that a job does not set. Every image is a PNG file that records its job;
    manifest.jsonl has a line for each. Run the same command again to generate what is missing, also after a crash. A
    failed job is tried twice more; if any fails for good, the exit code is 3.

    \b
    Examples:
      mindone-diffusers batch jobs.jsonl -o out/
      mindone-diffusers batch jobs.csv -o s3://bucket/images --ray auto
      mindone-diffusers batch --prompts prompts.txt --seeds 0-99 \\
          --grid-search steps=10,20 scheduler=unipc,dpm++ -o out/
      mindone-diffusers batch --prompts prompts.txt --grid-search steps=5,10,20 scheduler=unipc,dpm++ --sheet -o out/
    """
    if (jobs is None) == (prompts is None):
        raise click.UsageError("give a file of jobs, or a file of prompts with --prompts")
    axes: dict[str, Sequence[object]] = dict(batches.parse_axis(text) for text in grid_search)
    if seeds is not None:
        if defaults["seed"] is not None or "seed" in axes:
            raise click.UsageError("--seeds and another seed were both given; give one of them")
        axes["seed"] = batches.parse_seeds(seeds)
    rows = batches.read_rows(jobs) if jobs is not None else batches.read_prompts(prompts or "")
    given = {name: value for name, value in defaults.items() if value not in (None, (), False)}
    if sheet and "seed" not in axes:
        given.setdefault("seed", 0)  # images from different noise cannot be compared
    from ..jobs.checks import check_key  # only now: it imports NumPy

    # A cluster's nodes have their own files.
    made = batches.make_jobs(rows, axes, given, check_key if ray is None else None)
    if sheet:
        from ..batch.sheet import sheets_of

        sheets_of(made, list(axes))  # refuses what does not fit on one before anything is generated
    _draw(made, output, {"ray": ray, "batch_size": batch_size}, list(axes) if sheet else None)


def _draw(jobs: list[Job], output: str, options: Mapping[str, str | int | None], axes: Sequence[str] | None) -> None:
    summary = batches.run(jobs, output, **options)  # type: ignore[arg-type]
    if summary.repeated:
        click.echo(f"{summary.repeated} jobs repeat another one and share its image", err=True)
    for record in summary.failed[:_SHOWN_FAILURES]:
        click.echo(f"failed: {str(record.job['prompt'])[:60]!r}: {record.error}", err=True)
    counts = [f"generated {summary.drawn} images", f"{summary.kept} existed", f"{len(summary.failed)} failed"]
    click.echo(f"{', '.join(counts)}; {output.rstrip('/')}/manifest.jsonl")
    if axes is not None and summary.stopped is None:
        from ..batch.outputs import open_output
        from ..batch.sheet import write_sheets

        for name in write_sheets(jobs, axes, open_output(output)):
            click.echo(f"wrote {output.rstrip('/')}/{name}")
    if summary.stopped is not None:
        raise click.exceptions.Exit(128 + summary.stopped)
    if summary.failed:
        raise click.exceptions.Exit(_FAILED)
