"""Group normalization that keeps an image in the layout of convolutions, as an OpenVINO graph.

The device computes its own group normalization on planes, but convolutions on pixels with adjacent channels: that costs
a copy before and after each, a quarter of the time of a small autoencoder's decoder. Here a channel's mean over the
image comes first, then the mean of a group's few channels; both work in any layout. It takes two passes, because E[(x −
E[x])²] does not cancel where E[x²] − E[x]² would.

In bfloat16 the means are rounded as well, to 2⁻⁹ of themselves: images of the bundled model are 51.0 dB from float32
with the device's own, 50.6 with this. Not for float16, in which squares of values above 256 overflow.
"""

from collections.abc import Callable, Iterable

from openvino import opset15 as ov_ops

from .constants import Constants, Node

WORTHWHILE = 32 * 32
"""The pixels from which it pays: the saving grows with the image, while the small operations in between cost the same.
Measured between 3×3 convolutions with AVX2: 1.5 times as fast for 24 channels of 256×256, 48 of 128×128; 1.15 for 48 of
32×32; 1.12 for 128 of 256×256; 1.04 for 320 of 64×64; 0.93 for 192 of 4×4. In bfloat16 the bundled decoder is 1.05
times as fast with AVX-512 and 1.16 with AMX, its denoiser 1.02 and 1.03, Stable Diffusion's decoder 1.07."""


def pays(image: tuple[int, ...]) -> bool:
    """Whether to normalize an image (batch, channels, height, width) this way."""
    return len(image) == 4 and image[2] * image[3] >= WORTHWHILE


def group_norm(x: Node, groups: int, weight: Node, bias: Node, eps: float, constants: Constants) -> Node:
    """``x`` (b, c, h, w) with mean 0 and variance 1 over each group of channels, then scaled; (b, c, h, w).

    ``weight`` and ``bias`` are (1, c, 1, 1); ``constants`` are the graph's.
    """
    centred = ov_ops.subtract(x, _mean(x, groups, constants.ints))
    variance = _mean(ov_ops.multiply(centred, centred), groups, constants.ints)
    deviation = ov_ops.sqrt(ov_ops.add(variance, constants.scalar(eps)))
    return ov_ops.add(ov_ops.multiply(centred, ov_ops.divide(weight, deviation)), bias)


def _mean(x: Node, groups: int, ints: Callable[[Iterable[int]], Node]) -> Node:
    """The mean of its group, for each channel: (b, c, 1, 1)."""
    batch, channels = x.shape[0], x.shape[1]
    of_channels = ov_ops.reduce_mean(x, ints([2, 3]), False)
    by_group = ov_ops.reshape(of_channels, ints([batch, groups, channels // groups]), False)
    means = ov_ops.broadcast(ov_ops.reduce_mean(by_group, ints([2]), True), ints(by_group.shape))
    return ov_ops.reshape(means, ints([batch, channels, 1, 1]), False)
