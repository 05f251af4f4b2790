"""The configs of UNets and ControlNets, read off the names and shapes of their tensors.

Shapes do not tell how many heads an attention has. Stable Diffusion 1.x has 8 everywhere, and projects into its
transformers with convolutions; 2.x and XL give each head 64 channels, and project with matrices.
"""

from collections.abc import Mapping

from ..safetensors import StoredTensor
from .key_map import indices_after, sides
from .unet_names import Stages

Tensors = Mapping[str, StoredTensor]

HEADS = 8
HEAD_CHANNELS = 64
SIZE_CHANNELS = 256
"""Channels that XL's sizes and crops are each embedded in."""


def unet_config(tensors: Tensors, sample_size: int) -> dict[str, object]:
    """A UNet's config in the published fields.

    Args:
        tensors: under our names.
        sample_size: the usual side of the latents, which shapes do not tell.

    Raises:
        ValueError: the network is none that a config can describe here.
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
    # Each size but the last stands twice: once kept, once on the way to the next.
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
    """Channels of the text that a UNet looks at; 0 when it has no transformer."""
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
    """How many blocks transformers have: one number for all stages, or one per stage, or one per layer.

    Networks that were pruned within a stage (SSD-1B, Vega) have other depths on the way up than on the way down.
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
    if down[-1] is None:  # the middle has a transformer also where the last stage has none
        down[-1] = middle
    last = down[-1][0] if isinstance(down[-1], list) else down[-1]
    if middle is not None and last != middle:
        raise ValueError(
            f"the lowest stage has a transformer of {middle} blocks beside one of {last}, which no config can say"
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
