"""Pipelines: text in, images out; imported at first use."""

from typing import TYPE_CHECKING, Any

from ..lazy import look_up
from ..published_paths import exported

if TYPE_CHECKING:
    from .auto import AutoPipelineForText2Image as AutoPipelineForText2Image, DiffusionPipeline as DiffusionPipeline
    from .stable_diffusion import (
        LatentConsistencyModelPipeline as LatentConsistencyModelPipeline,
        StableDiffusionPipeline as StableDiffusionPipeline,
    )
    from .stable_diffusion_xl import StableDiffusionXLPipeline as StableDiffusionXLPipeline

_HOME = exported(__name__)

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return look_up(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
