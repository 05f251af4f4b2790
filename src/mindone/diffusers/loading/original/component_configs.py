"""The configs of autoencoders and text encoders, read off the names and shapes of their tensors."""

from collections.abc import Mapping

from ..safetensors import StoredTensor
from .key_map import indices_after, sides

Tensors = Mapping[str, StoredTensor]

HEAD_CHANNELS = 64
"""Channels per head of every published CLIP text tower (768 / 12, 1,024 / 16, 1,280 / 20)."""


def autoencoder_config(tensors: Tensors, *, scaling_factor: float, sample_size: int) -> dict[str, object]:
    """An autoencoder's config in the published fields.

    Args:
        tensors: under our names.
        scaling_factor: what latents are multiplied by, which shapes do not tell: 0.18215, and 0.13025 for XL.
        sample_size: the usual side of the images in pixels.
    """
    stages = len(indices_after(tensors, "encoder.down_blocks."))
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": sides(tensors, "encoder.conv_in.weight", 4)[1],
        "out_channels": sides(tensors, "decoder.conv_out.weight", 4)[0],
        "latent_channels": sides(tensors, "decoder.conv_in.weight", 4)[1],
        "block_out_channels": [
            sides(tensors, f"encoder.down_blocks.{i}.resnets.0.conv1.weight", 4)[0] for i in range(stages)
        ],
        "down_block_types": ["DownEncoderBlock2D"] * stages,
        "up_block_types": ["UpDecoderBlock2D"] * stages,
        "layers_per_block": len(indices_after(tensors, "encoder.down_blocks.0.resnets.")),
        "act_fn": "silu",
        "norm_num_groups": 32,
        "sample_size": sample_size,
        "scaling_factor": scaling_factor,
        **({} if "quant_conv.weight" in tensors else {"use_quant_conv": False}),
        **({} if "post_quant_conv.weight" in tensors else {"use_post_quant_conv": False}),
    }


def text_config(tensors: Tensors, *, open_clip: bool) -> dict[str, object]:
    """A text encoder's config in the published fields; with its projection it is a ``CLIPTextModelWithProjection``.

    Args:
        tensors: under our names.
        open_clip: trained by OpenCLIP, whose activation is the exact ``gelu``; OpenAI's is ``quick_gelu``.
    """
    embeddings = "text_model.embeddings"
    vocabulary, width = sides(tensors, f"{embeddings}.token_embedding.weight", 2)
    projection = sides(tensors, "text_projection.weight", 2)[0] if "text_projection.weight" in tensors else None
    return {
        "architectures": ["CLIPTextModel" if projection is None else "CLIPTextModelWithProjection"],
        "model_type": "clip_text_model",
        "hidden_size": width,
        "intermediate_size": sides(tensors, "text_model.encoder.layers.0.mlp.fc1.weight", 2)[0],
        "num_hidden_layers": len(indices_after(tensors, "text_model.encoder.layers.")),
        "num_attention_heads": max(width // HEAD_CHANNELS, 1),
        "max_position_embeddings": sides(tensors, f"{embeddings}.position_embedding.weight", 2)[0],
        "vocab_size": vocabulary,
        "projection_dim": width if projection is None else projection,
        "hidden_act": "gelu" if open_clip else "quick_gelu",
        "layer_norm_eps": 1e-5,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }
