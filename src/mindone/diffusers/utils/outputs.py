"""The outputs of calls: a dictionary, a tuple and named fields at once, as in the published API."""

from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict
from typing import Any, NoReturn, TypeVar

Output = TypeVar("Output", bound="BaseOutput")


class BaseOutput(OrderedDict[str, Any]):
    """Base of the outputs. A subclass is a ``@dataclass(eq=False)`` whose fields are the entries.

    ``output.images``, ``output["images"]`` and ``output[0]`` are the same thing; fields that are ``None`` are
    attributes but not entries: they neither appear in ``keys()`` nor count in ``output[i]`` and ``len(output)``.
    Iterating gives the *names*, as with any dictionary: to unpack an output call ``to_tuple()`` first, or ask for a
    plain tuple with ``return_dict=False``.

    You can set fields to new values; you cannot add or remove entries.
    """

    def __post_init__(self) -> None:
        for name in self._names():
            self.__setattr__(name, getattr(self, name))

    @classmethod
    def _names(cls) -> list[str]:
        return [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]  # subclasses are dataclasses

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        return self.to_tuple()[key]

    def __setitem__(self, key: str, value: object) -> None:
        if key not in self._names():
            raise TypeError(f"{type(self).__name__} has no field {key!r}; it has {', '.join(self._names())}")
        setattr(self, key, value)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in self._names() and value is not None:
            super().__setitem__(name, value)

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are not ``None``, in their order."""
        return tuple(value for name in self._names() if (value := getattr(self, name)) is not None)

    def copy(self: Output) -> Output:
        """Another output with the same values."""
        return copy.copy(self)

    def __reduce__(self) -> tuple[type[BaseOutput], tuple[object, ...]]:
        return type(self), tuple(getattr(self, name) for name in self._names())

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(f"the entries of {type(self).__name__} are fixed; dict(output) makes a dictionary to change")

    __delitem__ = pop = popitem = setdefault = update = clear = move_to_end = _refuse
