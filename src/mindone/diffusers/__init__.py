"""Text-to-image diffusion for MindSpore that is fast on the machine you have.

Public names are imported at first use, so ``import mindone.diffusers`` costs nothing.
"""

from typing import TYPE_CHECKING, Any

from .lazy import look_up
from .published_paths import HOMES, publish

if TYPE_CHECKING:
    from .acceleration.deep_cache import DeepCacheConfig as DeepCacheConfig
    from .acceleration.easycache import EasyCacheConfig as EasyCacheConfig
    from .acceleration.first_block_cache import FirstBlockCacheConfig as FirstBlockCacheConfig
    from .acceleration.guidance_cache import GuidanceCacheConfig as GuidanceCacheConfig
    from .acceleration.int8.config import Int8Config as Int8Config
    from .acceleration.spectrum import SpectrumConfig as SpectrumConfig
    from .acceleration.taylorseer import TaylorSeerCacheConfig as TaylorSeerCacheConfig
    from .acceleration.weights.config import WeightOnlyConfig as WeightOnlyConfig
    from .families.flux.transformer import FluxTransformer2DModel as FluxTransformer2DModel
    from .families.pixart.transformer import (
        PixArtTransformer2DModel as PixArtTransformer2DModel,
        Transformer2DModel as Transformer2DModel,
    )
    from .families.sana.transformer import SanaTransformer2DModel as SanaTransformer2DModel
    from .families.stable_diffusion.controlnet import ControlNetModel as ControlNetModel
    from .families.stable_diffusion.multi_controlnet import MultiControlNetModel as MultiControlNetModel
    from .families.stable_diffusion.unet import UNet2DConditionModel as UNet2DConditionModel
    from .families.stable_diffusion_3.transformer import SD3Transformer2DModel as SD3Transformer2DModel
    from .loading.gguf_config import GGUFQuantizationConfig as GGUFQuantizationConfig
    from .loading.tokenizer import CLIPTokenizer as CLIPTokenizer
    from .models.autoencoder_dc import AutoencoderDC as AutoencoderDC
    from .models.autoencoder_kl import AutoencoderKL as AutoencoderKL
    from .models.autoencoder_tiny import AutoencoderTiny as AutoencoderTiny
    from .models.clip_text import (
        CLIPTextModel as CLIPTextModel,
        CLIPTextModelWithProjection as CLIPTextModelWithProjection,
    )
    from .models.clip_vision import CLIPVisionModelWithProjection as CLIPVisionModelWithProjection
    from .models.safety_checker import StableDiffusionSafetyChecker as StableDiffusionSafetyChecker
    from .pipelines.auto import (
        AutoPipelineForImage2Image as AutoPipelineForImage2Image,
        AutoPipelineForInpainting as AutoPipelineForInpainting,
        AutoPipelineForText2Image as AutoPipelineForText2Image,
        DiffusionPipeline as DiffusionPipeline,
    )
    from .pipelines.auto_model import AutoModel as AutoModel
    from .pipelines.flux import (
        FluxImg2ImgPipeline as FluxImg2ImgPipeline,
        FluxInpaintPipeline as FluxInpaintPipeline,
        FluxPipeline as FluxPipeline,
    )
    from .pipelines.pixart import PixArtAlphaPipeline as PixArtAlphaPipeline, PixArtSigmaPipeline as PixArtSigmaPipeline
    from .pipelines.sana import (
        SanaPipeline as SanaPipeline,
        SanaSprintImg2ImgPipeline as SanaSprintImg2ImgPipeline,
        SanaSprintPipeline as SanaSprintPipeline,
    )
    from .pipelines.stable_diffusion import (
        LatentConsistencyModelPipeline as LatentConsistencyModelPipeline,
        StableDiffusionControlNetImg2ImgPipeline as StableDiffusionControlNetImg2ImgPipeline,
        StableDiffusionControlNetInpaintPipeline as StableDiffusionControlNetInpaintPipeline,
        StableDiffusionControlNetPipeline as StableDiffusionControlNetPipeline,
        StableDiffusionDepth2ImgPipeline as StableDiffusionDepth2ImgPipeline,
        StableDiffusionImg2ImgPipeline as StableDiffusionImg2ImgPipeline,
        StableDiffusionInpaintPipeline as StableDiffusionInpaintPipeline,
        StableDiffusionInstructPix2PixPipeline as StableDiffusionInstructPix2PixPipeline,
        StableDiffusionPipeline as StableDiffusionPipeline,
    )
    from .pipelines.stable_diffusion_3 import (
        StableDiffusion3Img2ImgPipeline as StableDiffusion3Img2ImgPipeline,
        StableDiffusion3InpaintPipeline as StableDiffusion3InpaintPipeline,
        StableDiffusion3Pipeline as StableDiffusion3Pipeline,
    )
    from .pipelines.stable_diffusion_xl import (
        StableDiffusionXLControlNetImg2ImgPipeline as StableDiffusionXLControlNetImg2ImgPipeline,
        StableDiffusionXLControlNetInpaintPipeline as StableDiffusionXLControlNetInpaintPipeline,
        StableDiffusionXLControlNetPipeline as StableDiffusionXLControlNetPipeline,
        StableDiffusionXLImg2ImgPipeline as StableDiffusionXLImg2ImgPipeline,
        StableDiffusionXLInpaintPipeline as StableDiffusionXLInpaintPipeline,
        StableDiffusionXLInstructPix2PixPipeline as StableDiffusionXLInstructPix2PixPipeline,
        StableDiffusionXLPipeline as StableDiffusionXLPipeline,
    )
    from .schedulers.calibrated import CalibratedMultistepScheduler as CalibratedMultistepScheduler
    from .schedulers.ddim import DDIMScheduler as DDIMScheduler
    from .schedulers.ddpm import DDPMScheduler as DDPMScheduler
    from .schedulers.deis import DEISMultistepScheduler as DEISMultistepScheduler
    from .schedulers.dpm_solver import DPMSolverMultistepScheduler as DPMSolverMultistepScheduler
    from .schedulers.dpm_solver_singlestep import DPMSolverSinglestepScheduler as DPMSolverSinglestepScheduler
    from .schedulers.edm_euler import EDMEulerScheduler as EDMEulerScheduler
    from .schedulers.euler import EulerDiscreteScheduler as EulerDiscreteScheduler
    from .schedulers.euler_ancestral import EulerAncestralDiscreteScheduler as EulerAncestralDiscreteScheduler
    from .schedulers.flow_match_euler import FlowMatchEulerDiscreteScheduler as FlowMatchEulerDiscreteScheduler
    from .schedulers.flow_match_heun import FlowMatchHeunDiscreteScheduler as FlowMatchHeunDiscreteScheduler
    from .schedulers.heun import HeunDiscreteScheduler as HeunDiscreteScheduler
    from .schedulers.kdpm2 import KDPM2DiscreteScheduler as KDPM2DiscreteScheduler
    from .schedulers.kdpm2_ancestral import KDPM2AncestralDiscreteScheduler as KDPM2AncestralDiscreteScheduler
    from .schedulers.lcm import LCMScheduler as LCMScheduler
    from .schedulers.lms import LMSDiscreteScheduler as LMSDiscreteScheduler
    from .schedulers.pndm import PNDMScheduler as PNDMScheduler
    from .schedulers.scm import SCMScheduler as SCMScheduler
    from .schedulers.tcd import TCDScheduler as TCDScheduler
    from .schedulers.unipc import UniPCMultistepScheduler as UniPCMultistepScheduler

__version__ = "0.1.0"

_FULL = {name: f"{__name__}.{home}" for name, home in HOMES.items()}

__all__ = [*sorted(HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    return look_up(__name__, _FULL, name)


def __dir__() -> list[str]:
    return __all__


publish(__name__)
