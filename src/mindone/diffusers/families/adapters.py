"""What adapters of a family's networks are called in published files, and which layers they change."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..loading.original.key_map import KeyMap

Shapes = Mapping[str, tuple[int, ...]]
"""A network's parameters: their shapes by name."""
ByBlock = Callable[[Mapping[str, object], Collection[str], float], Mapping[str, float]]
"""From weights by block, as published, to those of all parameters of these names; the number is for other blocks.

Raises ValueError for a block that is not there.
"""


@dataclass(frozen=True)
class Rows:
    """A layer's outputs among those of a layer of the original layout."""

    layer: str
    """Our name."""
    ranges: Sequence[tuple[int, int]]
    """From which part to before which, in the order in which ours has them; of ``parts`` equal ones."""
    parts: int


@dataclass(frozen=True)
class LoraNames:
    """The names in LoRA files of a family."""

    denoiser: str
    """The component of layers without a prefix."""
    prefixes: Mapping[str, str]
    """What stands before the layers of the other components, beside their own names; after one that ends in an
    underscore, underscores stand for dots."""
    classes: Mapping[str, str]
    """The components by their classes, as peft's configs name them."""
    bases: Mapping[int, str]
    """Which model a LoRA is for, by the width of what the layers in ``telling`` read: for messages."""
    telling: Sequence[tuple[str, str]] = (("attn2", "to_k"),)
    """Parts of the names of these layers, one after the other; at first those of attention to a text of its own."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Parts of names that no other family's LoRAs have, and which model they tell: for messages."""
    numbering: Callable[[Collection[str]], KeyMap] | None = None
    """The denoiser's layers by their numbers in the original layout, for the names of its parameters."""
    apart: Callable[[Collection[str]], Mapping[str, Sequence[Rows]]] | None = None
    """The layers of the original layout that are several of the denoiser's, or one with its outputs in another order,
    for the names of its parameters."""
    by_block: ByBlock | None = None
    """What weights by block mean."""

    @property
    def networks(self) -> tuple[str, ...]:
        """The components that LoRAs change; the denoiser comes first."""
        return tuple(dict.fromkeys((self.denoiser, *self.prefixes.values())))


@dataclass(frozen=True)
class ImagePromptNames:
    """Where IP-Adapters are put on a family's denoiser."""

    attentions: Callable[[Shapes], list[str]]
    """The attentions to the text, in the order in which the files number them."""
    by_block: ByBlock
    """What scales by block mean."""
