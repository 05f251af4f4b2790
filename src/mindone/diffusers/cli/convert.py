"""``mindone-diffusers convert``: a single file in the original layout to a folder in the published one, and back."""

from pathlib import Path
from typing import Literal

import click


@click.command()
@click.argument("source")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The folder to make from a file, or the .safetensors file to make from a folder.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    help="Convert the weights to this type. [default: as stored]",
)
@click.option(
    "--variant", metavar="NAME", help='The variant of a folder\'s weight files: "fp16" for ….fp16.safetensors.'
)
@click.option(
    "--config",
    metavar="PATH_OR_ID",
    help="Take configs and tokenizers from this checkpoint (a folder, a hub id, a bundled name) instead of deriving "
    "them from a file's tensors.",
)
@click.option(
    "--original-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The .yaml config of a file's training. [default: the one next to the file, if any]",
)
@click.option(
    "--prediction-type", type=click.Choice(["epsilon", "v_prediction"]), help="What a file's network predicts."
)
@click.option("--extract-ema", is_flag=True, help="Use the averaged (EMA) weights of a file that has both kinds.")
def convert(
    source: str,
    output: Path,
    dtype: Literal["float32", "float16", "bfloat16"] | None,
    variant: str | None,
    config: str | None,
    original_config: Path | None,
    prediction_type: Literal["epsilon", "v_prediction"] | None,
    extract_ema: bool,
) -> None:
    """Convert SOURCE, a .safetensors file, to a folder that every library loads; or a checkpoint to one file.

    A checkpoint is a folder, a hub id, or the name of a bundled one.

    \b
    Examples:
      mindone-diffusers convert dreamy.safetensors -o dreamy
      mindone-diffusers convert dreamy -o dreamy.safetensors --dtype float16
      mindone-diffusers convert icons -o icons.safetensors
    """
    from ..families.convert import file_to_folder, folder_to_file
    from ..loading.weights import names_file

    if Path(source).is_file() or names_file(source):
        if variant is not None:
            raise click.UsageError("--variant is for folders; a single file has no variants")
        single = file_to_folder(
            source,
            output,
            config=None if config is None else _configs(config),
            original_config=original_config,
            prediction_type=prediction_type,
            extract_ema=extract_ema,
            dtype=dtype,
        )
        click.echo(f"wrote {output} ({single.pipeline or ', '.join(single.components)})")
        return
    for_files = {
        "--config": config,
        "--original-config": original_config,
        "--prediction-type": prediction_type,
        "--extract-ema": extract_ema,
    }
    for name, value in for_files.items():
        if value:
            raise click.UsageError(f"{name} is for single files; {source} is not one")
    if output.suffix != ".safetensors":
        raise click.UsageError(f"--output must end in .safetensors for a checkpoint, got {str(output)!r}")
    folder_to_file(source, output, variant=variant, dtype=dtype)
    click.echo(f"wrote {output}")


def _configs(name: str) -> Path:
    """The folder of the checkpoint that ``--config`` names."""
    from ..jobs.checks import check_names
    from ..loading.hub import Source

    check_names("config", name)
    return Source(name).configs()
