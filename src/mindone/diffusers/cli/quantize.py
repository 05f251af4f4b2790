"""``mindone-diffusers quantize``: a checkpoint in int8, once and for all."""

from __future__ import annotations

from pathlib import Path

import click

from ..jobs.quantize import Quantization
from ..jobs.quantize import quantize as write_quantized
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
    help="Where the checkpoint goes: a new or an empty folder.",
)
@click.option(
    "--prompts",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Texts to calibrate on, one per line.  [default: two that come with the package]",
)
def quantize(output: Path, prompts: Path | None, **given: object) -> None:
    """Draw a few images to see the ranges of activations, and write the checkpoint with its denoiser in int8.

    What comes out loads like any other checkpoint. With --text-encoders-only the rest stays as it is: where a prompt is
    read by the largest of the networks, that is most of the memory.

    \b
    Example:
      mindone-diffusers quantize --model stable-diffusion-v1-5/stable-diffusion-v1-5 -o sd15-int8
      mindone-diffusers generate "a rocket" --model sd15-int8
    """
    job = Quantization.from_texts(given)
    if output.is_dir() and any(output.iterdir()):
        raise click.UsageError(f"the folder {output} is not empty; give a new one")
    texts: tuple[str, ...] = ()
    if prompts is not None:
        from ..utils.files import read_lines

        texts = tuple(read_lines(prompts))
        if not texts:
            raise click.UsageError(f"{prompts} has no prompts: write one per line")
    from ..jobs.checks import check_names  # only now: it imports NumPy

    check_names("model", job.model)
    check_folder(output)
    say(f"loading {job.model} and {'rounding' if job.text_encoders_only else 'calibrating'}…")
    write_quantized(job, output, texts)
    click.echo(f"wrote {output}")
