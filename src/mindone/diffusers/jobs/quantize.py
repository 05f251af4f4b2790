"""Writes a quantised copy of a checkpoint."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ..loading.hub import MODEL_INDEX
from ..utils.files import whole_folder
from .fields import Fields, Option
from .job import PathOrId, PipelineKey, Revision, Variant, Without
from .run import load

if TYPE_CHECKING:
    from ..acceleration.weights import Summary


class Quantization(Fields):
    """What to quantise, and how."""

    model: Annotated[
        PathOrId,
        Field(description="A checkpoint's folder, a hub id, or a bundled checkpoint's name."),
        Option(metavar="PATH_OR_ID"),
    ] = "icons"
    revision: Revision = None
    variant: Variant = None
    without: Without = ()
    weights: Annotated[
        Literal["int4", "int8"] | None,
        Field(
            description="Round the weights of the denoiser and the text encoders to 4 or 8 bits by group, and leave "
            "their products in half precision. This generates nothing."
        ),
        Option(unset="the denoiser's products in int8"),
    ] = None
    group_size: Annotated[
        int,
        Field(
            ge=4,
            le=4096,
            description="With --weights: how many neighbouring weights share a scale.",
        ),
    ] = 64
    symmetric: Annotated[
        bool,
        Field(description="With --weights int4: no zero points. The file is a twentieth smaller, and less exact."),
    ] = False
    steps: Annotated[int, Field(ge=1, description="Denoising steps per prompt when observing the ranges.")] = 3
    int8_vae: Annotated[
        bool, Field(description="Decode in int8, too; otherwise the autoencoder's products stay unchanged.")
    ] = False
    text_encoders_only: Annotated[
        bool,
        Field(description="Round only the text encoders' weights, to int8 or --weights. This generates nothing."),
    ] = False

    @model_validator(mode="after")
    def _fits_together(self) -> Quantization:
        if self.weights is not None and self.int8_vae:
            raise ValueError("--int8-vae converts products to int8, and --weights converts none: give one of the two")
        if self.symmetric and self.weights != "int4":
            raise ValueError("--symmetric is for --weights int4; 8 bits are always symmetric")
        return self


def quantize(job: Quantization, folder: str | os.PathLike[str], prompts: tuple[str, ...] = ()) -> list[Summary]:
    """Write the quantised checkpoint, in float16 except the integers.

    Args:
        job: what to quantise. With ``weights``, each weight is rounded as it is written, so memory holds one at a time.
        folder: a new or empty one.
        prompts: to observe the ranges of products in int8; if empty, the built-in ones.

    Returns:
        With ``weights``, a summary for each network.

    Raises:
        ValueError, OSError: from `Pipeline.from_pretrained` and `quantize_weights`, or the folder is not writable.
    """
    from ..acceleration.int8 import quantize_pipeline
    from ..acceleration.int8.config import PROMPTS, Int8Config
    from ..acceleration.quantized_components import DENOISER, TEXT_ENCODERS
    from ..acceleration.weights import WeightOnlyConfig, quantize_weights

    config = Int8Config(prompts or PROMPTS, job.steps)
    given = {name: getattr(job, name) for name in ("model", "revision", "variant", "without", "int8_vae")}
    draws = job.weights is None and not job.text_encoders_only
    pipe = load(PipelineKey.of({**given, "engine": "openvino", "int8": draws}), config)
    summaries: list[Summary] = []
    if job.weights is not None:
        components = (TEXT_ENCODERS,) if job.text_encoders_only else (DENOISER, TEXT_ENCODERS)
        weights = WeightOnlyConfig(job.weights, job.group_size, job.symmetric, components_to_quantize=components)
        summaries = quantize_weights(pipe, weights, at_once=False)
    elif job.text_encoders_only:
        quantize_pipeline(pipe, Int8Config(components_to_quantize=(TEXT_ENCODERS,)))
    with whole_folder(folder, MODEL_INDEX) as writing:
        pipe.save_pretrained(writing)
    return summaries
