"""The configs of UNets and ControlNets, read off the names and shapes of their tensors.

Shapes do not tell how many heads an attention has. Stable Diffusion 1.x has 8 everywhere, and projects into its
transformers with convolutions; 2.x and XL give each head 64 channels, and project with matrices.
"""

from collections.abc import Mapping

from ..safetensors import StoredTensor
from .key_map import indices_after
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
    guidance = tensors.get("time_embedding.cond_proj.weight")
    return {
        "_class_name": "UNet2DConditionModel",
        "sample_size": sample_size,
        "out_channels": tensors["conv_out.weight"].shape[0],
        "up_block_types": [up[kind] for kind in reversed(down)],
        **({} if guidance is None else {"time_cond_proj_dim": guidance.shape[1]}),
        **config,
    }


def controlnet_config(tensors: Tensors) -> dict[str, object]:
    """A ControlNet's config in the published fields; ``tensors`` under our names."""
    embedding = "controlnet_cond_embedding"
    inner = [f"{embedding}.blocks.{i}.weight" for i in sorted(indices_after(tensors, f"{embedding}.blocks."))]
    # Each size but the last stands twice: once kept, once on the way to the next.
    channels = [tensors[f"{embedding}.conv_in.weight"].shape[0], *(tensors[name].shape[0] for name in inner[1::2])]
    return {
        "_class_name": "ControlNetModel",
        "conditioning_channels": tensors[f"{embedding}.conv_in.weight"].shape[1],
        "conditioning_embedding_out_channels": channels,
        "controlnet_conditioning_channel_order": "rgb",
        "global_pool_conditions": False,
        **_shared(tensors),
    }


def cross_attention_dim(tensors: Tensors) -> int:
    """Channels of the text that a UNet looks at; 0 when it has no transformer."""
    for name, tensor in tensors.items():
        if name.endswith(".attn2.to_k.weight"):
            return tensor.shape[1]
    return 0


def _shared(tensors: Tensors) -> dict[str, object]:
    stages = Stages.of_ours(tensors)
    channels = [tensors[f"down_blocks.{i}.resnets.0.conv1.weight"].shape[0] for i in range(len(stages.layers))]
    linear = any(name.endswith(".proj_in.weight") and len(tensors[name].shape) == 2 for name in tensors)
    config: dict[str, object] = {
        "in_channels": tensors["conv_in.weight"].shape[1],
        "block_out_channels": channels,
        "layers_per_block": _collapsed(list(stages.layers)),
        "down_block_types": ["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in stages.attends],
        "cross_attention_dim": cross_attention_dim(tensors),
        "attention_head_dim": [max(width // HEAD_CHANNELS, 1) for width in channels] if linear else HEADS,
        "transformer_layers_per_block": _depths(tensors, stages),
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
    if not indices_after(tensors, "mid_block.resnets."):
        config["mid_block_type"] = None
    added = tensors.get("add_embedding.linear_1.weight")
    if added is not None:
        config["addition_embed_type"] = "text_time"
        config["addition_time_embed_dim"] = SIZE_CHANNELS
        config["projection_class_embeddings_input_dim"] = added.shape[1]
    return config


def _depths(tensors: Tensors, stages: Stages) -> int | list[int]:
    """Transformer blocks per transformer, one number per stage, or one for all."""
    depths: list[int | None] = []
    for stage, layers in enumerate(stages.layers):
        found = {_depth(tensors, f"down_blocks.{stage}.attentions.{i}") for i in range(layers)}
        if len(found) > 1:
            raise ValueError(
                f"down_blocks.{stage} has transformers of {', '.join(map(str, sorted(found)))} blocks: networks pruned "
                "within a stage (SSD-1B, Vega) are not known here"
            )
        depths.append(found.pop() or None)
    if depths[-1] is None:  # the middle has a transformer also where the last stage has none
        depths[-1] = _depth(tensors, "mid_block.attentions.0") or None
    known = {depth for depth in depths if depth is not None}
    return known.pop() if len(known) == 1 else [depth or 1 for depth in depths]


def _depth(tensors: Tensors, transformer: str) -> int:
    return len(indices_after(tensors, f"{transformer}.transformer_blocks."))


def _collapsed(values: list[int]) -> int | list[int]:
    return values[0] if len(set(values)) == 1 else values
