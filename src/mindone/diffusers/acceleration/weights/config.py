"""How the weights of a pipeline's networks are brought to 4 or 8 bits."""

from dataclasses import dataclass
from typing import Literal, get_args

from ..quantized_components import DENOISER, TEXT_ENCODERS, check_components

WeightsType = Literal["int4", "int8"]
LEAST_GROUP = 4
"""The smallest group that engines multiply by."""
MOST_GROUP = 4096
GROUP = 64


@dataclass(frozen=True)
class WeightOnlyConfig:
    """W4A16 or W8A16: weights as small integers by group, products in the precision of the network.

    Args:
        weights_dtype: ``"int4"`` or ``"int8"``. With ``"int4"`` embeddings, the layers that pictures are sensitive to
            (the first ones, the last one, those that read the timestep and the text) and small networks are in 8 bits.
        group_size: how many weights that follow one another in a row share a scale, from 4 to 4,096. Layers whose rows
            it does not divide have the largest smaller group that does, from 16 on, or else 8 bits and a scale per row.
        symmetric: 4 bits without a zero point, which are a quarter of a bit fewer for groups of 64, and less exact.
            Language models (T5, Gemma) have none in any case.
        modules_to_not_convert: layers that stay as they are, by a part of their name, such as ``"ff.net.2"``.
        components_to_quantize: the denoising network, ``"denoiser"``, and all networks that read prompts,
            ``"text_encoders"``, at first; or components by their own names.

    Raises:
        ValueError: another type, a group size out of range, or no component or one that is not quantised.
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
