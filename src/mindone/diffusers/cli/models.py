"""``mindone-diffusers models``: what is on this machine."""

import click

from ..utils.printable import printable


@click.command()
def models() -> None:
    """List the models that are on this machine, with their sizes, and the profiles that `tune` saved for them.

    Each can be given to --model by its name.
    """
    from ..jobs.profile import saved_profiles
    from ..loading import inventory

    found = {"with the package": list(inventory.bundled()), "from the hub": list(inventory.cached())}
    width = max(len(each.name) for group in found.values() for each in group)
    for title, group in found.items():
        click.echo(f"{title}:" if group else f"{title}: none")
        for each in group:
            click.echo(f"  {printable(each.name):{width}}  {each.nbytes / 1e6:8,.0f} MB  {printable(each.kind)}")
    profiles = saved_profiles()
    click.echo("profiles:" if profiles else "profiles: none; mindone-diffusers tune --speed-up 4 --name NAME saves one")
    for model, names in profiles.items():
        click.echo(f"  {printable(model):{width}}  {printable(', '.join(names))}")
