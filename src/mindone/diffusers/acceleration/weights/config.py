"""The settings for rounding the weights of a pipeline's networks to 4 or 8 bits."""

from dataclasses import dataclass
from typing import Literal, get_args

from ..quantized_components import DENOISER, TEXT_ENCODERS, check_components

WeightsType = Literal["int4", "int8"]
LEAST_GROUP = 4
"""The smallest group that engines support."""
MOST_GROUP = 4096
GROUP = 64


@dataclass(frozen=True)
class WeightOnlyConfig:
    """W4A16 or W8A16: weights as small integers by group, products in the network's precision.

    Args:
        weights_dtype: ``"int4"`` or ``"int8"``. With ``"int4"``, embeddings, the layers that affect pictures most (the
            first ones, the last one, those that read the timestep and the text) and small networks use 8 bits.
        group_size: the number of consecutive weights in a row that share a scale, from 4 to 4,096. If it does not
            divide a layer's rows, the layer gets the largest smaller group that does and is at least 16, or else 8
            bits and a scale per row.
        symmetric: 4 bits without a zero point, which saves a quarter of a bit for groups of 64 and is less exact.
            Language models (T5, Gemma) never have one.
        modules_to_not_convert: layers to leave unchanged, by a part of their name, such as ``"ff.net.2"``.
        components_to_quantize: by default the denoiser, ``"denoiser"``, and all networks that read prompts,
            ``"text_encoders"``; or components by their own names.

    Raises:
        ValueError: another type, a group size out of range, no component, or one that cannot be quantised.
    """

    weights_dtype: WeightsType = "int4"
    group_size: int = GROUP
    symmetric: bool = False
    modules_to_not_convert: tuple[str, ...] = ()
    components_to_quantize: tuple[str, ...] = (DENOISER, TEXT_ENCODERS)

    def __post_init__(self) -> None:
        if self.weights_dtype not in get_args(WeightsType):
            known = " or ".join(map(repr, get_args(WeightsType)))
            raise ValueError(f"weights_dtype must be {known}, got {self.weights_dtype!r}")
        size = self.group_size
        if isinstance(size, bool) or not isinstance(size, int) or not LEAST_GROUP <= size <= MOST_GROUP:
            raise ValueError(f"group_size must be from {LEAST_GROUP} to {MOST_GROUP}, such as {GROUP}, got {size!r}")
        if isinstance(self.modules_to_not_convert, str):
            raise ValueError(f"modules_to_not_convert must be a tuple of names, got {self.modules_to_not_convert!r}")
        check_components(self.components_to_quantize)

    @property
    def bits(self) -> int:
        """4 or 8."""
        return int(self.weights_dtype.removeprefix("int"))
