"""Text-to-image diffusion for MindSpore that is fast on the machine you have.

The public names are imported when first used, so that ``import mindone.diffusers`` costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "AutoPipelineForText2Image": "pipelines.auto",
    "AutoencoderKL": "models.autoencoder_kl",
    "AutoencoderTiny": "models.autoencoder_tiny",
    "CLIPTextModel": "models.clip_text",
    "CLIPTextModelWithProjection": "models.clip_text",
    "CLIPTokenizer": "loading.tokenizer",
    "DDIMScheduler": "schedulers",
    "DDPMScheduler": "schedulers",
    "DPMSolverMultistepScheduler": "schedulers",
    "DiffusionPipeline": "pipelines.auto",
    "EulerAncestralDiscreteScheduler": "schedulers",
    "EulerDiscreteScheduler": "schedulers",
    "HeunDiscreteScheduler": "schedulers",
    "LCMScheduler": "schedulers",
    "LMSDiscreteScheduler": "schedulers",
    "LatentConsistencyModelPipeline": "pipelines.latent_consistency",
    "PNDMScheduler": "schedulers",
    "StableDiffusionImg2ImgPipeline": "pipelines.stable_diffusion_img2img",
    "StableDiffusionInpaintPipeline": "pipelines.stable_diffusion_inpaint",
    "StableDiffusionPipeline": "pipelines.stable_diffusion",
    "StableDiffusionSafetyChecker": "models.safety_checker",
    "StableDiffusionXLPipeline": "pipelines.stable_diffusion_xl",
    "TCDScheduler": "schedulers",
    "UNet2DConditionModel": "models.unet",
    "UniPCMultistepScheduler": "schedulers",
}

__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mindone.diffusers' has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
