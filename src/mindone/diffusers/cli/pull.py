"""``mindone-diffusers pull``: downloads a model from the hub before it is needed."""

import click

from .status import say


@click.command()
@click.argument("name")
@click.option("--revision", metavar="NAME", help="The branch, tag or commit. [default: the newest]")
@click.option("--variant", metavar="NAME", help='The variant of the weight files: "fp16" for ….fp16.safetensors.')
def pull(name: str, revision: str | None, variant: str | None) -> None:
    """Download the model NAME, a hub id such as owner/name, so that --model NAME works offline.

    It downloads configs, tokenizers and the safetensors weights of one variant, also for a single network or a LoRA.

    \b
    Examples:
      mindone-diffusers pull stable-diffusion-v1-5/stable-diffusion-v1-5 --variant fp16
      mindone-diffusers pull madebyollin/taesd
    """
    from ..loading.hub_files import FileSource

    source = FileSource(name, revision)
    if source.locate() is not None:
        click.echo(f"{name} is on this machine already: {source.locate()}")
        return
    say(f"fetching {name}…")
    click.echo(f"{name} is in {source.fetch(variant)}")
