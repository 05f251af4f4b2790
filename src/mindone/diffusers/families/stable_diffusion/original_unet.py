"""UNets and ControlNets in the original layout (Rombach et al. 2022; Zhang et al. 2023): names, and configs derived
from shapes.

There the layers are in three flat lists, ``input_blocks``, ``middle_block`` and ``output_blocks``; a downsampler has
its own number, an upsampler shares its stage's last. Here they are in stages. The names show how many layers a stage
has, so a pruned network (BK-SDM) needs no config.

Shapes do not show the number of attention heads. Stable Diffusion 1.x has 8 everywhere, and projects into its
transformers with convolutions; 2.x and XL give each head 64 channels, and project with matrices.
"""

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial

from ...loading.deferred import Deferred
from ...loading.original.key_map import (
    MOST_LAYERS,
    MOST_STAGES,
    KeyMap,
    indices_after,
    sides,
    to_original,
    to_ours,
)
from ...loading.original.layout import NetworkLayout, Release, Tensors
from ...loading.original.training_config import TrainingConfig
from ...loading.safetensors import StoredTensor

HEADS = 8
HEAD_CHANNELS = 64
SIZE_CHANNELS = 256
"""The channels of the embedding of each of XL's sizes and crops."""

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


# ---- names -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stages:
    """The facts behind the numbering, one value per stage from the highest resolution to the lowest."""

    layers: tuple[int, ...]
    """Residual blocks on the way down; there is one more on the way up."""
    attends: tuple[bool, ...]
    """Whether a transformer follows each residual block."""

    @classmethod
    def of_original(cls, names: Collection[str]) -> "Stages":
        """Derive them from the original layout's names, without a prefix such as ``model.diffusion_model.``."""
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
        """Derive them from our names."""
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
        hint_layers: convolutions on the control image, including the first and the last.
    """
    pairs = [*_OUTSIDE, *_down(stages), *_middle(), ("middle_block_out.0", "controlnet_mid_block")]
    outputs = 1 + sum(stages.layers) + len(stages.layers) - 1
    pairs += [(f"zero_convs.{i}.0", f"controlnet_down_blocks.{i}") for i in range(outputs)]
    # An activation lies between two convolutions, so their numbers are even.
    inner = [f"blocks.{i}" for i in range(hint_layers - 2)]
    pairs += [
        (f"input_hint_block.{2 * i}", f"controlnet_cond_embedding.{name}")
        for i, name in enumerate(["conv_in", *inner, "conv_out"])
    ]
    return KeyMap(pairs)


def hint_layers_of(names: Collection[str]) -> int:
    """The number of convolutions on a ControlNet's control image, in either layout."""
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


# ---- configs ---------------------------------------------------------------------------------------------------------


def unet_config(tensors: Tensors, sample_size: int) -> dict[str, object]:
    """A UNet's config in the published fields.

    Args:
        tensors: under our names.
        sample_size: the usual side of the latents, which shapes do not show.

    Raises:
        ValueError: no config here can describe the network.
    """
    config = _shared(tensors)
    down = config["down_block_types"]
    assert isinstance(down, list)
    up = {"CrossAttnDownBlock2D": "CrossAttnUpBlock2D", "DownBlock2D": "UpBlock2D"}
    guidance = "time_embedding.cond_proj.weight"
    return {
        "_class_name": "UNet2DConditionModel",
        "sample_size": sample_size,
        "out_channels": sides(tensors, "conv_out.weight", 4)[0],
        "up_block_types": [up[kind] for kind in reversed(down)],
        **({"time_cond_proj_dim": sides(tensors, guidance, 2)[1]} if guidance in tensors else {}),
        **config,
    }


def controlnet_config(tensors: Tensors) -> dict[str, object]:
    """A ControlNet's config in the published fields; ``tensors`` under our names."""
    embedding = "controlnet_cond_embedding"
    inner = [f"{embedding}.blocks.{i}.weight" for i in sorted(indices_after(tensors, f"{embedding}.blocks."))]
    # Each size but the last appears twice: once kept, once on the way to the next.
    first = sides(tensors, f"{embedding}.conv_in.weight", 4)
    channels = [first[0], *(sides(tensors, name, 4)[0] for name in inner[1::2])]
    return {
        "_class_name": "ControlNetModel",
        "conditioning_channels": first[1],
        "conditioning_embedding_out_channels": channels,
        "controlnet_conditioning_channel_order": "rgb",
        "global_pool_conditions": False,
        **_shared(tensors),
    }


def cross_attention_dim(tensors: Tensors) -> int:
    """The channels of a UNet's text; 0 if it has no transformer."""
    for name in tensors:
        if name.endswith(".attn2.to_k.weight"):
            return sides(tensors, name, 2)[1]
    return 0


def _shared(tensors: Tensors) -> dict[str, object]:
    stages = Stages.of_ours(tensors)
    channels = [sides(tensors, f"down_blocks.{i}.resnets.0.conv1.weight", 4)[0] for i in range(len(stages.layers))]
    linear = any(name.endswith(".proj_in.weight") and len(tensors[name].shape) == 2 for name in tensors)
    config: dict[str, object] = {
        "in_channels": sides(tensors, "conv_in.weight", 4)[1],
        "block_out_channels": channels,
        "layers_per_block": _collapsed(list(stages.layers)),
        "down_block_types": ["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in stages.attends],
        "cross_attention_dim": cross_attention_dim(tensors),
        "attention_head_dim": [max(width // HEAD_CHANNELS, 1) for width in channels] if linear else HEADS,
        **_depths(tensors, stages, has_decoder="conv_out.weight" in tensors),
        "use_linear_projection": linear,
        "act_fn": "silu",
        "center_input_sample": False,
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-5,
        "norm_num_groups": 32,
    }
    if not indices_after(tensors, "mid_block.attentions."):
        has_middle = bool(indices_after(tensors, "mid_block.resnets."))
        config["mid_block_type"] = "UNetMidBlock2D" if has_middle else None
    added = "add_embedding.linear_1.weight"
    if added in tensors:
        config["addition_embed_type"] = "text_time"
        config["addition_time_embed_dim"] = SIZE_CHANNELS
        config["projection_class_embeddings_input_dim"] = sides(tensors, added, 2)[1]
    return config


Depths = int | list[int]
"""Transformer blocks of a stage's layers: one number for all, or one each."""


def _depths(tensors: Tensors, stages: Stages, *, has_decoder: bool) -> dict[str, object]:
    """The numbers of blocks of transformers: one for all stages, one per stage, or one per layer.

    Networks pruned within a stage (SSD-1B, Vega) have different depths on the way up and on the way down.
    """
    down = [
        _collapsed([_depth(tensors, f"down_blocks.{stage}.attentions.{i}") for i in range(layers)]) if attends else None
        for stage, (layers, attends) in enumerate(zip(stages.layers, stages.attends))
    ]
    up = [
        _collapsed([_depth(tensors, f"up_blocks.{stage}.attentions.{i}") for i in range(layers + 1)])
        if attends
        else None
        for stage, (layers, attends) in enumerate(zip(reversed(stages.layers), reversed(stages.attends)))
    ]
    middle = _depth(tensors, "mid_block.attentions.0") or None
    if down[-1] is None:  # the middle has a transformer even if the last stage has none
        down[-1] = middle
    last = down[-1][0] if isinstance(down[-1], list) else down[-1]
    if middle is not None and last != middle:
        raise ValueError(
            f"the lowest stage has transformers of {middle} and of {last} blocks, which no config can express"
        )
    mirrored = all(depth is None or depth == below for depth, below in zip(up, reversed(down)))
    if has_decoder and not (mirrored and all(isinstance(depth, int | None) for depth in down)):
        return {
            "transformer_layers_per_block": [1 if depth is None else depth for depth in down],
            "reverse_transformer_layers_per_block": [1 if depth is None else depth for depth in up],
        }
    known = [depth for depth in down if depth is not None]
    same = bool(known) and all(depth == known[0] for depth in known)
    every = [1 if depth is None else depth for depth in down]
    return {"transformer_layers_per_block": known[0] if same else every}


def _depth(tensors: Tensors, transformer: str) -> int:
    return len(indices_after(tensors, f"{transformer}.transformer_blocks."))


def _collapsed(values: list[int]) -> int | list[int]:
    return values[0] if len(set(values)) == 1 else values


# ---- both together ---------------------------------------------------------------------------------------------------


def _unet_keys(stages_of: Callable[[Collection[str]], Stages], names: Collection[str]) -> KeyMap:
    return unet_key_map(stages_of(names))


def _controlnet_keys(stages_of: Callable[[Collection[str]], Stages], names: Collection[str]) -> KeyMap:
    return controlnet_key_map(stages_of(names), hint_layers_of(names))


def unet_numbering(names: Collection[str]) -> KeyMap:
    """The map of a UNet with these tensor names of ours."""
    return _unet_keys(Stages.of_ours, names)


_PROJECTIONS = (".proj_in.weight", ".proj_out.weight")
_WIDE_TEXT = 1024
"""The channels of Stable Diffusion 2's text; those of version 1 have 768."""


def _with_matrices(tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Stable Diffusion 2's and XL's projections as matrices, which stable-diffusion.cpp writes as 1×1 convolutions."""
    has_sizes = "add_embedding.linear_1.weight" in tensors
    if not has_sizes and cross_attention_dim(tensors) != _WIDE_TEXT:
        return tensors
    return {
        name: tensor.reshape(tensor.shape[:2])
        if name.endswith(_PROJECTIONS) and len(tensor.shape) == 4 and tensor.shape[2:] == (1, 1)
        else tensor
        for name, tensor in tensors.items()
    }


def _layout(
    keys_of: Callable[[Callable[[Collection[str]], Stages], Collection[str]], KeyMap],
    config_of: Callable[[Tensors, Release], dict[str, object]],
    class_name: str,
) -> NetworkLayout:
    def original(tensors: Tensors) -> Tensors:
        names = to_original(tensors, keys_of(Stages.of_ours, tensors))
        return Deferred({name: partial(tensors.__getitem__, ours) for name, ours in names.items()})

    def config(tensors: Tensors, release: Release, training: TrainingConfig) -> dict[str, object]:
        read = config_of(tensors, release)
        widths = read["block_out_channels"]
        heads = training.heads(widths) if isinstance(widths, list) else None
        return read if heads is None else {**read, "attention_head_dim": heads}

    return NetworkLayout(
        lambda tensors: _with_matrices(to_ours(tensors, keys_of(Stages.of_original, tensors))),
        original,
        config,
        (class_name,),
    )


UNET = _layout(_unet_keys, lambda tensors, release: unet_config(tensors, release.sample_size), "UNet2DConditionModel")
CONTROLNET = _layout(_controlnet_keys, lambda tensors, _: controlnet_config(tensors), "ControlNetModel")
OUR_UNET, OUR_CONTROLNET = replace(UNET, ours=dict), replace(CONTROLNET, ours=dict)
"""Under our names already."""
