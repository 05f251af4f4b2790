"""The memory that decoding images takes, which is the most of a large image's run; refused where it is not there."""

from collections.abc import Mapping
from typing import TypeAlias

from .machine import total_memory

Part: TypeAlias = tuple[int, int, int]
"""Height, width and number of the images, or tiles of them, that are decoded at a time."""
_FEATURE_MAPS = 3.5
"""How many of the decoder's largest feature maps are held at once: measured 3.6 (float16) and 3.8 (float32) on
``icons`` between 512×512 and 1024×1024."""
_TINY_CHANNELS = 64
"""The channels of a tiny autoencoder whose config is not on this machine."""


def check_memory(channels: int, size: tuple[int, int], images: int, dtype: str, part: Part | None = None) -> None:
    """Refuse images that take more memory than the machine has: they would fail after minutes, or be killed.

    Args:
        channels: of the decoder's largest feature maps.
        size: height and width in pixels.
        images: how many are drawn in one call.
        dtype: what is computed in.
        part: what is decoded at a time; None for all of it.

    Raises:
        ValueError: as said.
    """
    memory = total_memory()
    needed = needed_bytes(channels, size, images, dtype, part)
    if memory is None or needed <= memory:
        return
    side = int((memory / needed * size[0] * size[1]) ** 0.5) // 64 * 64
    fewer = f"draw at most about {side}×{side} pixels"
    if images > 1:
        fewer = "draw fewer images at a time" + (f", or at most about {side}×{side} pixels" if side else "")
    what = f"{images} images of {size[1]}×{size[0]} take" if images > 1 else f"an image of {size[1]}×{size[0]} takes"
    raise ValueError(f"{what} about {needed / 1e9:,.0f} GB of memory and this machine has {memory / 1e9:.0f}; {fewer}")


def needed_bytes(channels: int, size: tuple[int, int], images: int, dtype: str, part: Part | None = None) -> int:
    """Bytes that decoding takes at its peak, which is the most of a large image's run; see `check_memory`."""
    height, width, count = part or (*size, images)
    maps = _FEATURE_MAPS * channels * (4 if dtype == "float32" else 2) * height * width * count
    return int(maps + 3 * (4 + 1) * size[0] * size[1] * images)  # and the pixels


def stage_channels(config: Mapping[str, object]) -> list[int]:
    """The channels of an autoencoder's stages, that of the image's size first; none where its config does not say."""
    decoder = config.get("decoder_block_out_channels")
    blocks = config.get("block_out_channels") if decoder is None else decoder
    if not isinstance(blocks, (list, tuple)) or not all(isinstance(each, int) for each in blocks):
        return []
    return list(blocks[::-1] if decoder is not None and _is_tiny(config) else blocks)


def widest(decoder: Mapping[str, object]) -> int:
    """Channels of the largest feature maps, which have the image's size.

    `AutoencoderKL` enlarges the maps of the stage before the last one, and they are the last one's first. The others
    narrow them on the way. Where the last stage of `AutoencoderDC` has no layers, what it enlarges are the largest.
    """
    blocks = stage_channels(decoder)
    if not blocks:
        return _TINY_CHANNELS
    depths = decoder.get("decoder_layers_per_block")
    if isinstance(depths, (list, tuple)) and depths[:1] in ([0], (0,)) and len(blocks) > 1:
        return -(-blocks[1] // 4)
    return blocks[0] if "decoder_block_out_channels" in decoder else blocks[min(1, len(blocks) - 1)]


def _is_tiny(config: Mapping[str, object]) -> bool:
    """Whether it is a tiny autoencoder's, which counts the decoder's stages from the smallest on."""
    return "decoder_block_out_channels" in config and "decoder_block_types" not in config
