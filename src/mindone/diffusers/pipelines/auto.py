"""Pipelines by what a checkpoint says it is."""

from collections.abc import Mapping
from typing import ClassVar

from .base import Pipeline
from .components import INDEX_NAME
from .latent_consistency import LatentConsistencyModelPipeline
from .stable_diffusion import StableDiffusionPipeline
from .stable_diffusion_xl import StableDiffusionXLPipeline

PIPELINES: dict[str, type[Pipeline]] = {
    cls.__name__: cls for cls in (StableDiffusionPipeline, StableDiffusionXLPipeline, LatentConsistencyModelPipeline)
}

_TEXT_TO_IMAGE: dict[str, type[Pipeline]] = {
    **PIPELINES,
    "StableDiffusionImg2ImgPipeline": StableDiffusionPipeline,
    "StableDiffusionXLImg2ImgPipeline": StableDiffusionXLPipeline,
    "LatentConsistencyModelImg2ImgPipeline": LatentConsistencyModelPipeline,
}
"""Checkpoints saved from a pipeline for another task that draws from text all the same."""


class DiffusionPipeline(Pipeline):
    """``DiffusionPipeline.from_pretrained`` makes the pipeline that the checkpoint's ``model_index.json`` names."""

    _by_name: ClassVar[Mapping[str, type[Pipeline]]] = PIPELINES

    @classmethod
    def _class_for(cls, index: Mapping[str, object]) -> type[Pipeline]:  # type: ignore[override]
        name = str(index.get("_class_name"))
        if name not in cls._by_name:
            known = ", ".join(cls._by_name)
            raise ValueError(f"{INDEX_NAME}: _class_name is {name}, which is not known here; known are {known}")
        return cls._by_name[name]

    @classmethod
    def _keywords(cls) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for pipeline in cls._by_name.values() for name in pipeline._keywords()))


class AutoPipelineForText2Image(DiffusionPipeline):
    """`DiffusionPipeline` that also takes checkpoints saved from an image-to-image pipeline."""

    _by_name: ClassVar[Mapping[str, type[Pipeline]]] = _TEXT_TO_IMAGE
