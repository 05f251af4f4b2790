"""The autoencoder between images and latents (Rombach et al. 2022, §3.1), regularised by a KL term."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from .. import functional as F
from ..engines import Array, Engine
from ..loading.fields import Flag, Pixels, Positive, Real
from .autoencoder import Autoencoder, Source
from .cells import Cell, CellList
from .fields import ActivationName, Channels, Count, StageChannels, Stages, check_divides
from .layers import Activation, Attention, Conv2d, Downsample, GroupNorm, ResnetBlock, Upsample
from .outputs import AutoencoderKLOutput, DiagonalGaussianDistribution

EPS = 1e-6


@dataclass(frozen=True)
class AutoencoderKLFields:
    """The fields of ``config.json``; lists have one entry per stage, from the highest resolution to the lowest.

    Latents of unit variance are (z - ``shift_factor``) · ``scaling_factor`` for the network's own latents z; a missing
    ``shift_factor`` is 0.
    """

    in_channels: Channels = 3
    out_channels: Channels = 3
    down_block_types: Annotated[tuple[Literal["DownEncoderBlock2D"], ...], Stages] = ("DownEncoderBlock2D",)
    up_block_types: Annotated[tuple[Literal["UpDecoderBlock2D"], ...], Stages] = ("UpDecoderBlock2D",)
    block_out_channels: StageChannels = (64,)
    layers_per_block: Count = 1
    act_fn: ActivationName = "silu"
    latent_channels: Channels = 4
    norm_num_groups: Count = 32
    sample_size: Pixels = 32
    scaling_factor: Positive = 0.18215
    shift_factor: Real | None = None
    latents_mean: None = None
    latents_std: None = None
    force_upcast: Flag = True
    use_quant_conv: Flag = True
    use_post_quant_conv: Flag = True
    mid_block_add_attention: Flag = True

    def __post_init__(self) -> None:
        channels = self.block_out_channels
        lengths = [len(each) for each in (self.down_block_types, self.up_block_types, channels)]
        if len(set(lengths)) > 1:
            raise ValueError(
                "down_block_types, up_block_types and block_out_channels must have the same length, got "
                "{}, {} and {}".format(*lengths)
            )
        check_divides("norm_num_groups", self.norm_num_groups, block_out_channels=channels)


class AutoencoderKL(Autoencoder):
    """Images (batch, 3, height, width) in [-1, 1] to latents (batch, latent_channels, height / f, width / f), and back.

    ``f`` is 2 to the power of the number of stages minus one: 8 for Stable Diffusion. Latents are the network's own:
    pipelines multiply by ``scaling_factor`` after encoding and divide by it before decoding.
    """

    Fields = AutoencoderKLFields
    encodes_at_random = True

    def __init__(self, **config: Any):
        super().__init__(config)
        c: AutoencoderKLFields = self.fields
        latent = c.latent_channels
        self.encoder = Encoder(c)
        self.decoder = Decoder(c)
        self.quant_conv = Conv2d(2 * latent, 2 * latent, 1) if c.use_quant_conv else None
        self.post_quant_conv = Conv2d(latent, latent, 1) if c.use_post_quant_conv else None
        self.scale = 2 ** (len(c.block_out_channels) - 1)
        self.tile_overlap = 0.25
        self.tile_size = c.sample_size

    def encode_moments(self, image: Array) -> Array:
        """The mean and the log variance of the latents, concatenated: (b, 2·latent_channels, h, w)."""
        moments = self.encoder(image)
        return moments if self.quant_conv is None else self.quant_conv(moments)

    def decode_latents(self, latents: Array) -> Array:
        """Decode latents to an image."""
        if self.post_quant_conv is not None:
            latents = self.post_quant_conv(latents)
        return self.decoder(latents)

    def construct(self, latents: Array) -> Array:
        """The same as `decode_latents`."""
        return self.decode_latents(latents)

    def encode(self, x: Array, return_dict: bool = True) -> AutoencoderKLOutput | tuple[DiagonalGaussianDistribution]:
        """The distribution of the latents of images (batch, 3, height, width) in [-1, 1], ``ms.Tensor`` or NumPy.

        ``vae.encode(x).latent_dist.sample() * vae.config.scaling_factor`` are latents of unit variance.
        """
        engine = self._engine_for(x)
        latents = DiagonalGaussianDistribution(engine, self._encode(engine, x, "encode_moments"))
        return AutoencoderKLOutput(latents) if return_dict else (latents,)

    def encode_with(self, engine: Engine, image: Array, generator: Source = None) -> Array:
        """Encode an image (batch, 3, height, width) with an engine.

        Returns a sample of the latents, or without ``generator`` their mean. Each of a list of generators draws its own
        sample: one per image, or several per image, taking turns.
        """
        latents = DiagonalGaussianDistribution(engine, self._encode(engine, image, "encode_moments"))
        return latents.mode() if generator is None else latents.sample(generator)


class Encoder(Cell):
    """Images to moments."""

    def __init__(self, c: AutoencoderKLFields):
        super().__init__()
        channels, stages = c.block_out_channels, len(c.block_out_channels)
        self.conv_in = Conv2d(c.in_channels, channels[0], 3, padding=1)
        self.down_blocks: CellList[Stage] = CellList()
        before = channels[0]
        for i, out in enumerate(channels):
            block = Stage(c, [before] + [out] * (c.layers_per_block - 1), out)
            if i < stages - 1:
                block.downsamplers = CellList([Downsample(out, (0, 1, 0, 1))])
            self.down_blocks.append(block)
            before = out
        self.mid_block = MidStage(c, before)
        self.conv_norm_out = GroupNorm(c.norm_num_groups, before, EPS)
        self.conv_act = Activation(c.act_fn)
        self.conv_out = Conv2d(before, 2 * c.latent_channels, 3, padding=1)

    def construct(self, x: Array) -> Array:
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
            if block.downsamplers is not None:
                x = block.downsamplers[0](x)
        x = self.mid_block(x)
        return self.conv_out(self.conv_act(self.conv_norm_out(x)))


class Decoder(Cell):
    """Latents to images."""

    def __init__(self, c: AutoencoderKLFields):
        super().__init__()
        channels, stages = c.block_out_channels[::-1], len(c.block_out_channels)
        self.conv_in = Conv2d(c.latent_channels, channels[0], 3, padding=1)
        self.mid_block = MidStage(c, channels[0])
        self.up_blocks: CellList[Stage] = CellList()
        before = channels[0]
        for i, out in enumerate(channels):
            block = Stage(c, [before] + [out] * c.layers_per_block, out)
            if i < stages - 1:
                block.upsamplers = CellList([Upsample(out)])
            self.up_blocks.append(block)
            before = out
        self.conv_norm_out = GroupNorm(c.norm_num_groups, before, EPS)
        self.conv_act = Activation(c.act_fn)
        self.conv_out = Conv2d(before, c.out_channels, 3, padding=1)

    def construct(self, x: Array) -> Array:
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
            if block.upsamplers is not None:
                x = block.upsamplers[0](x, (2 * x.shape[2], 2 * x.shape[3]))
        return self.conv_out(self.conv_act(self.conv_norm_out(x)))


class Stage(Cell):
    """Residual blocks at one resolution."""

    def __init__(self, c: AutoencoderKLFields, ins: list[int], out: int):
        super().__init__()
        self.resnets = CellList([ResnetBlock(i, out, c.norm_num_groups, EPS, c.act_fn) for i in ins])
        self.downsamplers: CellList[Downsample] | None = None
        self.upsamplers: CellList[Upsample] | None = None

    def construct(self, x: Array) -> Array:
        for resnet in self.resnets:
            x = resnet(x)
        return x


class MidStage(Cell):
    """Residual block, attention of all pixels to all pixels, residual block."""

    def __init__(self, c: AutoencoderKLFields, channels: int):
        super().__init__()
        make = partial(ResnetBlock, channels, channels, c.norm_num_groups, EPS, c.act_fn)
        self.attentions = CellList([PixelAttention(c, channels)]) if c.mid_block_add_attention else None
        self.resnets = CellList([make(), make()])

    def construct(self, x: Array) -> Array:
        x = self.resnets[0](x)
        if self.attentions is not None:
            x = self.attentions[0](x)
        return self.resnets[1](x)


class PixelAttention(Attention):
    """Self-attention with one head over the pixels of an image, normalised and with a shortcut."""

    def __init__(self, c: AutoencoderKLFields, channels: int):
        super().__init__(channels, channels, 1, channels, bias=True)
        self.group_norm = GroupNorm(c.norm_num_groups, channels, EPS)

    def construct(self, x: Array) -> Array:  # type: ignore[override]
        batch, channels, height, width = x.shape
        y = F.transpose(F.reshape(self.group_norm(x), (batch, channels, height * width)), (0, 2, 1))
        y = super().construct(y, y)
        return x + F.reshape(F.transpose(y, (0, 2, 1)), (batch, channels, height, width))
