"""The blocks of a deep-compression autoencoder: residual convolutions, linear attention, and changes of resolution."""

from .. import functional as F
from ..engines import Array
from .cells import Cell, CellList
from .layers import Activation, Conv2d, Linear, parameter

EPS = 1e-5
"""The ε of all normalizations."""


class ChannelRMSNorm(Cell):
    """Root mean square normalization of each pixel of (batch, channels, height, width)."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = parameter(channels), parameter(channels)

    def construct(self, x: Array) -> Array:
        return F.rms_norm_of_channels(x, self.weight, self.bias, EPS)


class BatchNorm(Cell):
    """Batch Normalization of (batch, channels, height, width) with the statistics of training."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = parameter(channels), parameter(channels)
        self.running_mean, self.running_var = parameter(channels), parameter(channels)

    def construct(self, x: Array) -> Array:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, EPS)


NORMS: dict[str, type[ChannelRMSNorm] | type[BatchNorm]] = {"rms_norm": ChannelRMSNorm, "batch_norm": BatchNorm}


class ResBlock(Cell):
    """Two 3×3 convolutions, normalised, with a shortcut."""

    def __init__(self, channels: int, norm: str, act: str):
        super().__init__()
        self.conv1 = Conv2d(channels, channels, 3, padding=1)
        self.act = Activation(act)
        self.conv2 = Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = NORMS[norm](channels)

    def construct(self, x: Array) -> Array:
        return F.add(x, self.norm(self.conv2(self.act(self.conv1(x)))))


class EfficientViTBlock(Cell):
    """Linear attention among pixels and their neighbourhoods, then gated convolutions (Cai et al. 2023, §3.2)."""

    def __init__(self, channels: int, head_size: int, kernels: tuple[int, ...], norm: str):
        super().__init__()
        self.attn = MultiscaleAttention(channels, head_size, kernels, norm)
        self.conv_out = GatedConvolution(channels)

    def construct(self, x: Array) -> Array:
        return self.conv_out(self.attn(x))


class MultiscaleAttention(Cell):
    """Linear attention among pixels, and also among sums over each pixel's neighbourhood (Cai et al. 2023, §3.1).

    Checkpoints keep three matrices, but their outputs form one row of channels, in which each three consecutive runs of
    a head's size are its query, key and value.
    """

    def __init__(self, channels: int, head_size: int, kernels: tuple[int, ...], norm: str):
        super().__init__()
        self.size, self.heads = head_size, channels // head_size
        inner = self.heads * head_size
        self.to_q = Linear(channels, inner, bias=False)
        self.to_k = Linear(channels, inner, bias=False)
        self.to_v = Linear(channels, inner, bias=False)
        self.to_qkv_multiscale = CellList([Neighbourhoods(self.heads, head_size, kernel) for kernel in kernels])
        self.to_out = Linear(inner * (1 + len(kernels)), channels, bias=False)
        self.norm_out = NORMS[norm](channels)

    def construct(self, x: Array) -> Array:
        scales = zip(self._of(x, 0), self._of(x, 1), self._of(x, 2))
        mixed = [F.relu_linear_attention_of_pixels(query, key, value, self.heads) for query, key, value in scales]
        joined = F.concat(mixed, 1) if len(mixed) > 1 else mixed[0]
        return F.add(x, self.norm_out(F.conv2d(joined, self.to_out.weight)))

    def _of(self, x: Array, part: int) -> list[Array]:
        """All queries (part 0), keys (1) or values (2) of each scale: (batch, heads · size, height, width)."""
        matrices = (self.to_q.weight, self.to_k.weight, self.to_v.weight)
        y = F.conv2d(x, F.weight_rows(matrices, part, 3, self.size))
        scales = [y]
        for neighbourhoods in self.to_qkv_multiscale:
            scales.append(neighbourhoods(y, part))
        return scales


class Neighbourhoods(Cell):
    """Weighted sums over each pixel's neighbourhood, by channel, then mixed within each query, key and value."""

    def __init__(self, heads: int, head_size: int, kernel: int):
        super().__init__()
        channels, self.heads, self.size = 3 * heads * head_size, heads, head_size
        self.proj_in = Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False, groups=channels)
        self.proj_out = Conv2d(channels, channels, 1, bias=False, groups=3 * heads)

    def construct(self, x: Array, part: int) -> Array:
        """``x`` holds all queries, keys or values, and ``part`` says which."""
        summed, mixed = [F.weight_rows((conv.weight,), part, 3, self.size) for conv in (self.proj_in, self.proj_out)]
        y = F.conv2d(x, summed, None, 1, self.proj_in.padding, self.heads * self.size)
        return F.conv2d(y, mixed, None, 1, 0, self.heads)


class GatedConvolution(Cell):
    """A depthwise convolution between two 1×1 convolutions, gated, normalised, with a shortcut (Sana, §2.2)."""

    def __init__(self, channels: int, expansion: int = 4):
        super().__init__()
        self.inner = inner = expansion * channels
        self.conv_inverted = Conv2d(channels, 2 * inner, 1)
        self.conv_depth = Conv2d(2 * inner, 2 * inner, 3, padding=1, groups=2 * inner)
        self.conv_point = Conv2d(inner, channels, 1, bias=False)
        self.norm = ChannelRMSNorm(channels)

    def construct(self, x: Array) -> Array:
        y = F.multiply(self._half(x, 0), F.silu(self._half(x, 1)))
        return F.add(x, self.norm(self.conv_point(y)))

    def _half(self, x: Array, part: int) -> Array:
        """The gated half (part 0), or the gate (1)."""
        inverted, shift, depth, depth_shift = [
            F.weight_rows((weight,), part, 2, self.inner)  # type: ignore[arg-type]  # both have biases
            for conv in (self.conv_inverted, self.conv_depth)
            for weight in (conv.weight, conv.bias)
        ]
        y = F.silu(F.conv2d(x, inverted, shift))
        return F.conv2d(y, depth, depth_shift, 1, 1, self.inner)


class DownBlock(Cell):
    """Half the resolution, with a shortcut that averages pixels as channels (Chen et al. 2024, §3.1)."""

    def __init__(self, in_channels: int, out_channels: int, unshuffles: bool, shortcut: bool = True):
        super().__init__()
        self.unshuffles, self.averaged = unshuffles, 4 * in_channels // out_channels if shortcut else 0
        if unshuffles:
            self.conv = Conv2d(in_channels, out_channels // 4, 3, padding=1)
        else:
            self.conv = Conv2d(in_channels, out_channels, 3, stride=2, padding=1)

    def construct(self, x: Array) -> Array:
        y = self.conv(x)
        if self.unshuffles:
            y = F.pixel_unshuffle(y, 2)
        return F.add(y, F.average_channels(F.pixel_unshuffle(x, 2), self.averaged)) if self.averaged else y


class UpBlock(Cell):
    """Twice the resolution, with a shortcut that repeats channels as pixels (Chen et al. 2024, §3.1)."""

    def __init__(self, in_channels: int, out_channels: int, interpolates: bool, shortcut: bool = True):
        super().__init__()
        self.interpolates, self.repeats = interpolates, 4 * out_channels // in_channels if shortcut else 0
        self.conv = Conv2d(in_channels, out_channels * (1 if interpolates else 4), 3, padding=1)

    def construct(self, x: Array) -> Array:
        if self.interpolates:
            return F.upsample_conv2d(x, self.conv.weight, self.conv.bias, self.repeats > 0)
        y = self.conv(x)
        return F.pixel_shuffle(F.add(y, F.repeat_channels(x, self.repeats)) if self.repeats else y, 2)
