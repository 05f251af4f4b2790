"""The networks that families share. Importing them here also enables single files in the layouts of all families."""

from ..models.autoencoder_dc import AutoencoderDC as AutoencoderDC
from ..models.autoencoder_kl import AutoencoderKL as AutoencoderKL
from ..models.autoencoder_tiny import AutoencoderTiny as AutoencoderTiny
from ..models.base import Model as Model
from ..models.clip_text import (
    CLIPTextModel as CLIPTextModel,
    CLIPTextModelWithProjection as CLIPTextModelWithProjection,
)
from ..models.clip_vision import CLIPVisionModelWithProjection as CLIPVisionModelWithProjection
from ..models.gemma2 import Gemma2Model as Gemma2Model
from ..models.safety_checker import StableDiffusionSafetyChecker as StableDiffusionSafetyChecker
from ..models.t5 import T5EncoderModel as T5EncoderModel
from . import files as files
