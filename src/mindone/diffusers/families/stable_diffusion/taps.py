"""The places to read and cut the UNet from outside: its layers by path, in running order."""

from collections.abc import Collection, Iterator
from typing import Protocol, TypeAlias

from mindspore import nn

from ...engines import Taps
from ...models.cells import CellList
from ...models.taps import Cut
from ...models.wrapping import bare
from .unet_blocks import Block, DownBlock, UpBlock

Layer: TypeAlias = tuple[str, ...]
"""The paths of the cells that run in sequence from one skip connection to the next."""


class Encoder(Protocol):
    """A UNet, or a ControlNet."""

    down_blocks: "CellList[DownBlock]"
    mid_block: nn.Cell | None


class UNet(Encoder, Protocol):
    """A whole UNet."""

    up_blocks: "CellList[UpBlock]"


def cuts(unet: UNet) -> tuple[Cut, ...]:
    """The branches of DeepCache (Ma et al. 2024, §3.2), the highest first.

    Branch ``b`` keeps ``conv_in``, the layers of the first ``b`` skip connections after it, and the last ``b + 1``
    layers on the way up. Their input from below changes slowly from step to step.
    """
    down, lowest, up = down_layers(unet), _lowest(unet), _up_layers(unet)
    return tuple(Cut(up[-1 - b][0], (*_paths(down[b + 1 :]), *lowest, *_paths(up[: -1 - b]))) for b in range(len(down)))


def down_layers(encoder: Encoder) -> list[Layer]:
    """The layers that make each skip connection from the previous one, the first one from the latents."""
    layers: list[Layer] = [("conv_in",)]
    for i in range(len(encoder.down_blocks)):
        block = bare(encoder.down_blocks[i])
        layers += _layers(block, f"down_blocks.{i}")
        if block.downsamplers is not None:
            layers.append((f"down_blocks.{i}.downsamplers.0",))
    return layers


def skips_without(encoder: Encoder, left_out: Collection[str]) -> int:
    """How many skip connections, from the first on, need none of the skipped layers."""
    layers = down_layers(encoder)
    return next((i for i, layer in enumerate(layers) if not set(layer).isdisjoint(left_out)), len(layers))


def first_skips(encoder: Encoder, count: int) -> Taps | None:
    """Taps for a call that needs only the first ``count`` skip connections; None if these are all."""
    below = down_layers(encoder)[count:]
    return Taps(left_out=(*_paths(below), *_lowest(encoder))) if below else None


def self_attentions(unet: UNet) -> dict[int, tuple[str, ...]]:
    """The self-attentions over pixels, by level, for levels that have them; 0 is the level at the latents' size."""
    last = len(unet.up_blocks) - 1
    levels = {
        level: (
            *_self_attentions(bare(unet.down_blocks[level]), f"down_blocks.{level}"),
            *_self_attentions(bare(unet.up_blocks[last - level]), f"up_blocks.{last - level}"),
        )
        for level in range(last + 1)
    }
    return {level: paths for level, paths in levels.items() if paths}


def _self_attentions(block: Block, path: str) -> Iterator[str]:
    for i, transformer in enumerate(block.attentions or ()):
        for j in range(len(bare(transformer).transformer_blocks)):
            yield f"{path}.attentions.{i}.transformer_blocks.{j}.attn1"


def _lowest(encoder: Encoder) -> Layer:
    return () if encoder.mid_block is None else ("mid_block",)


def _up_layers(unet: UNet) -> list[Layer]:
    """The layers that take each skip connection, the last one first."""
    layers: list[Layer] = []
    for i in range(len(unet.up_blocks)):
        block = bare(unet.up_blocks[i])
        layers += _layers(block, f"up_blocks.{i}")
        if block.upsamplers is not None:
            layers[-1] += (f"up_blocks.{i}.upsamplers.0",)
    return layers


def _layers(block: Block, path: str) -> list[Layer]:
    names = ("resnets",) if block.attentions is None else ("resnets", "attentions")
    return [tuple(f"{path}.{name}.{layer}" for name in names) for layer in range(len(block.resnets))]


def _paths(layers: list[Layer]) -> Layer:
    return tuple(path for layer in layers for path in layer)
