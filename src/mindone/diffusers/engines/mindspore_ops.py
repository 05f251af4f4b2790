"""The operations of `functional` on ``ms.Tensor``, run eagerly or inside a compiled graph.

On Ascend they are the device's own kernels, in the type of the weights. MindSpore's CPU build lacks some of those
kernels, and others crawl there (its convolution is a reference loop), so on a CPU the same results are put together
from what is fast, always in float32: half-precision kernels are many times slower than float32 ones, and arithmetic
between tensors of unlike shapes ten times slower than between equal ones (hence `ops.BiasAdd`).

Every function here is read by MindSpore's graph compiler too. Hence plain Python, shapes that are static ints, and the
choice of device as a compile-time constant.

A network's inputs are float32 even where its weights are not, because timesteps do not fit half precision: whatever
meets a weight takes that weight's type first, and `timestep_embedding` stays float32 until then.
"""

import math

import mindspore as ms
import numpy as np
from mindspore import ops

FLASH_HEAD_SIZES = (64, 80, 96, 120, 128, 256)
"""The head sizes that Ascend's memory-efficient attention takes; others are padded with zeros to the next."""

COLUMNS_BYTES = 128 * 2**20
"""A convolution's unrolled windows take no more memory than this at a time (but for a single row of the output)."""

SCORES_BYTES = 256 * 2**20
"""Plain attention keeps no more bytes of scores than this at a time (but for a single query)."""


@ops.constexpr
def on_ascend():
    """Whether networks run on an Ascend device; a constant to the graph compiler."""
    return ms.get_context("device_target") == "Ascend"


def _compute_type(weight):
    return weight.dtype if on_ascend() else ms.float32


def _cast(x, dtype):
    return x if x.dtype == dtype else ops.cast(x, dtype)


def _float32_on_cpu(x):
    return x if on_ascend() else _cast(x, ms.float32)


# ---- layers ----------------------------------------------------------------------------------------------------------


def linear(x, weight, bias=None):
    dtype = _compute_type(weight)
    x, weight = _cast(x, dtype), _cast(weight, dtype)
    if bias is not None:
        bias = _cast(bias, dtype)
    if on_ascend():
        return ops.dense(x, weight, bias)
    y = ops.MatMul(transpose_b=True)(ops.reshape(x, (-1, weight.shape[1])), weight)
    if bias is not None:
        y = ops.BiasAdd()(y, bias)
    return ops.reshape(y, (*x.shape[:-1], weight.shape[0]))


def geglu(x, weight, bias):
    y = linear(x, weight, bias)
    axis, width = y.ndim - 1, weight.shape[0]
    return _part(y, axis, 0, width // 2) * gelu(_part(y, axis, width // 2, width))


def conv2d(x, weight, bias=None, stride=1, padding=0):
    sides = (padding, padding, padding, padding) if isinstance(padding, int) else padding
    dtype = _compute_type(weight)
    x, weight = _cast(x, dtype), _cast(weight, dtype)
    if bias is not None:
        bias = _cast(bias, dtype)
    if on_ascend():
        top, bottom, left, right = sides
        if top != bottom or left != right:
            x = _zero_padded(_zero_padded(x, 2, top, bottom), 3, left, right)
            top, left = 0, 0
        return ops.conv2d(x, weight, bias, stride, "pad", (top, left))
    return _conv2d_by_columns(x, weight, bias, stride, sides)


def upsample_conv2d(x, weight, bias=None):
    return conv2d(interpolate_nearest(x, (2 * x.shape[2], 2 * x.shape[3])), weight, bias, 1, 1)


def _conv2d_by_columns(x, weight, bias, stride, sides):
    """Convolution as ``weight (out, in·kh·kw) @ windows (in·kh·kw, positions)``.

    One image and one band of rows at a time: bands bound the memory, and a product with a batch axis copies the weight
    for each image, which at low resolution takes longer than the product.
    """
    top, bottom, left, right = sides
    outs, _, kh, kw = weight.shape
    if left != right:
        x = _zero_padded(x, 3, left, right)
        left = 0
    height = (x.shape[2] + top + bottom - kh) // stride + 1
    width = (x.shape[3] + 2 * left - kw) // stride + 1
    band = max(1, COLUMNS_BYTES // (weight.shape[1] * kh * kw * width * 4))
    inner = top if top == bottom and band >= height else 0
    if inner != top or inner != bottom:
        x = _zero_padded(x, 2, top, bottom)
    matrix = ops.reshape(weight, (outs, -1))
    images = []
    for i in range(x.shape[0]):
        bands = []
        for first in range(0, height, band):
            rows = min(band, height - first)
            last_row = x.shape[2] if rows == height else (first + rows - 1) * stride + kh
            windows = _part(_part(x, 0, i, i + 1), 2, first * stride, last_row)
            if kh > 1 or kw > 1 or stride > 1 or left > 0 or inner > 0:
                windows = ops.unfold(windows, (kh, kw), 1, (inner, left), stride)
            windows = ops.reshape(windows, (matrix.shape[1], rows * width))
            y = ops.reshape(ops.MatMul()(matrix, windows), (1, outs, rows, width))
            bands.append(y if bias is None else ops.BiasAdd()(y, bias))
        images.append(concat(bands, 2))
    return concat(images, 0)


def _part(x, axis, begin, end):
    """``x`` from ``begin`` to ``end`` along ``axis``; as it is where that is all of it.

    A copy: a view, which ``[]`` gives when run eagerly, makes the CPU kernels that read it several times slower.
    """
    if begin == 0 and end == x.shape[axis]:
        return x
    shape = x.shape
    begins = (0,) * axis + (begin,) + (0,) * (x.ndim - axis - 1)
    return ops.slice(x, begins, (*shape[:axis], end - begin, *shape[axis + 1 :]))


def _zero_padded(x, axis, before, after):
    """Zeros put before and after along an axis: joining is ten times as fast as the CPU's padding kernel."""
    parts = [x]
    if before > 0:
        parts = [ops.zeros((*x.shape[:axis], before, *x.shape[axis + 1 :]), x.dtype), *parts]
    if after > 0:
        parts = [*parts, ops.zeros((*x.shape[:axis], after, *x.shape[axis + 1 :]), x.dtype)]
    return concat(parts, axis)


def embedding(ids, weight):
    return _float32_on_cpu(ops.gather(weight, ids, 0))


def group_norm(x, groups, weight, bias, eps):
    dtype = _compute_type(weight)
    x, weight, bias = _cast(x, dtype), _cast(weight, dtype), _cast(bias, dtype)
    return ops.group_norm(x, groups, weight, bias, eps)


def layer_norm(x, weight, bias, eps):
    dtype = _compute_type(weight)
    x, weight, bias = _cast(x, dtype), _cast(weight, dtype), _cast(bias, dtype)
    if on_ascend():
        return ops.layer_norm(x, weight.shape, weight, bias, eps)
    # The kernel of `ops.layer_norm` is missing from the CPU build; this one is not.
    return ops.LayerNorm(-1, -1, eps)(x, weight, bias)[0]


def timestep_embedding(values, channels, flip_sin_to_cos, downscale_freq_shift, max_period=10000.0):
    angles = ops.expand_dims(_cast(values, ms.float32), -1) * _frequencies(channels, downscale_freq_shift, max_period)
    sines, cosines = ops.sin(angles), ops.cos(angles)
    return concat([cosines, sines] if flip_sin_to_cos else [sines, cosines], -1)


@ops.constexpr
def _frequencies(channels, downscale_freq_shift, max_period):
    half = channels // 2
    exponents = np.arange(half, dtype=np.float64) / (half - downscale_freq_shift)
    return ms.Tensor((max_period**-exponents).astype(np.float32))


# ---- attention -------------------------------------------------------------------------------------------------------


def attention(query, key, value, heads, causal=False, flash=None):
    query, key, value = _float32_on_cpu(query), _float32_on_cpu(key), _float32_on_cpu(value)
    q, k, v = _split_heads(query, heads), _split_heads(key, heads), _split_heads(value, heads)
    if on_ascend() and flash is not None and not causal:
        y = flash_attention(q, k, v, flash.cast_dtype, _ascend_flash_kernel)
    else:
        y = plain_attention(q, k, v, causal)
    return ops.reshape(ops.transpose(y, (0, 2, 1, 3)), query.shape)


def _split_heads(x, heads):
    batch, tokens, channels = x.shape
    return ops.transpose(ops.reshape(x, (batch, tokens, heads, channels // heads)), (0, 2, 1, 3))


def plain_attention(q, k, v, causal=False):
    """Attention written out, for ``q`` (b, heads, n, size) and ``k``, ``v`` (b, heads, m, size), in slices."""
    batch, heads, queries, size = q.shape
    keys = k.shape[2]
    q = ops.reshape(q * (1.0 / math.sqrt(size)), (batch * heads, queries, size))
    k = ops.reshape(k, (batch * heads, keys, size))
    v = ops.reshape(v, (batch * heads, keys, size))
    rows = min(queries, max(1, SCORES_BYTES // (keys * 4)))
    groups = min(batch * heads, max(1, SCORES_BYTES // (rows * keys * 4)))
    parts = []
    for group in range(0, batch * heads, groups):
        end = min(group + groups, batch * heads)
        bands = []
        for first in range(0, queries, rows):
            last = min(first + rows, queries)
            some = _part(_part(q, 0, group, end), 1, first, last)
            scores = ops.BatchMatMul(transpose_b=True)(some, _part(k, 0, group, end))
            scores = _cast(scores, ms.float32)
            if causal:
                scores = scores + _later_keys_hidden(first, last, keys)
            weights = _cast(ops.softmax(scores, -1), v.dtype)
            bands.append(ops.BatchMatMul()(weights, _part(v, 0, group, end)))
        parts.append(concat(bands, 1))
    return ops.reshape(concat(parts, 0), (batch, heads, queries, size))


@ops.constexpr
def _later_keys_hidden(first, last, keys):
    """What is added to the scores of queries ``first`` to ``last``: the lowest number where the key comes later."""
    later = np.arange(keys)[None, :] > np.arange(first, last)[:, None]
    return ms.Tensor(np.where(later, np.finfo(np.float32).min, 0.0).astype(np.float32))


def flash_attention(q, k, v, cast_dtype, kernel):
    """Attention by a memory-efficient kernel, or written out where the kernel does not take the input.

    ``q`` is (b, heads, n, size), ``k`` and ``v`` (b, heads, m, size). The kernel takes float16 and bfloat16 only:
    float32 inputs are cast to ``cast_dtype`` and the result back; with ``cast_dtype`` None they go to plain attention,
    as do heads larger than the kernel's largest. Heads are padded to a size that it takes; the scale is that of the
    unpadded size.

    Args:
        kernel: ``kernel(q, k, v, heads, scale)`` on (b, heads, tokens, size).
    """
    dtype, size = q.dtype, q.shape[-1]
    if size > FLASH_HEAD_SIZES[-1] or (dtype == ms.float32 and cast_dtype is None):
        return plain_attention(q, k, v)
    if dtype == ms.float32:
        half = ms.bfloat16 if cast_dtype == "bfloat16" else ms.float16
        q, k, v = ops.cast(q, half), ops.cast(k, half), ops.cast(v, half)
    extra = flash_head_size(size) - size
    if extra > 0:
        q, k, v = _zero_padded(q, 3, 0, extra), _zero_padded(k, 3, 0, extra), _zero_padded(v, 3, 0, extra)
    y = kernel(q, k, v, q.shape[1], 1.0 / math.sqrt(size))
    return _cast(_part(y, 3, 0, size), dtype)


def flash_head_size(size):
    """The smallest head size that the kernel takes and that holds ``size`` (at most the largest)."""
    for taken in FLASH_HEAD_SIZES:
        if taken >= size:
            return taken
    return FLASH_HEAD_SIZES[-1]


def _ascend_flash_kernel(q, k, v, heads, scale):
    return ops.flash_attention_score(q, k, v, heads, scalar_value=scale, input_layout="BNSD")


# ---- element by element ----------------------------------------------------------------------------------------------


def silu(x):
    return ops.silu(_float32_on_cpu(x))


def gelu(x):
    x = _float32_on_cpu(x)
    return ops.gelu(x) if on_ascend() else x * (0.5 + 0.5 * ops.erf(x * math.sqrt(0.5)))


def quick_gelu(x):
    x = _float32_on_cpu(x)
    return x * ops.sigmoid(1.702 * x)


def relu(x):
    return ops.relu(_float32_on_cpu(x))


def tanh(x):
    x = _float32_on_cpu(x)
    # The CPU's tanh is a polynomial that is off by 8e-5; its sigmoid is exact to the last bits.
    return ops.tanh(x) if on_ascend() else 2.0 * ops.sigmoid(2.0 * x) - 1.0


def affine(x, scale, shift=0.0):
    return _float32_on_cpu(x) * scale + shift


# ---- shapes ----------------------------------------------------------------------------------------------------------


def reshape(x, shape):
    return ops.reshape(x, tuple(shape))


def transpose(x, axes):
    return ops.transpose(x, tuple(axes))


def concat(tensors, axis):
    if len(tensors) == 1:
        return tensors[0]
    for x in tensors:
        if x.dtype != tensors[0].dtype:
            return ops.concat([_cast(x, ms.float32) for x in tensors], axis)
    return ops.concat(tensors, axis)


def select(x, index, axis):
    axis, index = axis % x.ndim, index % x.shape[axis]
    return ops.reshape(_part(x, axis, index, index + 1), x.shape[:axis] + x.shape[axis + 1 :])


def first_rows(weight, rows):
    return _float32_on_cpu(_part(weight, 0, 0, rows))


def repeat_vector(weight, batch):
    return ops.broadcast_to(ops.reshape(_float32_on_cpu(weight), (1, 1, -1)), (batch, 1, weight.shape[0]))


def token_at_first(x, ids, token):
    tokens = ids.shape[1]
    ids = ops.cast(ids, ms.float32)
    wanted = ids == ops.ReduceMax(True)(ids, 1) if token is None else ids == float(token)
    rank = ops.cast(wanted, ms.float32) * float(tokens) + _countdown(tokens)
    first = ops.cast(rank == ops.ReduceMax(True)(rank, 1), x.dtype)
    y = ops.BatchMatMul()(ops.reshape(first, (-1, 1, tokens)), x)
    return ops.reshape(y, (x.shape[0], x.shape[2]))


@ops.constexpr
def _countdown(count):
    return ms.Tensor(np.arange(count - 1, -1, -1, dtype=np.float32))


def interpolate_nearest(x, size):
    batch, channels, height, width = x.shape
    if on_ascend() and size[0] % height == 0 and size[1] % width == 0:
        y = ops.reshape(x, (batch, channels, height, 1, width, 1))
        y = ops.broadcast_to(y, (batch, channels, height, size[0] // height, width, size[1] // width))
        return ops.reshape(y, (batch, channels, size[0], size[1]))
    y = ops.gather(x, _nearest(width, size[1]), 3)
    return ops.gather(y, _nearest(height, size[0]), 2)


@ops.constexpr
def _nearest(size, new_size):
    """The index of the neighbour that each of ``new_size`` points takes its value from: ⌊i · size / new_size⌋."""
    return ms.Tensor((np.arange(new_size) * size // new_size).astype(np.int32))
