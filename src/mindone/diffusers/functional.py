"""The tensor operations that every network is written in.

A network calls these functions and nothing else, so one definition of it serves every engine: each function hands its
arguments to the operations in charge (`operations.ops`): MindSpore's, unless the OpenVINO engine is recording a graph.

Shapes are written as in the papers: images ``(batch, channels, height, width)``, tokens ``(batch, tokens, channels)``.
Parameters are operands like any other. Besides these functions a network may use ``+ - *`` between results, and
``.shape``, and nothing more.

**Rows that guidance shares.** Both halves of a guided batch start from the same latents, and stay equal until they
first look at the text. So a network may be given the latents once, for a text of twice as many rows: `add`, `concat`
along another axis, and `attention` repeat the rows of whichever operand has fewer; nothing is computed twice before.
"""

from collections.abc import Sequence

from .engines import Array, FlashAttention, operations

# ---- layers ----------------------------------------------------------------------------------------------------------


def linear(x: Array, weight: Array, bias: Array = None) -> Array:
    """``x @ weight.T + bias`` for ``x`` (..., in), ``weight`` (out, in), ``bias`` (out,)."""
    return operations.ops.linear(x, weight, bias)


def linear_halves(x: Array, weight: Array, bias: Array = None) -> tuple[Array, Array]:
    """`linear` with ``weight`` (2·out, in), its result in two: of the first half of the rows, and of the second."""
    return operations.ops.linear_halves(x, weight, bias)


def geglu(x: Array, weight: Array, bias: Array) -> Array:
    """The gated unit of GLU Variants (Shazeer 2020, eq. 6): ``a · gelu(b)`` where ``a, b`` halve ``linear(x)``.

    ``weight`` is (2·out, in): its first half makes ``a``, its second half the gate ``b``.
    """
    a, b = linear_halves(x, weight, bias)
    return a * gelu(b)


def conv2d(
    x: Array, weight: Array, bias: Array = None, stride: int = 1, padding: int | tuple[int, int, int, int] = 0
) -> Array:
    """Cross-correlation of ``x`` (b, in, h, w) with ``weight`` (out, in, kh, kw).

    ``padding`` (zeros) is one int for all sides, or a tuple (top, bottom, left, right).
    """
    return operations.ops.conv2d(x, weight, bias, stride, padding)


def upsample_conv2d(x: Array, weight: Array, bias: Array = None) -> Array:
    """Twice the size and a convolution: ``conv2d`` (3×3, padding 1) of ``x`` (b, in, h, w) with each pixel made 2×2.

    Returns (b, out, 2·h, 2·w).
    """
    return operations.ops.upsample_conv2d(x, weight, bias)


def embedding(ids: Array, weight: Array) -> Array:
    """Rows of ``weight`` (entries, channels) for integer ``ids`` of any shape: ids.shape + (channels,)."""
    return operations.ops.embedding(ids, weight)


def group_norm(x: Array, groups: int, weight: Array, bias: Array, eps: float) -> Array:
    """Group Normalization (Wu & He 2018) of ``x`` (b, c, h, w) or (b, c) over ``groups`` groups of channels."""
    return operations.ops.group_norm(x, groups, weight, bias, eps)


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """Layer Normalization (Ba et al. 2016) over the last axis."""
    return operations.ops.layer_norm(x, weight, bias, eps)


def attention(
    query: Array, key: Array, value: Array, heads: int, causal: bool = False, flash: FlashAttention | None = None
) -> Array:
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, eq. 1).

    ``query`` (b, n, c), ``key`` and ``value`` (b, m, c), where ``c`` is ``heads`` times the size of a head; the scores
    are scaled by 1/√(size of a head). ``causal`` hides later keys. ``flash`` (`engines.FlashAttention`) says how to use
    the memory-efficient kernel of a device that has one; None: do not. Returns (b, n, c).
    """
    return operations.ops.attention(repeat_rows(query, key.shape[0]), key, value, heads, causal, flash)


def timestep_embedding(
    values: Array, channels: int, flip_sin_to_cos: bool, downscale_freq_shift: float, max_period: float = 10000.0
) -> Array:
    """Sinusoids of ``values``, a network input of any shape (Vaswani et al. 2017, §3.5): values.shape + (channels,).

    Always computed in float32 or better, because angles reach 1,000 radians.
    ``flip_sin_to_cos`` puts the cosines first; ``downscale_freq_shift`` is subtracted from the number of frequencies.
    """
    return operations.ops.timestep_embedding(values, channels, flip_sin_to_cos, downscale_freq_shift, max_period)


# ---- element by element ----------------------------------------------------------------------------------------------


def silu(x: Array) -> Array:
    """``x · sigmoid(x)``."""
    return operations.ops.silu(x)


def gelu(x: Array) -> Array:
    """``x · Φ(x)``, exact (with erf)."""
    return operations.ops.gelu(x)


def quick_gelu(x: Array) -> Array:
    """``x · sigmoid(1.702 x)``, CLIP's GELU."""
    return operations.ops.quick_gelu(x)


def relu(x: Array) -> Array:
    """``max(x, 0)``."""
    return operations.ops.relu(x)


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return operations.ops.tanh(x)


def affine(x: Array, scale: float, shift: float = 0.0) -> Array:
    """``scale · x + shift`` with Python floats."""
    return operations.ops.affine(x, scale, shift)


def add(x: Array, y: Array) -> Array:
    """``x + y`` of shapes that differ in their rows at most: those of the smaller batch are repeated."""
    rows = max(x.shape[0], y.shape[0])
    return operations.ops.add(repeat_rows(x, rows), repeat_rows(y, rows))


# ---- shapes ----------------------------------------------------------------------------------------------------------


def reshape(x: Array, shape: Sequence[int]) -> Array:
    """``x`` with another shape of as many elements; one entry may be -1."""
    return operations.ops.reshape(x, shape)


def transpose(x: Array, axes: Sequence[int]) -> Array:
    """``x`` with its axes in the order ``axes``."""
    return operations.ops.transpose(x, axes)


def concat(tensors: Sequence[Array], axis: int) -> Array:
    """Tensors put one after the other along ``axis``; along another axis than 0 fewer rows are repeated to the most."""
    if axis == 0:
        return operations.ops.concat(tensors, axis)
    rows = max([x.shape[0] for x in tensors])
    return operations.ops.concat([repeat_rows(x, rows) for x in tensors], axis)


def repeat_rows(x: Array, rows: int) -> Array:
    """``x`` (b, …) one time after the other until it has ``rows`` rows, a multiple of b; as it is when it has them."""
    return x if x.shape[0] == rows else operations.ops.concat((x,) * (rows // x.shape[0]), 0)


def slice_axis(x: Array, axis: int, begin: int, end: int, step: int = 1) -> Array:
    """Every ``step``-th entry of ``x`` from ``begin`` to before ``end`` along ``axis``."""
    return operations.ops.slice_axis(x, axis, begin, end, step)


def select(x: Array, index: int, axis: int) -> Array:
    """The slice of ``x`` at the Python int ``index`` along ``axis``, which is dropped."""
    axis = axis % len(x.shape)
    index = index % x.shape[axis]
    kept = operations.ops.slice_axis(x, axis, index, index + 1, 1)
    return operations.ops.reshape(kept, [x.shape[i] for i in range(len(x.shape)) if i != axis])


def token_at_first(x: Array, ids: Array, token: int | None) -> Array:
    """For each row, the vector of ``x`` (b, n, c) where ``ids`` (b, n) first equals ``token``: (b, c).

    ``token=None`` means the largest id of the row, which is where CLIP's end-of-text token stands.
    """
    return operations.ops.token_at_first(x, ids, token)


def add_lowest_frequencies(x: Array, factor: float) -> Array:
    """``x`` (b, c, h, w) plus ``factor`` times its slowest waves, those of the Fourier coefficients -1 and 0."""
    return operations.ops.add_lowest_frequencies(x, factor)


def interpolate_nearest(x: Array, size: tuple[int, int]) -> Array:
    """``x`` (b, c, h, w) resized to the Python ints ``size`` (height, width) by nearest neighbour."""
    return operations.ops.interpolate_nearest(x, size)
