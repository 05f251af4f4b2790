"""``mindone-diffusers tune``: the best stack of speed-ups for a target, found by measuring."""

import shlex
import sys
from pathlib import Path

import click

from .. import tune as tuning
from ..interrupts import exit_code
from ..tune.options import Options
from ..utils.files import check_folder, read_lines
from .options import options_of
from .saving import unused_folder
from .status import say


@click.command()
@options_of(Options)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("mindone-tune"),
    show_default=True,
    metavar="FOLDER",
    help="Folder for the report and the profiles. Those in a folder that you name are overwritten; the "
    "default folder gets a number added instead.",
)
@click.pass_context
def tune(context: click.Context, /, output: Path, **given: object) -> None:
    """Measure this machine and this checkpoint, and find the settings with the best quality at each speed.

    FOLDER gets tune.html (plot, table and pictures, opens from disk), tune.json (every candidate) and profile.json;
    without a goal it gets 2x.json, 4x.json and so on. Goals combine. Ctrl-C keeps the Pareto front so far.

    \b
    Examples:
      mindone-diffusers tune
      mindone-diffusers tune --model stable-diffusion-v1-5/stable-diffusion-v1-5 --speed-up 8 --budget 60
      mindone-diffusers generate "a rocket on a blue background" --profile mindone-tune/4x.json
    """
    options = Options.from_texts(given)
    from ..jobs.checks import check_names  # only now: it imports NumPy

    if options.prompts is not None:
        read_lines(options.prompts)
    check_folder(output)
    check_names("model", options.model)
    check_names("distilled", options.distilled)
    check_names("tiny_vae", options.tiny_vae)
    output = unused_folder(context, output, "tune.json")
    say(f"loading {options.shape or options.model or 'icons'}…")
    front = tuning.run(options, shlex.join(["mindone-diffusers", *sys.argv[1:]]), output)
    if not front.is_complete and front.was_interrupted:
        raise click.exceptions.Exit(exit_code())
