"""Pipelines by what a checkpoint says it is, and by what is to be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ..loading.fields import listed
from .base import Pipeline
from .components import INDEX_NAME, Component
from .stable_diffusion import (
    LatentConsistencyModelPipeline,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionDepth2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
)
from .stable_diffusion_xl import (
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
    StableDiffusionXLPipeline,
)

if TYPE_CHECKING:
    from typing_extensions import Self

Kind = type[Pipeline]

PIPELINES: dict[str, Kind] = {
    cls.__name__: cls
    for cls in (
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
        LatentConsistencyModelPipeline,
        StableDiffusionImg2ImgPipeline,
        StableDiffusionInpaintPipeline,
        StableDiffusionXLImg2ImgPipeline,
        StableDiffusionXLInpaintPipeline,
        StableDiffusionControlNetPipeline,
        StableDiffusionControlNetImg2ImgPipeline,
        StableDiffusionControlNetInpaintPipeline,
        StableDiffusionXLControlNetPipeline,
        StableDiffusionXLControlNetImg2ImgPipeline,
        StableDiffusionXLControlNetInpaintPipeline,
        StableDiffusionDepth2ImgPipeline,
        StableDiffusionXLInstructPix2PixPipeline,
        StableDiffusionInstructPix2PixPipeline,
    )
}

_FAMILIES = ("LatentConsistencyModel", "StableDiffusionXL", "StableDiffusion")
"""What the names of a checkpoint's pipelines begin with; what follows is the task."""


class DiffusionPipeline(Pipeline):
    """``DiffusionPipeline.from_pretrained`` makes the pipeline that the checkpoint's ``model_index.json`` names."""

    _by_name: ClassVar[Mapping[str, Kind]] = PIPELINES

    @classmethod
    def _class_for(cls, index: Mapping[str, object]) -> Kind:  # type: ignore[override]
        name = str(index.get("_class_name"))
        if name not in cls._by_name:
            known = listed(cls._by_name, room=300)
            raise ValueError(f"{INDEX_NAME}: _class_name is {name:.80}, which is not known here; known are {known}")
        return cls._by_name[name]

    @classmethod
    def _keywords(cls) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for pipeline in cls._by_name.values() for name in pipeline._keywords()))


class AutoPipeline(DiffusionPipeline):
    """A pipeline for one task, whatever the checkpoint was saved from; with a ``controlnet`` one that follows it."""

    _plain: ClassVar[Mapping[str, Kind]] = {}
    _controlled: ClassVar[Mapping[str, Kind]] = {}
    """The pipelines of the task by family."""
    _made_for_it: ClassVar[tuple[Kind, ...]] = ()
    """Pipelines of checkpoints that do the task in a way of their own, and no other."""

    @classmethod
    def _for_task(cls, name: str, controlled: bool) -> Kind:
        """The pipeline for the task that is of the family of another one."""
        if (own := PIPELINES.get(name)) in cls._made_for_it and own is not None and not controlled:
            return own
        table = cls._controlled if controlled else cls._plain
        family = next((family for family in _FAMILIES if name.startswith(family)), "")
        if family not in table:
            known = listed((kind.__name__ for kind in table.values()), room=300)
            raise ValueError(
                f"{cls.__name__} finds no pipeline for {name}{' with a ControlNet' * controlled}; known are {known}"
            )
        return table[family]

    @classmethod
    def _plan(  # type: ignore[override]
        cls, index: Mapping[str, Component], given: Mapping[str, Component]
    ) -> tuple[Kind, dict[str, str]]:
        name, saved = str(index.get("_class_name")), index.get("controlnet") or [None]
        kind = cls._for_task(name, given.get("controlnet", saved[0]) is not None)
        return super()._plan({**index, "_class_name": kind.__name__}, given)

    @classmethod
    def from_pipe(cls, pipeline: Component, **components: Component) -> Self:
        """The pipeline for the task with the components of another one, which both then share.

        Args:
            pipeline: the other one. Nothing is loaded or compiled again.
            components: components, and settings, that replace its own; ``controlnet=None`` goes without.
        """
        controlnet = components.pop("controlnet", getattr(pipeline, "controlnet", None))
        more = {} if controlnet is None else {"controlnet": controlnet}
        kind: Component = cls._for_task(type(pipeline).__name__, controlnet is not None)
        return kind.from_pipe(pipeline, **components, **more)


class AutoPipelineForText2Image(AutoPipeline):
    """Text to images."""

    _plain: ClassVar[Mapping[str, Kind]] = {
        "StableDiffusion": StableDiffusionPipeline,
        "StableDiffusionXL": StableDiffusionXLPipeline,
        "LatentConsistencyModel": LatentConsistencyModelPipeline,
    }
    _controlled: ClassVar[Mapping[str, Kind]] = {
        "StableDiffusion": StableDiffusionControlNetPipeline,
        "StableDiffusionXL": StableDiffusionXLControlNetPipeline,
    }


class AutoPipelineForImage2Image(AutoPipeline):
    """Text and pictures to images."""

    _plain: ClassVar[Mapping[str, Kind]] = {
        "StableDiffusion": StableDiffusionImg2ImgPipeline,
        "StableDiffusionXL": StableDiffusionXLImg2ImgPipeline,
        "LatentConsistencyModel": StableDiffusionImg2ImgPipeline,
    }
    _controlled: ClassVar[Mapping[str, Kind]] = {
        "StableDiffusion": StableDiffusionControlNetImg2ImgPipeline,
        "StableDiffusionXL": StableDiffusionXLControlNetImg2ImgPipeline,
    }
    _made_for_it = (
        StableDiffusionInstructPix2PixPipeline,
        StableDiffusionXLInstructPix2PixPipeline,
        StableDiffusionDepth2ImgPipeline,
    )


class AutoPipelineForInpainting(AutoPipeline):
    """Text, pictures and masks to images."""

    _plain: ClassVar[Mapping[str, Kind]] = {
        "StableDiffusion": StableDiffusionInpaintPipeline,
        "StableDiffusionXL": StableDiffusionXLInpaintPipeline,
        "LatentConsistencyModel": StableDiffusionInpaintPipeline,
    }
    _controlled: ClassVar[Mapping[str, Kind]] = {
        "StableDiffusion": StableDiffusionControlNetInpaintPipeline,
        "StableDiffusionXL": StableDiffusionXLControlNetInpaintPipeline,
    }
