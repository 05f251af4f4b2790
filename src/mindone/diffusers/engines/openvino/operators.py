"""The operations of `functional` as a recorder: each call adds nodes to an OpenVINO graph."""

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as ov_ops

from ...utils.machine import multiplies_bytes_exactly
from ..base import FlashAttention
from ..binding import sound
from ..frequencies import grid_waves, lowest_waves, rotary_angles, rotary_frequencies, timestep_frequencies
from ..rounding import round_to_int8
from ..rows import row_indices
from . import activations, group_norms, winograd
from .constants import Node, Operand
from .recorder import Recorder


class Operators(Recorder):
    """While this is active, a network called with graph nodes instead of tensors records itself."""

    # ---- layers ------------------------------------------------------------------------------------------------------

    def linear(self, x: Node, weight: Operand, bias: Operand | None = None) -> Node:
        y = self.product(x, weight)
        y = y if bias is None else ov_ops.add(y, self.node(bias))
        int8 = self.quantized(weight)
        if int8 is None or not multiplies_bytes_exactly():  # of two results that meet, neither has a spare bit
            return y
        return self.rounded(y, int8.output_range)

    def linear_halves(self, x: Node, weight: Operand, bias: Operand | None = None) -> tuple[Node, Node]:
        # Two products rather than one and a split: the device splits tensors slowly, but weights for free.
        a, b = (self.product(x, weight, i, 2) for i in range(2))
        if bias is None:
            return a, b
        return ov_ops.add(a, self.weight(bias, 0, 2)), ov_ops.add(b, self.weight(bias, 1, 2))

    def conv2d(
        self,
        x: Node,
        weight: Operand,
        bias: Operand | None = None,
        stride: int = 1,
        padding: int | tuple[int, int, int, int] = 0,
        groups: int = 1,
    ) -> Node:
        shift = None if bias is None else self.along_channels(bias)
        top, bottom, left, right = (padding,) * 4 if isinstance(padding, int) else padding
        window = ([stride, stride], [top, left], [bottom, right], [1, 1])
        if groups > 1:
            x, kernels = self.operands(x, weight)
            outs, *rest = weight.shape
            y = ov_ops.group_convolution(x, self.reshape(kernels, (groups, outs // groups, *rest)), *window)
            return y if shift is None else ov_ops.add(y, shift)
        fast = self.float32 and stride == padding == 1 and winograd.pays(tuple(x.shape), tuple(weight.shape))
        if fast and self.is_fixed(weight) and self.quantized(weight) is None:
            kernels = self.constants.of_computed(winograd.transformed(self.values(weight)))
            return winograd.convolution(x, kernels, shift)
        y = ov_ops.convolution(*self.operands(x, weight), *window)
        return y if shift is None else ov_ops.add(y, shift)

    def conv2d_halves(self, x: Node, weight: Operand, bias: Operand | None = None) -> tuple[Node, Node]:
        window = ([1, 1], [0, 0], [0, 0], [1, 1])
        a, b = (ov_ops.convolution(*self.operands(x, weight, i, 2), *window) for i in range(2))
        if bias is None:
            return a, b
        shifts = [self.along_channels(self.weight(bias, i, 2)) for i in range(2)]
        return ov_ops.add(a, shifts[0]), ov_ops.add(b, shifts[1])

    def upsample_conv2d(self, x: Node, weight: Operand, bias: Operand | None = None, shortcut: bool = False) -> Node:
        int8, fixed = self.quantized(weight), self.is_fixed(weight)
        if shortcut and (not fixed or int8 is not None):
            repeated = self.repeat_channels(x, 4 * weight.shape[0] // x.shape[1])
            return ov_ops.add(self.upsample_conv2d(x, weight, bias), self.pixel_shuffle(repeated, 2))
        if not fixed:
            height, width = x.shape[2:]
            return self.conv2d(self.interpolate_nearest(x, (2 * height, 2 * width)), weight, bias, 1, 1)
        # The 3×3 doubled pixels that an output sees are copies of 2×2 pixels of `x`, in one of four ways, by whether
        # its row and its column are even or odd. So the outputs of each way are a 2×2 convolution of `x` itself with
        # sums of the weights: 16 products for four outputs instead of 36.
        kernel, ways = self.values(weight), [(row, column) for row in range(2) for column in range(2)]
        summed = np.stack([_phase(_phase(kernel, 2, row), 3, col) for row, col in ways])
        if shortcut:
            _add_shortcut(summed)
        if int8 is None:
            kernels = self.constants.of_computed(summed)
        else:
            x = self.rounded(x, int8.input_range)
            kernels = [self.constants.of_multiplied_int8(*round_to_int8(taps), is_computed=True) for taps in summed]
        shift = None if bias is None else self.along_channels(bias)
        phases = []
        for (row, column), taps in zip(ways, kernels):
            y = ov_ops.convolution(x, taps, [1, 1], [1 - row, 1 - column], [row, column], [1, 1])
            phases.append(y if shift is None else ov_ops.add(y, shift))
        return ov_ops.depth_to_space(ov_ops.concat(phases, 1), "blocks_first", 2)

    def weight_rows(self, weights: Sequence[Operand], part: int, parts: int, run: int) -> Node:
        if all(self.is_fixed(weight) for weight in weights):
            values = np.concatenate([self.values(weight) for weight in weights])
            if values.ndim == 1:
                return ov_ops.constant(values[row_indices(len(values), part, parts, run)])
            (node,) = self.constants.of_computed(values[None, row_indices(len(values), part, parts, run)])
            return node
        joined = ov_ops.concat([self.node(weight) for weight in weights], 0)
        return ov_ops.gather(joined, self.ints(row_indices(joined.shape[0], part, parts, run)), self.ints([0]))

    def embedding(self, ids: Node, weight: Operand) -> Node:
        return self.embedded(weight, ids)

    def group_norm(self, x: Node, groups: int, weight: Operand, bias: Operand, eps: float) -> Node:
        if self.precision != "f16" and group_norms.pays(tuple(x.shape)):
            scale, shift = self.along_channels(weight), self.along_channels(bias)
            return group_norms.group_norm(x, groups, scale, shift, eps, self.constants)
        return ov_ops.group_normalization(x, self.node(weight), self.node(bias), groups, eps)

    def layer_norm(self, x: Node, weight: Operand, bias: Operand, eps: float) -> Node:
        y = ov_ops.mvn(x, self.ints([-1]), True, eps, "inside_sqrt")
        return y if weight is None else ov_ops.add(ov_ops.multiply(y, self.node(weight)), self.node(bias))

    def rms_norm(self, x: Node, weight: Operand, eps: float, offset: float) -> Node:
        # In the form that the device recognizes as its own normalization.
        mean = ov_ops.reduce_mean(ov_ops.power(x, self.scalar(2.0)), self.ints([-1]), True)
        y = ov_ops.multiply(x, ov_ops.divide(self.scalar(1.0), ov_ops.sqrt(ov_ops.add(mean, self.scalar(eps)))))
        if weight is None:
            return y
        factor = self.node(weight)
        return ov_ops.multiply(y, ov_ops.add(factor, self.scalar(offset)) if offset else factor)

    def rms_norm_of_channels(self, x: Node, weight: Operand, bias: Operand, eps: float) -> Node:
        # One pass for the lengths of all pixels' vectors, in the layout of convolutions, and one to scale.
        size = ov_ops.multiply(ov_ops.reduce_l2(x, self.ints([1]), True), self.scalar(x.shape[1] ** -0.5))
        inverse = ov_ops.power(ov_ops.add(ov_ops.multiply(size, size), self.scalar(eps)), self.scalar(-0.5))
        y = ov_ops.multiply(ov_ops.multiply(x, inverse), self.along_channels(weight))
        return ov_ops.add(y, self.along_channels(bias))

    def batch_norm(self, x: Node, mean: Operand, variance: Operand, weight: Operand, bias: Operand, eps: float) -> Node:
        return ov_ops.batch_norm_inference(x, *[self.node(each) for each in (weight, bias, mean, variance)], eps)

    def attention(
        self,
        query: Node,
        key: Node,
        value: Node,
        heads: int,
        causal: bool = False,
        flash: FlashAttention | None = None,
        bias: Operand | None = None,
        scale: float | None = None,
        softcap: float | None = None,
    ) -> Node:
        shape = self.shape(query)
        size = shape[2] // heads
        # Scale the queries, not the far more numerous scores.
        scale = 1 / math.sqrt(size) if scale is None else scale
        query = query if scale == 1.0 else ov_ops.multiply(query, self.scalar(scale))
        # Rotating keys is part of attention's own operation, but not in a graph for texts of any length.
        turned = -1 in self.shape(key)
        keys = self._heads(key, heads) if turned else self._heads(key, heads, (0, 2, 3, 1))
        scores = ov_ops.matmul(self._heads(query, heads), keys, False, turned)
        if softcap is not None:
            scores = self.affine(ov_ops.tanh(self.affine(scores, 1 / softcap)), softcap)
        if bias is not None:
            scores = ov_ops.add(scores, self.node(bias))
        if causal:
            hidden = np.triu(np.full((query.shape[1], key.shape[1]), np.finfo(np.float32).min, np.float32), k=1)
            scores = ov_ops.add(scores, ov_ops.constant(hidden))
        mixed = ov_ops.matmul(ov_ops.softmax(scores, -1), self._heads(value, heads), False, False)
        return self.reshape(self.transpose(mixed, (0, 2, 1, 3)), shape)

    def relu_linear_attention(self, query: Node, key: Node, value: Node, heads: int, eps: float) -> Node:
        query, key = (activations.positive(x, self.constants) for x in (query, key))
        queries, keys, values = (self._heads(x, heads) for x in (query, key, value))
        sums = self.precise(ov_ops.reduce_sum(keys, self.ints([-2]), True))
        mixed = self._precise_product(queries, self._precise_product(keys, values, True))
        mixed = self._shared_out(mixed, self._precise_product(sums, queries, False, True), eps)
        return self.reshape(self.transpose(mixed, (0, 2, 1, 3)), query.shape)

    def relu_linear_attention_of_pixels(self, query: Node, key: Node, value: Node, heads: int, eps: float) -> Node:
        batch, channels, height, width = query.shape
        shape = (batch, heads, channels // heads, height * width)
        # Sums over all pixels would overflow float16, so each pixel gets a small weight: a power of two, which is exact
        # in every type.
        part, least = 2.0 ** -math.ceil(math.log2(height * width)), 2.0**-24 if self.precision == "f16" else 0.0
        keys = self.reshape(ov_ops.multiply(ov_ops.relu(key), self.scalar(part)), shape)
        queries = self.reshape(ov_ops.relu(query), shape)
        sums = self.precise(ov_ops.reduce_sum(keys, self.ints([-1]), True))
        mixed = self._precise_product(self._precise_product(self.reshape(value, shape), keys, False, True), queries)
        mixed = self._shared_out(mixed, self._precise_product(queries, sums, True), max(eps * part, least))
        return self.reshape(mixed, query.shape)

    def _precise_product(self, x: Node, y: Node, x_turned: bool = False, y_turned: bool = False) -> Node:
        return self.precise(ov_ops.matmul(x, y, x_turned, y_turned))

    def _shared_out(self, x: Node, weights: Node, eps: float) -> Node:
        """``x / (weights + eps)`` in float32, with the ``weights`` along the other of the last two axes.

        Not as a division: the device turns that into these two operations and drops their marks. And the axes change in
        between, because the device would fuse two adjacent operations, again dropping the mark.
        """
        batch, heads, rows, columns = self.shape(weights)
        inverse = self.precise(ov_ops.power(self.precise(ov_ops.add(weights, self.scalar(eps))), self.scalar(-1.0)))
        inverse = self.precise(self.reshape(inverse, (batch, heads, columns, rows)))
        return self.precise(ov_ops.multiply(x, inverse))

    def _heads(self, x: Node, heads: int, axes: tuple[int, ...] = (0, 2, 1, 3)) -> Node:
        """(b, n, heads · size) as (b, heads, n, size), or (b, n, heads, size) transposed by ``axes``."""
        batch, tokens, channels = self.shape(x)
        return self.transpose(self.reshape(x, (batch, tokens, heads, channels // heads)), axes)

    def rotary(self, x: Node, cosines: Node, sines: Node, heads: int, interleaved: bool) -> Node:
        batch, tokens, channels = self.shape(x)
        half = channels // heads // 2
        shape, axis = ((half, 2), 4) if interleaved else ((2, half), 3)
        pairs = self.reshape(x, (batch, tokens, heads, *shape))
        table = (1, tokens, 1, half, 1) if interleaved else (1, tokens, 1, 1, half)
        cosines, sines = self.reshape(cosines, table), self.reshape(sines, table)
        # Swapped by a gather: splitting and joining takes twice the time, for neighbouring channels four times.
        swapped = ov_ops.gather(pairs, self.ints([1, 0]), self.ints([axis]))
        signs = np.array([-1, 1], np.float32).reshape((2,) if interleaved else (2, 1))
        turned = ov_ops.multiply(swapped, ov_ops.constant(signs))
        y = ov_ops.add(ov_ops.multiply(pairs, cosines), ov_ops.multiply(turned, sines))
        return self.reshape(y, (batch, tokens, channels))

    def rotary_table(self, positions: Node, sizes: tuple[int, ...], theta: float) -> tuple[Node, Node]:
        # Computed outside the graph, like the angles of `timestep_embedding`.
        frequencies = rotary_frequencies(sizes, theta)

        def cosines(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.asarray(np.cos(values @ frequencies), np.float32)

        def sines(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.asarray(np.sin(values @ frequencies), np.float32)

        shape = [self.shape(positions)[0], frequencies.shape[1]]
        return self.host_input(positions, shape, cosines), self.host_input(positions, shape, sines)

    def rotary_grid(
        self, before: int, height: int, width: int, sizes: tuple[int, ...], theta: float
    ) -> tuple[Node, Node]:
        angles = rotary_angles(before, height, width, sizes, theta)
        return self._table(np.cos(angles)), self._table(np.sin(angles))

    def _table(self, values: NDArray[np.float64]) -> Node:
        return ov_ops.constant(values.astype(np.float32))

    def timestep_embedding(
        self,
        values: Node,
        channels: int,
        flip_sin_to_cos: bool,
        downscale_freq_shift: float,
        max_period: float = 10000.0,
    ) -> Node:
        # Computed outside the graph: in bfloat16 the angles would be off by whole radians.
        frequencies = timestep_frequencies(channels, downscale_freq_shift, max_period)

        def embed(values: NDArray[np.float32]) -> NDArray[np.float32]:
            angles = values[..., None] * frequencies
            parts = [np.cos(angles), np.sin(angles)] if flip_sin_to_cos else [np.sin(angles), np.cos(angles)]
            padding = [np.zeros((*values.shape, 1))] if channels % 2 else []
            return np.asarray(np.concatenate([*parts, *padding], axis=-1), np.float32)

        return self.host_input(values, [*values.shape, channels], embed)

    def grid_embedding(self, height: int, width: int, channels: int, span: float) -> Node:
        return ov_ops.constant(grid_waves(height, width, channels, span))

    def middle_of_grid(self, table: Operand, height: int, width: int) -> Node:
        side, channels = math.isqrt(table.shape[1]), table.shape[2]
        top, left = (side - height) // 2, (side - width) // 2
        begin, end = top * side, (top + height) * side
        # Tables are big and mapped: only the needed rows become a constant.
        fixed = self.is_fixed(table)
        rows = self.constants.of_places(sound(table), begin, end) if fixed else self.slice_axis(table, 1, begin, end)
        middle = self.slice_axis(self.reshape(rows, (1, height, side, channels)), 2, left, left + width)
        return self.reshape(middle, (1, height * width, channels))

    # ---- element by element ------------------------------------------------------------------------------------------

    def silu(self, x: Node) -> Node:
        return activations.silu(x, self.constants)

    def gelu(self, x: Node) -> Node:
        return activations.gelu(x, self.constants)

    def gelu_tanh(self, x: Node) -> Node:
        return activations.gelu_tanh(x, self.constants)

    def quick_gelu(self, x: Node) -> Node:
        return activations.silu(x, self.constants, 1.702)

    def relu(self, x: Node) -> Node:
        return ov_ops.relu(x)

    def tanh(self, x: Node) -> Node:
        return ov_ops.tanh(x)

    def affine(self, x: Node, scale: float, shift: float = 0.0) -> Node:
        y = ov_ops.multiply(self.node(x), self.scalar(scale))
        return ov_ops.add(y, self.scalar(shift)) if shift else y

    def add(self, x: Node, y: Node) -> Node:
        return ov_ops.add(self.node(x), self.node(y))

    def multiply(self, x: Node, y: Node) -> Node:
        return ov_ops.multiply(self.node(x), self.node(y))

    # ---- shapes ------------------------------------------------------------------------------------------------------

    def shape(self, x: Node) -> tuple[int, ...]:
        if isinstance(x, ms.Parameter):
            return tuple(x.shape)
        output = x if isinstance(x, ov.Output) else x.output(0)
        return tuple(-1 if size.is_dynamic else size.get_length() for size in output.get_partial_shape())

    def reshape(self, x: Node, shape: Sequence[int]) -> Node:
        return ov_ops.reshape(self.node(x), self.ints(shape), False)

    def transpose(self, x: Node, axes: Sequence[int]) -> Node:
        return ov_ops.transpose(self.node(x), self.ints(axes))

    def concat(self, tensors: Sequence[Node], axis: int) -> Node:
        return ov_ops.concat([self.node(x) for x in tensors], axis)

    def slice_axis(self, x: Node, axis: int, begin: int, end: int, step: int = 1) -> Node:
        return ov_ops.slice(self.node(x), self.ints([begin]), self.ints([end]), self.ints([step]), self.ints([axis]))

    def token_at_first(self, x: Node, ids: Node, token: int | None) -> Node:
        found = ids if token is None else ov_ops.convert(ov_ops.equal(ids, ov_ops.constant(np.int32(token))), "i32")
        best = ov_ops.topk(found, ov_ops.constant(np.int64(1)), 1, "max", "value", "i64", stable=True)
        # Not gather: with a batch axis it reads out of bounds if the batch is 1.
        return ov_ops.gather_nd(x, best.output(1), 1)

    def add_lowest_frequencies(self, x: Node, factor: float) -> Node:
        x = self.node(x)
        batch, channels, height, width = x.shape
        waves = ov_ops.constant(lowest_waves(height, width))
        flat = ov_ops.reshape(x, self.ints([batch * channels, height * width]), False)
        weights = ov_ops.multiply(ov_ops.matmul(flat, waves, False, True), self.scalar(factor / (height * width)))
        low = ov_ops.matmul(weights, waves, False, False)
        return ov_ops.add(x, ov_ops.reshape(low, self.ints([batch, channels, height, width]), False))

    def pixel_shuffle(self, x: Node, factor: int) -> Node:
        return ov_ops.depth_to_space(x, "depth_first", factor)

    def pixel_unshuffle(self, x: Node, factor: int) -> Node:
        return ov_ops.space_to_depth(x, "depth_first", factor)

    def repeat_channels(self, x: Node, times: int) -> Node:
        return ov_ops.gather(x, self.ints(np.repeat(np.arange(x.shape[1]), times)), self.ints([1]))

    def average_channels(self, x: Node, size: int) -> Node:
        batch, channels, height, width = x.shape
        parts = self.reshape(x, (batch, channels // size, size, height, width))
        return ov_ops.reduce_mean(parts, self.ints([2]), False)

    def interpolate_nearest(self, x: Node, size: tuple[int, int]) -> Node:
        modes = ("nearest", "sizes", [0, 0], [0, 0], "asymmetric", "floor")
        return ov_ops.interpolate(x, self.ints(size), *modes, axes=self.ints([2, 3]))


def _phase(kernel: NDArray[np.float32], axis: int, phase: int) -> NDArray[np.float32]:
    """Three kernel taps on doubled pixels as two on the pixels, for even (0) or odd (1) output positions."""
    first, middle, last = np.moveaxis(kernel, axis, 0)
    return np.stack((first, middle + last) if phase == 0 else (first + middle, last), axis)


def _add_shortcut(phases: NDArray[np.float32]) -> None:
    """Add the shortcut of `functional.upsample_conv2d` to the kernels (4, out, in, 2, 2) of the four ways.

    Then the shortcut is never computed or read separately. In bfloat16 a tap of 1 + w is rounded by up to 2⁻⁸ of 1, the
    same as the result itself.
    """
    outs, ins = phases.shape[1:3]
    channels = np.arange(outs)
    for way in range(4):
        row, column = divmod(way, 2)
        phases[way, channels, (4 * channels + way) * ins // (4 * outs), 1 - row, 1 - column] += 1.0


def finished(outputs: Sequence[Node], recorder: Recorder, inputs: Sequence[Node], name: str) -> ov.Model:
    """The recorded graph: its inputs are ``inputs``, then the recorder's host inputs, then its adjustable weights."""
    results = [node if isinstance(node, ov.Output) else node.output(0) for node in outputs]
    others = [host.node for host in recorder.host_inputs] + [node for node, _ in recorder.adjustables]
    return ov.Model(results, [*inputs, *others], name)
