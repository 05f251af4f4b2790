"""The types that the networks' config fields share, and the rules between fields; see `loading.fields`."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, Strict

from ..loading.fields import Real

Count = Annotated[int, Strict(), Field(ge=1, le=256)]
"""How many layers, heads or groups there are."""
CountOrNone = Annotated[int, Strict(), Field(ge=0, le=256)]
"""The same where none at all will do."""
Channels = Annotated[int, Strict(), Field(ge=1, le=16_384)]
Ratio = Annotated[Real, Field(gt=0, le=64)]
"""How many times a layer's channels its inner ones are."""
TableSize = Annotated[int, Strict(), Field(ge=1, le=2**20)]
"""The rows of an embedding of tokens."""
Positions = Annotated[int, Strict(), Field(ge=1, le=1024)]
"""How many tokens a text may have; attention takes memory with its square."""

# An entry per stage of a network, from the highest resolution to the lowest.
Stages = Field(min_length=1, max_length=8)
StageChannels = Annotated[tuple[Channels, ...], Stages]
PerStage = Count | Annotated[tuple[Count, ...], Stages]
"""One number for all stages, or one each."""

# Options that are honoured at one value only.
One = Annotated[Real, Field(ge=1, le=1)]
Zero = Annotated[Real, Field(ge=0, le=0)]

ActivationName = Literal["silu", "swish", "gelu", "quick_gelu", "relu"]


def check_divides(name: str, divisor: int, **wholes: int | Iterable[int]) -> None:
    """Groups and heads split channels evenly.

    Raises:
        ValueError: ``divisor``, the field ``name``, does not divide one of the others.
    """
    for whole, values in wholes.items():
        for value in (values,) if isinstance(values, int) else values:
            if value % divisor:
                raise ValueError(f"{name} must divide {whole}, got {divisor} and {value}")
