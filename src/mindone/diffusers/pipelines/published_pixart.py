"""`PixArtTransformer2DModel` with the published methods of every denoiser."""

from ..families.pixart.family import PIXART_SIGMA
from ..families.pixart.transformer import PixArtTransformer2DModel as PixArtTransformer2DModel
from .published_denoiser import publish

Transformer2DModel = PixArtTransformer2DModel
"""Its name in published checkpoints and their scripts."""

publish(PixArtTransformer2DModel, PIXART_SIGMA)
