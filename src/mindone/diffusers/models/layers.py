"""The layers of the networks, with parameters named as in published checkpoints."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import mindspore as ms
from mindspore import nn
from mindspore.common.initializer import Zero
from mindspore.ops.operations import other_ops

from .. import functional as F
from ..engines import Array, FlashAttention
from .cells import Cell, CellList, Identity

Padding = int | tuple[int, int, int, int]
"""Zeros on all sides, or on the top, bottom, left and right."""


MOST_PARAMETERS = 2_500
"""The most tensors of a network in a file; Stable Diffusion XL's denoiser has 1,680."""
_room: ContextVar[list[int] | None] = ContextVar("room", default=None)


@contextmanager
def room_for(parameters: int) -> Iterator[None]:
    """Limit networks built in this context to ``parameters`` parameters, or ``MOST_PARAMETERS``.

    An untrusted config chooses counts that multiply: a kilobyte could ask for a million layers, and each would take
    time and memory before it turns out to have no weights.

    Raises:
        ValueError: there are more; raised when the first excess one is made.
    """
    token = _room.set([min(parameters, MOST_PARAMETERS)] * 2)
    try:
        yield
    finally:
        _room.reset(token)


def parameter(*shape: int) -> ms.Parameter:
    """A parameter that takes no memory until it is loaded."""
    room = _room.get()
    if room is not None:
        room[0] -= 1
        if room[0] < 0:
            raise ValueError(
                f"the config describes more than {room[1]:,} tensors: more than there are weights, or more than "
                "any known network has"
            )
    values = zeros(shape)
    made = ms.Parameter.__new__(_Unfilled, values)
    with _one_load():
        ms.Parameter.__init__(made, values)
    return made


def zeros(shape: tuple[int, ...]) -> ms.Tensor:
    """Zeros that take no memory until they are read: MindSpore's `initializer` with one object of zeros for all.

    Raises:
        ValueError: there are none.
    """
    if 0 in shape:
        raise ValueError(f"the config describes a tensor of shape {shape}, which holds nothing")
    return ms.Tensor(shape=shape, dtype=ms.float32, init=_zero)


_zero = Zero()
_load = other_ops.Load()
_making = threading.Lock()


@contextmanager
def _one_load() -> Iterator[None]:
    """Parameters made in this context share the operator of `value`, which takes half of their time to make."""
    with _making:
        make = other_ops.Load
        other_ops.Load = lambda: _load
        try:
            yield
        finally:
            other_ops.Load = make


class _Unfilled(ms.Parameter):
    """Keeps `ms.Parameter` from making zeros yet; those would take memory that an earlier network left free."""

    init_param = False


class Linear(Cell):
    """``x @ weight.T + bias`` on (..., in_channels)."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__()
        self.weight = parameter(out_channels, in_channels)
        self.bias = parameter(out_channels) if bias else None

    def construct(self, x: Array) -> Array:
        return F.linear(x, self.weight, self.bias)


class Conv2d(Cell):
    """A square convolution on (batch, in_channels, height, width); the arguments are those of `functional.conv2d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        stride: int = 1,
        padding: Padding = 0,
        bias: bool = True,
        groups: int = 1,
    ):
        super().__init__()
        self.stride, self.padding, self.groups = stride, padding, groups
        self.weight = parameter(out_channels, in_channels // groups, size, size)
        self.bias = parameter(out_channels) if bias else None

    def construct(self, x: Array) -> Array:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.groups)


class HalvedConv2d(nn.Cell):
    """A 1×1 convolution with its result in two halves: see `functional.conv2d_halves`."""

    stride, padding = 1, 0

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.weight = parameter(out_channels, in_channels, 1, 1)
        self.bias = parameter(out_channels)

    def construct(self, x: Array) -> tuple[Array, Array]:
        return F.conv2d_halves(x, self.weight, self.bias)


class GroupNorm(Cell):
    """Group Normalization of (batch, channels, height, width)."""

    def __init__(self, groups: int, channels: int, eps: float):
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight, self.bias = parameter(channels), parameter(channels)

    def construct(self, x: Array) -> Array:
        return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)


class LayerNorm(Cell):
    """Layer Normalization of (..., channels)."""

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = parameter(channels), parameter(channels)

    def construct(self, x: Array) -> Array:
        return F.layer_norm(x, self.weight, self.bias, self.eps)


class RMSNorm(Cell):
    """Root mean square normalization of (..., channels); ``offset`` is added to the weights."""

    def __init__(self, channels: int, eps: float, offset: float = 0.0):
        super().__init__()
        self.eps, self.offset = eps, offset
        self.weight = parameter(channels)

    def construct(self, x: Array) -> Array:
        return F.rms_norm(x, self.weight, self.eps, self.offset)


class Embedding(Cell):
    """A table of ``entries`` vectors."""

    def __init__(self, entries: int, channels: int):
        super().__init__()
        self.weight = parameter(entries, channels)

    def construct(self, ids: Array) -> Array:
        return F.embedding(ids, self.weight)


class Activation(Cell):
    """An activation by its name in configs."""

    def __init__(self, name: str):
        super().__init__()
        if name not in ACTIVATIONS:
            raise ValueError(f"unknown activation {name!r}; choose from {', '.join(ACTIVATIONS)}")
        self.function = ACTIVATIONS[name]

    def construct(self, x: Array) -> Array:
        return self.function(x)


ACTIVATIONS = {
    "silu": F.silu,
    "swish": F.silu,
    "gelu": F.gelu,
    "gelu_pytorch_tanh": F.gelu_tanh,
    "quick_gelu": F.quick_gelu,
    "relu": F.relu,
}


class TimestepEmbedding(Cell):
    """A two-layer perceptron on sinusoids, with an optional condition that is added first."""

    def __init__(self, in_channels: int, channels: int, act: str, cond_channels: int | None = None):
        super().__init__()
        self.linear_1 = Linear(in_channels, channels)
        self.cond_proj = Linear(cond_channels, in_channels, bias=False) if cond_channels else None
        self.act = Activation(act)
        self.linear_2 = Linear(channels, channels)

    def construct(self, x: Array, condition: Array | None = None) -> Array:
        if self.cond_proj is not None and condition is not None:
            x = x + self.cond_proj(condition)
        return self.linear_2(self.act(self.linear_1(x)))


class Attention(Cell):
    """Multi-head attention of tokens (batch, tokens, channels) to themselves or to a context."""

    def __init__(self, channels: int, context_channels: int, heads: int, head_channels: int, bias: bool = False):
        super().__init__()
        inner = heads * head_channels
        self.heads = heads
        self.flash: FlashAttention | None = FlashAttention()
        self.to_q = Linear(channels, inner, bias)
        self.to_k = Linear(context_channels, inner, bias)
        self.to_v = Linear(context_channels, inner, bias)
        self.to_out = CellList([Linear(inner, channels)])

    def construct(self, x: Array, context: Array) -> Array:
        mixed = F.attention(self.to_q(x), self.to_k(context), self.to_v(context), self.heads, False, self.flash)
        return self.to_out[0](mixed)


class GeluPerceptron(Cell):
    """A perceptron with one hidden layer on (..., channels). Checkpoints number its layers 0 and 2 (1 is a dropout)."""

    def __init__(self, channels: int, inner: int):
        super().__init__()
        self.net = CellList([GeluLinear(channels, inner), Identity(), Linear(inner, channels)])

    def construct(self, x: Array) -> Array:
        return self.net[2](self.net[0](x))


class GeluLinear(Cell):
    """A linear layer, and GELU's approximation: see `functional.gelu_tanh`."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.proj = Linear(in_channels, out_channels)

    def construct(self, x: Array) -> Array:
        return F.gelu_tanh(self.proj(x))


class ResnetBlock(Cell):
    """Two normalised 3×3 convolutions with a shortcut (He et al. 2016), and the timestep's embedding in between."""

    def __init__(self, in_channels: int, out_channels: int, groups: int, eps: float, act: str, time_channels: int = 0):
        super().__init__()
        self.norm1 = GroupNorm(groups, in_channels, eps)
        self.conv1 = Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = Linear(time_channels, out_channels) if time_channels else None
        self.norm2 = GroupNorm(groups, out_channels, eps)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None
        self.act = Activation(act)

    def construct(self, x: Array, time: Array | None = None) -> Array:
        y = self.conv1(self.act(self.norm1(x)))
        if self.time_emb_proj is not None:
            shift = self.time_emb_proj(self.act(time))
            y = F.add(y, F.reshape(shift, (shift.shape[0], shift.shape[1], 1, 1)))
        y = self.conv2(self.act(self.norm2(y)))
        if self.conv_shortcut is not None:
            x = self.conv_shortcut(x)
        return F.add(x, y)


class Downsample(Cell):
    """A convolution of stride 2."""

    def __init__(self, channels: int, padding: Padding):
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, stride=2, padding=padding)

    def construct(self, x: Array) -> Array:
        return self.conv(x)


class Upsample(Cell):
    """Nearest-neighbour resizing to ``size`` (height, width), twice as large or slightly less, and a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, padding=1)

    def construct(self, x: Array, size: tuple[int, int]) -> Array:
        if size[0] == 2 * x.shape[2] and size[1] == 2 * x.shape[3]:
            return F.upsample_conv2d(x, self.conv.weight, self.conv.bias)
        return self.conv(F.interpolate_nearest(x, size))
