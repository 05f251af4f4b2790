"""3×3 convolutions with 16 multiplications for four outputs instead of 36, as an OpenVINO graph.

Winograd's minimal filtering F(2×2, 3×3), as in Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks",
§4.1: each tile d of 4×4 pixels gives the 2×2 outputs Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A for the kernel g. Every step is an
operation that is fast on the device: an entry of Bᵀ d B over all tiles is a depthwise convolution with stride 2, a 1×1
convolution sums the products of an entry over channels, and Aᵀ[…]A is additions.

Only for float32: the additions round as well, so in bfloat16 the error would be several times as large.
"""

import numpy as np
from numpy.typing import NDArray
from openvino import opset15 as ov_ops

from ...utils.machine import is_x86
from .constants import Node

INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
"""Bᵀ of the paper."""
KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
"""G of the paper."""

WORTHWHILE = 128
"""The saving grows with in·out channels, the cost of the transforms with in + out: it pays above this value of
in·out/(in + out), for images larger than the caches. Measured with AVX-512: 0.85 times as fast at 85 (256 → 128
channels), 1.06 at 128 (256 → 256), 1.46 at 160 (320 → 320), 1.75 at 320 (640 → 640); with AVX2 0.79, 1.04, 1.21 and
1.70."""

MEASURED = is_x86()
"""It was not measured elsewhere, and OpenVINO's Arm kernels choose Winograd convolutions themselves."""


def pays(image: tuple[int, ...], kernel: tuple[int, ...]) -> bool:
    """Whether to compute a convolution with stride 1 and padding 1 this way.

    ``image`` is (batch, in, height, width) and ``kernel`` (out, in, height, width). With fewer pixels than channels,
    the kernels, which grow by 16/9, would take more memory than the time is worth: 1.3 GB for Stable Diffusion 1.5's
    two lowest stages alone.
    """
    batch, channels, height, width = image
    outs = kernel[0]
    return (
        MEASURED
        and tuple(kernel[2:]) == (3, 3)
        and height % 2 == width % 2 == 0
        and channels * outs > WORTHWHILE * (channels + outs)
        and batch * height * width >= channels
    )


def transformed(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """G g Gᵀ of a kernel (out, in, 3, 3), row by row: (16, out, in, 1, 1)."""
    entries: NDArray[np.float32] = np.einsum("ik,ockl,jl->ijoc", KERNEL, kernel, KERNEL, optimize=True)
    return entries.reshape(16, *kernel.shape[:2], 1, 1)


def convolution(x: Node, kernels: list[Node], bias: Node | None) -> Node:
    """The convolution of ``x`` (b, in, h, w), h and w even, with a `transformed` kernel: (b, out, h, w).

    ``bias`` is (1, out, 1, 1).
    """
    m = [[_product(_entry(x, i, j), kernels[4 * i + j]) for j in range(4)] for i in range(4)]
    if bias is not None:
        m[1][1] = ov_ops.add(m[1][1], bias)  # an entry that all four outputs contain, none of them negated
    columns = [_outputs([m[i][j] for i in range(4)]) for j in range(4)]
    phases = [y for row in range(2) for y in _outputs([column[row] for column in columns])]
    return ov_ops.depth_to_space(ov_ops.concat(phases, 1), "blocks_first", 2)


def _entry(x: Node, i: int, j: int) -> Node:
    """Entry (i, j) of Bᵀ d B for all tiles: (b, in, h/2, w/2)."""
    channels = x.shape[1]
    taps = np.broadcast_to(np.outer(INPUT[i], INPUT[j]), (channels, 1, 1, 4, 4))
    return ov_ops.group_convolution(x, ov_ops.constant(np.ascontiguousarray(taps)), [2, 2], [1, 1], [1, 1], [1, 1])


def _product(x: Node, kernel: Node) -> Node:
    return ov_ops.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1])


def _outputs(m: list[Node]) -> tuple[Node, Node]:
    """Aᵀ m: two outputs from four entries."""
    return ov_ops.add(ov_ops.add(m[0], m[1]), m[2]), ov_ops.subtract(ov_ops.subtract(m[1], m[2]), m[3])
