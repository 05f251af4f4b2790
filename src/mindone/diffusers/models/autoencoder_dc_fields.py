"""The config of a deep-compression autoencoder, and the rules between its fields."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, Strict

from ..loading.fields import Flag, Positive
from .fields import ActivationName, Channels, Count, CountOrNone, StageChannels, Stages, check_divides

BlockName = Literal["ResBlock", "EfficientViTBlock"]
NormName = Literal["rms_norm", "batch_norm"]
KernelSize = Annotated[int, Strict(), Field(ge=1, le=31)]
Scales = Annotated[tuple[Annotated[tuple[KernelSize, ...], Field(max_length=4)], ...], Stages]
"""For each stage the kernel sizes of attention's neighbourhoods, in addition to single pixels."""


@dataclass(frozen=True)
class AutoencoderDCFields:
    """The fields of ``config.json``; lists have one entry per stage, from the highest resolution to the lowest.

    A single name applies to all stages. Latents of unit variance are z · ``scaling_factor`` for the network's own
    latents z. A first stage without layers does not count: the first and the last convolution change the resolution.
    """

    in_channels: Channels = 3
    latent_channels: Channels = 32
    attention_head_dim: Count = 32
    encoder_block_types: BlockName | Annotated[tuple[BlockName, ...], Stages] = "ResBlock"
    decoder_block_types: BlockName | Annotated[tuple[BlockName, ...], Stages] = "ResBlock"
    encoder_block_out_channels: StageChannels = (128, 256, 512, 512, 1024, 1024)
    decoder_block_out_channels: StageChannels = (128, 256, 512, 512, 1024, 1024)
    encoder_layers_per_block: Annotated[tuple[CountOrNone, ...], Stages] = (2, 2, 2, 3, 3, 3)
    decoder_layers_per_block: Annotated[tuple[CountOrNone, ...], Stages] = (3, 3, 3, 3, 3, 3)
    encoder_qkv_multiscales: Scales = ((), (), (), (5,), (5,), (5,))
    decoder_qkv_multiscales: Scales = ((), (), (), (5,), (5,), (5,))
    upsample_block_type: Literal["pixel_shuffle", "interpolate"] = "pixel_shuffle"
    downsample_block_type: Literal["pixel_unshuffle", "Conv", "conv"] = "pixel_unshuffle"
    decoder_norm_types: NormName | Annotated[tuple[NormName, ...], Stages] = "rms_norm"
    decoder_act_fns: ActivationName | Annotated[tuple[ActivationName, ...], Stages] = "silu"
    encoder_out_shortcut: Flag = True
    decoder_in_shortcut: Flag = True
    decoder_conv_act_fn: ActivationName = "relu"
    scaling_factor: Positive = 1.0

    def __post_init__(self) -> None:
        stages = len(self.encoder_block_out_channels)
        for name in (
            *("encoder_block_types", "decoder_block_types", "decoder_block_out_channels", "encoder_layers_per_block"),
            *("decoder_layers_per_block", "encoder_qkv_multiscales", "decoder_qkv_multiscales"),
            *("decoder_norm_types", "decoder_act_fns"),
        ):
            value = getattr(self, name)
            if not isinstance(value, str) and len(value) != stages:
                raise ValueError(f"{name} must have {stages} entries as encoder_block_out_channels, got {len(value)}")
        for half in ("encoder", "decoder"):
            self._check_half(half)
        if self.downsample_block_type == "pixel_unshuffle":
            check_divides("4", 4, encoder_block_out_channels=self.encoder_block_out_channels[1:])

    def _check_half(self, half: str) -> None:
        """Check that shortcuts and heads get whole groups of channels."""
        channels = f"{half}_block_out_channels"
        widths, depths, scales = (
            getattr(self, name) for name in (channels, f"{half}_layers_per_block", f"{half}_qkv_multiscales")
        )
        if 0 in depths[1:] or (depths[0] == 0 and len(depths) == 1):
            raise ValueError(f"{half}_layers_per_block may be 0 only at the first of several stages, got {depths}")
        for kernels in scales:
            for size in kernels:
                if size % 2 == 0:
                    raise ValueError(f"{half}_qkv_multiscales must be odd, got {size}")
        for kind, width in zip(spread(getattr(self, f"{half}_block_types"), len(widths)), widths):
            if kind == "EfficientViTBlock":
                check_divides("attention_head_dim", self.attention_head_dim, **{channels: width})
        if self.encoder_out_shortcut if half == "encoder" else self.decoder_in_shortcut:
            check_divides("latent_channels", self.latent_channels, **{channels: widths[-1]})
        for high, low in list(pairwise(widths))[depths[0] == 0 :]:
            if 4 * high % low:
                raise ValueError(f"each of {channels} must divide four times the one before it, got {high} and {low}")


def spread(value: str | tuple[str, ...], stages: int) -> tuple[str, ...]:
    """A name for each stage."""
    return (value,) * stages if isinstance(value, str) else value
