"""`FluxTransformer2DModel` with its published methods, which are those of every denoiser."""

from ..families.flux.family import FLUX
from ..families.flux.transformer import FluxTransformer2DModel as FluxTransformer2DModel
from .published_denoiser import publish

publish(FluxTransformer2DModel, FLUX)
