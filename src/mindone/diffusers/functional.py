"""The tensor operations that every network is written in.

A network calls only these functions, so one definition serves every engine: each function passes its arguments to the
current operations (`operations.ops`): MindSpore's, unless the OpenVINO engine is recording a graph.

Shapes are written as in the papers: images ``(batch, channels, height, width)``, tokens ``(batch, tokens, channels)``.
Parameters are operands like any other. Besides these functions a network may use only ``+ - *`` between results, and
``.shape``, or `shape` if the network leaves an axis free (`Network.free_axes`).

**Rows that guidance shares.** Both halves of a guided batch start from the same latents and stay equal until they first
meet the text. So a network may get the latents once, for a text with twice as many rows: where tensors meet in `add`,
`multiply`, `modulate`, `concat` along another axis, or `attention`, the one with fewer rows is repeated
(`with_equal_rows`, and nowhere else). The result has all rows; nothing is computed twice before. Use these functions,
not operators, if one tensor may have fewer rows than another.
"""

from collections.abc import Sequence

from .engines import Array, FlashAttention, operations

# ---- layers ----------------------------------------------------------------------------------------------------------


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """``x @ weight.T + bias`` for ``x`` (..., in), ``weight`` (out, in), ``bias`` (out,)."""
    return operations.ops.linear(x, weight, bias)


def linear_halves(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Array]:
    """`linear` with ``weight`` (2·out, in), its result in two parts: from the first half of the rows and the second."""
    first, second = operations.ops.linear_halves(x, weight, bias)
    return first, second


def geglu(x: Array, weight: Array, bias: Array | None) -> Array:
    """The gated unit of GLU Variants (Shazeer 2020, eq. 6): ``a · gelu(b)`` where ``a, b`` halve ``linear(x)``.

    ``weight`` is (2·out, in): its first half makes ``a``, its second half the gate ``b``.
    """
    a, b = linear_halves(x, weight, bias)
    return a * gelu(b)


def swiglu(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """The gated unit SwiGLU (Shazeer 2020, eq. 6): ``silu(a) · b`` where ``a, b`` halve ``linear(x)``.

    ``weight`` is (2·out, in): its first half makes the gate ``a``, its second half ``b``.
    """
    a, b = linear_halves(x, weight, bias)
    return silu(a) * b


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int = 1,
    padding: int | tuple[int, int, int, int] = 0,
    groups: int = 1,
) -> Array:
    """Cross-correlation of ``x`` (b, in, h, w) with ``weight`` (out, in / groups, kh, kw), or (out, in) for 1×1.

    ``padding`` (zeros) is one int for all sides, or a tuple (top, bottom, left, right). ``groups`` splits outputs and
    inputs into as many parts, each output part seeing only its inputs; with one per channel it is depthwise.
    """
    if len(weight.shape) == 2:
        weight = operations.ops.reshape(weight, (weight.shape[0], weight.shape[1], 1, 1))
    return operations.ops.conv2d(x, weight, bias, stride, padding, groups)


def conv2d_halves(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Array]:
    """`conv2d` with ``weight`` (2·out, in, kh, kw), its result in two parts, by halves of the rows: (b, out, h, w)."""
    first, second = operations.ops.conv2d_halves(x, weight, bias)
    return first, second


def upsample_conv2d(x: Array, weight: Array, bias: Array | None = None, shortcut: bool = False) -> Array:
    """Twice the size and a convolution: ``conv2d`` (3×3, padding 1) of ``x`` (b, in, h, w) with each pixel made 2×2.

    With a ``shortcut`` ``pixel_shuffle(repeat_channels(x, 4 · out / in), 2)`` is added, without weights (Chen et al.
    2024, arXiv 2410.10733, §3.1). Returns (b, out, 2·h, 2·w).
    """
    return operations.ops.upsample_conv2d(x, weight, bias, shortcut)


def weight_rows(weights: Sequence[Array], part: int, parts: int, run: int) -> Array:
    """Some rows of stacked weights (out, …): every ``parts``-th run of ``run`` rows.

    Instead of splitting a layer's results, split its weights: devices split tensors slowly, and this costs nothing if
    the weights are known when the network is compiled.

    Args:
        weights: parameters of equal shape except for their rows.
        part: the first run to take.
        parts, run: see above; they divide the number of all rows.

    Returns:
        A weight (sum of out / parts, …).
    """
    return operations.ops.weight_rows(weights, part, parts, run)


def embedding(ids: Array, weight: Array) -> Array:
    """Rows of ``weight`` (entries, channels) for integer ``ids`` of any shape: ids.shape + (channels,)."""
    return operations.ops.embedding(ids, weight)


def group_norm(x: Array, groups: int, weight: Array, bias: Array, eps: float) -> Array:
    """Group Normalization (Wu & He 2018) of ``x`` (b, c, h, w) or (b, c) over ``groups`` groups of channels."""
    return operations.ops.group_norm(x, groups, weight, bias, eps)


def layer_norm(x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5) -> Array:
    """Layer Normalization (Ba et al. 2016) over the last axis; without ``weight`` and ``bias`` (channels,) only that.

    Give both or neither.
    """
    return operations.ops.layer_norm(x, weight, bias, eps)


def rms_norm(x: Array, weight: Array | None = None, eps: float = 1e-6, offset: float = 0.0) -> Array:
    """``x / √(mean(x²) + eps) · (offset + weight)`` over the last axis (Zhang & Sennrich 2019, eq. 4).

    ``weight`` (channels,), or None for 1. For one norm per head make the last axis a head's: (b, n, heads, size).
    ``offset`` is 1 if checkpoints hold the difference from a weight of 1 (Gemma).
    """
    return operations.ops.rms_norm(x, weight, eps, offset)


def rms_norm_of_channels(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """`rms_norm` over the channels of each pixel, and a shift: ``x`` (b, c, h, w), ``weight`` and ``bias`` (c,)."""
    return operations.ops.rms_norm_of_channels(x, weight, bias, eps)


def batch_norm(x: Array, mean: Array, variance: Array, weight: Array, bias: Array, eps: float) -> Array:
    """``(x - mean) / √(variance + eps) · weight + bias`` by channel (Ioffe & Szegedy 2015), with training's statistics.

    ``x`` is (b, c, h, w), the others (c,).
    """
    return operations.ops.batch_norm(x, mean, variance, weight, bias, eps)


def modulate(x: Array, scale: Array, shift: Array) -> Array:
    """``x · (1 + scale) + shift``, an adaptive normalization's second half (Peebles & Xie 2023, §3.2).

    ``x`` is (b, n, c), ``scale`` and ``shift`` (b or 1, 1, c).
    """
    return add(multiply(x, affine(scale, 1.0, 1.0)), shift)


def attention(
    query: Array,
    key: Array,
    value: Array,
    heads: int,
    causal: bool = False,
    flash: FlashAttention | None = None,
    bias: Array | None = None,
    scale: float | None = None,
    softcap: float | None = None,
) -> Array:
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, eq. 1): ``softmax(scale · q kᵀ + bias) v``.

    Args:
        query, key, value: (b, n, c), (b, m, c) and (b, m, c), where ``c`` is ``heads`` times the size of a head. Keys
            and values with fewer channels have fewer heads, each shared by the same number of consecutive query heads
            (Ainslie et al. 2023, §2.2).
        causal: hide later keys.
        flash: how to use a device's memory-efficient kernel, if it has one; None for not.
        bias: added to the scaled scores, (b or 1, heads or 1, n or 1, m): relative positions (Raffel et al.
            2020, §2.1), or a mask with very negative numbers where a key is hidden.
        scale: a factor for the scores; None means 1/√(size of a head).
        softcap: bound the scaled scores as `softcap` does, before the bias (Gemma 2, 2024, §2).

    Returns:
        (b, n, c).
    """
    query, key, value = with_equal_rows(query, key, value)
    size = shape(query)[2] // heads
    key, value = _with_heads(key, heads, size), _with_heads(value, heads, size)
    return operations.ops.attention(query, key, value, heads, causal, flash, bias, scale, softcap)


def _with_heads(x: Array, heads: int, size: int) -> Array:
    """Keys or values (b, m, fewer · size) with each head repeated for its queries: (b, m, heads · size)."""
    rows, tokens, channels = shape(x)
    if channels == heads * size:
        return x
    each = operations.ops.reshape(x, (rows, tokens, channels // size, 1, size))
    repeated = operations.ops.concat((each,) * (heads * size // channels), 3)
    return operations.ops.reshape(repeated, (rows, tokens, heads * size))


def relu_linear_attention(query: Array, key: Array, value: Array, heads: int, eps: float = 1e-15) -> Array:
    """Attention with cost linear in the tokens and ReLU as kernel (Cai et al. 2023, §3.1, eq. 2; Sana, §2.2).

    ``relu(q) (relu(k)ᵀ v) / (relu(q) Σ relu(k) + eps)`` for each of ``heads`` parts of the channels; ``query``
    (b, n, c), ``key`` and ``value`` (b, m, c). Returns (b, n, c).
    """
    query, key, value = with_equal_rows(query, key, value)
    return operations.ops.relu_linear_attention(query, key, value, heads, eps)


def relu_linear_attention_of_pixels(query: Array, key: Array, value: Array, heads: int, eps: float = 1e-15) -> Array:
    """`relu_linear_attention` among the pixels of images, all (b, c, h, w), with the channels in ``heads`` parts.

    MindSpore always computes it in float32; an OpenVINO graph uses its own precision and means over the pixels, so that
    nothing overflows.
    """
    return operations.ops.relu_linear_attention_of_pixels(query, key, value, heads, eps)


def rotary(x: Array, cosines: Array, sines: Array, heads: int, interleaved: bool) -> Array:
    """Rotary position embedding (Su et al. 2021, eq. 34): each pair of a head's channels is rotated by an angle.

    Args:
        x: (b, n, heads · size), queries or keys.
        cosines, sines: of the angles, (n, size / 2), from `rotary_table`.
        interleaved: whether the pairs are channels 2i and 2i + 1 (FLUX), or i and i + size / 2 (Gemma). A permutation
            of both weights' rows turns the first into the second, which is faster.

    Returns:
        (b, n, heads · size).
    """
    return operations.ops.rotary(x, cosines, sines, heads, interleaved)


def rotary_table(positions: Array, sizes: Sequence[int], theta: float = 10000.0) -> tuple[Array, Array]:
    """Cosines and sines for `rotary` at ``positions`` (n, axes), a network input (Su et al. 2021, §3.4.2).

    The position along the first axis rotates a head's first ``sizes[0]`` channels, and so on; the angles
    of an axis are ``position · theta^(-2i / size)``. Always computed in float32 or better.

    Returns:
        Two arrays of shape (n, sum(sizes) / 2).
    """
    cosines, sines = operations.ops.rotary_table(positions, tuple(sizes), theta)
    return cosines, sines


def rotary_grid(before: int, height: int, width: int, sizes: Sequence[int], theta: float) -> tuple[Array, Array]:
    """Cosines and sines for `rotary` of tokens that are not rotated, and of a grid's places after them, row by row.

    A place is at 0 along the first axis, at its row along the second and at its column along the third; see
    `rotary_table`, which this is for places that are known when a network is compiled.

    Args:
        before: how many tokens come before those of the grid.
        height, width: of the grid.
        sizes, theta: as in `rotary_table`.

    Returns:
        Two of (before + height · width, sum(sizes) / 2).
    """
    cosines, sines = operations.ops.rotary_grid(before, height, width, tuple(sizes), theta)
    return cosines, sines


def timestep_embedding(
    values: Array, channels: int, flip_sin_to_cos: bool, downscale_freq_shift: float, max_period: float = 10000.0
) -> Array:
    """Sinusoids of ``values``, a network input of any shape (Vaswani et al. 2017, §3.5): values.shape + (channels,).

    Always computed in float32 or better, because angles reach 1,000 radians.
    ``flip_sin_to_cos`` puts the cosines first; ``downscale_freq_shift`` is subtracted from the number of frequencies.
    """
    return operations.ops.timestep_embedding(values, channels, flip_sin_to_cos, downscale_freq_shift, max_period)


def grid_embedding(height: int, width: int, channels: int, span: float) -> Array:
    """Sinusoids of the places in a grid, row by row: (1, height · width, channels), in float32 or better.

    The first half of the channels encodes the column, the second the row, each with sines first, then cosines
    (Dosovitskiy et al. 2020, appendix D.4; PixArt). Rows and columns are spread evenly from 0 to before ``span``.
    """
    return operations.ops.grid_embedding(height, width, channels, span)


def middle_of_grid(table: Array, height: int, width: int) -> Array:
    """The centre of a table of places, row by row: (1, height · width, channels) out of (1, side · side, channels).

    If the margins cannot be equal, the larger ones are at the bottom and on the right.
    """
    return operations.ops.middle_of_grid(table, height, width)


# ---- element by element ----------------------------------------------------------------------------------------------


def silu(x: Array) -> Array:
    """``x · sigmoid(x)``."""
    return operations.ops.silu(x)


def gelu(x: Array) -> Array:
    """``x · Φ(x)``, exact (with erf)."""
    return operations.ops.gelu(x)


def gelu_tanh(x: Array) -> Array:
    """``x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))``, GELU's approximation (Hendrycks & Gimpel 2016, §2)."""
    return operations.ops.gelu_tanh(x)


def quick_gelu(x: Array) -> Array:
    """``x · sigmoid(1.702 x)``, CLIP's GELU."""
    return operations.ops.quick_gelu(x)


def relu(x: Array) -> Array:
    """``max(x, 0)``."""
    return operations.ops.relu(x)


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return operations.ops.tanh(x)


def softcap(x: Array, cap: float) -> Array:
    """``cap · tanh(x / cap)``: nearly ``x`` if that is small, never beyond ±cap (Gemma 2, 2024, §2)."""
    return affine(tanh(affine(x, 1.0 / cap)), cap)


def affine(x: Array, scale: float, shift: float = 0.0) -> Array:
    """``scale · x + shift`` with Python floats."""
    return operations.ops.affine(x, scale, shift)


def add(x: Array, y: Array) -> Array:
    """``x + y``; the one with fewer rows is repeated (`with_equal_rows`), and axes of length 1 broadcast."""
    x, y = _broadcastable(x, y)
    return operations.ops.add(x, y)


def multiply(x: Array, y: Array) -> Array:
    """``x · y``; the one with fewer rows is repeated (`with_equal_rows`), and axes of length 1 broadcast."""
    x, y = _broadcastable(x, y)
    return operations.ops.multiply(x, y)


# ---- shapes ----------------------------------------------------------------------------------------------------------


def shape(x: Array) -> tuple[int, ...]:
    """The shape of ``x``, with -1 along axes whose lengths differ from call to call."""
    sizes: tuple[int, ...] = operations.ops.shape(x)
    return sizes


def reshape(x: Array, shape: Sequence[int]) -> Array:
    """``x`` in another shape with the same number of elements; one entry may be -1."""
    return operations.ops.reshape(x, shape)


def transpose(x: Array, axes: Sequence[int]) -> Array:
    """``x`` with its axes in the order ``axes``."""
    return operations.ops.transpose(x, axes)


def concat(tensors: Sequence[Array], axis: int) -> Array:
    """Tensors concatenated along ``axis``; along any axis but 0, tensors with fewer rows are repeated."""
    if axis == 0:
        return operations.ops.concat(tensors, axis)
    return operations.ops.concat(with_equal_rows(*tensors), axis)


def with_equal_rows(*tensors: Array) -> tuple[Array, ...]:
    """The tensors, repeated to the most rows among them: the only place where shared rows are repeated."""
    rows = max([shape(x)[0] for x in tensors])
    return tuple([repeat_rows(x, rows) for x in tensors])


def _broadcastable(x: Array, y: Array) -> tuple[Array, Array]:
    """Two tensors with equal rows, or one with a single row, which devices broadcast with other axes without a copy."""
    if shape(x)[1:] != shape(y)[1:] and (shape(x)[0] == 1 or shape(y)[0] == 1):
        return x, y
    x, y = with_equal_rows(x, y)
    return x, y


def repeat_rows(x: Array, rows: int) -> Array:
    """``x`` (b, …) repeated until it has ``rows`` rows, a multiple of b; unchanged if it has them."""
    own = shape(x)[0]
    return x if own == rows else operations.ops.concat((x,) * (rows // own), 0)


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

    ``token=None`` means the largest id of the row, where CLIP's end-of-text token is.
    """
    return operations.ops.token_at_first(x, ids, token)


def add_lowest_frequencies(x: Array, factor: float) -> Array:
    """``x`` (b, c, h, w) plus ``factor`` times its slowest waves, those of the Fourier coefficients -1 and 0."""
    return operations.ops.add_lowest_frequencies(x, factor)


def pixel_shuffle(x: Array, factor: int) -> Array:
    """Channels as pixels (Shi et al. 2016, eq. 4): (b, c · factor², h, w) to (b, c, h · factor, w · factor).

    Channel ``(c, dy, dx)`` becomes the pixel at ``(factor · y + dy, factor · x + dx)``.
    """
    return operations.ops.pixel_shuffle(x, factor)


def pixel_unshuffle(x: Array, factor: int) -> Array:
    """Pixels as channels, the inverse of `pixel_shuffle`: (b, c, h, w) to (b, c · factor², h / factor, w / factor)."""
    return operations.ops.pixel_unshuffle(x, factor)


def repeat_channels(x: Array, times: int) -> Array:
    """Each channel of ``x`` (b, c, …), or each token of a text, ``times`` times in a row: (b, c · times, …)."""
    return x if times == 1 else operations.ops.repeat_channels(x, times)


def average_channels(x: Array, size: int) -> Array:
    """The mean of every ``size`` neighbouring channels of ``x`` (b, c, h, w): (b, c / size, h, w)."""
    return x if size == 1 else operations.ops.average_channels(x, size)


def interpolate_nearest(x: Array, size: tuple[int, int]) -> Array:
    """``x`` (b, c, h, w) resized to the Python ints ``size`` (height, width) by nearest neighbour."""
    return operations.ops.interpolate_nearest(x, size)
