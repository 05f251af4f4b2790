"""The tensor operations that every network is written in.

A network calls these functions and nothing else, so one definition of it serves every engine: each function hands its
arguments to the operations in charge (`engines.ops`): MindSpore's, unless the OpenVINO engine is recording a graph.

Shapes are written as in the papers: images ``(batch, channels, height, width)``, tokens ``(batch, tokens, channels)``.
Besides these functions a network may use ``+ - *`` between tensors, and ``.shape``, and nothing more.
"""

from . import engines

# ---- layers ----------------------------------------------------------------------------------------------------------


def linear(x, weight, bias=None):
    """``x @ weight.T + bias`` for ``x`` (..., in), ``weight`` (out, in), ``bias`` (out,)."""
    return engines.ops.linear(x, weight, bias)


def geglu(x, weight, bias):
    """The gated unit of GLU Variants (Shazeer 2020, eq. 6): ``a · gelu(b)`` where ``a, b`` halve ``linear(x)``.

    ``weight`` is (2·out, in): its first half makes ``a``, its second half the gate ``b``.
    """
    return engines.ops.geglu(x, weight, bias)


def conv2d(x, weight, bias=None, stride=1, padding=0):
    """Cross-correlation of ``x`` (b, in, h, w) with ``weight`` (out, in, kh, kw).

    ``padding`` (zeros) is one int for all sides, or a tuple (top, bottom, left, right).
    """
    return engines.ops.conv2d(x, weight, bias, stride, padding)


def upsample_conv2d(x, weight, bias=None):
    """Twice the size and a convolution: ``conv2d`` (3×3, padding 1) of ``x`` (b, in, h, w) with each pixel made 2×2.

    Returns (b, out, 2·h, 2·w).
    """
    return engines.ops.upsample_conv2d(x, weight, bias)


def embedding(ids, weight):
    """Rows of ``weight`` (entries, channels) for integer ``ids`` of any shape: ids.shape + (channels,)."""
    return engines.ops.embedding(ids, weight)


def group_norm(x, groups, weight, bias, eps):
    """Group Normalization (Wu & He 2018) of ``x`` (b, c, h, w) or (b, c) over ``groups`` groups of channels."""
    return engines.ops.group_norm(x, groups, weight, bias, eps)


def layer_norm(x, weight, bias, eps):
    """Layer Normalization (Ba et al. 2016) over the last axis."""
    return engines.ops.layer_norm(x, weight, bias, eps)


def attention(query, key, value, heads, causal=False, flash=None):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, eq. 1).

    ``query`` (b, n, c), ``key`` and ``value`` (b, m, c), where ``c`` is ``heads`` times the size of a head; the scores
    are scaled by 1/√(size of a head). ``causal`` hides later keys. ``flash``
    (`engines.FlashAttention`) says how to use the memory-efficient kernel of a device that has one; None: do not.
    Returns (b, n, c).
    """
    return engines.ops.attention(query, key, value, heads, causal, flash)


def timestep_embedding(values, channels, flip_sin_to_cos, downscale_freq_shift, max_period=10000.0):
    """Sinusoids of ``values``, a network input of any shape (Vaswani et al. 2017, §3.5): values.shape + (channels,).

    Always computed in float32 or better, because angles reach 1,000 radians.
    ``flip_sin_to_cos`` puts the cosines first; ``downscale_freq_shift`` is subtracted from the number of frequencies.
    """
    return engines.ops.timestep_embedding(values, channels, flip_sin_to_cos, downscale_freq_shift, max_period)


# ---- element by element ----------------------------------------------------------------------------------------------


def silu(x):
    """``x · sigmoid(x)``."""
    return engines.ops.silu(x)


def gelu(x):
    """``x · Φ(x)``, exact (with erf)."""
    return engines.ops.gelu(x)


def quick_gelu(x):
    """``x · sigmoid(1.702 x)``, CLIP's GELU."""
    return engines.ops.quick_gelu(x)


def relu(x):
    """``max(x, 0)``."""
    return engines.ops.relu(x)


def tanh(x):
    """Hyperbolic tangent."""
    return engines.ops.tanh(x)


def affine(x, scale, shift=0.0):
    """``scale · x + shift`` with Python floats."""
    return engines.ops.affine(x, scale, shift)


# ---- shapes ----------------------------------------------------------------------------------------------------------


def reshape(x, shape):
    """``x`` with another shape of as many elements; one entry may be -1."""
    return engines.ops.reshape(x, shape)


def transpose(x, axes):
    """``x`` with its axes in the order ``axes``."""
    return engines.ops.transpose(x, axes)


def concat(tensors, axis):
    """Tensors put one after the other along ``axis``."""
    return engines.ops.concat(tensors, axis)


def repeat_rows(x, rows):
    """``x`` (b, …) one time after the other until it has ``rows`` rows, a multiple of b; as it is when it has them."""
    return x if x.shape[0] == rows else engines.ops.concat((x,) * (rows // x.shape[0]), 0)


def select(x, index, axis):
    """The slice of ``x`` at the Python int ``index`` along ``axis``, which is dropped."""
    return engines.ops.select(x, index, axis)


def first_rows(weight, rows):
    """The first ``rows`` rows of a parameter (entries, channels): (rows, channels)."""
    return engines.ops.first_rows(weight, rows)


def repeat_vector(weight, batch):
    """A parameter (channels,) as one token for each image of a batch: (batch, 1, channels)."""
    return engines.ops.repeat_vector(weight, batch)


def token_at_first(x, ids, token):
    """For each row, the vector of ``x`` (b, n, c) where ``ids`` (b, n) first equals ``token``: (b, c).

    ``token=None`` means the largest id of the row, which is where CLIP's end-of-text token stands.
    """
    return engines.ops.token_at_first(x, ids, token)


def interpolate_nearest(x, size):
    """``x`` (b, c, h, w) resized to the Python ints ``size`` (height, width) by nearest neighbour."""
    return engines.ops.interpolate_nearest(x, size)
