"""Names of the UNet and of ControlNets in the original layout (Rombach et al. 2022; Zhang et al. 2023).

There the layers stand in three flat lists, ``input_blocks``, ``middle_block`` and ``output_blocks``; a downsampler has
a number of its own, an upsampler shares its stage's last. Here they stand in stages. How many layers a stage has is
read off the names, so that a pruned network (BK-SDM) needs no config.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass

from .key_map import KeyMap, indices_after

_RESNET = (
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
)
_OUTSIDE = (
    ("input_blocks.0.0", "conv_in"),
    ("time_embed.0", "time_embedding.linear_1"),
    ("time_embed.2", "time_embedding.linear_2"),
    ("label_emb.0.0", "add_embedding.linear_1"),
    ("label_emb.0.2", "add_embedding.linear_2"),
)


MOST_STAGES, MOST_LAYERS = 8, 16
"""Twice as many as any published network has; maps of names are made of their product."""


@dataclass(frozen=True)
class Stages:
    """What the numbering depends on, one value per stage from the highest resolution to the lowest."""

    layers: tuple[int, ...]
    """Residual blocks on the way down; there is one more on the way up."""
    attends: tuple[bool, ...]
    """Whether a transformer follows each residual block."""

    @classmethod
    def of_original(cls, names: Collection[str]) -> "Stages":
        """Read off the original layout's names, without a prefix such as ``model.diffusion_model.``."""
        layers, attends = [0], [False]
        names = names if isinstance(names, (Mapping, Set)) else frozenset(names)
        for i in sorted(indices_after(names, "input_blocks.") - {0}):
            if f"input_blocks.{i}.0.op.weight" in names:
                layers.append(0)
                attends.append(False)
            else:
                layers[-1] += 1
                attends[-1] = attends[-1] or f"input_blocks.{i}.1.norm.weight" in names
        return cls._checked(layers, attends)

    @classmethod
    def of_ours(cls, names: Collection[str]) -> "Stages":
        """Read off our names."""
        layers, attends = [], []
        for i in sorted(indices_after(names, "down_blocks.", MOST_STAGES)):
            layers.append(len(indices_after(names, f"down_blocks.{i}.resnets.")))
            attends.append(bool(indices_after(names, f"down_blocks.{i}.attentions.")))
        return cls._checked(layers, attends)

    @classmethod
    def _checked(cls, layers: Sequence[int], attends: Sequence[bool]) -> "Stages":
        if len(layers) > MOST_STAGES or max(layers, default=0) > MOST_LAYERS:
            raise ValueError(
                f"it has {len(layers)} stages of up to {max(layers, default=0)} layers; no UNet has more than "
                f"{MOST_STAGES} of {MOST_LAYERS}"
            )
        return cls(tuple(layers), tuple(attends))


def unet_key_map(stages: Stages) -> KeyMap:
    """The map of a UNet's names."""
    pairs = [*_OUTSIDE, ("out.0", "conv_norm_out"), ("out.2", "conv_out"), *_down(stages), *_middle()]
    i = 0
    last = len(stages.layers) - 1
    for stage, (layers, attends) in enumerate(zip(reversed(stages.layers), reversed(stages.attends))):
        for layer in range(layers + 1):
            pairs += _resnet(f"output_blocks.{i}.0", f"up_blocks.{stage}.resnets.{layer}")
            if attends:
                pairs.append((f"output_blocks.{i}.1", f"up_blocks.{stage}.attentions.{layer}"))
            i += 1
        if stage < last:
            pairs.append((f"output_blocks.{i - 1}.{1 + attends}.conv", f"up_blocks.{stage}.upsamplers.0.conv"))
    return KeyMap(pairs)


def controlnet_key_map(stages: Stages, hint_layers: int) -> KeyMap:
    """The map of a ControlNet's names.

    Args:
        stages: those of its encoder half.
        hint_layers: convolutions that the control image passes, the first and the last one included.
    """
    pairs = [*_OUTSIDE, *_down(stages), *_middle(), ("middle_block_out.0", "controlnet_mid_block")]
    outputs = 1 + sum(stages.layers) + len(stages.layers) - 1
    pairs += [(f"zero_convs.{i}.0", f"controlnet_down_blocks.{i}") for i in range(outputs)]
    # Between two convolutions stands an activation, so their numbers are even.
    inner = [f"blocks.{i}" for i in range(hint_layers - 2)]
    pairs += [
        (f"input_hint_block.{2 * i}", f"controlnet_cond_embedding.{name}")
        for i, name in enumerate(["conv_in", *inner, "conv_out"])
    ]
    return KeyMap(pairs)


def hint_layers_of(names: Collection[str]) -> int:
    """How many convolutions a ControlNet's control image passes, in either layout."""
    original = len(indices_after(names, "input_hint_block."))
    return original or 2 + len(indices_after(names, "controlnet_cond_embedding.blocks."))


def _resnet(original: str, ours: str) -> list[tuple[str, str]]:
    return [(f"{original}.{a}", f"{ours}.{b}") for a, b in _RESNET]


def _down(stages: Stages) -> list[tuple[str, str]]:
    pairs = []
    i = 1
    for stage, (layers, attends) in enumerate(zip(stages.layers, stages.attends)):
        for layer in range(layers):
            pairs += _resnet(f"input_blocks.{i}.0", f"down_blocks.{stage}.resnets.{layer}")
            if attends:
                pairs.append((f"input_blocks.{i}.1", f"down_blocks.{stage}.attentions.{layer}"))
            i += 1
        if stage < len(stages.layers) - 1:
            pairs.append((f"input_blocks.{i}.0.op", f"down_blocks.{stage}.downsamplers.0.conv"))
            i += 1
    return pairs


def _middle() -> list[tuple[str, str]]:
    pairs = [("middle_block.1", "mid_block.attentions.0")]
    return pairs + _resnet("middle_block.0", "mid_block.resnets.0") + _resnet("middle_block.2", "mid_block.resnets.1")
