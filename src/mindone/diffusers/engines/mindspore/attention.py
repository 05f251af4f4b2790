"""Attention: Ascend's memory-efficient kernel, or plain attention in slices that limit memory."""

import math
from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import ops

from ..base import FlashAttention
from . import device
from .device import cast, compute_type, constant, float32_on_cpu
from .primitives import batch_matmul, batch_matmul_of_columns, batch_matmul_of_rows, sum_kept
from .slices import concat, part, zero_padded

FLASH_HEAD_SIZES = (64, 80, 96, 120, 128, 256)
"""The head sizes of Ascend's memory-efficient attention; others are zero-padded to the next."""

SCORES_BYTES = 256 * 2**20
"""The most bytes of scores that plain attention keeps at a time (except for a single query)."""


def attention(
    query: ms.Tensor,
    key: ms.Tensor,
    value: ms.Tensor,
    heads: int,
    causal: bool = False,
    flash: FlashAttention | None = None,
    bias: ms.Tensor | None = None,
    scale: float | None = None,
    softcap: float | None = None,
) -> ms.Tensor:
    """See `functional.attention`."""
    query, key, value = float32_on_cpu(query), float32_on_cpu(key), float32_on_cpu(value)
    q, k, v = _split_heads(query, heads), _split_heads(key, heads), _split_heads(value, heads)
    scale = 1.0 / math.sqrt(q.shape[3]) if scale is None else scale
    is_plain = causal or bias is not None or softcap is not None
    if device.on_ascend() and flash is not None and flash.enabled and not is_plain:
        y = flash_attention(q, k, v, flash.cast_dtype, _ascend_flash_kernel, scale)
    else:
        y = plain_attention(q, k, v, causal, bias, scale, softcap)
    return ops.reshape(ops.transpose(y, (0, 2, 1, 3)), query.shape)


def _split_heads(x: ms.Tensor, heads: int) -> ms.Tensor:
    batch, tokens, channels = x.shape
    return ops.transpose(ops.reshape(x, (batch, tokens, heads, channels // heads)), (0, 2, 1, 3))


def plain_attention(
    q: ms.Tensor,
    k: ms.Tensor,
    v: ms.Tensor,
    causal: bool = False,
    bias: ms.Tensor | None = None,
    scale: float | None = None,
    softcap: float | None = None,
) -> ms.Tensor:
    """Plain attention for ``q`` (b, heads, n, size) and ``k``, ``v`` (b, heads, m, size), in slices."""
    batch, heads, queries, size = q.shape
    keys = k.shape[2]
    q = ops.reshape(q * (1.0 / math.sqrt(size) if scale is None else scale), (batch * heads, queries, size))
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
            some = part(part(q, 0, group, end), 1, first, last)
            scores = batch_matmul_of_rows(some, part(k, 0, group, end))
            scores = cast(scores, ms.float32)
            if softcap is not None:  # tanh through the sigmoid, which the CPU computes far more precisely
                scores = softcap * (2.0 * ops.sigmoid((2.0 / softcap) * scores) - 1.0)
            if bias is not None:
                scores = scores + _part_of_bias(bias, heads, group, end, first, last)
            if causal:
                scores = scores + _later_keys_hidden(first, last, keys)
            weights = cast(ops.softmax(scores, -1), v.dtype)
            bands.append(batch_matmul(weights, part(v, 0, group, end)))
        parts.append(concat(bands, 1))
    return ops.reshape(concat(parts, 0), (batch, heads, queries, size))


def _part_of_bias(bias: ms.Tensor, heads: int, group: int, end: int, first: int, last: int) -> ms.Tensor:
    """The part of ``bias`` (b or 1, heads or 1, n or 1, m) for some of all images' heads and for some queries."""
    batch, of_heads, queries, keys = bias.shape
    if batch * of_heads == 1:
        some = ops.reshape(bias, (1, queries, keys))
    else:
        rows = [
            (i // heads if batch > 1 else 0) * of_heads + (i % heads if of_heads > 1 else 0) for i in range(group, end)
        ]
        some = ops.gather(ops.reshape(bias, (batch * of_heads, queries, keys)), _indices(tuple(rows)), 0)
    return cast(some if queries == 1 else part(some, 1, first, last), ms.float32)


@constant
def _indices(values: tuple[int, ...]) -> ms.Tensor:
    return ms.Tensor(np.array(values, np.int32))


@constant
def _later_keys_hidden(first: int, last: int, keys: int) -> ms.Tensor:
    """The bias of the scores of queries ``first`` to ``last``: the lowest number where the key comes later."""
    later = np.arange(keys)[None, :] > np.arange(first, last)[:, None]
    return ms.Tensor(np.where(later, np.finfo(np.float32).min, 0.0).astype(np.float32))


def relu_linear_attention(query: ms.Tensor, key: ms.Tensor, value: ms.Tensor, heads: int, eps: float) -> ms.Tensor:
    """See `functional.relu_linear_attention`; in float32, since sums over all tokens overflow float16."""
    batch, tokens, channels = query.shape
    groups, size = batch * heads, channels // heads
    q, k, v = [
        ops.reshape(_split_heads(cast(x, ms.float32), heads), (groups, -1, size))
        for x in (ops.relu(float32_on_cpu(query)), ops.relu(float32_on_cpu(key)), value)
    ]
    states = batch_matmul_of_columns(k, v)
    weights = batch_matmul_of_rows(q, sum_kept(k, 1))
    mixed = ops.reshape(batch_matmul(q, states) / (weights + eps), (batch, heads, tokens, size))
    return cast(ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), query.shape), compute_type(query))


def relu_linear_attention_of_pixels(
    query: ms.Tensor, key: ms.Tensor, value: ms.Tensor, heads: int, eps: float
) -> ms.Tensor:
    """See `functional.relu_linear_attention_of_pixels`."""
    batch, channels, height, width = query.shape
    shape = (batch * heads, channels // heads, height * width)
    q, k, v = [
        ops.reshape(cast(x, ms.float32), shape)
        for x in (ops.relu(float32_on_cpu(query)), ops.relu(float32_on_cpu(key)), value)
    ]
    states = batch_matmul_of_rows(v, k)
    weights = batch_matmul_of_columns(sum_kept(k, 2), q)
    mixed = batch_matmul(states, q) / (weights + eps)
    return cast(ops.reshape(mixed, query.shape), compute_type(query))


def flash_attention(
    q: ms.Tensor,
    k: ms.Tensor,
    v: ms.Tensor,
    cast_dtype: str | None,
    kernel: Callable[[ms.Tensor, ms.Tensor, ms.Tensor, int, float], ms.Tensor],
    scale: float | None = None,
) -> ms.Tensor:
    """Attention by a memory-efficient kernel, or plain if the kernel does not take the input.

    ``q`` is (b, heads, n, size), ``k`` and ``v`` (b, heads, m, size). The kernel takes only float16 and bfloat16:
    float32 inputs are cast to ``cast_dtype`` and the result back; with ``cast_dtype`` None they use plain attention, as
    do heads above the kernel's largest size. Heads are padded to a supported size; the scale is that of the unpadded
    size.

    Args:
        kernel: ``kernel(q, k, v, heads, scale)`` on (b, heads, tokens, size).
    """
    dtype, size = q.dtype, q.shape[-1]
    if size > FLASH_HEAD_SIZES[-1] or (dtype == ms.float32 and cast_dtype is None):
        return plain_attention(q, k, v, scale=scale)
    if dtype == ms.float32:
        half = ms.bfloat16 if cast_dtype == "bfloat16" else ms.float16
        q, k, v = ops.cast(q, half), ops.cast(k, half), ops.cast(v, half)
    extra = flash_head_size(size) - size
    if extra > 0:
        q, k, v = zero_padded(q, 3, 0, extra), zero_padded(k, 3, 0, extra), zero_padded(v, 3, 0, extra)
    y = kernel(q, k, v, q.shape[1], 1.0 / math.sqrt(size) if scale is None else scale)
    return cast(part(y, 3, 0, size), dtype)


def flash_head_size(size: int) -> int:
    """The smallest head size of the kernel that holds ``size`` (at most the largest)."""
    for taken in FLASH_HEAD_SIZES:
        if taken >= size:
            return taken
    return FLASH_HEAD_SIZES[-1]


def _ascend_flash_kernel(q: ms.Tensor, k: ms.Tensor, v: ms.Tensor, heads: int, scale: float) -> ms.Tensor:
    return ops.flash_attention_score(q, k, v, heads, scalar_value=scale, input_layout="BNSD")
