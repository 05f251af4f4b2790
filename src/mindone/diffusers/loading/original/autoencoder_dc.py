"""The deep-compression autoencoder in its authors' layout (Chen et al. 2024): its names, and its config by shapes.

There, layers are in lists called ``op_list``, most have a ``main`` beside a shortcut, and queries, keys and values are
one 1×1 convolution; here they are matrices. If the first stage has no layers, the first and the last convolution change
the resolution.
"""

from ...utils.printable import shown
from ..key_maps import RENAMES
from ..safetensors import StoredTensor
from .fused_layers import Blocks, FusedLayout, equal_parts
from .key_map import MOST_LAYERS, MOST_STAGES, indices_after, sides
from .layout import NetworkLayout, Release, Tensors
from .training_config import TrainingConfig

MARKS = ("decoder.project_in.main.conv.weight", "decoder.stages.1.op_list.0.main.conv.conv.bias")
SANA_SCALING_FACTOR = 0.41407
_HEAD_CHANNELS = 32
"""Of all published networks; kernels over neighbourhoods show it, too."""
_ATTENTION = "context_module.main"
_OUTSIDE = (
    ("encoder.project_in.conv", "encoder.conv_in"),
    ("encoder.project_in.conv.conv", "encoder.conv_in.conv"),
    ("encoder.project_out.main.op_list.0.conv", "encoder.conv_out"),
    ("decoder.project_in.main.conv", "decoder.conv_in"),
    ("decoder.project_out.op_list.0", "decoder.norm_out"),
    ("decoder.project_out.op_list.2.conv", "decoder.conv_out"),
    ("decoder.project_out.op_list.2.conv.conv", "decoder.conv_out.conv"),
)
_LAYER = (
    ("main.conv1.conv", "conv1"),
    ("main.conv2.conv", "conv2"),
    ("main.conv2.norm", "norm"),
    ("main.conv", "conv"),  # Sana's encoder: a convolution with a stride
    ("main.conv.conv", "conv"),
    (f"{_ATTENTION}.aggreg.0.0", "attn.to_qkv_multiscale.0.proj_in"),
    (f"{_ATTENTION}.aggreg.0.1", "attn.to_qkv_multiscale.0.proj_out"),
    (f"{_ATTENTION}.proj.conv", "attn.to_out"),
    (f"{_ATTENTION}.proj.norm", "attn.norm_out"),
    ("local_module.main.inverted_conv.conv", "conv_out.conv_inverted"),
    ("local_module.main.depth_conv.conv", "conv_out.conv_depth"),
    ("local_module.main.point_conv.conv", "conv_out.conv_point"),
    ("local_module.main.point_conv.norm", "conv_out.norm"),
)
_FUSED = {f"{_ATTENTION}.qkv.conv": equal_parts("attn.to_q", "attn.to_k", "attn.to_v")}
_MATRICES = tuple(f".attn.to_{each}.weight" for each in ("q", "k", "v", "out"))
_HALVES = {"encoder": "down_blocks", "decoder": "up_blocks"}
_LAYERS = FusedLayout(
    [
        Blocks(f"{half}.stages.{stage}.op_list.", f"{half}.{blocks}.{stage}.", _FUSED, _LAYER)
        for half, blocks in _HALVES.items()
        for stage in range(MOST_STAGES)
    ],
    _OUTSIDE,
)


def _ours(tensors: Tensors) -> dict[str, StoredTensor]:
    unread = RENAMES["AutoencoderDC"].ends
    found = _LAYERS.split({name: tensor for name, tensor in tensors.items() if not name.endswith(unread)})
    return {name: _matrix(name, x) if name.endswith(_MATRICES) else x for name, x in found.items()}


def _matrix(name: str, tensor: StoredTensor) -> StoredTensor:
    if len(tensor.shape) != 4 or tensor.shape[2:] != (1, 1):
        raise ValueError(f"{name} must be a 1×1 kernel, got the shape {shown(tensor.shape)}")
    return tensor.reshape(tensor.shape[:2])


def _original(tensors: Tensors) -> Tensors:
    raise ValueError("no file is written in the layout of DC-AE's authors; keep the folder")


def _config(tensors: Tensors, release: Release, _: TrainingConfig) -> dict[str, object]:
    """An autoencoder's config in the published fields, by its tensors under our names.

    Raises:
        ValueError: it is not Sana's, and nobody says how its latents are scaled.
    """
    is_sana = "encoder.conv_in.weight" in tensors
    if not is_sana and release.scaling_factor == SANA_SCALING_FACTOR:
        raise ValueError(
            "two published autoencoders have these shapes and scale their latents differently (…-in and …-mix); pass "
            "config= with a folder or hub id, or scaling_factor="
        )
    read: dict[str, object] = {
        "_class_name": "AutoencoderDC",
        "in_channels": 3,
        "latent_channels": sides(tensors, "decoder.conv_in.weight", 4)[1],
        "attention_head_dim": _HEAD_CHANNELS,
        "scaling_factor": release.scaling_factor,
    }
    for half, blocks in _HALVES.items():
        stages = max(indices_after(tensors, f"{half}.{blocks}.", MOST_STAGES), default=0) + 1
        if not 3 <= stages <= MOST_STAGES:
            raise ValueError(f"its {half} has {shown(stages)} stages; from 3 to {MOST_STAGES} are known")
        rows = [_stage(tensors, f"{half}.{blocks}.{i}") for i in range(stages)]
        widths = [width for width, *_ in rows]
        if not rows[0][1]:
            widths[0] = widths[1] // 2  # no layer has as many channels
        read |= {
            f"{half}_block_out_channels": widths,
            f"{half}_layers_per_block": [layers for _, layers, *_ in rows],
            f"{half}_block_types": ["EfficientViTBlock" if attends else "ResBlock" for *_, attends, _, _ in rows],
            f"{half}_qkv_multiscales": [kernels for *_, kernels, _ in rows],
        }
        if half == "decoder":
            batched = [is_batched for *_, is_batched in rows]
            batched[0] = batched[0] if rows[0][1] else batched[1]
            read["decoder_norm_types"] = ["batch_norm" if each else "rms_norm" for each in batched]
            read["decoder_act_fns"] = ["relu" if each else "silu" for each in batched]
        read |= _resizing(tensors, half, widths)
    return read


def _stage(tensors: Tensors, stage: str) -> tuple[int, int, bool, list[int], bool]:
    """A stage's channels, blocks, whether they attend, their kernels over neighbourhoods, and whether they normalise
    batches."""
    layers = sorted(indices_after(tensors, f"{stage}.", MOST_LAYERS))
    blocks = [f"{stage}.{i}" for i in layers if f"{stage}.{i}.conv.weight" not in tensors]
    if not blocks:
        return 0, 0, False, [], False
    first = blocks[0]
    attends = f"{first}.attn.to_q.weight" in tensors
    width = sides(tensors, f"{first}.conv_out.conv_point.weight" if attends else f"{first}.conv1.weight", 4)[0]
    kernel = f"{first}.attn.to_qkv_multiscale.0.proj_in.weight"
    kernels = [sides(tensors, kernel, 4)[2]] if kernel in tensors else []
    return width, len(blocks), attends, kernels, f"{first}.norm.running_mean" in tensors


def _resizing(tensors: Tensors, half: str, widths: list[int]) -> dict[str, object]:
    """How a half changes the resolution, by the outputs of its convolutions."""
    if half == "encoder":
        layers = [i for i in range(MOST_LAYERS) if f"encoder.down_blocks.1.{i}.conv.weight" in tensors]
        if not layers:
            raise ValueError("its encoder's second stage does not change the resolution")
        outputs = sides(tensors, f"encoder.down_blocks.1.{layers[0]}.conv.weight", 4)[0]
        return {"downsample_block_type": "pixel_unshuffle" if 4 * outputs == widths[2] else "conv"}
    outputs = sides(tensors, "decoder.up_blocks.1.0.conv.weight", 4)[0]
    return {"upsample_block_type": "interpolate" if outputs == widths[1] else "pixel_shuffle"}


AUTOENCODER_DC = NetworkLayout(_ours, _original, _config, ("AutoencoderDC",))
