"""Weights belong to parameters: after loading, each parameter knows its own stored values.

So a cell can be wrapped or replaced, and its parameters moved anywhere, without looking up names. An overlay, computed
on demand, can replace the bound values: a fused adapter, or int8.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import DTypeLike

from ..utils.printable import printable
from .base import Parameter, Stored, Values, is_adjustable, is_grouped, is_mapped, is_quantized


class InMemory:
    """Stored values in an array."""

    def __init__(self, values: Values):
        self.values = values

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.values.shape

    def numpy(self, dtype: DTypeLike | None = None) -> Values:
        """The array, in ``dtype`` if given."""
        return self.values if dtype is None else self.values.astype(dtype, copy=False)


class Computed:
    """Stored values that a function computes in float32 whenever they are read: an overlay for `bind`."""

    def __init__(self, shape: tuple[int, ...], compute: Callable[[], Values]):
        self.shape, self._compute = shape, compute

    def values(self) -> Values:
        """The values, float32."""
        return self._compute()

    def numpy(self, dtype: DTypeLike | None = None) -> Values:
        """The values, float32 unless another dtype is given."""
        values = self.values()
        return values if dtype is None else values.astype(dtype, copy=False)


def bind(parameter: Parameter, stored: Stored, name: str | None = None, source: str | None = None) -> None:
    """Bind values to a parameter, with its ``name`` in checkpoints, and their file for messages.

    Raises:
        ValueError: the shapes differ.
    """
    if tuple(stored.shape) != tuple(parameter.shape):
        raise ValueError(f"a parameter of shape {tuple(parameter.shape)} cannot take values of {tuple(stored.shape)}")
    parameter.stored = stored
    parameter.filled_as = None
    # MindSpore would fill it with zeros when its cell is called, also while another engine records the network.
    parameter.init_mode = None
    if name is not None:
        parameter.published_name = name
    if source is not None:
        parameter.source = source


def bound(parameter: Parameter) -> Stored | None:
    """The values bound to the parameter, or None."""
    stored: Stored | None = getattr(parameter, "stored", None)
    return stored


def published_name(parameter: Parameter, path: str) -> str:
    """The name in checkpoints of a network's parameter at ``path``; wrapping its cell does not change it."""
    name: str = getattr(parameter, "published_name", path)
    return name


def origin(parameter: Parameter, path: str) -> str:
    """The file and the name of a network's weight at ``path``, as messages about it begin."""
    return _origin(getattr(parameter, "source", "memory"), published_name(parameter, path))


def _origin(source: str, name: str) -> str:
    return f"{source}: the weight {printable(name)}"


def keep_name(parameter: Parameter, path: str) -> None:
    """Keep ``path`` as the parameter's name even if its cell is wrapped, unless checkpoints use another name."""
    parameter.published_name = published_name(parameter, path)


def put_on(parameter: Parameter) -> None:
    """Mark a parameter as an adapter's: checkpoints neither hold nor get it."""
    parameter.is_put_on = True


def is_put_on(parameter: Parameter) -> bool:
    """Whether the parameter is an adapter's."""
    return getattr(parameter, "is_put_on", False)


def lay_over(parameter: Parameter, overlay: Stored) -> None:
    """Cover the parameter's values with an adapter's; its own stay available as `own` until `uncover`."""
    parameter.underneath = stored(parameter)
    bind(parameter, overlay)


def uncover(parameter: Parameter) -> None:
    """Restore the parameter's own values."""
    bind(parameter, own(parameter))
    parameter.underneath = None


def is_covered(parameter: Parameter) -> bool:
    """Whether an adapter's values cover the parameter's own."""
    return getattr(parameter, "underneath", None) is not None


def own(parameter: Parameter) -> Stored:
    """The parameter's own values, without an adapter's: those in checkpoints."""
    values: Stored | None = getattr(parameter, "underneath", None)
    return stored(parameter) if values is None else values


def stored(parameter: Parameter) -> Stored:
    """The parameter's values: the bound ones, or those set in MindSpore since, unless an adapter adjusts them.

    Raises:
        ValueError: it has none.
    """
    values = bound(parameter)
    if values is not None and (parameter.filled_as is None or is_adjustable(values)):
        return values
    if parameter.has_init:
        raise ValueError("the network has no weights yet: use from_pretrained, or load()")
    given = parameter.asnumpy()
    return InMemory(np.asarray(given, np.float32) if given.dtype.name == "bfloat16" else given)


def sound(parameter: Parameter) -> Stored:
    """The parameter's values (`stored`), checked once for NaN and infinity, since an engine reads them anyway.

    Raises:
        ValueError: some values are NaN or infinite, so every picture would be black.
    """
    values = stored(parameter)
    if getattr(parameter, "found_sound", None) is not values and (is_grouped(values) or is_mapped(values)):
        check_finite({published_name(parameter, parameter.name): values}, getattr(parameter, "source", "memory"))
        parameter.found_sound = values
    return values


def check_finite(tensors: Mapping[str, Stored], source: str) -> None:
    """Refuse tensors with NaN or infinite values, by name; ``source`` is their file.

    Raises:
        ValueError: one has such values, so every picture would be black.
    """
    for name, values in tensors.items():
        if not _is_finite(values):
            raise ValueError(
                f"{_origin(source, name)} has values that are NaN or infinite; download it again, or use another file"
            )


_EXPONENTS = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F800000)}
"""The bits that are all set in NaN and infinity, by dtype (IEEE 754)."""
_AT_ONCE = 2**22


def _is_finite(values: Stored) -> bool:
    if is_grouped(values):
        floats = (values.scale, values.zero_point)
        return all(bool(np.isfinite(each).all()) for each in floats if each is not None)
    if not is_mapped(values) or values.dtype not in _EXPONENTS:
        return bool(np.isfinite(values.numpy()).all())
    kind, exponent = _EXPONENTS[values.dtype]
    bits: Values = values.data.view(kind)
    parts = (bits[i : i + _AT_ONCE] for i in range(0, bits.size, _AT_ONCE))
    return not any(((part & exponent) == exponent).any() for part in parts)


def fill(parameter: Parameter, dtype: str) -> bool:
    """Copy the bound values once into the parameter's own memory in ``dtype``, for MindSpore's kernels.

    Returns:
        Whether values that are kept in 4 or 8 bits have been widened.

    Raises:
        ValueError: their product is in int8, for which there are no kernels.
    """
    import mindspore as ms

    values = bound(parameter)
    if is_quantized(values) and values.input_range is not None:
        raise ValueError('int8 needs the OpenVINO engine, not MindSpore\'s kernels: use engine="openvino"')
    wanted = (dtype, values.version if is_adjustable(values) else 0)
    if values is None or parameter.filled_as == wanted:
        return False
    sound(parameter)
    target = getattr(ms, dtype)
    tensor = ms.Tensor(np.array(values.numpy(np.float32)), target)
    parameter.set_dtype(target)
    parameter.set_data(tensor)
    parameter.filled_as = wanted
    return is_grouped(values) or is_quantized(values)
