"""`UNet2DConditionModel` with its published methods: those of every denoiser, and FreeU's."""

from ..families.stable_diffusion.family import STABLE_DIFFUSION
from ..families.stable_diffusion.freeu import FreeU
from ..families.stable_diffusion.unet import UNet2DConditionModel as UNet2DConditionModel
from .published_denoiser import publish


def _enable_freeu(self: UNet2DConditionModel, s1: float, s2: float, b1: float, b2: float) -> None:
    """See `FreeU.enable`."""
    self.put_on.of(FreeU).enable(s1, s2, b1, b2)


def _disable_freeu(self: UNet2DConditionModel) -> None:
    """Disable FreeU."""
    self.put_on.of(FreeU).disable()


publish(UNet2DConditionModel, STABLE_DIFFUSION)
for _name, _method in {"enable_freeu": _enable_freeu, "disable_freeu": _disable_freeu}.items():
    _method.__name__ = _name
    setattr(UNet2DConditionModel, _name, _method)
