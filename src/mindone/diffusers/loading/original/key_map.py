"""Renaming modules both ways between the original layout and ours."""

from collections.abc import Iterable, Mapping

from ...utils.printable import shown
from ..safetensors import StoredTensor


class KeyMap:
    """Pairs of module names, each standing for every tensor below that module; the longest that fits counts.

    Args:
        pairs: (original name, our name). A name may be a whole tensor's.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]):
        pairs = list(pairs)
        self._ours = dict(pairs)
        self._original = {ours: original for original, ours in pairs}

    def ours(self, name: str) -> str | None:
        """Our name of a tensor of the original layout, or None when it has none."""
        return _renamed(name, self._ours)

    def original(self, name: str) -> str | None:
        """The original layout's name of one of our tensors, or None when that layout has no place for it."""
        return _renamed(name, self._original)


def _renamed(name: str, modules: dict[str, str]) -> str | None:
    end = len(name)
    while end > 0:
        module = modules.get(name[:end])
        if module is not None:
            return module + name[end:]
        end = name.rfind(".", 0, end)
    return None


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
