"""``mindone-diffusers quantize`` writes a checkpoint in 8 or 4 bits, once and for all."""

from __future__ import annotations

from pathlib import Path

import click

from ..jobs.quantize import Quantization, quantize as write_quantized
from ..utils.files import check_folder
from .options import options_of
from .status import say


@click.command()
@options_of(Quantization)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="FOLDER",
    help="The new checkpoint's folder, new or empty.",
)
@click.option(
    "--prompts",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Texts to calibrate on, one per line.  [default: two that come with the package]",
)
def quantize(output: Path, prompts: Path | None, **given: object) -> None:
    """Generate a few images to observe the ranges of activations, and write the checkpoint with its denoiser in int8,
    which is faster. Or, with --weights, round weights to 4 or 8 bits, which takes less memory and generates nothing.

    The result loads like any other checkpoint. --text-encoders-only leaves the rest unchanged: if the text encoder is
    the largest network, it takes most of the memory.

    \b
    Examples:
      mindone-diffusers quantize --model stable-diffusion-v1-5/stable-diffusion-v1-5 -o sd15-int8
      mindone-diffusers quantize --model stabilityai/stable-diffusion-3.5-medium --weights int4 -o sd35-int4
      mindone-diffusers generate "a rocket" --model sd15-int8
    """
    job = Quantization.from_texts(given)
    if output.is_dir() and any(output.iterdir()):
        raise click.UsageError(f"the folder {output} is not empty; give a new one")
    texts: tuple[str, ...] = ()
    if prompts is not None:
        from ..utils.files import read_lines

        if job.weights is not None:
            raise click.UsageError("--prompts are for calibration, which --weights does not need: leave them out")
        texts = tuple(read_lines(prompts))
        if not texts:
            raise click.UsageError(f"{prompts} has no prompts: write one per line")
    from ..jobs.checks import check_names  # only now: it imports NumPy

    check_names("model", job.model)
    check_folder(output)
    is_rounded = job.text_encoders_only or job.weights is not None
    say(f"loading {job.model} and {'rounding' if is_rounded else 'calibrating'}…")
    for summary in write_quantized(job, output, texts):
        click.echo(summary.words)
    click.echo(f"wrote {output}")
