"""Writes tests/golden/published_api.json, the public attributes of the reference's classes:
python tests/golden/make_published_api.py

Needs the test extra (PyTorch, diffusers, transformers). For each class the names of its public attributes and what kind
each is ("method" or "value"), and for schedulers the parameters of ``step`` in their order. What the networks inherit
from PyTorch's Module is left out.
"""

import inspect
import json
from pathlib import Path
from typing import Any

SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EDMEulerScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SCMScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)
NETWORKS = (
    "AutoencoderDC",
    "AutoencoderKL",
    "AutoencoderTiny",
    "ControlNetModel",
    "FluxTransformer2DModel",
    "SD3Transformer2DModel",
    "UNet2DConditionModel",
)
PIPELINES = (
    "AutoPipelineForImage2Image",
    "AutoPipelineForInpainting",
    "AutoPipelineForText2Image",
    "DiffusionPipeline",
    "FluxImg2ImgPipeline",
    "FluxInpaintPipeline",
    "FluxPipeline",
    "LatentConsistencyModelPipeline",
    "PixArtAlphaPipeline",
    "PixArtSigmaPipeline",
    "SanaPipeline",
    "SanaSprintImg2ImgPipeline",
    "SanaSprintPipeline",
    "StableDiffusion3Img2ImgPipeline",
    "StableDiffusion3InpaintPipeline",
    "StableDiffusion3Pipeline",
    "StableDiffusionControlNetImg2ImgPipeline",
    "StableDiffusionControlNetInpaintPipeline",
    "StableDiffusionControlNetPipeline",
    "StableDiffusionDepth2ImgPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionInstructPix2PixPipeline",
    "StableDiffusionPipeline",
    "StableDiffusionXLControlNetImg2ImgPipeline",
    "StableDiffusionXLControlNetInpaintPipeline",
    "StableDiffusionXLControlNetPipeline",
    "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusionXLInpaintPipeline",
    "StableDiffusionXLInstructPix2PixPipeline",
    "StableDiffusionXLPipeline",
)
TRANSFORMERS = (
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPTokenizer",
    "CLIPVisionModelWithProjection",
    "Gemma2Model",
    "GemmaTokenizerFast",
    "T5EncoderModel",
    "T5TokenizerFast",
)


def public(*owners: Any) -> dict[str, str]:
    """The public attributes of a class, or of a class and its object, by name, and the kind of each."""
    return {name: kind(owner, name) for owner in owners for name in dir(owner) if not name.startswith("_")}


def kind(owner: Any, name: str) -> str:
    """ "method" for what is called, "value" for what is read."""
    defined = inspect.getattr_static(owner, name)
    return "method" if isinstance(defined, (classmethod, staticmethod)) or callable(defined) else "value"


def collect() -> dict[str, dict[str, Any]]:
    import diffusers
    import transformers
    from diffusers.models.autoencoders.vae import DecoderOutput
    from diffusers.models.modeling_outputs import AutoencoderKLOutput
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
    from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput
    from diffusers.pipelines.stable_diffusion_xl import StableDiffusionXLPipelineOutput
    from diffusers.schedulers.scheduling_utils import SchedulerOutput
    from torch import nn

    module = {name for name in dir(nn.Module)} | {"training"}
    found: dict[str, dict[str, Any]] = {}
    for name in SCHEDULERS:
        scheduler = getattr(diffusers, name)()
        scheduler.set_timesteps(2 if name == "SCMScheduler" else 10)  # its default is for 2 steps
        found[name] = {
            "attributes": public(type(scheduler), scheduler),
            "step": [*inspect.signature(type(scheduler).step).parameters][1:],
        }
    for library, names in ((diffusers, NETWORKS), (transformers, TRANSFORMERS)):
        for name in names:
            kinds = public(getattr(library, name))
            found[name] = {"attributes": {name: kind for name, kind in kinds.items() if name not in module}}
    for name in PIPELINES:
        found[name] = {"attributes": public(getattr(diffusers, name))}
    for cls in (
        AutoencoderKLOutput,
        DecoderOutput,
        SchedulerOutput,
        StableDiffusionPipelineOutput,
        StableDiffusionXLPipelineOutput,
        UNet2DConditionOutput,
    ):
        found[cls.__name__] = {"attributes": public(cls) | dict.fromkeys(cls.__dataclass_fields__, "value")}
    return found


if __name__ == "__main__":
    text = json.dumps(collect(), indent=1, sort_keys=True) + "\n"
    Path(__file__).with_name("published_api.json").write_text(text, encoding="utf-8")
