"""The configs of a UNet, and of the encoder half that it shares with a ControlNet."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, Strict

from ...loading.fields import Flag, Fraction
from ...models.fields import (
    ActivationName,
    Channels,
    Count,
    CountOrNone,
    One,
    PerStage,
    StageChannels,
    Stages,
    TableSize,
    Zero,
    check_divides,
)

DownBlocks = Annotated[tuple[Literal["CrossAttnDownBlock2D", "DownBlock2D"], ...], Stages]
UpBlocks = Annotated[tuple[Literal["CrossAttnUpBlock2D", "UpBlock2D"], ...], Stages]
LayerDepths = CountOrNone | Annotated[tuple[CountOrNone, ...], Field(min_length=1, max_length=16)]
"""One number of transformer blocks for all layers of a stage, or one each."""
StageDepths = Annotated[tuple[LayerDepths, ...], Stages]
Side = Annotated[int, Strict(), Field(ge=1, le=2048)]


@dataclass(frozen=True)
class UNetEncoderFields:
    """The fields of both; a list gives one value per stage, from the highest resolution to the lowest.

    ``attention_head_dim`` is, for historical reasons, the *number* of heads. Fields with only one supported value have
    a type with just that value.
    """

    in_channels: Channels = 4
    flip_sin_to_cos: Flag = True
    freq_shift: Annotated[int, Strict(), Field(ge=0, le=1)] = 0
    down_block_types: DownBlocks = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    mid_block_type: Literal["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"] | None = "UNetMidBlock2DCrossAttn"
    only_cross_attention: Literal[False] = False
    block_out_channels: StageChannels = (320, 640, 1280, 1280)
    layers_per_block: PerStage = 2
    downsample_padding: One = 1
    mid_block_scale_factor: One = 1
    act_fn: ActivationName = "silu"
    norm_num_groups: Count = 32
    norm_eps: Fraction = 1e-5
    cross_attention_dim: Channels = 1280
    transformer_layers_per_block: CountOrNone | StageDepths = 1
    encoder_hid_dim: None = None
    encoder_hid_dim_type: None = None
    attention_head_dim: PerStage = 8
    num_attention_heads: PerStage | None = None
    use_linear_projection: Flag = False
    class_embed_type: None = None
    addition_embed_type: Literal["text_time"] | None = None
    addition_time_embed_dim: Channels | None = None
    num_class_embeds: None = None
    resnet_time_scale_shift: Literal["default"] = "default"
    projection_class_embeddings_input_dim: TableSize | None = None

    def __post_init__(self) -> None:
        channels = self.block_out_channels
        kinds = {name: getattr(self, name, None) for name in ("down_block_types", "up_block_types")}
        lengths = {name: len(value) for name, value in kinds.items() if value is not None}
        lengths["block_out_channels"] = len(channels)
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{_listed(lengths)} must have the same length, got {_listed(lengths.values())}")
        for name in ("layers_per_block", "transformer_layers_per_block", "attention_head_dim", "num_attention_heads"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(channels):
                raise ValueError(f"{name} must have {len(channels)} entries, got {len(value)}")
        check_divides("norm_num_groups", self.norm_num_groups, block_out_channels=channels)
        if self.addition_embed_type:
            for name in ("addition_time_embed_dim", "projection_class_embeddings_input_dim"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name} must be a number if addition_embed_type is 'text_time', got None")


@dataclass(frozen=True)
class UNetFields(UNetEncoderFields):
    """The fields of a UNet's ``config.json``."""

    sample_size: Side | tuple[Side, Side] | None = None
    out_channels: Channels = 4
    center_input_sample: Literal[False] = False
    up_block_types: UpBlocks = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    dropout: Zero = 0.0
    reverse_transformer_layers_per_block: StageDepths | None = None
    dual_cross_attention: Literal[False] = False
    resnet_skip_time_act: Literal[False] = False
    resnet_out_scale_factor: One = 1.0
    time_embedding_type: Literal["positional"] = "positional"
    time_embedding_dim: None = None
    time_embedding_act_fn: None = None
    timestep_post_act: None = None
    time_cond_proj_dim: Channels | None = None
    conv_in_kernel: Count = 3
    conv_out_kernel: Count = 3
    attention_type: Literal["default"] = "default"
    class_embeddings_concat: Literal[False] = False
    mid_block_only_cross_attention: Literal[False] | None = None
    cross_attention_norm: None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        depths, reverse = self.transformer_layers_per_block, self.reverse_transformer_layers_per_block
        if reverse is None and isinstance(depths, tuple) and any(isinstance(depth, tuple) for depth in depths):
            raise ValueError(
                "reverse_transformer_layers_per_block must give the depths of the transformers on the way up if "
                f"transformer_layers_per_block has a list for a stage, got None and {list(depths)}"
            )
        if reverse is not None and len(reverse) != len(self.block_out_channels):
            raise ValueError(
                f"reverse_transformer_layers_per_block must have {len(self.block_out_channels)} entries, got "
                f"{len(reverse)}"
            )


def _listed(items: object) -> str:
    *others, last = map(str, items)  # type: ignore[call-overload]
    return f"{', '.join(others)} and {last}"
