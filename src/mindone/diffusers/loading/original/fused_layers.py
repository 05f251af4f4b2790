"""Networks whose original layout has layers that hold several of ours, such as queries and keys in one matrix.

Such a layout is described once (`FusedLayout`), and checkpoints and LoRAs are read and written by it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..deferred import Deferred
from ..safetensors import StoredTensor
from .key_map import KeyMap, indices_after, joined_later, moved_later, swapped, to_original, to_ours
from .layout import Tensors

_KINDS = ("weight", "bias")
_SWAPPED = ((1, 2), (0, 1))


@dataclass(frozen=True)
class Rows:
    """A layer's outputs within a layer of the original layout."""

    layer: str
    """Our name of the layer."""
    ranges: Sequence[tuple[int, int]]
    """Ranges of parts (first, end), in our order, out of ``parts`` equal ones."""
    parts: int


def equal_parts(*layers: str) -> list[Rows]:
    """Our layers as equal parts of one."""
    return [Rows(layer, ((i, i + 1),), len(layers)) for i, layer in enumerate(layers)]


@dataclass(frozen=True)
class Blocks:
    """Blocks of one kind, by what their names have before and after their numbers."""

    theirs: str
    ours: str
    """The beginning of their names in the original layout, and here: ``double_blocks.``, ``transformer_blocks.``"""
    fused: Mapping[str, Sequence[Rows]]
    """The original layers that hold several of ours, and the rows of each: one range. Between such a name and
    ``weight`` or ``bias`` is a dot, unless it ends in an underscore."""
    pairs: Sequence[tuple[str, str]] = ()
    """The names of the other layers, in the original layout and here."""
    turned_in_last: Sequence[str] = ()
    """Our names of the last block's layers with the second half of their rows first."""


class Layers(NamedTuple):
    """The layers of one network."""

    fused: dict[str, list[Rows]]
    """Those of the original layout that hold several of ours, and the rows of each."""
    keys: KeyMap
    """The names of the others."""
    turned: list[str]
    """Our names of those with the second half of their rows first."""


@dataclass(frozen=True)
class FusedLayout:
    """The original layout of a kind of network: layers outside blocks, as in `Blocks`, and the blocks."""

    kinds: Sequence[Blocks]
    pairs: Sequence[tuple[str, str]] = ()
    turned: Sequence[str] = ()

    def layers(self, names: Iterable[str], are_ours: bool) -> Layers:
        """The layers of a network with the blocks that these names have, under our names or the original ones."""
        names, pairs, turned = list(names), list(self.pairs), list(self.turned)
        fused: dict[str, list[Rows]] = {}
        for kind in self.kinds:
            numbers = indices_after(names, kind.ours if are_ours else kind.theirs)
            for i in numbers:
                theirs, ours = f"{kind.theirs}{i}.", f"{kind.ours}{i}."
                pairs += [(theirs + layer, ours + own) for layer, own in kind.pairs]
                for layer, parts in kind.fused.items():
                    fused[theirs + layer] = [replace(part, layer=ours + part.layer) for part in parts]
            turned += [f"{kind.ours}{i}.{layer}" for i in sorted(numbers)[-1:] for layer in kind.turned_in_last]
        return Layers(fused, KeyMap(pairs), turned)

    def numbering(self, parameters: Collection[str]) -> KeyMap:
        """A network's layers by their names in the original layout, except those of `apart`."""
        return self.layers(parameters, True).keys

    def apart(self, parameters: Collection[str]) -> dict[str, list[Rows]]:
        """The layers of the original layout that hold several of ours, or one of ours with swapped halves."""
        fused, keys, turned = self.layers(parameters, True)
        found = {layer: parts for layer, parts in fused.items() if f"{parts[0].layer}.weight" in parameters}
        originals = {keys.original(layer): [Rows(layer, _SWAPPED, 2)] for layer in turned}
        return found | {original: rows for original, rows in originals.items() if original is not None}

    def split(self, tensors: Tensors) -> dict[str, StoredTensor]:
        """A network's tensors of the original layout, without a prefix, under our names; views wherever possible.

        Raises:
            ValueError: a tensor has no name here, or the rows cannot be divided.
        """
        fused, keys, turned = self.layers(tensors, False)
        parts_of = {_tensor(layer, kind): (kind, parts) for layer, parts in fused.items() for kind in _KINDS}
        result = to_ours({name: tensor for name, tensor in tensors.items() if name not in parts_of}, keys)
        for name in [name for name in parts_of if name in tensors]:
            whole, (kind, parts) = tensors[name], parts_of[name]
            count = parts[0].parts
            if not whole.shape or whole.shape[0] % count:
                raise ValueError(f"{name} must have rows that {count} divides, got the shape {whole.shape}")
            size = whole.shape[0] // count
            for part in parts:
                ((begin, end),) = part.ranges
                result[f"{part.layer}.{kind}"] = whole.rows(begin * size, end * size)
        return result | {name: swapped(result[name]) for name in _named(turned) & result.keys()}

    def fuse(self, tensors: Tensors) -> Deferred[StoredTensor]:
        """The inverse of `split`, one tensor at a time, on demand."""
        fused, keys, turned = self.layers(tensors, True)
        makers: dict[str, Callable[[], StoredTensor]] = {}
        rest, halves = dict(tensors), _named(turned)
        for layer, parts in fused.items():
            for kind in _KINDS:
                names = [f"{part.layer}.{kind}" for part in parts]
                if names[0] in tensors:
                    makers[_tensor(layer, kind)] = joined_later(tensors, names)
                for name in names:
                    rest.pop(name, None)
        for original, name in to_original(rest, keys).items():
            makers[original] = moved_later(tensors, name, name in halves)
        return Deferred(makers)


def _tensor(layer: str, kind: str) -> str:
    return f"{layer}{'' if layer.endswith('_') else '.'}{kind}"


def _named(layers: Collection[str]) -> set[str]:
    return {f"{layer}.{kind}" for layer in layers for kind in _KINDS}
