"""What can be under a mask before it is drawn anew."""

from typing import Literal, TypeAlias, get_args

MaskFill: TypeAlias = Literal["original", "blur", "noise", "nothing"]
"""The picture itself; blurred colours of what is around the mask; in the latents noise, or zeros."""

MASK_FILLS: tuple[str, ...] = get_args(MaskFill)
