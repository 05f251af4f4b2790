"""Names of the autoencoder in the original layout (Esser et al. 2021; Rombach et al. 2022).

Its decoder counts stages from the highest resolution, ours from the lowest; its attention is made of 1×1 convolutions,
ours of matrices with the same numbers.
"""

from collections.abc import Collection

from .key_map import KeyMap, indices_after
from .unet_names import MOST_LAYERS, MOST_STAGES

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


def is_attention_matrix(name: str) -> bool:
    """Whether one of our tensors is a matrix that the original layout stores as a 1×1 convolution."""
    return ".attentions.0." in name and name.endswith(".weight") and ".group_norm." not in name


def _resnet(original: str, ours: str) -> list[tuple[str, str]]:
    return [(f"{original}.nin_shortcut", f"{ours}.conv_shortcut"), (original, ours)]
