"""``mindone-diffusers``: images from the command line.

Nothing heavy is imported before a command's arguments are checked, so help and mistakes get an answer at once. A new
command is a file here with a function of its name, and a line in ``COMMANDS``.
"""

import click

from .. import __version__
from ..utils.environment import DEBUG
from .group import Commands
from .status import be_quiet

COMMANDS = {
    "batch": "Generate many images, on one machine or a Ray cluster.",
    "bench": "Measure speed and quality on this machine.",
    "convert": "Turn a single file into a folder, or a folder into a file.",
    "generate": "Generate images from a prompt.",
    "info": "Show how an image was made, or what a checkpoint holds.",
    "models": "List the models on this machine.",
    "pull": "Download a model from the hub.",
    "quantize": "Write a checkpoint whose networks are in int8 or int4.",
    "tune": "Find the best settings for each speed on this machine.",
    "serve": "Run a web page and an HTTP API.",
}
"""Each command's file in this folder, and its short help."""


@click.group(
    cls=Commands,
    files=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="mindone-diffusers")
@click.option("--debug", is_flag=True, envvar=DEBUG.name, help="Show the whole traceback of an error.")
@click.option("-q", "--quiet", is_flag=True, help="Print only results and errors; the same as each command's -q.")
def main(debug: bool, quiet: bool) -> None:
    """Turn text into images, on any CPU or an Ascend NPU.

    \b
    Try:
      mindone-diffusers generate "a rocket on a blue background"
      mindone-diffusers generate --help
      mindone-diffusers bench
    """
    if quiet:
        be_quiet()
