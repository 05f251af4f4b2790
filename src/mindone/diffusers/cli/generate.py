"""``mindone-diffusers generate``: images from a prompt."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from .. import __version__, jobs
from ..jobs import Job
from ..jobs.job import check_prompt
from .options import options_of
from .saving import Destination
from .status import say

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..jobs.pictures import Pictures


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Within this context Python collects no garbage: imports and networks make half a million lasting objects, and
    scanning them repeatedly takes a quarter of the time until the first step."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@click.command()
@options_of(Job)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The image's file: .png, .jpg or .webp. Several images without --grid become FILE-0.png, "
    "FILE-1.png and so on.  [default: a new file in this folder, named after the prompt and the seed]",
)
@click.option("--grid", is_flag=True, help="Write all images into one file, side by side.")
@click.option(
    "--metadata",
    type=click.Choice(["a1111", "none"]),
    default="a1111",
    show_default=True,
    help="The parameters to store in the file: a1111, the job plus AUTOMATIC1111's text, which other programs "
    "read; or none.",
)
@click.option(
    "--profile",
    metavar="FILE.json or NAME",
    help="Apply the settings that `tune` found: a file, or the name of a profile saved for the model. Other options "
    "take precedence.",
)
@click.pass_context
@without_garbage_collection()
def generate(
    context: click.Context,
    /,
    output: Path | None,
    grid: bool,
    metadata: Literal["a1111", "none"],
    profile: str | None,
    **given: object,
) -> None:
    """Generate images from PROMPT and save them as PNG, JPEG or WebP files.

    The files hold their parameters: `mindone-diffusers info FILE` prints them.

    \b
    Examples:
      mindone-diffusers generate "a rocket on a blue background"
      mindone-diffusers generate "a lemon and a rocket" --num-images 4 --grid --seed 0 -o four.png
      mindone-diffusers generate "a golden vase with different flowers" --steps 25 --dtype float16 \\
          --model nota-ai/bk-sdm-small --tiny-vae madebyollin/taesd
      mindone-diffusers generate "a rocket on a yellow background" --image rocket.png --strength 0.6
      mindone-diffusers generate "a lion" --image panda.png --mask mask.png
      mindone-diffusers generate "a house" --control canny=photo.jpg --controlnet lllyasviel/sd-controlnet-canny \\
          --model stable-diffusion-v1-5/stable-diffusion-v1-5
      mindone-diffusers generate "a rocket on a blue background" --upscale 2
      mindone-diffusers generate "a rocket on a blue background" --profile mindone-tune/4x.json
    """
    found = None
    if profile is not None:
        from ..jobs.profile import load_profile

        typed = {name: value for name, value in given.items() if _is_typed(context, name)}
        found = load_profile(profile, str(typed["model"]) if "model" in typed else None)
        given = found.job_fields_with(typed)
    job = Job.from_texts(given)
    check_prompt(job.prompt)
    place = Destination(output, job, 1 if grid else job.num_images)

    from ..jobs.checks import bins_sizes, check_ahead, larger_than_trained, unknown_words
    from ..utils.logging import get_logger

    pictures = _read_pictures(job)
    check_ahead(job, pictures)
    if hint := unknown_words(job):
        get_logger(__name__).warning(hint)
    say(f"loading {job.model}…")
    pipe = jobs.load(job)
    if job.prompt_weights and not pipe.text_towers:
        raise ValueError(f"{pipe.family.title} supports no weighted words; leave out --prompt-weights")
    if found is not None:
        from ..jobs.applied import warn

        warn(found, pipe, job)
    if job.upscale is None and pipe.denoiser.is_big:
        pipe.enable_model_cpu_offload()  # there is one call, so networks can free everything after their stage
    job = jobs.settled(pipe, job)  # which refuses what the model cannot do
    if warning := larger_than_trained(pipe, job, pictures):
        get_logger(__name__).warning(warning if bins_sizes(pipe) else f"{warning}; {_instead(job)}")
    say("compiling…")
    images = jobs.draw(pipe, job, None, pictures)
    if grid:
        images = [_grid(images)]

    about = {"engine_used": pipe.engine.name} | ({"grid": True} if grid else {})
    _write(place, images, job, about, remembers=metadata != "none")


def _write(place: Destination, images: list[Image], job: Job, about: Mapping[str, object], remembers: bool) -> None:
    """Write the images and print their files; if one had to go elsewhere, the command fails at the end."""
    from ..jobs.png import picture_file

    place.settle()
    about = {"output": str(place.output), "version": __version__, **about}
    failed = False
    for i, (path, image) in enumerate(zip(place.paths, images)):
        own = {} if len(images) == 1 else {"image": i, "image_seed": job.seeds[i]}
        try:
            there = place.write(*picture_file(path, image, job if remembers else None, {**about, **own}))
            click.echo(f"wrote {there} ({image.width}×{image.height})")
        except OSError as error:  # the other images are still written
            click.echo(f"Error: {error}", err=True)
            failed = True
    if failed:
        raise click.exceptions.Exit(1)


def _is_typed(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def _instead(job: Job) -> str:
    """How to generate a large image without repetitions."""
    if job.upscale is None:
        return "--upscale generates at the network's own size and enlarges that"
    return f"leave out --strength {job.strength:g}, so that its second pass only sharpens"


def _read_pictures(job: Job) -> Pictures | None:
    """The job's pictures, if any: their errors are reported before a checkpoint loads."""
    if not job.pictures:
        return None
    from ..jobs.pictures import read_pictures

    return read_pictures(job)


def _grid(images: list[Image]) -> Image:
    """All images in one, as nearly square as possible."""
    from ..utils import make_image_grid

    columns = next(c for c in range(1, len(images) + 1) if c * c >= len(images) and len(images) % c == 0)
    return make_image_grid(images, rows=len(images) // columns, cols=columns)
