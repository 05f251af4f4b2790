"""Renames modules between the original layout and ours, in both directions."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ...utils.printable import shown
from ..fields import listed
from ..groups import joined_groups
from ..safetensors import FLOATING, StoredTensor


class KeyMap:
    """Pairs of module names, each covering every tensor below that module; the longest match counts.

    Args:
        pairs: (original name, our name). A name may be that of a single tensor.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]):
        pairs = list(pairs)
        self._ours = dict(pairs)
        self._original = {ours: original for original, ours in pairs}

    def ours(self, name: str) -> str | None:
        """Our name of a tensor of the original layout, or None if it has none."""
        return _renamed(name, self._ours)

    def original(self, name: str) -> str | None:
        """The original layout's name of one of our tensors, or None if that layout has no place for it."""
        return _renamed(name, self._original)


def _renamed(name: str, modules: dict[str, str]) -> str | None:
    end = len(name)
    while end > 0:
        module = modules.get(name[:end])
        if module is not None:
            return module + name[end:]
        end = name.rfind(".", 0, end)
    return None


def to_ours(tensors: Mapping[str, StoredTensor], keys: KeyMap) -> dict[str, StoredTensor]:
    """Tensors of the original layout under our names.

    Raises:
        ValueError: some have no name here; the message lists them.
    """
    renamed = {name: keys.ours(name) for name in tensors}
    strange = sorted(name for name, ours in renamed.items() if ours is None)
    if strange:
        raise ValueError(f"{len(strange)} tensors are of no architecture known here: {listed(map(repr, strange))}")
    return {ours: tensors[name] for name, ours in renamed.items() if ours is not None}


def to_original(tensors: Mapping[str, StoredTensor], keys: KeyMap) -> dict[str, str]:
    """Maps the original layout's names of our tensors to ours.

    Raises:
        ValueError: that layout has no place for a tensor.
    """
    names = {}
    for name in tensors:
        original = keys.original(name)
        if original is None:
            raise ValueError(f"the original layout has no place for the tensor {shown(name)}; keep the folder")
        names[original] = name
    return names


MOST_STAGES, MOST_LAYERS = 8, 16
"""Twice as many as in any published network; the size of a map of names is their product."""
MOST_PARTS = 256
"""Stages, layers or blocks of one kind, far more than any network has; a stranger's file chooses their names."""


def indices_after(names: Iterable[str], prefix: str, most: int = MOST_PARTS) -> set[int]:
    """The numbers that follow ``prefix`` in names such as ``input_blocks.7.0.op.weight``.

    Raises:
        ValueError: there are more than ``most``.
    """
    found = set()
    for name in names:
        if name.startswith(prefix):
            number = name[len(prefix) : len(prefix) + 20].split(".", 1)[0]
            if number.isdecimal():
                found.add(int(number))
                if len(found) > most:
                    raise ValueError(f"it has more than {most} parts called {prefix}0, {prefix}1 …: no network does")
    return found


def sides(tensors: Mapping[str, StoredTensor], name: str, count: int) -> tuple[int, ...]:
    """The shape of a tensor that has ``count`` dimensions.

    Raises:
        KeyError: there is no such tensor.
        ValueError: it has another number of dimensions.
    """
    shape = tensors[name].shape
    if len(shape) != count:
        raise ValueError(f"the tensor {shown(name)} must have {count} dimensions, got the shape {shown(shape)}")
    return shape


def joined(parts: Sequence[StoredTensor]) -> StoredTensor:
    """Tensors concatenated along the rows as a copy.

    Floats of different types become float32, which holds all values of the narrower ones, or float64 if that is one of
    them; so do weights by group with different bits, group sizes or zero points.

    Raises:
        ValueError: they differ in type, and some are not floats.
    """
    if (grouped := joined_groups(parts)) is not None:
        return grouped
    kinds = {part.dtype for part in parts}
    if len(kinds) > 1:
        if not kinds <= set(FLOATING):
            raise ValueError(f"tensors of the types {' and '.join(sorted(kinds))} cannot be joined")
        widest = np.float64 if "F64" in kinds else np.float32
        return StoredTensor.from_numpy(np.concatenate([part.numpy(widest) for part in parts]))
    rows = sum(part.shape[0] for part in parts)
    return StoredTensor(parts[0].dtype, (rows, *parts[0].shape[1:]), np.concatenate([part.data for part in parts]))


def swapped(tensor: StoredTensor) -> StoredTensor:
    """A copy with the second half of the rows first."""
    half = tensor.shape[0] // 2
    return joined([tensor.rows(half, tensor.shape[0]), tensor.rows(0, half)])


def joined_later(tensors: Mapping[str, StoredTensor], names: Sequence[str]) -> Callable[[], StoredTensor]:
    """A maker for `Deferred`: several tensors, `joined`."""
    return lambda: joined([tensors[name] for name in names])


def moved_later(tensors: Mapping[str, StoredTensor], name: str, is_swapped: bool) -> Callable[[], StoredTensor]:
    """A maker for `Deferred`: a tensor as it is, or `swapped`."""
    return lambda: swapped(tensors[name]) if is_swapped else tensors[name]
