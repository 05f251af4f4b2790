"""The config of a PixArt transformer."""

from dataclasses import dataclass
from typing import Literal

from ...loading.fields import Flag, Fraction, Pixels, Positive
from ...models.fields import Channels, Count, Heads, Zero

_TOKENS_OF_512 = 64
"""The latents along each side of a 512-pixel image; up to this, positions are not divided."""
_LATENTS_OF_1024 = 128
"""The latents of a 1,024-pixel image: the first checkpoint of this size also reads the resolution."""


@dataclass(frozen=True)
class PixArtTransformerFields(Heads):
    """The fields of its ``config.json``, with their published defaults.

    ``out_channels`` None means as many as ``in_channels``. ``interpolation_scale`` None is derived from the size, and
    so is ``use_additional_conditions`` None: PixArt-α for 1024×1024, whose config has no such entry, reads the
    resolution and the aspect ratio. With ``caption_channels`` None the network reads texts of ``cross_attention_dim``
    channels directly. ``norm_num_groups``, ``num_embeds_ada_norm`` and ``upcast_attention`` change nothing.
    """

    num_attention_heads: Count = 16
    attention_head_dim: Channels = 72
    in_channels: Channels = 4
    out_channels: Channels | None = 8
    num_layers: Count = 28
    dropout: Zero = 0.0
    norm_num_groups: int = 32
    cross_attention_dim: Channels = 1152
    attention_bias: Flag = True
    sample_size: Pixels = 128
    patch_size: Count = 2
    activation_fn: Literal["gelu-approximate"] = "gelu-approximate"
    num_embeds_ada_norm: int | None = 1000
    upcast_attention: Flag = False
    norm_type: Literal["ada_norm_single"] = "ada_norm_single"
    norm_elementwise_affine: Flag = False
    norm_eps: Fraction = 1e-6
    interpolation_scale: Positive | None = None
    use_additional_conditions: Flag | None = None
    caption_channels: Channels | None = None
    attention_type: Literal["default"] = "default"

    def __post_init__(self) -> None:
        heads = f"{self.num_attention_heads} x {self.attention_head_dim}"
        if self.width % 4:
            raise ValueError(f"num_attention_heads x attention_head_dim must be a multiple of 4, got {heads}")
        if self.reads_sizes and self.width % 3:
            raise ValueError(
                "num_attention_heads x attention_head_dim must be a multiple of 3 if use_additional_conditions is "
                f"true, got {heads}"
            )
        if self.caption_channels is not None:
            self.check_width("cross_attention_dim", " if caption_channels is given")

    @property
    def position_scale(self) -> float:
        """The divisor of positions."""
        return self.interpolation_scale or max(self.sample_size // _TOKENS_OF_512, 1)

    @property
    def reads_sizes(self) -> bool:
        """Whether it reads the resolution and the aspect ratio of the image."""
        given = self.use_additional_conditions
        return self.sample_size == _LATENTS_OF_1024 if given is None else given
