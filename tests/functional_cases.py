"""Operations of `functional` with their inputs: what the golden file holds and what the live comparison runs.

`reference_functional` has the same names, in PyTorch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mindone.diffusers import functional as F


@dataclass(frozen=True)
class Case:
    """A function of inputs, then weights, then constants by name."""

    function: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...] = ()
    constants: dict[str, Any] = field(default_factory=dict)


def _draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.PCG64([seed, *shape])).standard_normal(shape).astype(np.float32)


def modulated(x, scale, shift, gate):
    """An adaptive block's skeleton: a layer between normalization and gate, beside a shortcut."""
    return F.add(x, F.multiply(gate, F.silu(F.modulate(F.layer_norm(x, eps=1e-6), scale, shift))))


def attention(query, key, value, bias, heads, scale=None, softcap=None):
    return F.attention(query, key, value, heads, bias=bias, scale=scale, softcap=softcap)


def rotated(x, positions, heads, sizes, theta, interleaved):
    cosines, sines = F.rotary_table(positions, sizes, theta)
    return F.rotary(x, cosines, sines, heads, interleaved)


def joined(first, second):
    return F.concat([first, second], 1)


def conv2d_gated(x, weight, bias):
    first, second = F.conv2d_halves(x, weight, bias)
    return F.multiply(first, F.silu(second))


def placed(x, height, width, span):
    return F.add(x, F.grid_embedding(height, width, x.shape[2], span))


def placed_in_the_middle(x, table, height, width):
    return F.add(x, F.middle_of_grid(table, height, width))


def convolved_by_parts(x, first, second):
    """A convolution by the second half of every eight rows."""
    return F.conv2d(x, F.weight_rows((first, second), 1, 2, 4))


ACTIVATIONS: dict[Callable[..., Any], Callable[[np.ndarray], np.ndarray]] = {
    F.silu: lambda x: x / (1 + np.exp(-x)),
    F.gelu: lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2,
    F.gelu_tanh: lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    F.quick_gelu: lambda x: x / (1 + np.exp(-1.702 * x)),
}
"""Their formulas."""

_tokens, _image, _channels = _draw(2, 9, 24), _draw(2, 12, 6, 8), _draw(24, seed=1)
_q, _k, _v = _draw(2, 9, 24), _draw(2, 7, 24), _draw(2, 7, 24, seed=1)
_hidden = np.where(np.arange(7) < np.array([[5], [3]]), 0.0, -10000.0).astype(np.float32).reshape(2, 1, 1, 7)
_positions = np.array([(0, row, column) for row in range(3) for column in range(3)], np.float32) * [1, 7, 31]
_pixels = tuple(_draw(2, 12, 6, 8, seed=seed) for seed in range(3))
_statistics = (_draw(12), _draw(12, seed=1) ** 2)
_heads: dict[str, Any] = {"heads": 3}

CASES = {
    "layer_norm": Case(F.layer_norm, (_tokens,), constants={"eps": 1e-6}),
    "layer_norm_weighted": Case(F.layer_norm, (_tokens,), (_channels, _draw(24)), {"eps": 1e-5}),
    "rms_norm": Case(F.rms_norm, (_tokens,), constants={"eps": 1e-5}),
    "rms_norm_weighted": Case(F.rms_norm, (_tokens,), (_channels,), {"eps": 1e-6}),
    "rms_norm_around_one": Case(F.rms_norm, (_tokens,), (0.1 * _channels,), {"eps": 1e-6, "offset": 1.0}),
    "rms_norm_of_heads": Case(F.rms_norm, (_tokens.reshape(2, 9, 3, 8),), (_draw(8),), {"eps": 1e-6}),
    "gelu_tanh": Case(F.gelu_tanh, (3 * _tokens,)),
    "relu": Case(F.relu, (_tokens,)),
    "softcap": Case(F.softcap, (40 * _tokens,), constants={"cap": 30.0}),
    "swiglu": Case(F.swiglu, (_tokens,), (_draw(20, 24), _draw(20))),
    "swiglu_without_bias": Case(F.swiglu, (_tokens,), (_draw(20, 24),)),
    "modulated": Case(modulated, (_tokens, _draw(2, 1, 24), _draw(2, 1, 24, seed=1), _draw(2, 1, 24, seed=2))),
    "modulated_shared_timestep": Case(
        modulated, (_tokens, _draw(1, 1, 24), _draw(1, 1, 24, seed=1), _draw(1, 1, 24, seed=2))
    ),
    "modulated_shared_rows": Case(
        modulated, (_draw(2, 9, 24), _draw(4, 1, 24), _draw(4, 1, 24, seed=1), _draw(4, 1, 24, seed=2))
    ),
    "modulated_one_row": Case(
        modulated, (_draw(1, 9, 24), _draw(2, 1, 24), _draw(2, 1, 24, seed=1), _draw(2, 1, 24, seed=2))
    ),
    "joined_shared_rows": Case(joined, (_draw(2, 3, 8), _draw(4, 5, 8))),
    "attention_positions": Case(attention, (_q, _k, _v, _draw(1, 3, 9, 7)), constants={**_heads, "scale": 1.0}),
    "attention_masked": Case(attention, (_q, _k, _v, _hidden), constants=_heads),
    "attention_masked_by_head": Case(attention, (_q, _k, _v, _draw(2, 3, 9, 7)), constants=_heads),
    "attention_of_grouped_queries": Case(
        attention, (_draw(2, 9, 48), _k, _v, _draw(1, 1, 9, 7)), constants={"heads": 6, "scale": 0.3}
    ),
    "attention_softcapped": Case(
        attention, (9 * _q, _k, _v, _hidden), constants={**_heads, "softcap": 5.0, "scale": 0.5}
    ),
    "attention_shared_rows": Case(
        attention, (_q, _draw(4, 7, 24), _draw(4, 7, 24, seed=1), _draw(1, 1, 9, 7)), constants=_heads
    ),
    "relu_linear_attention": Case(F.relu_linear_attention, (_q, _k, _v), constants=_heads),
    "rotated_interleaved": Case(
        rotated,
        (_tokens, _positions.astype(np.float32)),
        constants={"heads": 2, "sizes": (2, 4, 6), "theta": 10000.0, "interleaved": True},
    ),
    "rotated_halves": Case(
        rotated,
        (_tokens, np.arange(100, 109, dtype=np.float32)[:, None]),
        constants={"heads": 3, "sizes": (8,), "theta": 10000.0, "interleaved": False},
    ),
    "placed": Case(placed, (_draw(2, 15, 24),), constants={"height": 3, "width": 5, "span": 4.0}),
    "placed_in_the_middle": Case(
        placed_in_the_middle, (_draw(2, 15, 24),), (_draw(1, 64, 24),), {"height": 3, "width": 5}
    ),
    "conv2d_depthwise": Case(F.conv2d, (_image,), (_draw(12, 1, 3, 3), _draw(12)), {"padding": 1, "groups": 12}),
    "conv2d_gated": Case(conv2d_gated, (_image,), (_draw(10, 12, 1, 1), _draw(10))),
    "conv2d_grouped": Case(F.conv2d, (_image,), (_draw(18, 2, 1, 1),), {"groups": 6}),
    "conv2d_grouped_with_stride": Case(
        F.conv2d, (_image,), (_draw(8, 3, 5, 5), _draw(8)), {"stride": 2, "padding": 2, "groups": 4}
    ),
    "conv2d_of_rows": Case(convolved_by_parts, (_image,), (_draw(8, 12), _draw(16, 12))),
    "rms_norm_of_channels": Case(F.rms_norm_of_channels, (_image,), (_draw(12), _draw(12, seed=1)), {"eps": 1e-5}),
    "batch_norm": Case(F.batch_norm, (_image,), (*_statistics, _draw(12, seed=2), _draw(12, seed=3)), {"eps": 1e-5}),
    "relu_linear_attention_of_pixels": Case(F.relu_linear_attention_of_pixels, _pixels, constants=_heads),
    "repeat_channels": Case(F.repeat_channels, (_image,), constants={"times": 3}),
    "average_channels": Case(F.average_channels, (_image,), constants={"size": 4}),
    "pixel_shuffle": Case(F.pixel_shuffle, (_image,), constants={"factor": 2}),
    "pixel_unshuffle": Case(F.pixel_unshuffle, (_image,), constants={"factor": 2}),
}
