"""A tiny autoencoder distilled from a big one: TAESD (Bohan 2023, https://github.com/madebyollin/taesd)."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from .. import functional as F
from ..engines import Array, Engine
from ..loading.fields import Flag, Positive, Real
from .autoencoder import PlainAutoencoder, Source
from .cells import Cell, CellList
from .fields import ActivationName, Channels, CountOrNone, StageChannels, Stages
from .layers import Activation, Conv2d
from .outputs import AutoencoderTinyOutput


@dataclass(frozen=True)
class AutoencoderTinyFields:
    """The fields of ``config.json``; lists have one entry per stage.

    Unlike the reference's, stages may have different widths: the convolution between two stages maps one to the other.
    With ``encoder_stem_channels``, also only ours, the encoder begins with a stride-2 convolution and an activation for
    each entry, and so does its first stage. With both, a config describes TAESANA, for Sana's latents of 1/32 of an
    image's sides: ``decoder_block_out_channels`` 256, 128, 64, 64, 64, 64, ``num_decoder_blocks`` 3, 3, 3, 3, 3, 1,
    ``encoder_stem_channels`` 32, and ``latent_channels`` 32.
    """

    in_channels: Channels = 3
    out_channels: Channels = 3
    encoder_block_out_channels: StageChannels = (64, 64, 64, 64)
    decoder_block_out_channels: StageChannels = (64, 64, 64, 64)
    act_fn: ActivationName = "relu"
    upsample_fn: Literal["nearest"] = "nearest"
    latent_channels: Channels = 4
    upsampling_scaling_factor: Annotated[int, Strict(), Field(ge=1, le=8)] = 2
    num_encoder_blocks: Annotated[tuple[CountOrNone, ...], Stages] = (1, 3, 3, 3)
    num_decoder_blocks: Annotated[tuple[CountOrNone, ...], Stages] = (3, 3, 3, 1)
    latent_magnitude: Positive = 3
    latent_shift: Real = 0.5
    force_upcast: Flag = False
    scaling_factor: Positive = 1.0
    shift_factor: Real = 0.0
    encoder_stem_channels: Annotated[tuple[Channels, ...], Field(max_length=8)] = ()

    def __post_init__(self) -> None:
        for side in ("encoder", "decoder"):
            widths, depths = getattr(self, f"{side}_block_out_channels"), getattr(self, f"num_{side}_blocks")
            if len(widths) != len(depths):
                raise ValueError(
                    f"{side}_block_out_channels and num_{side}_blocks must have the same length, got {len(widths)} and "
                    f"{len(depths)}"
                )


class AutoencoderTiny(PlainAutoencoder):
    """A drop-in replacement for `AutoencoderKL` that trades detail for speed: images in [-1, 1] to latents and back.

    Its latents already have unit scale (``scaling_factor`` 1).
    """

    Fields = AutoencoderTinyFields

    def __init__(self, **config: Any):
        super().__init__(config)
        c: AutoencoderTinyFields = self.fields
        self.encoder = TinyEncoder(c)
        self.decoder = TinyDecoder(c)
        self.scale = c.upsampling_scaling_factor ** (len(c.decoder_block_out_channels) - 1)
        self.tile_overlap = 0.125

    def encode(self, x: Array, return_dict: bool = True) -> AutoencoderTinyOutput | tuple[Array]:
        """The latents of images (batch, 3, height, width) in [-1, 1], ``ms.Tensor`` or NumPy."""
        latents = self.encode_with(self._engine_for(x), x)
        return AutoencoderTinyOutput(latents) if return_dict else (latents,)

    def scale_latents(self, x: Array) -> Array:
        """Latents scaled to [0, 1], for storing as a picture."""
        c: AutoencoderTinyFields = self.fields
        return (x / (2 * c.latent_magnitude) + c.latent_shift).clip(0, 1)

    def unscale_latents(self, x: Array) -> Array:
        """The inverse of `scale_latents`: latents from values in [0, 1]."""
        c: AutoencoderTinyFields = self.fields
        return (x - c.latent_shift) * (2 * c.latent_magnitude)

    def encode_with(self, engine: Engine, image: Array, generator: Source = None) -> Array:
        """Encode an image (batch, 3, height, width) with an engine; nothing is random, so ``generator`` is not used."""
        return self._encode(engine, image, "encode_latents")


class TinyEncoder(Cell):
    """A convolution, with stride 2 between stages and after a stem; then residual blocks."""

    def __init__(self, c: AutoencoderTinyFields):
        super().__init__()
        layers: list[Cell] = []
        before, stem = c.in_channels, c.encoder_stem_channels
        for channels in stem:
            layers += [Conv2d(before, channels, 3, stride=2, padding=1), Activation(c.act_fn)]
            before = channels
        for i, (channels, blocks) in enumerate(zip(c.encoder_block_out_channels, c.num_encoder_blocks)):
            first = i == 0
            layers.append(Conv2d(before, channels, 3, stride=2 if stem or not first else 1, padding=1, bias=first))
            if first and stem:
                layers.append(Activation(c.act_fn))
            layers += [TinyBlock(channels, c.act_fn) for _ in range(blocks)]
            before = channels
        layers.append(Conv2d(c.encoder_block_out_channels[-1], c.latent_channels, 3, padding=1))
        self.layers = CellList(layers)

    def construct(self, image: Array) -> Array:
        x = F.affine(image, 0.5, 0.5)
        for layer in self.layers:
            x = layer(x)
        return x


class TinyDecoder(Cell):
    """At each stage residual blocks, then an enlargement and a convolution."""

    def __init__(self, c: AutoencoderTinyFields):
        super().__init__()
        widths, depths = c.decoder_block_out_channels, c.num_decoder_blocks
        layers: list[Cell] = [Conv2d(c.latent_channels, widths[0], 3, padding=1), Activation(c.act_fn)]
        for i, (channels, blocks) in enumerate(zip(widths, depths)):
            last = i == len(depths) - 1
            layers += [TinyBlock(channels, c.act_fn) for _ in range(blocks)]
            if last:
                layers.append(Conv2d(channels, c.out_channels, 3, padding=1))
            else:
                layers += [Numbered(), EnlargedConv2d(channels, widths[i + 1], c.upsampling_scaling_factor)]
        self.layers = CellList(layers)

    def construct(self, latents: Array) -> Array:
        x = F.affine(F.tanh(F.affine(latents, 1 / 3)), 3.0)
        for layer in self.layers:
            x = layer(x)
        return F.affine(x, 2.0, -1.0)


class TinyBlock(Cell):
    """Three convolutions with a shortcut. Checkpoints number them 0, 2 and 4, with activations in between."""

    def __init__(self, channels: int, act: str):
        super().__init__()
        convolution = partial(Conv2d, channels, channels, 3, padding=1)
        self.conv = CellList([convolution(), Activation(act), convolution(), Activation(act), convolution()])

    def construct(self, x: Array) -> Array:
        y = x
        for layer in self.conv:
            y = layer(y)
        return F.relu(x + y)


class Numbered(Cell):
    """A placeholder: checkpoints count it as a layer, but the next layer does the work."""

    def construct(self, x: Array) -> Array:
        return x


class EnlargedConv2d(Conv2d):
    """A convolution after enlarging the image by a whole factor, each pixel to a square."""

    def __init__(self, in_channels: int, out_channels: int, factor: int):
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)
        self.factor = factor

    def construct(self, x: Array) -> Array:
        if self.factor == 2:
            return F.upsample_conv2d(x, self.weight)
        height, width = x.shape[2:]
        return F.conv2d(F.interpolate_nearest(x, (self.factor * height, self.factor * width)), self.weight, padding=1)
