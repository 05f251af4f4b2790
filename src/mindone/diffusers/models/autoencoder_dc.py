"""The deep-compression autoencoder, DC-AE (Chen et al. 2024, arXiv 2410.10733): latents of 1/32 of an image's sides."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

from mindspore import nn
from pydantic import Field, Strict

from .. import functional as F
from ..engines import Array, Engine
from ..loading.fields import Flag, Positive
from .autoencoder import PlainAutoencoder, Source, Tile
from .autoencoder_dc_blocks import ChannelRMSNorm, DownBlock, EfficientViTBlock, ResBlock, UpBlock
from .cells import Cell, CellList
from .fields import ActivationName, Channels, Count, CountOrNone, StageChannels, Stages, check_divides
from .layers import Activation, Conv2d
from .outputs import EncoderOutput

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


class AutoencoderDC(PlainAutoencoder):
    """Images (batch, 3, height, width) in [-1, 1] to latents (batch, latent_channels, height / f, width / f), and back.

    ``f`` is 2 to the power of the number of stages minus one: 32 for Sana. Latents are the network's own: pipelines
    multiply by ``scaling_factor`` after encoding and divide by it before decoding. It is deterministic.
    """

    Fields = AutoencoderDCFields
    exceeds_float16 = True

    def __init__(self, **config: Any):
        super().__init__(config)
        c: AutoencoderDCFields = self.fields
        self.encoder = DCEncoder(c)
        self.decoder = DCDecoder(c)
        self.scale = 2 ** (len(c.encoder_block_out_channels) - 1)
        self.tile_sample_min_height = self.tile_sample_min_width = 512
        self.tile_sample_stride_height = self.tile_sample_stride_width = 448

    def encode(self, x: Array, return_dict: bool = True) -> EncoderOutput | tuple[Array]:
        """The latents of images (batch, 3, height, width) in [-1, 1], ``ms.Tensor`` or NumPy.

        ``vae.encode(x).latent * vae.config.scaling_factor`` are latents of unit variance.
        """
        latents = self.encode_with(self._engine_for(x), x)
        return EncoderOutput(latents) if return_dict else (latents,)

    def encode_with(self, engine: Engine, image: Array, generator: Source = None) -> Array:
        """Encode an image (batch, 3, height, width) with an engine; nothing is random, so ``generator`` is not used.

        Raises:
            ValueError: the sides are not multiples of the factor.
        """
        height, width = image.shape[2:]
        if height % self.scale or width % self.scale:
            raise ValueError(f"images must have sides that are multiples of {self.scale}, got {height}×{width}")
        return self._encode(engine, image, "encode_latents")

    @property
    def tile_pixels(self) -> tuple[int, int]:
        """Height and width of an image tile."""
        return self.tile_sample_min_height, self.tile_sample_min_width

    def enable_tiling(
        self,
        tile_sample_min_height: int | None = None,
        tile_sample_min_width: int | None = None,
        tile_sample_stride_height: int | None = None,
        tile_sample_stride_width: int | None = None,
    ) -> None:
        """Encode and decode images larger than a tile in overlapping tiles, blended where they meet.

        Args:
            tile_sample_min_height, tile_sample_min_width: the size of a tile, in pixels; 512 by default.
            tile_sample_stride_height, tile_sample_stride_width: from one tile to the next, in pixels; 448 by default.

        Raises:
            ValueError: a number is no multiple of the factor, or a stride is larger than its tile.
        """
        given = {
            "tile_sample_min_height": tile_sample_min_height,
            "tile_sample_min_width": tile_sample_min_width,
            "tile_sample_stride_height": tile_sample_stride_height,
            "tile_sample_stride_width": tile_sample_stride_width,
        }
        sizes = {name: getattr(self, name) if value is None else value for name, value in given.items()}
        for name, value in sizes.items():
            if value < self.scale or value % self.scale:
                raise ValueError(f"{name} must be a multiple of {self.scale}, got {value}")
        for side in ("height", "width"):
            size, stride = sizes[f"tile_sample_min_{side}"], sizes[f"tile_sample_stride_{side}"]
            if stride > size:
                raise ValueError(
                    f"tile_sample_stride_{side} must be at most tile_sample_min_{side}, got {stride} and {size}"
                )
        for name, value in sizes.items():
            setattr(self, name, value)
        self.use_tiling = True

    def disable_tiling(self) -> None:
        """Encode and decode images whole (the default)."""
        self.use_tiling = False

    def _tiles(self, encodes: bool) -> tuple[Tile, Tile]:
        before, after = (1, self.scale) if encodes else (self.scale, 1)
        height, width = (
            Tile(size // before, stride // before, stride // after, (size - stride) // after)
            for size, stride in (
                (self.tile_sample_min_height, self.tile_sample_stride_height),
                (self.tile_sample_min_width, self.tile_sample_stride_width),
            )
        )
        return height, width


class DCEncoder(Cell):
    """Images to latents."""

    def __init__(self, c: AutoencoderDCFields):
        super().__init__()
        widths, depths, stages = (
            c.encoder_block_out_channels,
            c.encoder_layers_per_block,
            len(c.encoder_layers_per_block),
        )
        unshuffles = c.downsample_block_type == "pixel_unshuffle"
        self.conv_in: Cell = (
            Conv2d(c.in_channels, widths[0], 3, padding=1)
            if depths[0]
            else DownBlock(c.in_channels, widths[1], unshuffles, shortcut=False)
        )
        self.down_blocks: CellList[CellList[Cell]] = CellList()
        kinds = spread(c.encoder_block_types, stages)
        for i, (width, depth) in enumerate(zip(widths, depths)):
            kernels = c.encoder_qkv_multiscales[i]
            layers = [_block(kinds[i], width, c.attention_head_dim, kernels, "rms_norm", "silu") for _ in range(depth)]
            if depth and i < stages - 1:
                layers.append(DownBlock(width, widths[i + 1], unshuffles))
            self.down_blocks.append(CellList(layers))
        self.conv_out = Conv2d(widths[-1], c.latent_channels, 3, padding=1)
        self.averaged = widths[-1] // c.latent_channels if c.encoder_out_shortcut else 0

    def construct(self, image: Array) -> Array:
        x = self.conv_in(image)
        for stage in self.down_blocks:
            for layer in stage:
                x = layer(x)
        y = self.conv_out(x)
        return F.add(y, F.average_channels(x, self.averaged)) if self.averaged else y


class DCDecoder(Cell):
    """Latents to images. Stages are numbered from the highest resolution, which runs last."""

    def __init__(self, c: AutoencoderDCFields):
        super().__init__()
        widths, depths, stages = (
            c.decoder_block_out_channels,
            c.decoder_layers_per_block,
            len(c.decoder_layers_per_block),
        )
        interpolates = c.upsample_block_type == "interpolate"
        self.conv_in = Conv2d(c.latent_channels, widths[-1], 3, padding=1)
        self.repeats = widths[-1] // c.latent_channels if c.decoder_in_shortcut else 0
        kinds, norms, acts = (
            spread(names, stages) for names in (c.decoder_block_types, c.decoder_norm_types, c.decoder_act_fns)
        )
        self.up_blocks: CellList[CellList[Cell]] = CellList()
        for i, (width, depth) in enumerate(zip(widths, depths)):
            layers: list[Cell] = [UpBlock(widths[i + 1], width, interpolates)] if depth and i < stages - 1 else []
            kernels = c.decoder_qkv_multiscales[i]
            layers += [_block(kinds[i], width, c.attention_head_dim, kernels, norms[i], acts[i]) for _ in range(depth)]
            self.up_blocks.append(CellList(layers))
        last = widths[0] if depths[0] else widths[1]
        self.norm_out = ChannelRMSNorm(last)
        self.conv_act = Activation(c.decoder_conv_act_fn)
        self.conv_out: Cell = (
            Conv2d(last, c.in_channels, 3, padding=1)
            if depths[0]
            else UpBlock(last, c.in_channels, interpolates, shortcut=False)
        )

    def construct(self, latents: Array) -> Array:
        x = self.conv_in(latents)
        if self.repeats:
            x = F.add(x, F.repeat_channels(latents, self.repeats))
        for i in range(len(self.up_blocks) - 1, -1, -1):
            for layer in self.up_blocks[i]:
                x = layer(x)
        return self.conv_out(self.conv_act(self.norm_out(x)))


def _block(kind: str, width: int, head_size: int, kernels: tuple[int, ...], norm: str, act: str) -> nn.Cell:
    return (
        EfficientViTBlock(width, head_size, kernels, norm)
        if kind == "EfficientViTBlock"
        else ResBlock(width, norm, act)
    )
