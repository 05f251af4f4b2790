"""Convolution: Ascend's kernel, or on a CPU matrix products of unrolled windows.

The CPU build's own convolution is a reference loop, hundreds of times slower.
"""

import mindspore as ms
from mindspore import ops

from . import device
from .device import cast, compute_type
from .primitives import batch_matmul, bias_add, matmul
from .slices import concat, part, zero_padded

COLUMNS_BYTES = 128 * 2**20
"""The most memory of a convolution's unrolled windows at a time (except for a single output row)."""

Padding = int | tuple[int, int, int, int]


def conv2d(
    x: ms.Tensor,
    weight: ms.Tensor,
    bias: ms.Tensor | None = None,
    stride: int = 1,
    padding: Padding = 0,
    groups: int = 1,
) -> ms.Tensor:
    """See `functional.conv2d`."""
    sides = (padding, padding, padding, padding) if isinstance(padding, int) else padding
    dtype = compute_type(weight)
    x, weight = cast(x, dtype), cast(weight, dtype)
    if bias is not None:
        bias = cast(bias, dtype)
    if device.on_ascend():
        top, bottom, left, right = sides
        if top != bottom or left != right:
            x = zero_padded(zero_padded(x, 2, top, bottom), 3, left, right)
            top, left = 0, 0
        return ops.conv2d(x, weight, bias, stride, "pad", (top, left), 1, groups)
    return _conv2d_by_columns(x, weight, bias, stride, sides, groups)


def _conv2d_by_columns(
    x: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor | None, stride: int, sides: tuple[int, int, int, int], groups: int
) -> ms.Tensor:
    """Convolution as ``weight (out, in·kh·kw) @ windows (in·kh·kw, positions)``, of each group.

    One image and one band of rows at a time: bands limit memory, and a product with a batch axis copies the weight for
    each image, which takes longer than the product at low resolution.
    """
    top, bottom, left, right = sides
    outs, _, kh, kw = weight.shape
    if left != right:
        x = zero_padded(x, 3, left, right)
        left = 0
    height = (x.shape[2] + top + bottom - kh) // stride + 1
    width = (x.shape[3] + 2 * left - kw) // stride + 1
    band = max(1, COLUMNS_BYTES // (x.shape[1] * kh * kw * width * 4))
    inner = top if top == bottom and band >= height else 0
    if inner != top or inner != bottom:
        x = zero_padded(x, 2, top, bottom)
    matrix = ops.reshape(weight, (outs, -1) if groups == 1 else (groups, outs // groups, -1))
    images = []
    for i in range(x.shape[0]):
        bands = []
        for first in range(0, height, band):
            rows = min(band, height - first)
            last_row = x.shape[2] if rows == height else (first + rows - 1) * stride + kh
            windows = part(part(x, 0, i, i + 1), 2, first * stride, last_row)
            if kh > 1 or kw > 1 or stride > 1 or left > 0 or inner > 0:
                windows = ops.unfold(windows, (kh, kw), 1, (inner, left), stride)
            if groups == 1:
                y = matmul(matrix, ops.reshape(windows, (-1, rows * width)))
            else:
                y = batch_matmul(matrix, ops.reshape(windows, (groups, -1, rows * width)))
            y = ops.reshape(y, (1, outs, rows, width))
            bands.append(y if bias is None else bias_add(y, bias))
        images.append(concat(bands, 2))
    return concat(images, 0)
