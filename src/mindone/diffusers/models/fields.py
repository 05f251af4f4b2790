"""The shared types of the networks' config fields, and the rules between fields; see `loading.fields`."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, Strict

from ..loading.fields import Real

Count = Annotated[int, Strict(), Field(ge=1, le=256)]
"""A number of layers, heads or groups."""
CountOrNone = Annotated[int, Strict(), Field(ge=0, le=256)]
"""The same, but 0 is allowed."""
Channels = Annotated[int, Strict(), Field(ge=1, le=16_384)]
Ratio = Annotated[Real, Field(gt=0, le=64)]
"""The ratio of a layer's inner channels to its own."""
TableSize = Annotated[int, Strict(), Field(ge=1, le=2**20)]
"""The rows of an embedding of tokens."""
Positions = Annotated[int, Strict(), Field(ge=1, le=1024)]
"""The most tokens of a text; attention's memory grows with its square."""

# One entry per stage of a network, from the highest resolution to the lowest.
Stages = Field(min_length=1, max_length=8)
StageChannels = Annotated[tuple[Channels, ...], Stages]
PerStage = Count | Annotated[tuple[Count, ...], Stages]
"""One number for all stages, or one each."""

# Options with only one supported value.
One = Annotated[Real, Field(ge=1, le=1)]
Zero = Annotated[Real, Field(ge=0, le=0)]

ActivationName = Literal["silu", "swish", "gelu", "quick_gelu", "relu"]


class Heads:
    """Mixed into the configs of transformers whose tokens are as wide as all heads of their attention."""

    num_attention_heads: int
    attention_head_dim: int

    @property
    def width(self) -> int:
        """The channels of a token."""
        return self.num_attention_heads * self.attention_head_dim

    def check_width(self, name: str, condition: str = "") -> None:
        """Check that the field ``name``, which repeats the width, does so; it must under the ``condition``."""
        value = getattr(self, name)
        if self.width != value:
            raise ValueError(
                f"{name} must be num_attention_heads x attention_head_dim{condition}, got {value} and "
                f"{self.num_attention_heads} x {self.attention_head_dim}"
            )


def check_divides(name: str, divisor: int, **wholes: int | Iterable[int]) -> None:
    """Check that groups or heads split channels evenly.

    Raises:
        ValueError: ``divisor``, the field ``name``, does not divide one of the others.
    """
    for whole, values in wholes.items():
        for value in (values,) if isinstance(values, int) else values:
            if value % divisor:
                raise ValueError(f"{name} must divide {whole}, got {divisor} and {value}")
