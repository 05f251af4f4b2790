"""Single files of the deep-compression autoencoder against the reference's conversion rules and loader."""

import json

import numpy as np
import pytest

import tiny_sana
from checkpoints import random_weights, shapes_of
from mindone.diffusers import AutoencoderDC
from mindone.diffusers.loading.safetensors import StoredTensor, save_file

pytestmark = pytest.mark.oracle

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

_STAGES = {"block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 2, "block_out_channels": [8, 16, 16, 32, 32]}
_DEEP = {**_STAGES, "layers_per_block": [0, 1, 2, 1, 1], "qkv_multiscales": [[], [], [], [], []]}
CONFIGS = {
    "sana": {
        **tiny_sana.AUTOENCODER,
        "attention_head_dim": 32,
        "encoder_block_out_channels": [8, 16, 32, 32, 64, 64],
        "decoder_block_out_channels": [8, 16, 32, 32, 64, 64],
        "downsample_block_type": "conv",
        "upsample_block_type": "interpolate",
        "decoder_norm_types": ["rms_norm"] * 6,
        "decoder_act_fns": ["silu"] * 6,
    },
    "image net": {
        "latent_channels": 8,
        "attention_head_dim": 32,
        **{f"{half}_{name}": value for half in ("encoder", "decoder") for name, value in _DEEP.items()},
        "downsample_block_type": "pixel_unshuffle",
        "upsample_block_type": "pixel_shuffle",
        "decoder_norm_types": ["batch_norm"] * 3 + ["rms_norm"] * 2,
        "decoder_act_fns": ["relu"] * 3 + ["silu"] * 2,
        "scaling_factor": 0.4552,
    },
}
_NAMES = (
    ("encoder.conv_in.", "encoder.project_in.conv."),
    ("encoder.conv_out.", "encoder.project_out.main.op_list.0.conv."),
    ("decoder.conv_in.", "decoder.project_in.main.conv."),
    ("decoder.norm_out.", "decoder.project_out.op_list.0."),
    ("decoder.conv_out.", "decoder.project_out.op_list.2.conv."),
)
_INSIDE = (
    ("attn.to_qkv_multiscale.0.proj_in.", "context_module.main.aggreg.0.0."),
    ("attn.to_qkv_multiscale.0.proj_out.", "context_module.main.aggreg.0.1."),
    ("attn.to_out.", "context_module.main.proj.conv."),
    ("attn.norm_out.", "context_module.main.proj.norm."),
    ("conv_out.conv_inverted.", "local_module.main.inverted_conv.conv."),
    ("conv_out.conv_depth.", "local_module.main.depth_conv.conv."),
    ("conv_out.conv_point.", "local_module.main.point_conv.conv."),
    ("conv_out.norm.", "local_module.main.point_conv.norm."),
    ("conv1.", "main.conv1.conv."),
    ("conv2.", "main.conv2.conv."),
    ("norm.", "main.conv2.norm."),
    ("conv.", "main.conv.conv."),
)


def original_of(weights, strided):
    """The authors' names and shapes of a network's weights."""
    tensors = {}
    for name, values in weights.items():
        half, blocks, *rest = name.split(".")
        if blocks not in ("down_blocks", "up_blocks"):
            ours, theirs = next(pair for pair in _NAMES if name.startswith(pair[0]))
            tensors[theirs + name.removeprefix(ours)] = values
            continue
        place, inside = f"{half}.stages.{rest[0]}.op_list.{rest[1]}", ".".join(rest[2:])
        if inside.startswith("attn.to_q."):
            parts = [weights[name.replace("to_q.", f"to_{part}.")] for part in "qkv"]
            tensors[f"{place}.context_module.main.qkv.conv.weight"] = np.concatenate(parts)[:, :, None, None]
        elif not inside.startswith(("attn.to_k.", "attn.to_v.")):
            ours, theirs = next(pair for pair in _INSIDE if inside.startswith(pair[0]))
            theirs = "main.conv." if strided and half == "encoder" and ours == "conv." else theirs
            is_matrix = inside == "attn.to_out.weight"
            value = values[:, :, None, None] if is_matrix else values
            tensors[f"{place}.{theirs}{inside.removeprefix(ours)}"] = value
    for name in [name for name in tensors if name.endswith(".running_mean")]:
        tensors[name.replace("running_mean", "num_batches_tracked")] = np.array(7, np.int64)
    return {name: each if each.ndim == 0 else np.ascontiguousarray(each) for name, each in tensors.items()}


@pytest.mark.parametrize("kind", CONFIGS)
def test_an_autoencoder_is_read_as_the_reference_reads_it(kind, tmp_path):
    config, path = CONFIGS[kind], tmp_path / "model.safetensors"
    weights = random_weights(shapes_of(AutoencoderDC(**config)))
    tensors = original_of(weights, strided=kind == "sana")
    save_file({name: StoredTensor.from_numpy(each) for name, each in tensors.items()}, path, {"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps({**config, "_class_name": "AutoencoderDC"}))

    factor = {} if kind == "sana" else {"scaling_factor": 0.4552}
    ours = AutoencoderDC.from_single_file(path, **factor)
    assert {name: ours.config[name] for name in config} == config
    theirs = diffusers.AutoencoderDC.from_single_file(str(path), config=str(tmp_path), local_files_only=True)
    found = dict(theirs.state_dict())
    for name, values in weights.items():
        np.testing.assert_array_equal(ours.array(name), values, err_msg=name)
        np.testing.assert_array_equal(found[name].numpy(), values, err_msg=name)


def test_a_factor_that_no_shape_tells_is_asked_for(tmp_path):
    weights = random_weights(shapes_of(AutoencoderDC(**CONFIGS["image net"])))
    tensors = {name: StoredTensor.from_numpy(each) for name, each in original_of(weights, strided=False).items()}
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"scale their latents differently.*or scaling_factor="):
        AutoencoderDC.from_single_file(tmp_path / "model.safetensors")
