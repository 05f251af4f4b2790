"""The published methods for what is put on `UNet2DConditionModel`, added from outside: networks know none of it.

Those for LoRAs are in `adapters.network_loras`.
"""

from collections.abc import Iterable

from ..acceleration.enabled_caches import EnabledCaches
from ..acceleration.speedup import Cache
from ..acceleration.token_downsampling import TokenDownsampling
from ..adapters import network_loras as network_loras  # which adds those for LoRAs
from ..families.stable_diffusion.freeu import FreeU
from ..families.stable_diffusion.unet import UNet2DConditionModel as UNet2DConditionModel


class _Methods(UNet2DConditionModel):
    """What `UNet2DConditionModel` gets; nothing is of this class itself."""

    @property
    def caches(self) -> tuple[Cache, ...]:
        """The caches that are enabled: at most one of each kind."""
        return self.put_on.of(EnabledCaches).caches

    @property
    def is_cache_enabled(self) -> bool:
        """Whether there is any."""
        return bool(self.caches)

    def enable_cache(self, config: Cache) -> None:
        """See `EnabledCaches.enable`."""
        self.put_on.of(EnabledCaches).enable(config)

    def disable_cache(self) -> None:
        """Use no cache in runs that begin from now on."""
        self.put_on.of(EnabledCaches).disable()

    def enable_token_downsampling(self, factor: int = 2, levels: Iterable[int] | None = None) -> None:
        """See `TokenDownsampling.enable`."""
        self.put_on.of(TokenDownsampling).enable(factor, levels)

    def disable_token_downsampling(self) -> None:
        """Let pixels attend to all others again."""
        self.put_on.of(TokenDownsampling).disable()

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """See `FreeU.enable`."""
        self.put_on.of(FreeU).enable(s1, s2, b1, b2)

    def disable_freeu(self) -> None:
        """Go without FreeU again."""
        self.put_on.of(FreeU).disable()


for _name, _method in vars(_Methods).items():
    if not _name.startswith("_"):
        setattr(UNet2DConditionModel, _name, _method)
