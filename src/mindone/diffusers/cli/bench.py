"""``mindone-diffusers bench``: speed and quality on this machine."""

import shlex
import sys
from pathlib import Path

import click

from .. import bench as benchmark
from ..bench.options import Options
from ..interrupts import exit_code
from .options import options_of
from .saving import unused_folder


@click.command()
@options_of(Options, leave_out=["output"])
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Options.model_fields["output"].default,
    show_default=True,
    metavar="FOLDER",
    help="Folder for the report. A report in a folder that you name is overwritten; the default folder gets a "
    "number added instead.",
)
@click.pass_context
def bench(context: click.Context, /, output: Path, **given: object) -> None:
    """Measure the gain of half precision, distilled models, caches and int8 on this machine.

    Table 1 compares half precision with float32; table 2 compares distilled models with their original; table 3 stacks
    speed-ups, each next to its rival: the same settings without it, with fewer steps to be as fast. Rows take turns,
    run by run. FOLDER gets report.html (tables, charts and images, opens from disk), report.json (every run) and
    grid.png. Ctrl-C keeps the measurements so far.

    \b
    Examples:
      mindone-diffusers bench
      mindone-diffusers bench --model stable-diffusion-v1-5/stable-diffusion-v1-5 \\
          --distilled nota-ai/bk-sdm-small --tiny-vae madebyollin/taesd
      mindone-diffusers bench --shape sd15 --steps 4 --against diffusers
      mindone-diffusers bench --table 3
      mindone-diffusers bench --shape sd15 --table 3 --only int8 --only float32 --against diffusers --repeats 1
    """
    options = Options.from_texts({**given, "output": unused_folder(context, output, "report.json")})
    from ..jobs.checks import check_names  # only now: it imports NumPy

    check_names("model", options.model)
    check_names("distilled", options.distilled)
    check_names("tiny_vae", options.tiny_vae)
    report = benchmark.run(options, shlex.join(["mindone-diffusers", *sys.argv[1:]]))
    if report.interrupted:
        raise click.exceptions.Exit(exit_code())
    if report.failure:
        raise click.ClickException(report.failure)
