"""FLUX.1 in one file: only the transformer, as published by Black Forest Labs, or everything, as in ComfyUI.

Queries, keys and values of a stream are one matrix there, in the blocks of one stream together with the first layer of
the feed-forward. If a modulation has only a scale and a shift, the shift comes first there and the scale here.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from ...loading.deferred import Deferred
from ...loading.original.autoencoder import shifted_autoencoder
from ...loading.original.clip import CLIP
from ...loading.original.key_map import KeyMap, indices_after, sides
from ...loading.original.layout import Alone, NetworkLayout, OriginalLayout, Part, Parts, Release, Tensors
from ...loading.original.t5 import T5
from ...loading.original.training_config import TrainingConfig
from ...loading.safetensors import StoredTensor
from ..adapters import Rows
from ..fused_layers import equal_parts, fuse, split

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
_QKV = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
_LINEAR1 = {"attn.to_q": (0, 1), "attn.to_k": (1, 2), "attn.to_v": (2, 3), "proj_mlp": (3, 7)}
"""The parts of the first layer of a single-stream block, as ranges of its seven equal parts of rows."""
_DOUBLES = "double_blocks.", "transformer_blocks."
_SINGLES = "single_blocks.", "single_transformer_blocks."
_TURNED = ("norm_out.linear",)
"""Our name of the layer with swapped halves."""


def _key_map(doubles: Collection[int], singles: Collection[int]) -> KeyMap:
    """The map of a transformer's names, without the fused matrices."""
    kinds = (_DOUBLES, doubles, _DOUBLE), (_SINGLES, singles, _SINGLE)
    pairs = [
        (f"{theirs}{i}.{layer}", f"{ours}{i}.{own}")
        for (theirs, ours), blocks, layers in kinds
        for i in blocks
        for layer, own in layers
    ]
    return KeyMap([*_PAIRS, *pairs])


def _fused(doubles: Collection[int], singles: Collection[int]) -> dict[str, list[Rows]]:
    """The layers that hold several of ours, and the rows of each."""
    theirs, ours = _DOUBLES
    found = {
        f"{theirs}{i}.{layer}": equal_parts([f"{ours}{i}.{each}" for each in parts])
        for i in doubles
        for layer, parts in _QKV.items()
    }
    theirs, ours = _SINGLES
    return found | {
        f"{theirs}{i}.linear1": [Rows(f"{ours}{i}.{each}", (part,), 7) for each, part in _LINEAR1.items()]
        for i in singles
    }


def _blocks(names: Iterable[str], kind: int) -> tuple[set[int], set[int]]:
    """The numbers of the two-stream and single-stream blocks, under their names (0) or ours (1)."""
    names = list(names)
    return indices_after(names, _DOUBLES[kind]), indices_after(names, _SINGLES[kind])


def numbering(parameters: Collection[str]) -> KeyMap:
    """A transformer's layers by their names in the original layout, except those of `apart`."""
    return _key_map(*_blocks(parameters, 1))


def apart(parameters: Collection[str]) -> dict[str, list[Rows]]:
    """The layers of LoRA files that hold several of ours, or one of ours with another name or order.

    In addition to the original layout's these are XLabs', whose files name the parts of a block's attention processor.
    """
    doubles, singles = _blocks(parameters, 1)
    found = _fused(doubles, singles)
    found["final_layer.adaLN_modulation.1"] = [Rows(*_TURNED, ((1, 2), (0, 1)), 2)]
    (double, ours), whole = _DOUBLES, ((0, 1),)
    for i in doubles:
        for number, layer, out in ((1, "img_attn.qkv", "attn.to_out.0"), (2, "txt_attn.qkv", "attn.to_add_out")):
            found[f"{double}{i}.qkv_lora{number}"] = found[f"{double}{i}.{layer}"]
            found[f"{double}{i}.proj_lora{number}"] = [Rows(f"{ours}{i}.{out}", whole, 1)]
    single, ours = _SINGLES
    for i in singles:
        found[f"{single}{i}.qkv"] = equal_parts(
            [f"{ours}{i}.{each}" for each in ("attn.to_q", "attn.to_k", "attn.to_v")]
        )
        found[f"{single}{i}.proj"] = [Rows(f"{ours}{i}.proj_out", whole, 1)]
    return found


def _ours(tensors: Tensors) -> dict[str, StoredTensor]:
    blocks = _blocks(tensors, 0)
    return split(tensors, _fused(*blocks), _key_map(*blocks), _TURNED)


def _original(tensors: Tensors) -> Deferred[StoredTensor]:
    blocks = _blocks(tensors, 1)
    return fuse(tensors, _fused(*blocks), _key_map(*blocks), _TURNED)


def transformer_config(tensors: Tensors, release: Release, _: TrainingConfig) -> dict[str, object]:
    """A transformer's config in the published fields, by its tensors under our names."""
    doubles, singles = _blocks(tensors, 1)
    width, channels = sides(tensors, "x_embedder.weight", 2)
    head = sides(tensors, f"{_SINGLES[1]}0.attn.norm_q.weight", 1)[0]
    row = head * 7 // 32 * 2  # (16, 56, 56) of 128 channels
    return {
        "_class_name": "FluxTransformer2DModel",
        "patch_size": 1,
        "in_channels": channels,
        "out_channels": sides(tensors, "proj_out.weight", 2)[0],
        "num_layers": len(doubles),
        "num_single_layers": len(singles),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": sides(tensors, "context_embedder.weight", 2)[1],
        "pooled_projection_dim": sides(tensors, "time_text_embed.text_embedder.linear_1.weight", 2)[1],
        "guidance_embeds": _reads_guidance(tensors),
        "axes_dims_rope": [head - 2 * row, row, row],
    }


def _reads_guidance(tensors: Tensors) -> bool:
    return any(name.startswith("time_text_embed.guidance_embedder.") for name in tensors)


TRANSFORMER = NetworkLayout(_ours, _original, transformer_config, ("FluxTransformer2DModel",))
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
