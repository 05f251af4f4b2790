"""The deep-compression autoencoder, DC-AE (Chen et al. 2024, arXiv 2410.10733): latents of 1/32 of an image's sides."""

from typing import Any

from mindspore import nn

from .. import functional as F
from ..engines import Array, Engine
from .autoencoder import PlainAutoencoder, Source, Tile
from .autoencoder_dc_blocks import ChannelRMSNorm, DownBlock, EfficientViTBlock, ResBlock, UpBlock
from .autoencoder_dc_fields import AutoencoderDCFields, spread
from .cells import Cell, CellList
from .layers import Activation, Conv2d
from .outputs import EncoderOutput


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
