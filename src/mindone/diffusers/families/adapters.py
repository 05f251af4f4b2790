"""The names of a family's networks in published adapter files, and the layers that adapters change."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..loading.original.fused_layers import Rows
from ..loading.original.key_map import KeyMap

Shapes = Mapping[str, tuple[int, ...]]
"""A network's parameters: their shapes by name."""
ByBlock = Callable[[Mapping[str, object], Collection[str], float], Mapping[str, float]]
"""Maps weights by block, in the published form, to weights of these parameters; the number is for other blocks.

Raises ValueError for an unknown block.
"""


@dataclass(frozen=True)
class LoraNames:
    """The names in a family's LoRA files."""

    denoiser: str
    """The component of layers without a prefix."""
    prefixes: Mapping[str, str]
    """Prefixes of the other components' layers, in addition to their own names; after a prefix that ends in an
    underscore, underscores stand for dots."""
    classes: Mapping[str, str]
    """The components by class, as in peft's configs."""
    bases: Mapping[int, str]
    """The model that a LoRA is for, by the input width of the layers in ``telling``; for messages."""
    telling: Sequence[tuple[str, str]] = (("attn2", "to_k"),)
    """Name parts of these layers, tried in order; by default those of cross-attention."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Name parts that only this family's LoRAs have, and the model they indicate; for messages."""
    numbering: Callable[[Collection[str]], KeyMap] | None = None
    """A function from the denoiser's parameter names to its layers by their numbers in the original layout."""
    apart: Callable[[Collection[str]], Mapping[str, Sequence[Rows]]] | None = None
    """A function from the denoiser's parameter names to the layers of the original layout that hold several of its
    layers, or one with its outputs in another order."""
    by_block: ByBlock | None = None
    """The meaning of weights by block."""

    @property
    def networks(self) -> tuple[str, ...]:
        """The components that LoRAs change, the denoiser first."""
        return tuple(dict.fromkeys((self.denoiser, *self.prefixes.values())))


@dataclass(frozen=True)
class ImagePromptNames:
    """The places of IP-Adapters on a family's denoiser."""

    attentions: Callable[[Shapes], list[str]]
    """The cross-attentions, in the order of the files' numbers."""
    by_block: ByBlock
    """The meaning of scales by block."""
