"""The autoencoder in the original layout (Esser et al. 2021; Rombach et al. 2022): its names and its config by shapes.

Its decoder counts stages from the highest resolution, ours from the lowest; its attention uses 1×1 convolutions, ours
uses matrices with the same values.
"""

from collections.abc import Collection
from dataclasses import replace
from functools import partial

from ...utils.printable import shown
from ..deferred import Deferred
from ..safetensors import StoredTensor
from ..weights import Weights
from .key_map import MOST_LAYERS, MOST_STAGES, KeyMap, indices_after, sides, to_original, to_ours
from .layout import NetworkLayout, Release, Tensors
from .training_config import TrainingConfig

_ATTENTION = (("norm", "group_norm"), ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0"))


def autoencoder_key_map(names: Collection[str]) -> KeyMap:
    """The map of an autoencoder's names, for names in either layout (without ``first_stage_model.``)."""
    stages = len(
        indices_after(names, "encoder.down.", MOST_STAGES) or indices_after(names, "encoder.down_blocks.", MOST_STAGES)
    )
    down, up = ("encoder.down.0.block.", "decoder.up.0.block.")
    if not any(name.startswith(down) for name in names):
        down, up = ("encoder.down_blocks.0.resnets.", "decoder.up_blocks.0.resnets.")
    pairs = [("quant_conv", "quant_conv"), ("post_quant_conv", "post_quant_conv")]
    for half in ("encoder", "decoder"):
        pairs += [(f"{half}.{name}", f"{half}.{name}") for name in ("conv_in", "conv_out")]
        pairs.append((f"{half}.norm_out", f"{half}.conv_norm_out"))
        pairs += [
            (f"{half}.mid.attn_1.{original}", f"{half}.mid_block.attentions.0.{ours}") for original, ours in _ATTENTION
        ]
        for i in range(2):
            pairs += _resnet(f"{half}.mid.block_{i + 1}", f"{half}.mid_block.resnets.{i}")
    down_layers, up_layers = (indices_after(names, prefix, MOST_LAYERS) for prefix in (down, up))
    for i in range(stages):
        mirrored = stages - 1 - i
        for layer in down_layers:
            pairs += _resnet(f"encoder.down.{i}.block.{layer}", f"encoder.down_blocks.{i}.resnets.{layer}")
        for layer in up_layers:
            pairs += _resnet(f"decoder.up.{i}.block.{layer}", f"decoder.up_blocks.{mirrored}.resnets.{layer}")
        pairs.append((f"encoder.down.{i}.downsample.conv", f"encoder.down_blocks.{i}.downsamplers.0.conv"))
        pairs.append((f"decoder.up.{i}.upsample.conv", f"decoder.up_blocks.{mirrored}.upsamplers.0.conv"))
    return KeyMap(pairs)


def _is_attention_matrix(name: str) -> bool:
    """Whether one of our tensors is a matrix that the original layout stores as a 1×1 convolution."""
    return ".attentions.0." in name and name.endswith(".weight") and ".group_norm." not in name


def _resnet(original: str, ours: str) -> list[tuple[str, str]]:
    return [(f"{original}.nin_shortcut", f"{ours}.conv_shortcut"), (original, ours)]


def _ours(tensors: Tensors) -> dict[str, StoredTensor]:
    renamed = to_ours(tensors, autoencoder_key_map(tensors))
    for name, tensor in renamed.items():
        if _is_attention_matrix(name):
            if tensor.shape[2:] not in ((), (1, 1)):
                raise ValueError(f"{name} must be a matrix or a 1×1 kernel, got the shape {shown(tensor.shape)}")
            renamed[name] = tensor.reshape(tensor.shape[:2])
    return renamed


def _original(tensors: Tensors) -> Deferred[StoredTensor]:
    def stored(name: str) -> StoredTensor:
        tensor = tensors[name]
        return tensor.reshape((*tensor.shape, 1, 1)) if _is_attention_matrix(name) else tensor

    names = to_original(tensors, autoencoder_key_map(tensors))
    return Deferred({original: partial(stored, ours) for original, ours in names.items()})


def autoencoder_config(tensors: Tensors, *, scaling_factor: float, sample_size: int) -> dict[str, object]:
    """An autoencoder's config in the published fields.

    Args:
        tensors: under our names.
        scaling_factor: multiplies latents; shapes do not show it: 0.18215, or 0.13025 for XL.
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


def _config(tensors: Tensors, release: Release, _: TrainingConfig) -> dict[str, object]:
    config = autoencoder_config(tensors, scaling_factor=release.scaling_factor, sample_size=8 * release.sample_size)
    if config["latent_channels"] != 4:
        raise ValueError(
            f"an autoencoder of {config['latent_channels']} channels is none of {release.title}, and alone it does not "
            "say how its latents are scaled; pass config= with its folder or hub id"
        )
    return config


AUTOENCODER = NetworkLayout(_ours, _original, _config, ("AutoencoderKL",))
OUR_AUTOENCODER = replace(AUTOENCODER, ours=lambda tensors: Weights(tensors).normalized("AutoencoderKL"))
"""For files that use our names already."""


def shifted_autoencoder(shift_factor: float) -> NetworkLayout:
    """An autoencoder whose latents are shifted before they are scaled, and whose values exceed float16."""
    return replace(
        AUTOENCODER,
        config=lambda tensors, release, _: {
            **autoencoder_config(tensors, scaling_factor=release.scaling_factor, sample_size=8 * release.sample_size),
            "shift_factor": shift_factor,
            "force_upcast": True,
        },
    )
