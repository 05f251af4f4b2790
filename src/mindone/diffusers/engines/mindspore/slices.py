"""Splits and joins tensors in ways that are fast in MindSpore's CPU build."""

from collections.abc import Sequence

import mindspore as ms
from mindspore import ops

from .device import cast


def part(x: ms.Tensor, axis: int, begin: int, end: int) -> ms.Tensor:
    """``x`` from ``begin`` to ``end`` along ``axis``; ``x`` itself if that is all of it.

    It is a copy: a view, as from an eager ``[]``, makes the CPU kernels that read it several times slower.
    """
    if begin == 0 and end == x.shape[axis]:
        return x
    shape = x.shape
    begins = (0,) * axis + (begin,) + (0,) * (x.ndim - axis - 1)
    return ops.slice(x, begins, (*shape[:axis], end - begin, *shape[axis + 1 :]))


def zero_padded(x: ms.Tensor, axis: int, before: int, after: int) -> ms.Tensor:
    """``x`` with zeros before and after along an axis: joining is ten times as fast as the CPU's padding kernel."""
    parts = [x]
    if before > 0:
        parts = [ops.zeros((*x.shape[:axis], before, *x.shape[axis + 1 :]), x.dtype), *parts]
    if after > 0:
        parts = [*parts, ops.zeros((*x.shape[:axis], after, *x.shape[axis + 1 :]), x.dtype)]
    return concat(parts, axis)


def concat(tensors: Sequence[ms.Tensor], axis: int) -> ms.Tensor:
    """Tensors concatenated along ``axis``, in float32 if their dtypes differ."""
    if len(tensors) == 1:
        return tensors[0]
    for x in tensors:
        if x.dtype != tensors[0].dtype:
            return ops.concat([cast(x, ms.float32) for x in tensors], axis)
    return ops.concat(tensors, axis)
