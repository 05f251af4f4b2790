"""The contract between networks and engines: what an engine is, and what it knows about a network.

An engine never sees a network's class. It calls one of its methods, walks over its parameters, asks each for its stored
values, and keeps compiled graphs in the network's cache.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeGuard, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..utils.arrays import (
    Array as Array,
    Input as Input,
    Outputs as Outputs,
    is_constant as is_constant,
    several as several,
    single as single,
)
from .cache import GraphCache

Values: TypeAlias = NDArray[Any]
"""A NumPy array of any type that a file stores."""


class Stored(Protocol):
    """The values of a parameter, on disk or computed on demand (an overlay)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's shape."""

    def numpy(self, dtype: DTypeLike | None = None) -> Values:
        """The values in ``dtype``, by default as stored."""


@runtime_checkable
class Mapped(Stored, Protocol):
    """Stored values with directly usable bytes."""

    @property
    def dtype(self) -> str:
        """The dtype in safetensors' terms: F32, F16, BF16 …"""

    @property
    def data(self) -> NDArray[np.uint8]:
        """The bytes, one-dimensional, little-endian."""

    @property
    def makes_data(self) -> bool:
        """Whether ``data`` is filled anew at each access and is not the storage itself."""


@runtime_checkable
class Adjustable(Stored, Protocol):
    """Stored values that may change without recompiling: they become inputs of the network's graphs."""

    @property
    def version(self) -> int:
        """A number that differs after each change."""


@runtime_checkable
class Quantized(Stored, Protocol):
    """A weight in int8: ``integers · scale``, with a scale per output channel."""

    @property
    def integers(self) -> NDArray[np.int8]:
        """(out, …), from -127 to 127."""

    @property
    def scale(self) -> NDArray[np.float32]:
        """(out,)."""

    @property
    def input_range(self) -> tuple[float, float] | None:
        """The minimum and maximum of its input, with zero on the grid of 256 levels; None if only the weight is in int8
        and the product is in the network's precision."""

    @property
    def output_range(self) -> tuple[float, float] | None:
        """The same for the product's result, on a grid of signed integers, if a product of two results reads it."""


@runtime_checkable
class Grouped(Stored, Protocol):
    """A weight in 4 or 8 bits by group along its input axis: (integers − zero point) · scale."""

    @property
    def bits(self) -> int:
        """4 or 8."""

    @property
    def signed(self) -> bool:
        """Whether the integers start at -8 or -128 rather than at 0."""

    @property
    def group_size(self) -> int:
        """How many consecutive values in a row share a scale."""

    @property
    def packed(self) -> NDArray[np.integer[Any]]:
        """(out, groups, size) int8 or uint8; in 4 bits (out, groups, size / 2) uint8, where the lower half of a byte
        comes first."""

    @property
    def scale(self) -> NDArray[np.floating[Any]]:
        """(out, groups, 1), float16 or float32."""

    @property
    def zero_point(self) -> NDArray[np.floating[Any]] | None:
        """(out, groups, 1), not always whole: the least value of a group divided by its scale, negated; None is 0."""


def is_mapped(stored: Stored | None) -> TypeGuard[Mapped]:
    """Whether stored values are `Mapped`."""
    return _is(stored, Mapped)


def is_adjustable(stored: Stored | None) -> TypeGuard[Adjustable]:
    """Whether stored values are `Adjustable`."""
    return _is(stored, Adjustable)


def is_quantized(stored: Stored | None) -> TypeGuard[Quantized]:
    """Whether stored values are `Quantized`."""
    return _is(stored, Quantized)


def is_grouped(stored: Stored | None) -> TypeGuard[Grouped]:
    """Whether stored values are `Grouped`."""
    return _is(stored, Grouped)


_answers: dict[tuple[type, type], bool] = {}


def _is(stored: Stored | None, protocol: type) -> bool:
    # Python compares every member of a protocol at every `isinstance`, and engines check every weight at every call.
    key = (type(stored), protocol)
    if key not in _answers:
        _answers[key] = isinstance(stored, protocol)
    return _answers[key]


@dataclass(frozen=True)
class Taps:
    """How a call departs from the whole network, by paths of layers. A layer's **tap** is its first input.

    Args:
        read: the layers whose taps to return after the result.
        results: the layers whose own results to return after those.
        replaced: the layers whose taps the call provides; one that is listed twice takes a tuple of two arrays.
        left_out: the layers to skip, which return their first input because no requested result needs them.

    A tap or a result that is a tuple is returned as its arrays, one after the other.
    """

    read: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


class Tapped(Protocol):
    """A network with taps: its own layers where the network is read, replaced or skipped, the network's weights, and a
    state.

    So only one thread uses it at a time.
    """

    def __call__(
        self, method: str, values: Sequence[Array], inputs: Sequence[Input], options: Mapping[str, Input]
    ) -> Outputs:
        """The result of ``method`` with ``values`` for the replaced taps, followed by the taps it read."""


FreeAxes: TypeAlias = Mapping[str, Mapping[int | str, tuple[int, ...]]]
"""By method, and by the position or name of an argument: the axes whose length may vary from call to call with one
compiled graph. The method gets shapes from `functional` (-1 there), never from the array."""


class Parameter(Array, Protocol):
    """A parameter of a network, ``ms.Parameter``, with attributes set by `binding`; any of these may be missing."""

    name: str
    stored: Stored
    """The values bound to it."""
    underneath: Stored | None
    """Its own values, if an adapter's cover them."""
    filled_as: tuple[str, int] | None
    """The dtype and the version of the values in its MindSpore memory."""
    found_sound: Stored
    """Values known to be finite."""
    published_name: str
    source: str
    """The file of its values."""
    is_put_on: bool
    init_mode: object
    """What MindSpore would fill its memory with; None for nothing."""
    requires_grad: bool

    @property
    def has_init(self) -> bool:
        """Whether it still has no memory."""

    def asnumpy(self) -> Values:
        """Its MindSpore memory."""

    def set_data(self, data: Array) -> object:
        """Replace its memory."""

    def set_dtype(self, dtype: object) -> object:
        """Change its dtype."""


class Network(Protocol):
    """What an engine needs of a network (`models.base.Model`)."""

    dtype: str
    """The compute dtype: "float32", "float16" or "bfloat16"."""
    graphs: GraphCache
    free_axes: FreeAxes
    exceeds_float16: bool
    """Whether its values exceed float16's range."""
    passes: Sequence[Callable[..., None]]
    """Changes to each recorded graph before it is compiled, in this order."""

    def parameters_and_names(self) -> Iterable[tuple[str, Parameter]]:
        """All parameters with their names."""

    def release_weights(self) -> None:
        """Return the memory of mapped weights to the system."""

    def tapped(self, taps: Taps) -> Tapped:
        """The network with taps; the network itself stays unchanged."""


class Engine(Protocol):
    """Runs networks; higher layers know only this interface. ``+ - * /`` with floats work on its arrays."""

    name: str
    compiles_any_length: bool
    """Whether one compiled graph serves arrays of any length along a network's `FreeAxes`; otherwise few lengths are
    better than many."""

    def run(
        self,
        network: Network,
        *inputs: Input,
        method: str = "construct",
        taps: Taps | None = None,
        values: tuple[Array, ...] = (),
        **options: Input,
    ) -> Outputs:
        """Run ``network.method(*inputs, **options)`` on NumPy or native arrays; results are native arrays.

        With ``taps`` the ``values`` replace some layers' inputs, and others are returned in a tuple after the result.
        Compiled graphs are kept in ``network.graphs``. Any number of threads may call this.
        """

    def compile_ahead(self, network: Network, *inputs: Input, method: str = "construct", **options: Input) -> None:
        """Start compiling what a later `run` with arrays of the same shapes needs, and return at once.

        Only shapes and dtypes of the arrays matter. That run waits for the compilation and raises its errors. Engines
        that compile nothing do nothing.
        """

    def asarray(self, x: ArrayLike) -> Array:
        """A native array, float32."""

    def numpy(self, x: Array) -> NDArray[np.float32]:
        """A native array as float32 NumPy."""

    def concat(self, arrays: Sequence[Array], axis: int = 0) -> Array:
        """Concatenated native arrays."""


class FlashAttention(NamedTuple):
    """How to use an Ascend device's memory-efficient attention kernel.

    Inputs of another dtype are cast to ``cast_dtype`` ("float16" or "bfloat16"), the only ones the kernel takes; with
    None they use plain attention. So does everything if it is not ``enabled``.
    """

    cast_dtype: str | None = "float16"
    enabled: bool = True


Key = TypeVar("Key")


def network_key(
    engine: str,
    method: str,
    arrays: Mapping[Key, Values],
    shapes: Mapping[Key, tuple[int, ...]],
    fixed: Mapping[str, object],
) -> tuple[object, ...]:
    """The key of a compiled graph: an engine, a method, the shapes and dtypes of its arrays, and its constants."""
    kinds = tuple((name, shapes[name], str(x.dtype)) for name, x in arrays.items())
    return (engine, method, kinds, tuple(sorted(fixed.items())))
