"""What adapters of a family's networks are called in published files, and which layers they change."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ..loading.original.key_map import KeyMap

Shapes = Mapping[str, tuple[int, ...]]
"""A network's parameters: their shapes by name."""
ByBlock = Callable[[Mapping[str, object], Collection[str], float], Mapping[str, float]]
"""From weights by block, as published, to those of all parameters of these names; the number is for other blocks.

Raises ValueError for a block that is not there.
"""


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
    """Which model a LoRA is for, by the width of the text it attends to: for messages."""
    numbering: Callable[[Collection[str]], KeyMap] | None = None
    """The denoiser's layers by their numbers in the original layout, for the names of its parameters."""
    by_block: ByBlock | None = None
    """What weights by block mean."""

    @property
    def networks(self) -> tuple[str, ...]:
        """The components that LoRAs change; the denoiser comes first."""
        return (self.denoiser, *dict.fromkeys(self.prefixes.values()))


@dataclass(frozen=True)
class ImagePromptNames:
    """Where IP-Adapters are put on a family's denoiser."""

    attentions: Callable[[Shapes], list[str]]
    """The attentions to the text, in the order in which the files number them."""
    by_block: ByBlock
    """What scales by block mean."""
