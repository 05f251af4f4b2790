"""The array as code sees it that only computes with it, whichever library made it."""

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import TypeIs


class Array(Protocol):
    """A NumPy array, a MindSpore tensor or, while a network is recorded, a node of its graph. Code uses only what is
    declared here.

    Arithmetic takes numbers and arrays of the same kind, which no type can express: hence ``Any``.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""

    @property
    def dtype(self) -> Any:
        """Its dtype, as its own library names it."""

    def clip(self, low: Any, high: Any, /) -> "Array":
        """Each number clipped to the range between the two."""

    def __array__(self) -> "NDArray[np.generic]":
        """A NumPy copy; nodes have no values."""

    def __getitem__(self, key: Any, /) -> "Array": ...

    def __neg__(self) -> "Array": ...

    def __add__(self, other: Any, /) -> "Array": ...

    def __radd__(self, other: Any, /) -> "Array": ...

    def __sub__(self, other: Any, /) -> "Array": ...

    def __rsub__(self, other: Any, /) -> "Array": ...

    def __mul__(self, other: Any, /) -> "Array": ...

    def __rmul__(self, other: Any, /) -> "Array": ...

    def __truediv__(self, other: Any, /) -> "Array": ...


Constant: TypeAlias = bool | int | float | str | tuple[int, ...]
"""A constant in a compiled network: a number, a word, or whole numbers."""

Input: TypeAlias = Array | tuple[Array, ...] | Constant | None
"""An argument of a network's method: arrays, tuples of arrays, and constants. None means absent."""

Outputs: TypeAlias = Array | tuple[Array, ...]
"""The result of a network's method; callers know which kind it is and check with `single` or `several`."""


def is_constant(x: Input) -> "TypeIs[Constant]":
    """Whether an argument is a `Constant`; an empty tuple is one."""
    return isinstance(x, (bool, int, float, str)) or (isinstance(x, tuple) and all(isinstance(i, int) for i in x))


def single(x: Input) -> Array:
    """The one array that a network's method takes or returned.

    Raises:
        TypeError: it is something else.
    """
    if x is None or isinstance(x, (tuple, bool, int, float, str)):
        raise TypeError(f"expected one array, got {type(x).__name__}")
    return x


def several(x: Input) -> tuple[Array, ...]:
    """The arrays that a network's method takes or returned, as a tuple.

    Raises:
        TypeError: it is something else.
    """
    if is_constant(x) or not isinstance(x, tuple):
        raise TypeError(f"expected a tuple of arrays, got {type(x).__name__}")
    arrays: tuple[Any, ...] = x
    return arrays
