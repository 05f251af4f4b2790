"""``mindone-diffusers models``: the models on this machine."""

from pathlib import Path

import click

from ..utils.errors import in_one_line
from ..utils.printable import printable


@click.command()
@click.argument("name", required=False)
@click.option("--words", is_flag=True, help="Print the things that model NAME knows, one per line.")
def models(name: str | None, words: bool) -> None:
    """List the models on this machine with their sizes, and the profiles that `tune` saved for them.

    Pass a model's name to --model. A GGUF file's family and types stand beside the option that takes it, mostly --gguf
    beside a --model of that family. With NAME, list only that model.

    \b
    Examples:
      mindone-diffusers models
      mindone-diffusers models icons --words
    """
    if words:
        _print_words(name)
        return
    from ..jobs.profile import saved_profiles
    from ..loading import inventory

    found = {"with the package": list(inventory.bundled()), "from the hub": list(inventory.cached())}
    profiles = saved_profiles()
    if name is not None:
        found = {title: [each for each in group if each.name == name] for title, group in found.items()}
        found = {title: group for title, group in found.items() if group}
        profiles = {model: names for model, names in profiles.items() if model == name}
        if not found:
            raise click.ClickException(_absent(name))
    width = max(len(each.name) for group in found.values() for each in group)
    for title, group in found.items():
        click.echo(f"{title}:" if group else f"{title}: none")
        for each in group:
            click.echo(f"  {printable(each.name):{width}}  {each.nbytes / 1e6:8,.0f} MB  {printable(each.kind)}")
            for address, path in each.gguf.items():
                click.echo(f"    {printable(_of_gguf(address, path))}")
    click.echo("profiles:" if profiles else "profiles: none; mindone-diffusers tune --speed-up 4 --name NAME saves one")
    for model, names in profiles.items():
        click.echo(f"  {printable(model):{width}}  {printable(', '.join(names))}")


def _absent(name: str) -> str:
    """Why a name is not among the models; raises the errors of `FileSource.locate`."""
    from ..loading.hub_files import FileSource

    shown = printable(name)
    if FileSource(name).locate() is not None:
        return f"{shown} is a path, no model's name; `mindone-diffusers info` prints what it holds"
    return (
        f"{shown} is not on this machine; `mindone-diffusers models` lists those that are, and `mindone-diffusers pull "
        f"{shown}` downloads it if the hub has it"
    )


def _of_gguf(address: str, path: Path) -> str:
    """What a GGUF file holds, and the option that takes it."""
    from collections import Counter

    from ..families.files import open_gguf
    from ..loading.gguf import GGUFFile

    try:
        file = GGUFFile(path)
        single = open_gguf(file)
    except (OSError, ValueError) as error:
        return in_one_line(error)
    types = ", ".join(kind for kind, _ in Counter(file.types.values()).most_common())
    if single is None:
        return f"{path.name}: of no family here ({file.architecture or 'unnamed'}); {types}"
    option = "--gguf" if single.pipeline is None else "--model"
    return f"{option} {address}  {single.release.title}; {types}"


def _print_words(name: str | None) -> None:
    from ..loading.hub_files import FileSource
    from ..loading.words import known_words

    if name is None:
        raise click.UsageError("--words needs a model's name, such as icons")
    root = FileSource(name).locate()
    known = {} if root is None or not root.is_dir() else known_words(root)
    if not known:
        raise click.ClickException(f"{printable(name)} has no list of words: try any prompt")
    for word, others in known.items():
        click.echo(f"{word} ({', '.join(others)})" if others else word)
