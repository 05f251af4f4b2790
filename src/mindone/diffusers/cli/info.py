"""``mindone-diffusers info``: how an image was made."""

from pathlib import Path

import click

from .options import command_line


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def info(file: Path) -> None:
    """Print the parameters in a PNG file that `generate` wrote, and the command that makes it again."""
    from ..jobs.png import read_job, read_parameters

    remembered = read_parameters(file)
    command = remembered.pop("command", None)  # what version 0.1 wrote
    if command is None:
        job = read_job(file)
        again = {name: remembered[name] for name in ("output", "grid") if name in remembered}
        command = command_line("generate", job, **again)
        remembered = {"prompt": job.prompt, **job.to_dict(), **remembered}
        remembered.pop("job", None)
    width = max((len(name) for name in remembered), default=0)
    for name, value in remembered.items():
        click.echo(f"{name.replace('_', ' '):{width}}  {value}")
    click.echo(f"\n{command}")
