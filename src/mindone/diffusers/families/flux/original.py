"""FLUX.1 in one file: only the transformer, as published by Black Forest Labs, or everything, as in ComfyUI.

Queries, keys and values of a stream are one matrix there, in the blocks of one stream together with the first layer of
the feed-forward. If a modulation has only a scale and a shift, the shift comes first there and the scale here.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from ...loading.original.autoencoder import shifted_autoencoder
from ...loading.original.clip import CLIP
from ...loading.original.fused_layers import Blocks, FusedLayout, Rows, equal_parts
from ...loading.original.key_map import indices_after, sides
from ...loading.original.layout import Alone, NetworkLayout, OriginalLayout, Part, Parts, Release, Tensors
from ...loading.original.t5 import T5
from ...loading.original.training_config import TrainingConfig

_PAIRS = (
    ("img_in", "x_embedder"),
    ("txt_in", "context_embedder"),
    ("time_in.in_layer", "time_text_embed.timestep_embedder.linear_1"),
    ("time_in.out_layer", "time_text_embed.timestep_embedder.linear_2"),
    ("vector_in.in_layer", "time_text_embed.text_embedder.linear_1"),
    ("vector_in.out_layer", "time_text_embed.text_embedder.linear_2"),
    ("guidance_in.in_layer", "time_text_embed.guidance_embedder.linear_1"),
    ("guidance_in.out_layer", "time_text_embed.guidance_embedder.linear_2"),
    ("final_layer.linear", "proj_out"),
    ("final_layer.adaLN_modulation.1", "norm_out.linear"),
)
_DOUBLE = (
    ("img_mod.lin", "norm1.linear"),
    ("txt_mod.lin", "norm1_context.linear"),
    ("img_attn.proj", "attn.to_out.0"),
    ("txt_attn.proj", "attn.to_add_out"),
    ("img_attn.norm.query_norm.scale", "attn.norm_q.weight"),
    ("img_attn.norm.key_norm.scale", "attn.norm_k.weight"),
    ("txt_attn.norm.query_norm.scale", "attn.norm_added_q.weight"),
    ("txt_attn.norm.key_norm.scale", "attn.norm_added_k.weight"),
    ("img_mlp.0", "ff.net.0.proj"),
    ("img_mlp.2", "ff.net.2"),
    ("txt_mlp.0", "ff_context.net.0.proj"),
    ("txt_mlp.2", "ff_context.net.2"),
)
_SINGLE = (
    ("modulation.lin", "norm.linear"),
    ("norm.query_norm.scale", "attn.norm_q.weight"),
    ("norm.key_norm.scale", "attn.norm_k.weight"),
    ("linear2", "proj_out"),
)
_QUERIES = {
    "img_attn.qkv": equal_parts("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": equal_parts("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
_LINEAR1 = {"attn.to_q": (0, 1), "attn.to_k": (1, 2), "attn.to_v": (2, 3), "proj_mlp": (3, 7)}
"""The parts of the first layer of a single-stream block, as ranges of its seven equal parts of rows."""
_DOUBLES = "double_blocks.", "transformer_blocks."
_SINGLES = "single_blocks.", "single_transformer_blocks."
LAYERS = FusedLayout(
    (
        Blocks(*_DOUBLES, _QUERIES, _DOUBLE),
        Blocks(*_SINGLES, {"linear1": [Rows(layer, (part,), 7) for layer, part in _LINEAR1.items()]}, _SINGLE),
    ),
    _PAIRS,
    ("norm_out.linear",),
)
_XLABS = FusedLayout(
    (
        Blocks(
            *_DOUBLES,
            {
                "qkv_lora1": _QUERIES["img_attn.qkv"],
                "proj_lora1": equal_parts("attn.to_out.0"),
                "qkv_lora2": _QUERIES["txt_attn.qkv"],
                "proj_lora2": equal_parts("attn.to_add_out"),
            },
        ),
        Blocks(*_SINGLES, {"qkv": _QUERIES["img_attn.qkv"], "proj": equal_parts("proj_out")}),
    )
)
"""The layers of XLabs' LoRAs, whose files name the parts of a block's attention processor."""


def apart(parameters: Collection[str]) -> dict[str, list[Rows]]:
    """The layers of LoRA files that hold several of ours, or one of ours with another name or order."""
    return LAYERS.apart(parameters) | _XLABS.apart(parameters)


def transformer_config(tensors: Tensors, release: Release, _: TrainingConfig) -> dict[str, object]:
    """A transformer's config in the published fields, by its tensors under our names."""
    width, channels = sides(tensors, "x_embedder.weight", 2)
    head = sides(tensors, f"{_SINGLES[1]}0.attn.norm_q.weight", 1)[0]
    row = head * 7 // 32 * 2  # (16, 56, 56) of 128 channels
    return {
        "_class_name": "FluxTransformer2DModel",
        "patch_size": 1,
        "in_channels": channels,
        "out_channels": sides(tensors, "proj_out.weight", 2)[0],
        "num_layers": len(indices_after(tensors, _DOUBLES[1])),
        "num_single_layers": len(indices_after(tensors, _SINGLES[1])),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": sides(tensors, "context_embedder.weight", 2)[1],
        "pooled_projection_dim": sides(tensors, "time_text_embed.text_embedder.linear_1.weight", 2)[1],
        "guidance_embeds": _reads_guidance(tensors),
        "axes_dims_rope": [head - 2 * row, row, row],
    }


def _reads_guidance(tensors: Tensors) -> bool:
    return any(name.startswith("time_text_embed.guidance_embedder.") for name in tensors)


TRANSFORMER = NetworkLayout(LAYERS.split, LAYERS.fuse, transformer_config, ("FluxTransformer2DModel",))
OUR_TRANSFORMER = replace(TRANSFORMER, ours=lambda tensors: tensors)
"""Under our names already."""


# ---- files -----------------------------------------------------------------------------------------------------------

_SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
}


def _pipeline(transformer: Tensors) -> str:
    """The pipeline for a transformer; transformers that read pictures next to the latents have others."""
    inputs, outputs = sides(transformer, "x_embedder.weight", 2)[1], sides(transformer, "proj_out.weight", 2)[0]
    if inputs != outputs:
        raise ValueError(
            f"its transformer takes {inputs} channels and gives {outputs}; FluxPipeline needs equal numbers (384 is "
            "FLUX.1 Fill, 128 FLUX.1 Depth or Canny)"
        )
    return "FluxPipeline"


SCHNELL = Release(
    "FLUX.1-schnell",
    _pipeline,
    {**_SCHEDULER, "shift": 1.0, "use_dynamic_shifting": False},
    128,
    {"text_encoder": "<|endoftext|>", "text_encoder_2": "<pad>"},
    0.3611,
    modelspec="flux-1-schnell",
)
DEV = replace(
    SCHNELL,
    title="FLUX.1-dev",
    scheduler={**_SCHEDULER, "shift": 3.0, "use_dynamic_shifting": True},
    modelspec="flux-1-dev",
)


def _release(parts: Parts, networks: Mapping[str, NetworkLayout]) -> Release:
    """A layer for a guidance scale indicates dev."""
    return DEV if _reads_guidance(parts.get("transformer", {})) else SCHNELL


_TRANSFORMER = "model.diffusion_model."


_ALONE = (
    Alone(("double_blocks.0.img_attn.qkv.weight", "img_in.weight"), "transformer", TRANSFORMER),
    Alone(("single_transformer_blocks.0.proj_mlp.weight", "x_embedder.weight"), "transformer", OUR_TRANSFORMER),
)


def _is_of_others(names: Iterable[str]) -> bool:
    """Whether there is no denoiser of this family."""
    marks = {mark for alone in _ALONE for mark in alone.marks}
    return not any(name.startswith(_TRANSFORMER + _DOUBLES[0]) or name in marks for name in names)


ORIGINAL = OriginalLayout(
    known="FLUX.1",
    denoiser="transformer",
    parts=(
        Part(_TRANSFORMER, "transformer", TRANSFORMER),
        Part("vae.", "vae", shifted_autoencoder(0.1159)),
        Part("text_encoders.clip_l.transformer.", "text_encoder", CLIP),
        Part("text_encoders.t5xxl.transformer.", "text_encoder_2", T5),
    ),
    release=_release,
    alone=_ALONE,
    excludes=_is_of_others,
    is_bare=True,
    is_flow=True,
)
