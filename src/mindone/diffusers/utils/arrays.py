"""What an array is to code that only computes with it, whoever made it."""

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import TypeIs


class Array(Protocol):
    """A NumPy array or a tensor of MindSpore's, or while a network is recorded a node of its graph; no more of it than
    this is used.

    Arithmetic is with numbers and with arrays of the same kind, which no type says: hence ``Any``.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""

    @property
    def dtype(self) -> Any:
        """The type of its numbers, in the words of whoever made it."""

    def clip(self, low: Any, high: Any, /) -> "Array":
        """Each number moved to the nearest one between the two."""

    def __array__(self) -> "NDArray[np.generic]":
        """The same in NumPy's memory; nodes have no values."""

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
"""What is fixed in a network that is compiled: a number, a word, or whole numbers."""

Input: TypeAlias = Array | tuple[Array, ...] | Constant | None
"""What a network's method is called with: arrays, tuples of arrays, and constants. None is as good as absent."""

Outputs: TypeAlias = Array | tuple[Array, ...]
"""What a network's method returns; callers know which, and say so with `single` or `several`."""


def is_constant(x: Input) -> "TypeIs[Constant]":
    """Whether an argument is a `Constant`; an empty tuple is one."""
    return isinstance(x, (bool, int, float, str)) or (isinstance(x, tuple) and all(isinstance(i, int) for i in x))


def single(x: Input) -> Array:
    """The array that a network's method has returned, or is called with.

    Raises:
        TypeError: it is something else.
    """
    if x is None or isinstance(x, (tuple, bool, int, float, str)):
        raise TypeError(f"one array was expected, got {type(x).__name__}")
    return x


def several(x: Input) -> tuple[Array, ...]:
    """The arrays that a network's method has returned, or is called with, as a tuple.

    Raises:
        TypeError: it is something else.
    """
    if is_constant(x) or not isinstance(x, tuple):
        raise TypeError(f"a tuple of arrays was expected, got {type(x).__name__}")
    arrays: tuple[Any, ...] = x
    return arrays
