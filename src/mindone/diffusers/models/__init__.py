"""The networks, each an ordinary ``mindspore.nn.Cell`` written in `functional`; imported when first used."""

from typing import TYPE_CHECKING, Any

from ..lazy import look_up

if TYPE_CHECKING:
    from .autoencoder_kl import AutoencoderKL as AutoencoderKL
    from .autoencoder_tiny import AutoencoderTiny as AutoencoderTiny
    from .base import Model as ModelMixin
    from .safety_checker import StableDiffusionSafetyChecker as StableDiffusionSafetyChecker
    from .unet import UNet2DConditionModel as UNet2DConditionModel

_HOME = {
    "AutoencoderKL": f"{__name__}.autoencoder_kl",
    "AutoencoderTiny": f"{__name__}.autoencoder_tiny",
    "ModelMixin": f"{__name__}.base:Model",
    "StableDiffusionSafetyChecker": f"{__name__}.safety_checker",
    "UNet2DConditionModel": f"{__name__}.unet",
}

__all__ = ["AutoencoderKL", "AutoencoderTiny", "ModelMixin", "StableDiffusionSafetyChecker", "UNet2DConditionModel"]


def __getattr__(name: str) -> Any:
    return look_up(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
