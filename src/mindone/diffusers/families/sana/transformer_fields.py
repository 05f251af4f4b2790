"""The config of a Sana transformer."""

from dataclasses import dataclass
from typing import Literal

from ...loading.fields import Flag, Fraction, Pixels, Positive
from ...models.fields import Channels, Count, Heads, Ratio, Zero


@dataclass(frozen=True)
class SanaTransformerFields(Heads):
    """The fields of its ``config.json``, with their published defaults.

    ``out_channels`` None means as many as ``in_channels``; ``interpolation_scale`` None means no positions: the
    depthwise convolutions show where a token is. ``timestep_scale`` and ``guidance_embeds_scale`` are the pipeline's
    factors for timesteps and guidance before it calls the network.
    """

    in_channels: Channels = 32
    out_channels: Channels | None = 32
    num_attention_heads: Count = 70
    attention_head_dim: Channels = 32
    num_layers: Count = 20
    num_cross_attention_heads: Count = 20
    cross_attention_head_dim: Channels = 112
    cross_attention_dim: Channels = 2240
    caption_channels: Channels = 2304
    mlp_ratio: Ratio = 2.5
    dropout: Zero = 0.0
    attention_bias: Flag = False
    sample_size: Pixels = 32
    patch_size: Count = 1
    norm_elementwise_affine: Flag = False
    norm_eps: Fraction = 1e-6
    interpolation_scale: Positive | None = None
    guidance_embeds: Flag = False
    guidance_embeds_scale: Positive = 0.1
    qk_norm: Literal["rms_norm_across_heads"] | None = None
    timestep_scale: Positive = 1.0

    def __post_init__(self) -> None:
        self.check_width("cross_attention_dim")
        if self.interpolation_scale is not None and self.width % 4:
            raise ValueError(
                "num_attention_heads x attention_head_dim must be a multiple of 4 if interpolation_scale is given, "
                f"got {self.num_attention_heads} x {self.attention_head_dim}"
            )
