"""The numbers passed to a call: a NaN or infinite one would silently spread to every pixel."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from .printable import shown

T = TypeVar("T", bound=Mapping[str, Any])
_LARGEST_NUMBER = 10**6
"""The most that scales of calls and adapters may be: far more would turn latents and weights into infinities."""


def all_finite(values: T) -> T:
    """The arguments of a call, unchanged: each a number, an array, a list of these, or anything else.

    Raises:
        ValueError: a number among them is NaN or infinite, or an array holds none; the message names the argument.
    """
    for name, value in values.items():
        _check(name, value)
    return values


def python_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, with Python's numbers for NumPy's, which not every engine takes."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, Python's or NumPy's; truth values are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_scale(value: object) -> TypeGuard[float]:
    """Whether a value is a number of a size that float32 can still multiply latents and weights by."""
    return isinstance(value, Real) and not isinstance(value, bool) and bool(abs(value) <= _LARGEST_NUMBER)  # type: ignore[operator]


def check_number(name: str, value: object) -> None:
    """Check for a number that `is_scale`, or None."""
    if value is None or is_scale(value):
        return
    if isinstance(value, Real) and not isinstance(value, bool) and _LARGEST_NUMBER < abs(value) < math.inf:  # type: ignore[operator]
        least, most = f"-{_LARGEST_NUMBER:,}", f"{_LARGEST_NUMBER:,}"
        raise ValueError(f"{name} must be a number from {least} to {most}, got {shown(value)}")
    raise ValueError(f"{name} must be a finite number or None, got {shown(value)}")


def check_flag(name: str, value: object) -> None:
    """Check for a truth value: texts such as "false" would count as true."""
    if not isinstance(value, int) or value not in (0, 1):
        raise ValueError(f"{name} must be True or False, got {shown(value)}")


def _check(name: str, value: Any) -> None:
    if isinstance(value, (list, tuple)):
        for each in value:
            _check(name, each)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            _check(f"{name}[{key!r}]", each)
    elif isinstance(value, (float, np.floating, np.ndarray)):
        _check_numbers(name, np.asarray(value))
    elif hasattr(value, "asnumpy"):  # MindSpore's, which cannot convert bfloat16
        _check_numbers(name, (value.float() if "BFloat16" in str(value.dtype) else value).asnumpy())


def _check_numbers(name: str, numbers: NDArray[Any]) -> None:
    if numbers.dtype.kind in "OSUMm":
        raise ValueError(f"{name} must be an array of numbers, got one of {numbers.dtype}")
    # The extremes first: they need no copy, and they are NaN if any number is.
    if numbers.dtype.kind != "f" or not numbers.size or np.isfinite([numbers.min(), numbers.max()]).all():
        return
    wrong = ~np.isfinite(numbers)
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f" at {list(first)}, the first of {np.count_nonzero(wrong)}" if first else ""
    raise ValueError(f"{name} must hold finite numbers, got {numbers[first]}{where}")
