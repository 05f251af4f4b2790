"""The config of a transformer of FLUX.1."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, Strict

from ...loading.fields import Flag
from ...models.fields import Channels, Count, Heads

Even = Annotated[int, Strict(), Field(ge=2, le=1024, multiple_of=2)]


@dataclass(frozen=True)
class FluxTransformerFields(Heads):
    """The fields of its ``config.json``, with their published defaults.

    ``in_channels`` are those of a patch of latents, four times the latents' own; ``out_channels`` None means the same
    number. ``axes_dims_rope`` gives the numbers of a head's channels rotated by a token's position along each of three
    axes: one that FLUX.1 leaves at 0, the row and the column.
    """

    patch_size: Literal[1] = 1
    in_channels: Channels = 64
    out_channels: Channels | None = None
    num_layers: Count = 19
    num_single_layers: Count = 38
    attention_head_dim: Channels = 128
    num_attention_heads: Count = 24
    joint_attention_dim: Channels = 4096
    pooled_projection_dim: Channels = 768
    guidance_embeds: Flag = False
    axes_dims_rope: Annotated[tuple[Even, ...], Field(min_length=3, max_length=3)] = (16, 56, 56)

    def __post_init__(self) -> None:
        if sum(self.axes_dims_rope) != self.attention_head_dim:
            raise ValueError(
                f"axes_dims_rope must add up to attention_head_dim, got {sum(self.axes_dims_rope)} and "
                f"{self.attention_head_dim}"
            )
