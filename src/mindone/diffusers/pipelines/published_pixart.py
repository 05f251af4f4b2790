"""`PixArtTransformer2DModel` with its published methods, which are those of every denoiser."""

from ..families.pixart.family import PIXART_SIGMA
from ..families.pixart.transformer import PixArtTransformer2DModel as PixArtTransformer2DModel
from .published_denoiser import publish

Transformer2DModel = PixArtTransformer2DModel
"""The name that published checkpoints and their scripts have for it."""

publish(PixArtTransformer2DModel, PIXART_SIGMA)
