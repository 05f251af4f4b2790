"""The config of a transformer of Stable Diffusion 3."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import FailFast, Field, Strict

from ...loading.fields import Pixels
from ...models.fields import Channels, Count, Heads, Positions

BlockNumbers = Annotated[tuple[Annotated[int, Strict(), Field(ge=0, lt=256)], ...], Field(max_length=256), FailFast()]


@dataclass(frozen=True)
class SD3TransformerFields(Heads):
    """The fields of its ``config.json``, with their published defaults.

    ``out_channels`` None means as many as ``in_channels``. ``pos_embed_max_size`` is the side of the table of
    positions, in patches. The blocks in ``dual_attention_layers`` have a second attention, of the image to itself;
    numbers beyond the last block are ignored.
    """

    sample_size: Pixels = 128
    patch_size: Count = 2
    in_channels: Channels = 16
    num_layers: Count = 18
    attention_head_dim: Channels = 64
    num_attention_heads: Count = 18
    joint_attention_dim: Channels = 4096
    caption_projection_dim: Channels = 1152
    pooled_projection_dim: Channels = 2048
    out_channels: Channels | None = 16
    pos_embed_max_size: Positions = 96
    dual_attention_layers: BlockNumbers = ()
    qk_norm: Literal["rms_norm"] | None = None

    def __post_init__(self) -> None:
        self.check_width("caption_projection_dim")
