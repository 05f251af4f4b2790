"""The memory for decoding images, the peak of a large image's run; too large a decode is refused."""

from collections.abc import Mapping
from typing import TypeAlias

from .machine import total_memory

Part: TypeAlias = tuple[int, int, int]
"""Height, width and number of the images, or tiles, decoded at a time."""
_FEATURE_MAPS = 3.5
"""How many of the decoder's largest feature maps are in memory at once: measured 3.6 (float16) and 3.8 (float32) on
``icons`` between 512×512 and 1024×1024."""
_TINY_CHANNELS = 64
"""The channels of a tiny autoencoder whose config is not on this machine."""


def check_memory(channels: int, size: tuple[int, int], images: int, dtype: str, part: Part | None = None) -> None:
    """Refuse images that need more memory than the machine has: the run would fail after minutes, or be killed.

    Args:
        channels: the channels of the decoder's largest feature maps.
        size: height and width in pixels.
        images: how many one call generates.
        dtype: the compute dtype.
        part: the part decoded at a time; None for all of it.

    Raises:
        ValueError: the memory does not suffice; the message names a size that fits.
    """
    memory = total_memory()
    needed = needed_bytes(channels, size, images, dtype, part)
    if memory is None or needed <= memory:
        return
    side = int((memory / needed * size[0] * size[1]) ** 0.5) // 64 * 64
    fewer = f"generate at most about {side}×{side} pixels"
    if images > 1:
        fewer = "generate fewer images at a time" + (f", or at most about {side}×{side} pixels" if side else "")
    what = f"{images} images of {size[1]}×{size[0]} take" if images > 1 else f"an image of {size[1]}×{size[0]} takes"
    raise ValueError(f"{what} about {needed / 1e9:,.0f} GB of memory and this machine has {memory / 1e9:.0f}; {fewer}")


def needed_bytes(channels: int, size: tuple[int, int], images: int, dtype: str, part: Part | None = None) -> int:
    """Bytes that decoding takes at its peak, which is the peak of a large image's run; see `check_memory`."""
    height, width, count = part or (*size, images)
    maps = _FEATURE_MAPS * channels * (4 if dtype == "float32" else 2) * height * width * count
    return int(maps + 3 * (4 + 1) * size[0] * size[1] * images)  # and the pixels


def stage_channels(config: Mapping[str, object]) -> list[int]:
    """The channels of an autoencoder's stages, the full-size stage first; empty if its config does not say."""
    decoder = config.get("decoder_block_out_channels")
    blocks = config.get("block_out_channels") if decoder is None else decoder
    if not isinstance(blocks, (list, tuple)) or not all(isinstance(each, int) for each in blocks):
        return []
    return list(blocks[::-1] if decoder is not None and _is_tiny(config) else blocks)


def widest(decoder: Mapping[str, object]) -> int:
    """Channels of the largest feature maps, those of the image's size.

    `AutoencoderKL` enlarges the maps of the last but one stage, and the last stage starts with them. The others narrow
    them on the way. If the last stage of `AutoencoderDC` has no layers, its enlarged maps are the largest.
    """
    blocks = stage_channels(decoder)
    if not blocks:
        return _TINY_CHANNELS
    depths = decoder.get("decoder_layers_per_block")
    if isinstance(depths, (list, tuple)) and depths[:1] in ([0], (0,)) and len(blocks) > 1:
        return -(-blocks[1] // 4)
    return blocks[0] if "decoder_block_out_channels" in decoder else blocks[min(1, len(blocks) - 1)]


def _is_tiny(config: Mapping[str, object]) -> bool:
    """Whether the config is a tiny autoencoder's, which counts the decoder's stages from the smallest."""
    return "decoder_block_out_channels" in config and "decoder_block_types" not in config
