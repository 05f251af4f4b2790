"""``mindone-diffusers info``: how an image was made, and what a checkpoint or a file of weights holds."""

from pathlib import Path

import click

from ..utils.errors import in_one_line
from ..utils.files import check_file
from ..utils.printable import printable
from .options import command_line


@click.command()
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE…")
def info(files: tuple[Path, ...]) -> None:
    """Print the parameters in PNG, JPEG or WebP files from `generate`, and the commands that make them again.

    For a file that another program wrote, print only the parameters, if they are in AUTOMATIC1111's form. For a
    checkpoint, a folder or a name that `models` lists, print its family, its components with the number and the type of
    their weights, its size, and the names of its licence files. For a safetensors or GGUF file, print what it is (a
    pipeline, networks of a family, a LoRA and so on), its size, and what it has of each type.
    """
    if len(files) == 1:
        _print_file(files[0])
        return
    failed = False
    for i, file in enumerate(files):
        click.echo(f"{chr(10) if i else ''}{printable(str(file))}:")
        try:
            _print_file(file)
        except (OSError, ValueError) as error:  # go on with the other files
            click.echo(f"Error: {in_one_line(error)}", err=True)
            failed = True
    if failed:
        raise click.exceptions.Exit(1)


def _print_file(file: Path) -> None:
    from ..loading.inventory import folder_of
    from ..loading.weights import names_file

    folder = file if file.exists() else folder_of(str(file))
    if folder is not None and folder.is_dir():
        _print_folder(folder)
        return
    check_file(file)
    if names_file(file.name):
        _print_weights(file)
        return
    from ..jobs.png import KEYWORD, has_chunk, read_infotext, read_job, read_parameters

    if not has_chunk(file, KEYWORD) and (theirs := read_infotext(file)) is not None:
        extra = theirs.pop("extra", {})
        _print({**theirs, **(extra if isinstance(extra, dict) else {})})
        return
    job, remembered = read_job(file), read_parameters(file)
    again = {name: remembered[name] for name in ("output", "grid") if name in remembered}
    # Version 0.1 also wrote the command. That text is untrusted; the command is built from the fields.
    rest = {name: value for name, value in remembered.items() if name not in ("job", "command")}
    _print({"prompt": job.prompt, **job.to_dict(), **rest})
    click.echo(f"\n{command_line('generate', job, **again)}")


def _print_folder(folder: Path) -> None:
    from ..families.registry import family_of
    from ..loading.contents import contents

    found = contents(folder)
    about: dict[str, object] = {}
    if found.pipeline is not None:
        family = family_of(found.pipeline)
        about |= {"pipeline": found.pipeline, "family": "not supported" if family is None else family.title}
    about |= {"size": f"{found.nbytes / 1e6:,.1f} MB", "licence": list(found.licences) or "no such file"}
    for part in found.parts:
        lines = [
            f"{'' if each.variant is None else f'{each.variant}: '}{each.numbers:,} weights in "
            f"{' and '.join(each.dtypes)}, {each.nbytes / 1e6:,.1f} MB"
            for each in part.weights
        ]
        about[part.name or "component"] = "; ".join([part.class_name, *lines])
    _print(about)


def _print_weights(path: Path) -> None:
    from collections import Counter

    from ..families.files import open_tensors
    from ..jobs.file_kinds import kind_of
    from ..loading.gguf import GGUFFile

    file = open_tensors(path)
    about = kind_of(file)
    if isinstance(file, GGUFFile):
        about["architecture"] = file.architecture or "not said"
    about["size"] = f"{sum(file.nbytes.values()) / 1e6:,.1f} MB"
    weights, nbytes = Counter[str](), Counter[str]()
    for name, kind in file.types.items():
        weights[kind] += file[name].size
        nbytes[kind] += file.nbytes[name]
    for kind, count in Counter(file.types.values()).most_common():
        about[kind] = f"{count:,} tensor{'s' * (count != 1)}, {weights[kind]:,} weights, {nbytes[kind] / 1e6:,.1f} MB"
    _print(about)


def _print(values: dict[str, object]) -> None:
    # GGUF types are called what they are.
    shown = {printable(name.replace("_", " ") if name.islower() else name): value for name, value in values.items()}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        text = ", ".join(str(each) for each in value) if isinstance(value, list) else str(value)
        click.echo(f"{name:{width}}  {printable(text)}")
