"""The networks, each an ordinary ``mindspore.nn.Cell`` written in `functional`; imported at first use."""

from typing import TYPE_CHECKING, Any

from ..lazy import look_up
from ..published_paths import exported

if TYPE_CHECKING:
    from ..families.stable_diffusion.unet import UNet2DConditionModel as UNet2DConditionModel
    from .autoencoder_dc import AutoencoderDC as AutoencoderDC
    from .autoencoder_kl import AutoencoderKL as AutoencoderKL
    from .autoencoder_tiny import AutoencoderTiny as AutoencoderTiny
    from .safety_checker import StableDiffusionSafetyChecker as StableDiffusionSafetyChecker

_HOME = {**exported(__name__), "StableDiffusionSafetyChecker": "mindone.diffusers.families.networks"}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return look_up(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
