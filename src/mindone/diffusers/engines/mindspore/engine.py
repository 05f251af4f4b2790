"""The MindSpore engine: a network runs eagerly or, in Graph mode, as a compiled graph."""

from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...utils.logging import get_logger
from ..base import Array, Input, Network, Outputs, Taps, is_constant
from ..binding import fill
from ..operations import eagerly, executing
from .device import compute_dtype
from .slices import concat

logger = get_logger(__name__)


class MindSporeEngine:
    """Runs networks with MindSpore's kernels; native arrays are ``ms.Tensor``.

    `asarray` makes float32 tensors, and a half-precision result widens when it meets one, so schedulers compute in
    float32 on the device.

    Networks run one at a time, whatever the number of threads, because there is one device.
    """

    name = "mindspore"
    compiles_any_length = False

    def run(
        self,
        network: Network,
        *inputs: Input,
        method: str = "construct",
        taps: Taps | None = None,
        values: tuple[Array, ...] = (),
        **options: Input,
    ) -> Outputs:
        """Run ``network.method(*inputs, **options)``: eagerly, or compiled if MindSpore is in Graph mode.

        NumPy arrays become tensors (int32 or float32). Options that are None count as absent; bool, int, float, str and
        tuples of int are constants of the graph. On a CPU weights are float32, whatever their stored dtype.
        """
        arguments = [as_input(x) for x in inputs]
        named = {name: as_input(options[name]) for name in sorted(options) if options[name] is not None}
        given = [_as_tensor(value) for value in values]
        function: Callable[..., Outputs] = getattr(network, method)
        if taps is not None:
            tapped = network.graphs.get((self.name, taps), lambda: network.tapped(taps))
        elif ms.get_context("mode") == ms.GRAPH_MODE:
            options_key = tuple((name, _signature(x)) for name, x in named.items())
            key = (self.name, method, tuple(map(_signature, arguments)), options_key)
            function = network.graphs.get(key, lambda: _compiled(network, method))
        with executing():
            prepare(network)
            if taps is None:
                return function(*arguments, **named)
            with eagerly():  # in Graph mode too: a compiled graph returns no inner values
                return tapped(method, given, arguments, named)

    def compile_ahead(self, network: Network, *inputs: Input, method: str = "construct", **options: Input) -> None:
        """Do nothing: networks run one at a time, and so do their compilations."""

    def asarray(self, x: ArrayLike) -> ms.Tensor:
        """A float32 tensor from an array; a tensor stays unchanged."""
        return x if isinstance(x, ms.Tensor) else _as_tensor(np.asarray(x, np.float32))

    def numpy(self, x: ms.Tensor) -> NDArray[np.float32]:
        """A copy of a tensor's values as a float32 array."""
        values: NDArray[np.float32] = x.astype(ms.float32).asnumpy().copy()
        return values

    def concat(self, arrays: Sequence[ms.Tensor], axis: int = 0) -> ms.Tensor:
        """Tensors concatenated along ``axis``."""
        return concat(list(arrays), axis)


def prepare(network: Network) -> None:
    """Fill the parameters with their bound values, in the device's compute dtype."""
    dtype = compute_dtype(network.dtype)
    widened = sum(fill(parameter, dtype) for _, parameter in network.parameters_and_names())
    network.release_weights()
    if widened:
        logger.warning(
            f"{type(network).__name__}: MindSpore has no kernels for weights in 4 or 8 bits, so {widened} are "
            f'widened to {dtype}; engine="openvino" keeps them'
        )


def _compiled(network: Network, method: str) -> Callable[..., Outputs]:
    # The compiler needs a unique name for every parameter; those of cells appended to lists may lack one.
    for name, parameter in network.parameters_and_names():
        parameter.name = name
    compiled: Callable[..., Outputs] = ms.jit(getattr(network, method))
    return compiled


def as_input(x: Input) -> Input:
    """An argument of a network's method: NumPy arrays become tensors (int32 or float32), everything else stays
    unchanged."""
    if x is None or is_constant(x):
        return x
    if isinstance(x, tuple):
        given: tuple[Any, ...] = x
        parts: tuple[Array, ...] = ms.mutable(tuple(map(_as_tensor, given)))  # else they become constants
        return parts
    tensor: Array = _as_tensor(x)
    return tensor


def _as_tensor(x: Array) -> ms.Tensor:
    if not isinstance(x, np.ndarray):
        return x
    kind = np.int32 if np.issubdtype(x.dtype, np.integer) else np.float32
    return ms.Tensor(np.ascontiguousarray(x, kind))


def _signature(x: Input) -> object:
    """The part of an argument that a compiled graph depends on: shapes and dtypes, or a constant's value."""
    if isinstance(x, ms.Tensor):
        return (tuple(x.shape), str(x.dtype))
    return tuple(_signature(part) for part in x) if isinstance(x, tuple) else x
