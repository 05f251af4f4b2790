"""Chooses which weights of a network to round, and to what."""

from dataclasses import dataclass

from ...families.family import Int8Plan
from ...models.base import Model
from ...models.layers import Conv2d, Embedding, HalvedConv2d, Linear
from .config import WeightOnlyConfig

LAYERS = (Linear, Conv2d, HalvedConv2d, Embedding)
"""The layers whose weights may be rounded."""
_LEAST_CHOSEN = 16
"""The smallest group to replace a larger one: for fewer numbers, a scale takes too many bits."""


@dataclass(frozen=True)
class Rounding:
    """The rounding of a weight: integers of 4 or 8 bits, with a scale for ``size`` of them or for a whole row, with or
    without a zero point."""

    bits: int
    size: int | None = None
    zero_point: bool = False

    @property
    def words(self) -> str:
        """In a few words."""
        return f"{self.bits} bits by {f'groups of {self.size}' if self.size else 'row'}"


def choose(network: Model, plan: Int8Plan, config: WeightOnlyConfig) -> dict[str, Rounding]:
    """The rounding of each weight, by its published name; the others stay unchanged.

    Linear layers and 1×1 convolutions use groups. Embeddings and larger convolutions use 8 bits and a scale for each
    row, or output channel. Larger convolutions stay unchanged if the family keeps them out of int8 or if they convolve
    channels separately; so do norms, biases and tables.

    Raises:
        ValueError: some rows are at least as long as the config's group, and it divides none of them.
    """
    kept = (*network.kept_in_int8, *config.modules_to_not_convert)
    found: dict[str, Rounding] = {}
    inputs: set[int] = set()
    layers = {id(cell.weight): cell for _, cell in network.cells_and_names() if isinstance(cell, LAYERS)}
    for name, parameter in network.published_parameters().items():
        layer = layers.get(id(parameter))
        if layer is None or any(part in name for part in kept):
            continue
        is_sensitive = plan.keeps(name) or not plan.rounds_input(name) or network.fewest_bits > config.bits
        if isinstance(layer, Embedding):
            found[name] = Rounding(8)
        elif all(side == 1 for side in parameter.shape[2:]) and getattr(layer, "groups", 1) == 1:
            inputs.add(parameter.shape[1])
            bits = 8 if is_sensitive else config.bits
            zero_point = bits == 4 and network.zero_points and not config.symmetric
            found[name] = by_group(parameter.shape[1], bits, config.group_size, zero_point)
        elif not plan.keeps(name) and getattr(layer, "groups", 1) == 1:
            found[name] = Rounding(8)
    long = [count for count in inputs if count >= config.group_size]
    if long and all(count % config.group_size for count in long):
        works = [size for size in (128, 64, 32, 16, 8, 4) if any(count % size == 0 for count in long)]
        raise ValueError(
            f"a group of {config.group_size} divides the rows of no layer of {type(network).__name__}"
            + (f"; {' or '.join(map(str, works))} would" if works else "")
        )
    return found


def by_group(inputs: int, bits: int, size: int, zero_point: bool = False) -> Rounding:
    """Groups of ``size``, or of the largest smaller size that divides the inputs; 8 bits by row if none is left."""
    least = min(size, _LEAST_CHOSEN)
    fitting = (each for each in range(min(size, inputs), least - 1, -1) if inputs % each == 0 and each % 2 == 0)
    chosen = next(fitting, None)
    return Rounding(8) if chosen is None else Rounding(bits, chosen, zero_point)
