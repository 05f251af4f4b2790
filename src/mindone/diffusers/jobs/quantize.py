"""From a checkpoint to its int8 counterpart on disk."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field

from ..loading.hub import MODEL_INDEX
from ..utils.files import whole_folder
from .fields import Fields, Option
from .job import PathOrId, PipelineKey
from .run import load


class Quantization(Fields):
    """What to bring to int8, and how it is calibrated."""

    model: Annotated[
        PathOrId,
        Field(description="A checkpoint's folder, a hub id, or the name of one that comes with the package."),
        Option(metavar="PATH_OR_ID"),
    ] = "icons"
    revision: Annotated[
        str | None, Field(description="Which branch, tag or commit of the model on the hub."), Option(metavar="NAME")
    ] = None
    variant: Annotated[
        str | None,
        Field(description='Which weight files of the model to read: "fp16" for ….fp16.safetensors.'),
        Option(metavar="NAME"),
    ] = None
    steps: Annotated[
        int, Field(ge=1, description="Denoising steps of each drawing that the ranges are taken from.")
    ] = 3
    int8_vae: Annotated[bool, Field(description="Decode in int8, too; else the autoencoder keeps its products.")] = (
        False
    )
    text_encoders_only: Annotated[
        bool, Field(description="Bring the weights of the text encoders alone to int8; then nothing is drawn.")
    ] = False


def quantize(job: Quantization, folder: str | os.PathLike[str], prompts: tuple[str, ...] = ()) -> None:
    """Calibrate on ``prompts`` (none: the built-in ones) and write the checkpoint, float16 but for the int8 weights.

    Raises:
        ValueError, OSError: what `Pipeline.from_pretrained` raises, or the folder cannot be written.
    """
    from ..acceleration.int8 import quantize_pipeline
    from ..acceleration.int8.config import PROMPTS, TEXT_ENCODERS, Int8Config

    config = Int8Config(prompts or PROMPTS, job.steps)
    given = {name: getattr(job, name) for name in ("model", "revision", "variant", "int8_vae")}
    key = PipelineKey.of({**given, "engine": "openvino", "int8": not job.text_encoders_only})
    pipe = load(key, config)
    if job.text_encoders_only:
        quantize_pipeline(pipe, Int8Config(components_to_quantize=(TEXT_ENCODERS,)))
    with whole_folder(folder, MODEL_INDEX) as writing:
        pipe.save_pretrained(writing)
