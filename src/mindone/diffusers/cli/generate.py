"""``mindone-diffusers generate``: draw images of a text."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from .. import __version__, jobs
from ..jobs import Job
from .options import options_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..jobs.pictures import Pictures


@click.command()
@options_of(Job)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help="Where the image goes. Several images without --grid become FILE-0.png, FILE-1.png and so on.  [default: the "
    "prompt and the seed, in this folder]",
)
@click.option("--grid", is_flag=True, help="Put all images into one file, side by side.")
@click.option(
    "--metadata",
    type=click.Choice(["a1111", "none"]),
    default="a1111",
    show_default=True,
    help="What the file says of how it was made: the job, and beside it the parameters in the form of the web user "
    "interface of that name; or nothing.",
)
@click.option(
    "--profile",
    metavar="FILE.json or NAME",
    help="Draw with the settings that `tune` found: a file, or the name of one that was saved for the model. Options "
    "that are given beside it come first.",
)
@click.pass_context
def generate(
    context: click.Context,
    output: Path | None,
    grid: bool,
    metadata: Literal["a1111", "none"],
    profile: str | None,
    **given: object,
) -> None:
    """Draw images of PROMPT and save them as PNG files.

    The files remember how they were made: `mindone-diffusers info FILE` prints it.

    \b
    Examples:
      mindone-diffusers generate "a rocket on a blue background"
      mindone-diffusers generate "a cat and a rocket" --num-images 4 --grid --seed 0 -o cats.png
      mindone-diffusers generate "a golden vase with different flowers" --steps 25 --dtype float16 \\
          --model nota-ai/bk-sdm-small --tiny-vae madebyollin/taesd
      mindone-diffusers generate "a watercolour of a harbour" --image photo.jpg --strength 0.6
      mindone-diffusers generate "a red hat" --image photo.jpg --mask mask.png
      mindone-diffusers generate "a house" --control canny=photo.jpg --controlnet lllyasviel/sd-controlnet-canny \\
          --model stable-diffusion-v1-5/stable-diffusion-v1-5
      mindone-diffusers generate "a rocket" --upscale 2
      mindone-diffusers generate "a rocket on a blue background" --profile mindone-tune/4x.json
    """
    found = None
    if profile is not None:
        from ..jobs.profile import load_profile

        typed = {name: value for name, value in given.items() if _is_typed(context, name)}
        found = load_profile(profile, str(typed["model"]) if "model" in typed else None)
        given = found.job_fields_with(typed)
    job = Job.from_texts(given)
    if output is None:
        output = Path(f"{_file_stem(job.prompt)}-{job.seed}.png")
    paths = _output_paths(output, 1 if grid else job.num_images)
    _spare_pictures(job, paths)

    pictures = _read_pictures(job)
    pipe = jobs.load(job)
    if found is not None:
        from ..jobs.wear import warn

        warn(found, pipe, job)
    if job.upscale is None and pipe.unet.is_big:
        pipe.enable_model_cpu_offload()  # there is one call: what a network holds after its stage is of no more use
    job = jobs.settled(pipe, job)
    images = jobs.draw(pipe, job, None, pictures)
    if grid:
        images = [_grid(images)]

    from ..jobs.png import save_png

    about: dict[str, object] = {"output": str(output), "version": __version__, "engine_used": pipe.engine.name}
    about |= {"grid": True} if grid else {}
    for i, (path, image) in enumerate(zip(paths, images)):
        own = {} if len(images) == 1 else {"image": i, "image_seed": job.seeds[i]}
        save_png(image, path, None if metadata == "none" else job, {**about, **own})
        click.echo(f"wrote {path} ({image.width}×{image.height})")


def _is_typed(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def _file_stem(prompt: str) -> str:
    """A file name that reads like the prompt."""
    words = re.sub(r"[^\w]+", "-", prompt.lower()).strip("-_")
    return words[:60].rstrip("-_") or "image"


def _output_paths(output: Path, files: int) -> list[Path]:
    """The files to write, all of which can be written."""
    if output.suffix.lower() != ".png":
        raise click.UsageError(f"--output must be a .png file, got {str(output)!r}")
    if not output.parent.is_dir():
        raise click.UsageError(f"cannot write {output}: there is no folder {output.parent}")
    if not os.access(output.parent, os.W_OK):
        raise click.UsageError(f"cannot write {output}: the folder {output.parent.resolve()} is read-only")
    if files == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{i}{output.suffix}") for i in range(files)]


def _spare_pictures(job: Job, paths: list[Path]) -> None:
    """A file that the job reads is not written over: the job could not be drawn again."""
    for path in paths:
        if any(Path(picture).resolve() == path.resolve() for picture in job.pictures):
            raise click.UsageError(f"--output {path} is a picture that the image is made from; give another file")


def _read_pictures(job: Job) -> Pictures | None:
    """The job's pictures, if it has some: what is wrong with them is told before a checkpoint is loaded."""
    if not job.pictures:
        return None
    from ..jobs.pictures import read_pictures

    return read_pictures(job)


def _grid(images: list[Image]) -> Image:
    """All images in one, as nearly square as their number allows."""
    from ..utils import make_image_grid

    columns = next(c for c in range(1, len(images) + 1) if c * c >= len(images) and len(images) % c == 0)
    return make_image_grid(images, rows=len(images) // columns, cols=columns)
