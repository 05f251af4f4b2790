"""The deep-compression autoencoder in its authors' layout (Chen et al. 2024): its names, and its config by shapes.

There, layers are in lists called ``op_list``, most have a ``main`` beside a shortcut, and queries, keys and values are
one 1×1 convolution; here they are matrices. If the first stage has no layers, the first and the last convolution change
the resolution.
"""

from collections.abc import Collection

from ...utils.printable import shown
from ..key_maps import RENAMES
from ..safetensors import StoredTensor
from .key_map import MOST_LAYERS, MOST_STAGES, KeyMap, indices_after, sides, to_ours
from .layout import NetworkLayout, Release, Tensors
from .training_config import TrainingConfig

MARKS = ("decoder.project_in.main.conv.weight", "decoder.stages.1.op_list.0.main.conv.conv.bias")
SANA_SCALING_FACTOR = 0.41407
_HEAD_CHANNELS = 32
"""Of all published networks; kernels over neighbourhoods show it, too."""
_ATTENTION = "context_module.main"
_QKV = f"{_ATTENTION}.qkv.conv.weight"
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
_HALVES = {"encoder": "down_blocks", "decoder": "up_blocks"}


def _key_map(names: Collection[str]) -> KeyMap:
    """The map of the original names, without queries, keys and values."""
    pairs = list(_OUTSIDE)
    for half, blocks in _HALVES.items():
        for stage in indices_after(names, f"{half}.stages.", MOST_STAGES):
            for layer in indices_after(names, f"{half}.stages.{stage}.op_list.", MOST_LAYERS):
                theirs, ours = f"{half}.stages.{stage}.op_list.{layer}", f"{half}.{blocks}.{stage}.{layer}"
                pairs += [(f"{theirs}.{a}", f"{ours}.{b}") for a, b in _LAYER]
    return KeyMap(pairs)


def _ours(tensors: Tensors) -> dict[str, StoredTensor]:
    rest = {
        name: tensor for name, tensor in tensors.items() if not name.endswith((_QKV, *RENAMES["AutoencoderDC"].ends))
    }
    found = to_ours(rest, _key_map(tensors))
    for name in [name for name in found if name.endswith(".attn.to_out.weight")]:
        found[name] = _matrix(name, found[name])
    for name in [name for name in tensors if name.endswith(_QKV)]:
        half, *_, stage, _, layer = name.removesuffix(f".{_QKV}").split(".")[-5:] if name.count(".") == 9 else [""] * 5
        if half not in _HALVES:
            raise ValueError(f"the tensor {shown(name)} is of no architecture known here")
        whole = _matrix(name, tensors[name])
        if whole.shape[0] % 3:
            raise ValueError(f"{name} must hold three matrices of equal size, got the shape {whole.shape}")
        rows = whole.shape[0] // 3
        for i, part in enumerate("qkv"):
            matrix = whole.rows(i * rows, (i + 1) * rows)
            found[f"{half}.{_HALVES[half]}.{stage}.{layer}.attn.to_{part}.weight"] = matrix
    return found


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
