"""``mindone-diffusers``: images from the command line.

Nothing heavy is imported before a command's arguments have been checked: help and mistakes are answered at once.
"""

import os
import re
import secrets
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from . import __version__
from .schedulers.short_names import SHORT_NAMES as SCHEDULERS
from .schedulers.short_names import by_name

DEFAULT_MODEL = "icons"


class Commands(click.Group):
    """A group whose commands end with one line of explanation when something is wrong, not with a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, KeyboardInterrupt):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            message = " ".join(str(error).split())
            if not isinstance(error, (ValueError, OSError)):  # what a user can cause comes as one of these
                message = f"{type(error).__name__}: {message} (mindone-diffusers --debug … shows where)"
            raise click.ClickException(message or type(error).__name__) from None


engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "openvino", "mindspore"]),
    help="What runs the networks.  [default: auto, or the environment variable MINDONE_ENGINE]",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mindone-diffusers")
@click.option("--debug", is_flag=True, envvar="MINDONE_DEBUG", help="On an error, show the whole traceback.")
def main(debug: bool) -> None:
    """Turn text into images, on any CPU or an Ascend NPU.

    \b
    Try:
      mindone-diffusers generate "a rocket on a blue background"
      mindone-diffusers generate --help
      mindone-diffusers bench
    """


@main.command(short_help="Draw images of a text.")
@click.argument("prompt")
@click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="PATH_OR_ID",
    help="What draws: a checkpoint's folder, a hub id such as stable-diffusion-v1-5/stable-diffusion-v1-5, or the name "
    "of a checkpoint that comes with the package.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help="Where the image goes. Several images without --grid become FILE-0.png, FILE-1.png and so on.  [default: the "
    "prompt and the seed, in this folder]",
)
@click.option("--negative-prompt", metavar="TEXT", help="What the image is to stay away from.")
@click.option("--num-images", type=click.IntRange(min=1), default=1, show_default=True, help="How many images to draw.")
@click.option("--grid", is_flag=True, help="Put all images into one file, side by side.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="The same seed gives the same image; image i of several has seed + i.  [default: random]",
)
@click.option(
    "--steps", type=click.IntRange(min=1), help="Denoising steps: fewer are faster.  [default: the pipeline's]"
)
@click.option(
    "--guidance-scale",
    type=float,
    help="How closely to follow the prompt; 1 switches guidance off.  [default: the model's]",
)
@click.option("--height", type=click.IntRange(min=1), help="In pixels.  [default: the model's]")
@click.option("--width", type=click.IntRange(min=1), help="In pixels.  [default: the model's]")
@click.option(
    "--scheduler",
    type=click.Choice(sorted(SCHEDULERS)),
    help="How to step from noise to image.  [default: the model's]",
)
@click.option("--clip-skip", type=click.IntRange(min=0), help="Leave out this many of the text encoder's last layers.")
@click.option("--tiny-vae", metavar="PATH_OR_ID", help="Decode with this tiny autoencoder, such as madebyollin/taesd.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    default="float16",
    show_default=True,
    help="What to compute in. Half precision is faster and takes less memory.",
)
@engine_option
@click.option(
    "--variant", metavar="NAME", help='Which weight files of the model to read: "fp16" for ….fp16.safetensors.'
)
@click.option("--revision", metavar="NAME", help="Which branch, tag or commit of the model on the hub.")
def generate(prompt: str, output: Path | None, grid: bool, seed: int | None, **options: Any) -> None:
    """Draw images of PROMPT and save them as PNG files.

    The files remember how they were made: `mindone-diffusers info FILE` prints it.

    \b
    Examples:
      mindone-diffusers generate "a rocket on a blue background"
      mindone-diffusers generate "a cat and a rocket" --num-images 4 --grid --seed 0 -o cats.png
      mindone-diffusers generate "a golden vase with different flowers" --steps 25 --dtype float16 \\
          --model nota-ai/bk-sdm-small --tiny-vae madebyollin/taesd
    """
    seed = secrets.randbelow(2**32) if seed is None else seed
    if output is None:
        output = Path(f"{_file_stem(prompt)}-{seed}.png")
    count = options["num_images"]
    paths = _output_paths(output, 1 if grid else count)

    pipe = _load_pipeline(options)
    images = _draw(pipe, prompt, seed, options)
    if grid:
        images = [_grid(images)]

    from .pipelines.png import save_png

    given = {"prompt": prompt, "output": str(output), "grid": grid, "seed": seed, **options}
    parameters = {name: value for name, value in given.items() if value not in (None, False)}
    parameters |= {"version": __version__, "engine": pipe.engine.name, "command": _command_line(given)}
    for i, (path, image) in enumerate(zip(paths, images)):
        own = {} if len(images) == 1 else {"image": i, "image_seed": seed + i}
        save_png(image, path, parameters | own)
        click.echo(f"wrote {path} ({image.width}×{image.height})")


@main.command(short_help="Print how an image was made.")
@click.argument("file", type=click.Path(path_type=Path))
def info(file: Path) -> None:
    """Print the parameters in a PNG file that `generate` wrote, and the command that makes it again."""
    from .pipelines.png import read_parameters

    parameters = read_parameters(file)
    command = parameters.pop("command", None)
    width = max((len(name) for name in parameters), default=0)
    for name, value in parameters.items():
        click.echo(f"{name.replace('_', ' '):{width}}  {value}")
    if command:
        click.echo(f"\n{command}")


@main.command(short_help="Measure speed and quality on this machine.")
@click.option(
    "--model", metavar="PATH_OR_ID", help="The baseline.  [default: icons, which comes with the package, and its kin]"
)
@click.option("--distilled", metavar="PATH_OR_ID", help="A model distilled from it, such as nota-ai/bk-sdm-small.")
@click.option("--tiny-vae", metavar="PATH_OR_ID", help="A tiny autoencoder for it, such as madebyollin/taesd.")
@click.option("--prompt", metavar="TEXT", help="What to draw.  [default: the guide's astronaut; for icons a rocket]")
@click.option("--steps", type=click.IntRange(min=1), help="Denoising steps.  [default: 50 in table 1, 25 in table 2]")
@click.option(
    "--scheduler",
    type=click.Choice(sorted(SCHEDULERS)),
    help="How to step from noise to image.  [default: ddim in table 1, pndm in table 2]",
)
@click.option("--num-images", type=click.IntRange(min=1), help="Images a run.  [default: 1 in table 1, 4 in table 2]")
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Timed runs of each row.")
@click.option("--height", type=click.IntRange(min=1), help="In pixels.  [default: the model's]")
@click.option("--width", type=click.IntRange(min=1), help="In pixels.  [default: the model's]")
@click.option("--guidance-scale", type=float, help="How closely to follow the prompt.  [default: the model's]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Image i has seed + i.")
@click.option(
    "--dtype",
    type=click.Choice(["float16", "bfloat16"]),
    default="float16",
    show_default=True,
    help="Which half precision.",
)
@engine_option
@click.option("--table", type=click.Choice(["1", "2"]), help="Measure this table alone.")
@click.option("--against", type=click.Choice(["diffusers"]), help="Add the reference library's rows to table 1.")
@click.option(
    "--shape",
    type=click.Choice(["sd15"]),
    help="Random weights in the shapes of Stable Diffusion 1.5, BK-SDM-Small and taesd: times without a download.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="mindone-bench",
    show_default=True,
    metavar="FOLDER",
    help="Where the report goes; it takes the place of an earlier one.",
)
def bench(scheduler: str | None, table: str | None, **options: Any) -> None:
    """Measure what half precision, a distilled model and a tiny autoencoder gain on this machine.

    Table 1 holds half precision against float32; table 2 holds distilled models against their original. Rows take
    turns, run by run. FOLDER gets report.html (tables, charts and images, opens from disk), report.json (every run)
    and grid.png. Ctrl-C keeps what has been measured.

    \b
    Examples:
      mindone-diffusers bench
      mindone-diffusers bench --model stable-diffusion-v1-5/stable-diffusion-v1-5 \\
          --distilled nota-ai/bk-sdm-small --tiny-vae madebyollin/taesd
      mindone-diffusers bench --shape sd15 --steps 4 --against diffusers
    """
    from .bench import Options, Sampler, run

    sampler = Sampler(scheduler, *SCHEDULERS[scheduler]) if scheduler else None
    tables = (int(table),) if table else (1, 2)
    command = shlex.join(["mindone-diffusers", *sys.argv[1:]])
    report = run(Options(sampler=sampler, tables=tables, **options), command)
    if report.interrupted:
        raise click.exceptions.Exit(130)
    if report.failure:
        raise click.ClickException(report.failure)


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


def _load_pipeline(options: dict[str, Any]) -> Any:
    from . import AutoencoderTiny, AutoPipelineForText2Image

    components = {}
    if options["tiny_vae"]:
        components["vae"] = AutoencoderTiny.from_pretrained(options["tiny_vae"], mindspore_dtype=options["dtype"])
    pipe = AutoPipelineForText2Image.from_pretrained(
        options["model"],
        mindspore_dtype=options["dtype"],
        variant=options["variant"],
        revision=options["revision"],
        engine=options["engine"],
        **components,
    )
    if options["scheduler"]:
        pipe.scheduler = by_name(options["scheduler"], pipe.scheduler.config)
    return pipe


def _draw(pipe: Any, prompt: str, seed: int, options: dict[str, Any]) -> list[Any]:
    """Run the pipeline with what the user chose; the rest is up to the pipeline."""
    import numpy as np

    count = options["num_images"]
    chosen = {
        "num_inference_steps": options["steps"],
        "guidance_scale": options["guidance_scale"],
        "negative_prompt": options["negative_prompt"],
        "height": options["height"],
        "width": options["width"],
        "clip_skip": options["clip_skip"],
    }
    return pipe(
        prompt,
        num_images_per_prompt=count,
        generator=[np.random.Generator(np.random.PCG64(seed + i)) for i in range(count)],
        **{name: value for name, value in chosen.items() if value is not None},
    ).images


def _grid(images: list[Any]) -> Any:
    """All images in one, as nearly square as their number allows."""
    from .utils import make_image_grid

    columns = next(c for c in range(1, len(images) + 1) if c * c >= len(images) and len(images) % c == 0)
    return make_image_grid(images, rows=len(images) // columns, cols=columns)


def _command_line(given: dict[str, Any]) -> str:
    """The command that gives these parameters, defaults left out."""
    command = click.get_current_context().command
    defaults = {option.name: option.default for option in command.params if isinstance(option, click.Option)}
    words = ["mindone-diffusers", "generate", given["prompt"]]
    for name, value in given.items():
        if name == "prompt" or value in (None, False) or value == defaults.get(name):
            continue
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(str(value))
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main())
