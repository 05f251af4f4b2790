"""The contract between networks and whoever executes them: what an engine is, and what it knows of a network.

An engine never sees a network's class. It calls one of its methods, walks over its parameters, asks each for the values
that are stored for it, and keeps what it compiled in the network's cache.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeGuard, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..utils.arrays import Array as Array
from ..utils.arrays import Input as Input
from ..utils.arrays import Outputs as Outputs
from ..utils.arrays import is_constant as is_constant
from ..utils.arrays import several as several
from ..utils.arrays import single as single
from .cache import GraphCache

Values: TypeAlias = NDArray[Any]
"""A NumPy array of whatever type a file stores."""


class Stored(Protocol):
    """The values of a parameter, on disk or computed when they are asked for (an overlay)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's shape."""

    def numpy(self, dtype: DTypeLike | None = None) -> Values:
        """The values in ``dtype`` or the type they are stored in."""


@runtime_checkable
class Mapped(Stored, Protocol):
    """Stored values whose bytes can be used as they are."""

    @property
    def dtype(self) -> str:
        """The type in the safetensors format's words: F32, F16, BF16 …"""

    @property
    def data(self) -> NDArray[np.uint8]:
        """The bytes, one-dimensional, little-endian."""

    @property
    def makes_data(self) -> bool:
        """Whether ``data`` is memory that is filled each time it is asked for, and not where the values are kept."""


@runtime_checkable
class Adjustable(Stored, Protocol):
    """Stored values that may change while a compiled network stays as it is: they become inputs of its graphs."""

    @property
    def version(self) -> int:
        """Another number after each change."""


@runtime_checkable
class Quantized(Stored, Protocol):
    """A weight in int8: it is ``integers · scale``, a scale per output channel."""

    @property
    def integers(self) -> NDArray[np.int8]:
        """(out, …), from -127 to 127."""

    @property
    def scale(self) -> NDArray[np.float32]:
        """(out,)."""

    @property
    def input_range(self) -> tuple[float, float] | None:
        """The least and the greatest value of what it is multiplied with, with zero on the grid of 256 levels; None
        where nothing but the weight is in int8, and the product in the network's precision."""

    @property
    def output_range(self) -> tuple[float, float] | None:
        """The same of the product's result, on a grid of signed integers, where a product of two results reads it."""


@runtime_checkable
class Grouped(Stored, Protocol):
    """A weight in 4 or 8 bits by group along its input axis: (integers − zero point) · scale."""

    @property
    def bits(self) -> int:
        """4 or 8."""

    @property
    def signed(self) -> bool:
        """Whether the integers run from -8 or -128, and not from 0."""

    @property
    def group_size(self) -> int:
        """How many values that follow one another in a row share a scale."""

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
    # Python compares every member of a protocol at every `isinstance`, and engines ask for every weight at every call.
    key = (type(stored), protocol)
    if key not in _answers:
        _answers[key] = isinstance(stored, protocol)
    return _answers[key]


@dataclass(frozen=True)
class Taps:
    """Where a call of a network departs from the whole, by the paths of layers. A layer's **tap** is its first input.

    Args:
        read: the layers whose taps are returned after the result.
        results: the layers whose own results are returned after those.
        replaced: the layers whose taps the call gives; one that is named twice takes a tuple of two arrays.
        left_out: the layers that are not run and return their first input: nothing that is asked for needs them.

    A tap or a result that is a tuple is returned as its arrays, one after the other.
    """

    read: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


class Tapped(Protocol):
    """A network with taps: layers of its own where the network is read, replaced or left out, its weights, and a state.

    So one thread uses it at a time.
    """

    def __call__(
        self, method: str, values: Sequence[Array], inputs: Sequence[Input], options: Mapping[str, Input]
    ) -> Outputs:
        """What ``method`` returns with ``values`` in the place of the replaced taps, and then what it read."""


FreeAxes: TypeAlias = Mapping[str, Mapping[int | str, tuple[int, ...]]]
"""By method, and by the position or name of an argument: the axes along which it may be longer or shorter from call to
call while what was compiled serves them all. The method asks `functional` for shapes (-1 there), never the array."""


class Parameter(Array, Protocol):
    """A parameter of a network, ``ms.Parameter``, with what `binding` writes on it; any of that may be missing."""

    name: str
    stored: Stored
    """What was bound to it."""
    underneath: Stored | None
    """Its own values, where an adapter's lie over them."""
    filled_as: tuple[str, int] | None
    """The type and the version of the values that MindSpore's memory of it holds."""
    found_sound: Stored
    """Values that were found to be finite."""
    published_name: str
    source: str
    """The file that its values come from."""
    is_put_on: bool
    requires_grad: bool

    @property
    def has_init(self) -> bool:
        """Whether it has no memory yet."""

    def asnumpy(self) -> Values:
        """MindSpore's memory of it."""

    def set_data(self, data: Array) -> object:
        """Exchange its memory."""

    def set_dtype(self, dtype: object) -> object:
        """Exchange its type."""


class Network(Protocol):
    """What an engine needs of a network (`models.base.Model`)."""

    dtype: str
    """What it is meant to compute in: "float32", "float16" or "bfloat16"."""
    graphs: GraphCache
    free_axes: FreeAxes
    exceeds_float16: bool
    """Whether its values are larger than float16 holds."""
    passes: Sequence[Callable[..., None]]
    """What is done to each recorded graph before it is compiled, in this order."""

    def parameters_and_names(self) -> Iterable[tuple[str, Parameter]]:
        """All parameters with their names."""

    def release_weights(self) -> None:
        """Give mapped weights' memory back to the system."""

    def tapped(self, taps: Taps) -> Tapped:
        """The network with taps; it itself stays as it is."""


class Engine(Protocol):
    """Runs networks; nothing above this package knows more of it. ``+ - * /`` with floats work on its arrays."""

    name: str
    compiles_any_length: bool
    """Whether what it compiles serves arrays of any length along a network's `FreeAxes`; elsewhere few lengths are
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
        What is compiled for it is kept in ``network.graphs``. Any number of threads may call.
        """

    def compile_ahead(self, network: Network, *inputs: Input, method: str = "construct", **options: Input) -> None:
        """Begin to compile what a later `run` with arrays of the same shapes will need, and return at once.

        Only shapes and types of the arrays matter. That run waits until it is done, and raises what goes wrong. Engines
        that compile nothing do nothing.
        """

    def asarray(self, x: ArrayLike) -> Array:
        """A native array, float32."""

    def numpy(self, x: Array) -> NDArray[np.float32]:
        """A native array as float32 NumPy."""

    def concat(self, arrays: Sequence[Array], axis: int = 0) -> Array:
        """Native arrays one after the other."""


class FlashAttention(NamedTuple):
    """How the memory-efficient attention kernel of an Ascend device is used.

    ``cast_dtype`` ("float16" or "bfloat16") is what inputs of another type are cast to, since the kernel takes no
    other; with None they go to plain attention. So does everything when it is not ``enabled``.
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
    """What a compiled graph is for: an engine, a method, the shapes and types of its arrays, and its constants."""
    kinds = tuple((name, shapes[name], str(x.dtype)) for name, x in arrays.items())
    return (engine, method, kinds, tuple(sorted(fixed.items())))
