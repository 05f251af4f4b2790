"""What a user calls: text in, images out; imported when first used."""

from typing import TYPE_CHECKING, Any

from ..lazy import look_up

if TYPE_CHECKING:
    from .auto import AutoPipelineForText2Image as AutoPipelineForText2Image
    from .auto import DiffusionPipeline as DiffusionPipeline
    from .latent_consistency import LatentConsistencyModelPipeline as LatentConsistencyModelPipeline
    from .stable_diffusion import StableDiffusionPipeline as StableDiffusionPipeline
    from .stable_diffusion_xl import StableDiffusionXLPipeline as StableDiffusionXLPipeline

_HOME = {
    "AutoPipelineForText2Image": f"{__name__}.auto",
    "DiffusionPipeline": f"{__name__}.auto",
    "LatentConsistencyModelPipeline": f"{__name__}.latent_consistency",
    "StableDiffusionPipeline": f"{__name__}.stable_diffusion",
    "StableDiffusionXLPipeline": f"{__name__}.stable_diffusion_xl",
}

__all__ = [
    "AutoPipelineForText2Image",
    "DiffusionPipeline",
    "LatentConsistencyModelPipeline",
    "StableDiffusionPipeline",
    "StableDiffusionXLPipeline",
]


def __getattr__(name: str) -> Any:
    return look_up(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
