"""`SD3Transformer2DModel` with the published methods of every denoiser."""

from ..families.stable_diffusion_3.family import STABLE_DIFFUSION_3
from ..families.stable_diffusion_3.transformer import SD3Transformer2DModel as SD3Transformer2DModel
from .published_denoiser import publish

publish(SD3Transformer2DModel, STABLE_DIFFUSION_3)
