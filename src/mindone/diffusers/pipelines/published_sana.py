"""`SanaTransformer2DModel` with the published methods of every denoiser."""

from ..families.sana.family import SANA
from ..families.sana.transformer import SanaTransformer2DModel as SanaTransformer2DModel
from .published_denoiser import publish

publish(SanaTransformer2DModel, SANA)
