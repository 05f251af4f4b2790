"""What can be under a mask before it is repainted."""

from typing import Literal, TypeAlias, get_args

MaskFill: TypeAlias = Literal["original", "blur", "noise", "nothing"]
"""The picture itself; blurred colours from around the mask; noise or zeros in the latents."""

MASK_FILLS: tuple[str, ...] = get_args(MaskFill)
