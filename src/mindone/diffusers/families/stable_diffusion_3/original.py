"""Stable Diffusion 3 and 3.5 in one file, as the authors published them, with and without text encoders.

The transformer is under ``model.diffusion_model``, the autoencoder under ``first_stage_model``, and the text encoders
under ``text_encoders``. Queries, keys and values of a stream are one matrix there. If a modulation has only a scale and
a shift, the shift comes first there and the scale here.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from ...loading.original.autoencoder import shifted_autoencoder
from ...loading.original.clip import CLIP, is_open_clip, projected_clip, text_config
from ...loading.original.fused_layers import Blocks, FusedLayout, equal_parts
from ...loading.original.key_map import indices_after, sides
from ...loading.original.layout import Alone, NetworkLayout, OriginalLayout, Part, Parts, Release, Tensors
from ...loading.original.t5 import T5
from ...loading.original.training_config import TrainingConfig
from ...loading.safetensors import StoredTensor

HEAD_CHANNELS = 64
"""Channels per head of every published transformer; with norms of queries and keys, their weights show it."""
_PLACES = "pos_embed.pos_embed"
_PAIRS = (
    ("pos_embed", _PLACES),
    ("x_embedder.proj", "pos_embed.proj"),
    ("t_embedder.mlp.0", "time_text_embed.timestep_embedder.linear_1"),
    ("t_embedder.mlp.2", "time_text_embed.timestep_embedder.linear_2"),
    ("y_embedder.mlp.0", "time_text_embed.text_embedder.linear_1"),
    ("y_embedder.mlp.2", "time_text_embed.text_embedder.linear_2"),
    ("context_embedder", "context_embedder"),
    ("final_layer.linear", "proj_out"),
    ("final_layer.adaLN_modulation.1", "norm_out.linear"),
)
_BLOCK = (
    ("x_block.attn.proj", "attn.to_out.0"),
    ("x_block.attn.ln_q", "attn.norm_q"),
    ("x_block.attn.ln_k", "attn.norm_k"),
    ("x_block.attn2.proj", "attn2.to_out.0"),
    ("x_block.attn2.ln_q", "attn2.norm_q"),
    ("x_block.attn2.ln_k", "attn2.norm_k"),
    ("x_block.mlp.fc1", "ff.net.0.proj"),
    ("x_block.mlp.fc2", "ff.net.2"),
    ("x_block.adaLN_modulation.1", "norm1.linear"),
    ("context_block.attn.proj", "attn.to_add_out"),
    ("context_block.attn.ln_q", "attn.norm_added_q"),
    ("context_block.attn.ln_k", "attn.norm_added_k"),
    ("context_block.mlp.fc1", "ff_context.net.0.proj"),
    ("context_block.mlp.fc2", "ff_context.net.2"),
    ("context_block.adaLN_modulation.1", "norm1_context.linear"),
)
_FUSED = {
    "x_block.attn.qkv": equal_parts("attn.to_q", "attn.to_k", "attn.to_v"),
    "x_block.attn2.qkv": equal_parts("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    "context_block.attn.qkv": equal_parts("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
_THEIRS, _OURS = "joint_blocks.", "transformer_blocks."
LAYERS = FusedLayout(
    (Blocks(_THEIRS, _OURS, _FUSED, _BLOCK, turned_in_last=("norm1_context.linear",)),), _PAIRS, ("norm_out.linear",)
)


def _ours(tensors: Tensors) -> dict[str, StoredTensor]:
    result = LAYERS.split(tensors)
    places = result.get(_PLACES)
    if places is not None and len(places.shape) == 2:  # as ggml writes it, which keeps no leading axis of one
        result[_PLACES] = places.reshape((1, *places.shape))
    return result


def transformer_config(tensors: Tensors, release: Release, _: TrainingConfig) -> dict[str, object]:
    """A transformer's config in the published fields, by its tensors under our names."""
    width, channels, side = sides(tensors, "pos_embed.proj.weight", 4)[:3]
    blocks = indices_after(tensors, _OURS)
    norm = f"{_OURS}0.attn.norm_q.weight"
    head = sides(tensors, norm, 1)[0] if norm in tensors else min(HEAD_CHANNELS, width)
    return {
        "_class_name": "SD3Transformer2DModel",
        "sample_size": release.sample_size,
        "patch_size": side,
        "in_channels": channels,
        "num_layers": len(blocks),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": sides(tensors, "context_embedder.weight", 2)[1],
        "caption_projection_dim": width,
        "pooled_projection_dim": sides(tensors, "time_text_embed.text_embedder.linear_1.weight", 2)[1],
        "out_channels": sides(tensors, "proj_out.weight", 2)[0] // side**2,
        "pos_embed_max_size": math.isqrt(sides(tensors, "pos_embed.pos_embed", 3)[1]),
        "dual_attention_layers": [i for i in sorted(blocks) if f"{_OURS}{i}.attn2.to_q.weight" in tensors],
        "qk_norm": "rms_norm" if norm in tensors else None,
    }


_CLASSES = ("SD3Transformer2DModel",)
TRANSFORMER = NetworkLayout(_ours, LAYERS.fuse, transformer_config, _CLASSES)
OUR_TRANSFORMER = replace(TRANSFORMER, ours=lambda tensors: tensors)
"""Under our names already."""


# ---- text encoders ---------------------------------------------------------------------------------------------------


def _first_text(tensors: Tensors) -> dict[str, StoredTensor]:
    """CLIP ViT-L/14, whose pooled text is not projected: its class's projection is the identity."""
    found = {
        name: tensor for name, tensor in projected_clip(tensors).items() if not name.startswith("text_projection.")
    }
    norm = found.get("text_model.final_layer_norm.weight")
    if norm is not None:
        kind = norm.dtype if norm.dtype in ("F32", "F16") else "F32"
        identity = np.eye(norm.shape[0], dtype={"F32": np.float32, "F16": np.float16}[kind])
        found["text_projection.weight"] = StoredTensor.from_numpy(identity)
    return found


def _without_projection(tensors: Tensors) -> dict[str, StoredTensor]:
    """The inverse; such a file only has a place for the identity as projection.

    Raises:
        ValueError: the projection is not the identity.
    """
    projection = tensors.get("text_projection.weight")
    if projection is not None:
        values = projection.numpy(np.float32)
        if values.shape[0] != values.shape[-1] or not np.array_equal(values, np.eye(values.shape[0])):
            raise ValueError(
                "text_encoder projects its pooled text, for which the original layout of Stable Diffusion 3 has no "
                "place: its text_projection.weight must be the identity; keep the folder"
            )
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("text_projection.")}


FIRST_TEXT = replace(
    CLIP,
    ours=_first_text,
    original=_without_projection,
    config=lambda tensors, *_: text_config(tensors, open_clip=False),
)
SECOND_TEXT = replace(
    CLIP, ours=projected_clip, config=lambda tensors, *_: text_config(tensors, open_clip=True), fits=is_open_clip
)
"""OpenCLIP ViT-bigG/14, with the names and shapes of transformers."""


# ---- files -----------------------------------------------------------------------------------------------------------

MEDIUM = Release(
    "Stable Diffusion 3",
    lambda transformer: "StableDiffusion3Pipeline",
    {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0},
    128,
    {"text_encoder": "<|endoftext|>", "text_encoder_2": "!", "text_encoder_3": "<pad>"},
    1.5305,
    modelspec="stable-diffusion-v3-medium",
    absent=("text_encoder_3", "tokenizer_3"),
    dispensable=("text_encoder_3",),
)
MEDIUM_35 = replace(MEDIUM, title="Stable Diffusion 3.5 medium", modelspec="stable-diffusion-v3.5-medium")
LARGE_35 = replace(MEDIUM, title="Stable Diffusion 3.5 large", modelspec="stable-diffusion-v3.5-large")


def _release(parts: Parts, networks: Mapping[str, NetworkLayout]) -> Release:
    """Norms of queries and keys indicate 3.5, and a second attention its medium size."""
    transformer = parts.get("transformer", {})
    if any(".attn2." in name for name in transformer):
        return MEDIUM_35
    return LARGE_35 if any(name.endswith(".norm_q.weight") for name in transformer) else MEDIUM


_TRANSFORMER = "model.diffusion_model."
_TEXTS = "text_encoders."
_ALONE = (
    Alone(("joint_blocks.0.x_block.attn.qkv.weight", "x_embedder.proj.weight"), "transformer", TRANSFORMER),
    Alone(("transformer_blocks.0.attn.add_k_proj.weight", "pos_embed.pos_embed"), "transformer", OUR_TRANSFORMER),
)


def _is_of_others(names: Iterable[str]) -> bool:
    """Whether a denoiser is from another family, or nothing indicates this family."""
    denoiser = [name for name in names if name.startswith(_TRANSFORMER)]
    if denoiser:
        return not any(name.startswith(_TRANSFORMER + _THEIRS) for name in denoiser)
    marks = {mark for alone in _ALONE for mark in alone.marks}
    return not any(name.startswith(_TEXTS) or name in marks for name in names)


ORIGINAL = OriginalLayout(
    known="Stable Diffusion 3 and 3.5",
    denoiser="transformer",
    parts=(
        Part(_TRANSFORMER, "transformer", TRANSFORMER),
        Part("first_stage_model.", "vae", shifted_autoencoder(0.0609)),
        Part(f"{_TEXTS}clip_l.transformer.", "text_encoder", FIRST_TEXT),
        Part(f"{_TEXTS}clip_g.transformer.", "text_encoder_2", SECOND_TEXT),
        Part(f"{_TEXTS}t5xxl.transformer.", "text_encoder_3", T5),
    ),
    release=_release,
    alone=_ALONE,
    excludes=_is_of_others,
    is_flow=True,
)
