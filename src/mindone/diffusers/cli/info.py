"""``mindone-diffusers info``: how an image was made."""

from pathlib import Path

import click

from .options import command_line


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def info(file: Path) -> None:
    """Print the parameters in a PNG file that `generate` wrote, and the command that makes it again.

    Of a file that another program wrote, the parameters alone, where they are in the well-known web user interface's
    form.
    """
    from ..jobs.png import KEYWORD, has_chunk, read_infotext, read_job, read_parameters

    if not has_chunk(file, KEYWORD) and (theirs := read_infotext(file)) is not None:
        extra = theirs.pop("extra", {})
        _print({**theirs, **(extra if isinstance(extra, dict) else {})})
        return
    remembered = read_parameters(file)
    command = remembered.pop("command", None)  # what version 0.1 wrote
    if command is None:
        job = read_job(file)
        again = {name: remembered[name] for name in ("output", "grid") if name in remembered}
        command = command_line("generate", job, **again)
        remembered = {"prompt": job.prompt, **job.to_dict(), **remembered}
        remembered.pop("job", None)
    _print(remembered)
    click.echo(f"\n{command}")


def _print(values: dict[str, object]) -> None:
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        shown = ", ".join(str(each) for each in value) if isinstance(value, list) else value
        click.echo(f"{name.replace('_', ' '):{width}}  {shown}")
