"""A weight that is rounded on demand: when its network is saved, or at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from ...engines.base import Stored, Values
from ...engines.group_rounding import round_to_groups
from ...engines.rounding import round_stored_to_int8
from ...loading.group_files import names_in_file, parts_in_file
from ...loading.groups import GroupedTensor
from ...loading.int8 import Int8Tensor
from ...loading.safetensors import LaterTensor, StoredTensor
from ...utils.scratch import Scratch
from .choice import Rounding

Rounded: TypeAlias = GroupedTensor | Int8Tensor


@dataclass(eq=False)
class RoundedLater:
    """The values of a parameter until its network is saved.

    Args:
        values: the weight (out, inputs, …).
        rounding: the target.
        origin: the weight and its file, for messages.
        release: returns the memory of values that have been read.
    """

    values: Stored
    rounding: Rounding
    origin: str
    release: Callable[[], None]
    _left: dict[str, StoredTensor] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return self.values.shape

    def numpy(self, dtype: DTypeLike | None = None) -> Values:
        """The values that the rounded weight will have."""
        return self.rounded().numpy(dtype)

    def rounded(self, scratch: Scratch | None = None) -> Rounded:
        """The rounded weight, in memory, or with its arrays in ``scratch``.

        Raises:
            ValueError: a number is NaN, infinite or too large; the message names the weight.
        """
        rounding = self.rounding
        arrays = (
            round_stored_to_int8(self.values, self.origin)
            if rounding.size is None
            else round_to_groups(self.values, self.origin, rounding.size, rounding.bits, not rounding.zero_point)
        )
        packed, scale, zero_point = [
            each if each is None or scratch is None else scratch.keep(each) for each in (*arrays, None)[:3]
        ]
        self.release()
        if rounding.size is None:
            return Int8Tensor(StoredTensor.from_numpy(packed), scale)
        signed = rounding.bits == 8 or zero_point is None
        return GroupedTensor(self.shape, rounding.bits, signed, packed, scale, zero_point)

    def tensors(self, name: str) -> dict[str, StoredTensor]:
        """Its tensors in a file, by name, each made when it is read; ``name`` is the parameter's.

        Reading the first one rounds the weight and keeps the parts that the others need.
        """
        rounding, shape = self.rounding, self.shape
        if rounding.size is None:
            kinds = [("I8", shape), ("F32", shape[:1])]
            names = [name, f"{name}_scale"]
        else:
            groups = (shape[0], int(np.prod(shape[1:])) // rounding.size)
            integers, floats = ("U8", "F16") if rounding.bits == 4 else ("I8", "F32")
            kinds = [
                (integers, (*groups, rounding.size * rounding.bits // 8)),
                *[(floats, (*groups, 1))] * (1 + rounding.zero_point),
            ]
            names = list(names_in_file(name))
        parts = {each: LaterTensor(*kind, partial(self._part, name, each)) for each, kind in zip(names, kinds)}
        return dict(parts)

    def _part(self, name: str, part: str) -> StoredTensor:
        if part not in self._left:
            self._left = parts_in_file(name, self.rounded()) or {}
        return self._left.pop(part)
