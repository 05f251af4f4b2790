"""Layers of an original layout that hold several of ours, such as queries, keys and values in one matrix."""

from collections.abc import Callable, Collection, Mapping, Sequence

from ..loading.deferred import Deferred
from ..loading.original.key_map import KeyMap, joined_later, moved_later, swapped, to_original, to_ours
from ..loading.original.layout import Tensors
from ..loading.safetensors import StoredTensor
from .adapters import Rows

_KINDS = ("weight", "bias")


def equal_parts(layers: Sequence[str]) -> list[Rows]:
    """Our layers as equal parts of one."""
    return [Rows(layer, ((i, i + 1),), len(layers)) for i, layer in enumerate(layers)]


def split(
    tensors: Tensors, fused: Mapping[str, Sequence[Rows]], keys: KeyMap, turned: Collection[str]
) -> dict[str, StoredTensor]:
    """Tensors of the original layout under our names, as views wherever possible.

    Args:
        tensors: those of a network, without a prefix.
        fused: the layers that hold several of ours, and the rows of each: one range.
        keys: the names of the other layers.
        turned: our names of the layers with the second half of their rows first.

    Raises:
        ValueError: a tensor has no name here, or the rows cannot be divided.
    """
    parts_of = {f"{layer}.{kind}": parts for layer, parts in fused.items() for kind in _KINDS}
    result = to_ours({name: tensor for name, tensor in tensors.items() if name not in parts_of}, keys)
    for name in [name for name in parts_of if name in tensors]:
        whole, parts, kind = tensors[name], parts_of[name], name.rpartition(".")[2]
        count = parts[0].parts
        if not whole.shape or whole.shape[0] % count:
            raise ValueError(f"{name} must have rows that {count} divides, got the shape {whole.shape}")
        size = whole.shape[0] // count
        for part in parts:
            ((begin, end),) = part.ranges
            result[f"{part.layer}.{kind}"] = whole.rows(begin * size, end * size)
    return result | {name: swapped(result[name]) for name in _named(turned) & result.keys()}


def fuse(
    tensors: Tensors, fused: Mapping[str, Sequence[Rows]], keys: KeyMap, turned: Collection[str]
) -> Deferred[StoredTensor]:
    """The inverse of `split`, one tensor at a time, on demand."""
    makers: dict[str, Callable[[], StoredTensor]] = {}
    rest, halves = dict(tensors), _named(turned)
    for layer, parts in fused.items():
        for kind in _KINDS:
            names = [f"{part.layer}.{kind}" for part in parts]
            if names[0] in tensors:
                makers[f"{layer}.{kind}"] = joined_later(tensors, names)
            for name in names:
                rest.pop(name, None)
    for original, name in to_original(rest, keys).items():
        makers[original] = moved_later(tensors, name, name in halves)
    return Deferred(makers)


def _named(layers: Collection[str]) -> set[str]:
    return {f"{layer}.{kind}" for layer in layers for kind in _KINDS}
