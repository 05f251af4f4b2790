"""The operations of `functional` on ``ms.Tensor``, run eagerly or inside a compiled graph.

On Ascend they are the device's own kernels, in the weights' dtype. MindSpore's CPU build lacks some of these kernels,
and others are very slow, so on a CPU fast operations give the same results, always in float32, and without arithmetic
between tensors of different shapes, which is ten times slower than between equal ones (hence `ops.BiasAdd`).

MindSpore's graph compiler also reads every function here. Hence the plain Python, static shapes, and the device as a
compile-time constant.

A network's inputs are float32 even if its weights are not, because timesteps do not fit half precision: a value that
meets a weight is cast to the weight's dtype first, and `timestep_embedding` stays float32 until then.
"""

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import ops

from ..frequencies import grid_waves, lowest_waves, rotary_angles, rotary_frequencies, timestep_frequencies
from ..rows import row_indices
from . import device
from .attention import (
    attention as attention,
    relu_linear_attention as relu_linear_attention,
    relu_linear_attention_of_pixels as relu_linear_attention_of_pixels,
)
from .convolution import conv2d as conv2d
from .device import cast, compute_type, constant, float32_on_cpu
from .primitives import batch_matmul, bias_add, matmul_of_rows, max_kept, mean_kept, reduce_mean
from .slices import concat as concat, part

# ---- layers ----------------------------------------------------------------------------------------------------------


def linear(x: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor | None = None) -> ms.Tensor:
    dtype = compute_type(weight)
    x, weight = cast(x, dtype), cast(weight, dtype)
    if bias is not None:
        bias = cast(bias, dtype)
    if device.on_ascend():
        return ops.dense(x, weight, bias)
    y = matmul_of_rows(ops.reshape(x, (-1, weight.shape[1])), weight)
    if bias is not None:
        y = bias_add(y, bias)
    return ops.reshape(y, (*x.shape[:-1], weight.shape[0]))


def linear_halves(x: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor | None = None) -> tuple[ms.Tensor, ms.Tensor]:
    y = linear(x, weight, bias)
    axis, width = y.ndim - 1, weight.shape[0]
    return part(y, axis, 0, width // 2), part(y, axis, width // 2, width)


def conv2d_halves(x: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor | None = None) -> tuple[ms.Tensor, ms.Tensor]:
    y = conv2d(x, weight, bias)
    channels = y.shape[1]
    return part(y, 1, 0, channels // 2), part(y, 1, channels // 2, channels)


def upsample_conv2d(
    x: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor | None = None, shortcut: bool = False
) -> ms.Tensor:
    doubled = interpolate_nearest(x, (2 * x.shape[2], 2 * x.shape[3]))
    y = conv2d(doubled, weight, bias, 1, 1)
    return add(y, pixel_shuffle(repeat_channels(x, 4 * weight.shape[0] // x.shape[1]), 2)) if shortcut else y


def weight_rows(weights: Sequence[ms.Tensor], part: int, parts: int, run: int) -> ms.Tensor:
    joined = concat(weights, 0)
    return ops.gather(joined, _rows(joined.shape[0], part, parts, run), 0)


@constant
def _rows(count: int, part: int, parts: int, run: int) -> ms.Tensor:
    return ms.Tensor(row_indices(count, part, parts, run).astype(np.int32))


def embedding(ids: ms.Tensor, weight: ms.Tensor) -> ms.Tensor:
    return float32_on_cpu(ops.gather(weight, ids, 0))


def group_norm(x: ms.Tensor, groups: int, weight: ms.Tensor, bias: ms.Tensor, eps: float) -> ms.Tensor:
    dtype = compute_type(weight)
    x, weight, bias = cast(x, dtype), cast(weight, dtype), cast(bias, dtype)
    return ops.group_norm(x, groups, weight, bias, eps)


def layer_norm(x: ms.Tensor, weight: ms.Tensor | None, bias: ms.Tensor | None, eps: float) -> ms.Tensor:
    if weight is None:
        x = float32_on_cpu(x)
        weight, bias = ops.ones((x.shape[-1],), x.dtype), ops.zeros((x.shape[-1],), x.dtype)
    dtype = compute_type(weight)
    x, weight, bias = cast(x, dtype), cast(weight, dtype), cast(bias, dtype)
    if device.on_ascend():
        return ops.layer_norm(x, weight.shape, weight, bias, eps)
    # The CPU build lacks the kernel of `ops.layer_norm`, but has this one.
    return ops.LayerNorm(-1, -1, eps)(x, weight, bias)[0]


def rms_norm(x: ms.Tensor, weight: ms.Tensor | None, eps: float, offset: float) -> ms.Tensor:
    # Always in float32: squares of half-precision numbers overflow.
    wide = cast(x, ms.float32)
    flat = ops.reshape(wide, (-1, wide.shape[-1]))
    inverse = ops.rsqrt(mean_kept(flat * flat, 1) + eps)
    y = ops.reshape(flat * inverse, x.shape)
    if weight is None:
        return cast(y, compute_type(x))
    return cast(y * (cast(weight, ms.float32) + offset), compute_type(weight))


def rms_norm_of_channels(x: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor, eps: float) -> ms.Tensor:
    wide = cast(x, ms.float32)
    inverse = ops.rsqrt(mean_kept(wide * wide, 1) + eps)
    y = wide * inverse * ops.reshape(cast(weight, ms.float32), (1, -1, 1, 1))
    return cast(bias_add(y, cast(bias, ms.float32)), compute_type(weight))


def batch_norm(
    x: ms.Tensor, mean: ms.Tensor, variance: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor, eps: float
) -> ms.Tensor:
    scale = cast(weight, ms.float32) * ops.rsqrt(cast(variance, ms.float32) + eps)
    shift = cast(bias, ms.float32) - cast(mean, ms.float32) * scale
    y = cast(x, ms.float32) * ops.reshape(scale, (1, -1, 1, 1))
    return cast(bias_add(y, shift), compute_type(weight))


def timestep_embedding(
    values: ms.Tensor, channels: int, flip_sin_to_cos: bool, downscale_freq_shift: float, max_period: float = 10000.0
) -> ms.Tensor:
    angles = ops.expand_dims(cast(values, ms.float32), -1) * _frequencies(channels, downscale_freq_shift, max_period)
    sines, cosines = ops.sin(angles), ops.cos(angles)
    parts = [cosines, sines] if flip_sin_to_cos else [sines, cosines]
    if channels % 2:
        parts = [*parts, ops.zeros_like(slice_axis(angles, -1, 0, 1))]
    return concat(parts, -1)


@constant
def _frequencies(channels: int, downscale_freq_shift: float, max_period: float) -> ms.Tensor:
    return ms.Tensor(timestep_frequencies(channels, downscale_freq_shift, max_period))


def rotary(x: ms.Tensor, cosines: ms.Tensor, sines: ms.Tensor, heads: int, interleaved: bool) -> ms.Tensor:
    batch, tokens, channels = x.shape
    half = channels // heads // 2
    wide = cast(x, ms.float32)
    if interleaved:
        pairs = ops.reshape(wide, (batch * tokens, heads, half, 2))
        first, second = part(pairs, 3, 0, 1), part(pairs, 3, 1, 2)
        table = (batch * tokens, 1, half, 1)
    else:
        pairs = ops.reshape(wide, (batch * tokens, heads, 2, half))
        first, second = part(pairs, 2, 0, 1), part(pairs, 2, 1, 2)
        table = (batch * tokens, 1, 1, half)
    cosines = ops.reshape(concat([cosines] * batch, 0), table)
    sines = ops.reshape(concat([sines] * batch, 0), table)
    turned = [first * cosines - second * sines, second * cosines + first * sines]
    return cast(ops.reshape(concat(turned, 3 if interleaved else 2), x.shape), compute_type(x))


def rotary_table(positions: ms.Tensor, sizes: tuple[int, ...], theta: float) -> tuple[ms.Tensor, ms.Tensor]:
    angles = ops.matmul(cast(positions, ms.float32), _rotary_frequencies(sizes, theta))
    return ops.cos(angles), ops.sin(angles)


@constant
def _rotary_frequencies(sizes: tuple[int, ...], theta: float) -> ms.Tensor:
    return ms.Tensor(rotary_frequencies(sizes, theta).astype(np.float32))


def rotary_grid(
    before: int, height: int, width: int, sizes: tuple[int, ...], theta: float
) -> tuple[ms.Tensor, ms.Tensor]:
    grid = before, height, width, sizes, theta
    return _rotary_cosines(*grid), _rotary_sines(*grid)


@constant
def _rotary_cosines(before: int, height: int, width: int, sizes: tuple[int, ...], theta: float) -> ms.Tensor:
    return ms.Tensor(np.cos(rotary_angles(before, height, width, sizes, theta)).astype(np.float32))


@constant
def _rotary_sines(before: int, height: int, width: int, sizes: tuple[int, ...], theta: float) -> ms.Tensor:
    return ms.Tensor(np.sin(rotary_angles(before, height, width, sizes, theta)).astype(np.float32))


@constant
def grid_embedding(height: int, width: int, channels: int, span: float) -> ms.Tensor:
    return ms.Tensor(grid_waves(height, width, channels, span))


def middle_of_grid(table: ms.Tensor, height: int, width: int) -> ms.Tensor:
    side, channels = math.isqrt(table.shape[1]), table.shape[2]
    top, left = (side - height) // 2, (side - width) // 2
    rows = part(table, 1, top * side, (top + height) * side)
    middle = part(ops.reshape(rows, (height, side, channels)), 1, left, left + width)
    return float32_on_cpu(ops.reshape(middle, (1, height * width, channels)))


# ---- element by element ----------------------------------------------------------------------------------------------


def silu(x: ms.Tensor) -> ms.Tensor:
    return ops.silu(float32_on_cpu(x))


def gelu(x: ms.Tensor) -> ms.Tensor:
    x = float32_on_cpu(x)
    return ops.gelu(x) if device.on_ascend() else x * (0.5 + 0.5 * ops.erf(x * math.sqrt(0.5)))


def gelu_tanh(x: ms.Tensor) -> ms.Tensor:
    x = float32_on_cpu(x)
    # (1 + tanh(y)) / 2 = sigmoid(2 y), which the CPU computes far more precisely.
    return x * ops.sigmoid(math.sqrt(8 / math.pi) * (x + 0.044715 * x * x * x))


def quick_gelu(x: ms.Tensor) -> ms.Tensor:
    x = float32_on_cpu(x)
    return x * ops.sigmoid(1.702 * x)


def relu(x: ms.Tensor) -> ms.Tensor:
    return ops.relu(float32_on_cpu(x))


def tanh(x: ms.Tensor) -> ms.Tensor:
    x = float32_on_cpu(x)
    # The CPU's tanh is a polynomial that is off by 8e-5; its sigmoid is exact to the last bits.
    return ops.tanh(x) if device.on_ascend() else 2.0 * ops.sigmoid(2.0 * x) - 1.0


def affine(x: ms.Tensor, scale: float, shift: float = 0.0) -> ms.Tensor:
    return float32_on_cpu(x) * scale + shift


def add(x: ms.Tensor, y: ms.Tensor) -> ms.Tensor:
    return float32_on_cpu(x) + float32_on_cpu(y)


def multiply(x: ms.Tensor, y: ms.Tensor) -> ms.Tensor:
    return float32_on_cpu(x) * float32_on_cpu(y)


# ---- shapes ----------------------------------------------------------------------------------------------------------


def shape(x: ms.Tensor) -> tuple[int, ...]:
    return x.shape  # type: ignore[no-any-return]


def reshape(x: ms.Tensor, shape: Sequence[int]) -> ms.Tensor:
    return ops.reshape(x, tuple(shape))


def transpose(x: ms.Tensor, axes: Sequence[int]) -> ms.Tensor:
    return ops.transpose(x, tuple(axes))


def slice_axis(x: ms.Tensor, axis: int, begin: int, end: int, step: int = 1) -> ms.Tensor:
    axis = axis % x.ndim
    if step == 1:
        return part(x, axis, begin, end)
    return ops.gather(x, _every(begin, end, step), axis)


@constant
def _every(begin: int, end: int, step: int) -> ms.Tensor:
    return ms.Tensor(np.arange(begin, end, step, dtype=np.int32))


def token_at_first(x: ms.Tensor, ids: ms.Tensor, token: int | None) -> ms.Tensor:
    tokens = ids.shape[1]
    ids = ops.cast(ids, ms.float32)
    wanted = ids == max_kept(ids, 1) if token is None else ids == float(token)
    rank = ops.cast(wanted, ms.float32) * float(tokens) + _countdown(tokens)
    first = ops.cast(rank == max_kept(rank, 1), x.dtype)
    y = batch_matmul(ops.reshape(first, (-1, 1, tokens)), x)
    return ops.reshape(y, (x.shape[0], x.shape[2]))


@constant
def _countdown(count: int) -> ms.Tensor:
    return ms.Tensor(np.arange(count - 1, -1, -1, dtype=np.float32))


def add_lowest_frequencies(x: ms.Tensor, factor: float) -> ms.Tensor:
    x = float32_on_cpu(x)
    batch, channels, height, width = x.shape
    waves = cast(_waves(height, width), x.dtype)
    weights = ops.matmul(ops.reshape(x, (batch * channels, height * width)), ops.transpose(waves, (1, 0)))
    low = ops.matmul(weights * (factor / (height * width)), waves)
    return x + ops.reshape(low, x.shape)


@constant
def _waves(height: int, width: int) -> ms.Tensor:
    return ms.Tensor(lowest_waves(height, width))


def pixel_shuffle(x: ms.Tensor, factor: int) -> ms.Tensor:
    batch, channels, height, width = x.shape
    y = ops.reshape(x, (batch, channels // factor**2, factor, factor, height, width))
    return ops.reshape(ops.transpose(y, (0, 1, 4, 2, 5, 3)), (batch, -1, height * factor, width * factor))


def pixel_unshuffle(x: ms.Tensor, factor: int) -> ms.Tensor:
    batch, channels, height, width = x.shape
    y = ops.reshape(x, (batch, channels, height // factor, factor, width // factor, factor))
    return ops.reshape(ops.transpose(y, (0, 1, 3, 5, 2, 4)), (batch, -1, height // factor, width // factor))


def repeat_channels(x: ms.Tensor, times: int) -> ms.Tensor:
    return ops.gather(x, _repeated(x.shape[1], times), 1)


@constant
def _repeated(count: int, times: int) -> ms.Tensor:
    return ms.Tensor(np.repeat(np.arange(count), times).astype(np.int32))


def average_channels(x: ms.Tensor, size: int) -> ms.Tensor:
    batch, channels, height, width = x.shape
    parts = ops.reshape(float32_on_cpu(x), (batch, channels // size, size, height, width))
    return reduce_mean(parts, 2)


def interpolate_nearest(x: ms.Tensor, size: tuple[int, int]) -> ms.Tensor:
    batch, channels, height, width = x.shape
    if device.on_ascend() and size[0] % height == 0 and size[1] % width == 0:
        y = ops.reshape(x, (batch, channels, height, 1, width, 1))
        y = ops.broadcast_to(y, (batch, channels, height, size[0] // height, width, size[1] // width))
        return ops.reshape(y, (batch, channels, size[0], size[1]))
    y = ops.gather(x, _nearest(width, size[1]), 3)
    return ops.gather(y, _nearest(height, size[0]), 2)


@constant
def _nearest(size: int, new_size: int) -> ms.Tensor:
    """The index of the neighbour that gives each of ``new_size`` points its value: ⌊i · size / new_size⌋."""
    return ms.Tensor((np.arange(new_size) * size // new_size).astype(np.int32))
