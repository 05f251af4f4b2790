"""Weights of a component: single files, shards, variants, today's names, and what is said when they do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest

from mindone.diffusers.loading import StoredTensor, Weights, open_weights, save_file
from mindone.diffusers.loading.key_maps import normalize_keys
from mindone.diffusers.loading.save_weights import save_weights

UNET = "diffusion_pytorch_model"


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, dtype=np.float32)


def write_shards(folder: Path, index: str = f"{UNET}.safetensors.index.json", variant: str = "") -> Path:
    names = [f"{UNET}{variant}-0000{n}-of-00002.safetensors" for n in (1, 2)]
    save_file({"a": ones(2), "b": ones(3)}, folder / names[0])
    save_file({"c": 5 * ones(4)}, folder / names[1])
    weight_map = {"a": names[0], "b": names[0], "c": names[1]}
    (folder / index).write_text(json.dumps({"metadata": {"total_size": 36}, "weight_map": weight_map}))
    return folder / index


def test_a_single_file_opens(tmp_path):
    save_file({"a": ones(2, 3)}, tmp_path / f"{UNET}.safetensors")
    weights = open_weights(tmp_path, UNET)
    assert {name: tensor.shape for name, tensor in weights.items()} == {"a": (2, 3)}
    assert weights.nbytes == 24 and str(tmp_path) in repr(weights)


def test_shards_open_as_one(tmp_path):
    write_shards(tmp_path)
    weights = open_weights(tmp_path, UNET)
    assert set(weights) == {"a", "b", "c"}
    np.testing.assert_array_equal(weights["c"].numpy(), 5 * ones(4))
    weights.release()
    np.testing.assert_array_equal(weights["c"].numpy(), 5 * ones(4))


def test_a_variant_is_its_own_file(tmp_path):
    save_file({"a": ones(1)}, tmp_path / "model.safetensors")
    save_file({"a": np.zeros(1, dtype=np.float16)}, tmp_path / "model.fp16.safetensors")
    assert open_weights(tmp_path, "model", "fp16")["a"].dtype == "F16"
    assert open_weights(tmp_path, "model")["a"].dtype == "F32"


@pytest.mark.parametrize(
    "index", [f"{UNET}.safetensors.index.fp16.json", f"{UNET}.fp16.safetensors.index.json"], ids=["today", "old"]
)
def test_shards_of_a_variant_open(tmp_path, index):
    write_shards(tmp_path, index, ".fp16")
    assert set(open_weights(tmp_path, UNET, "fp16")) == {"a", "b", "c"}


def test_a_missing_variant_lists_those_that_exist(tmp_path):
    save_file({"a": ones(1)}, tmp_path / f"{UNET}.safetensors")
    save_file({"a": ones(1)}, tmp_path / f"{UNET}.non_ema.safetensors")
    write_shards(tmp_path, f"{UNET}.safetensors.index.bf16.json", ".bf16")
    with pytest.raises(FileNotFoundError) as caught:
        open_weights(tmp_path, UNET, "fp16")
    message = str(caught.value)
    assert 'variant="bf16"' in message and 'variant="non_ema"' in message and "variant=None" in message
    assert f"{UNET}.fp16.safetensors" in message and "variant='fp16' is not there" in message


def test_a_variant_alone_is_named_when_none_was_asked_for(tmp_path):
    save_file({"a": ones(1)}, tmp_path / "model.fp16.safetensors")
    with pytest.raises(FileNotFoundError, match=r'variant=None is not there; there is variant="fp16"'):
        open_weights(tmp_path, "model")


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.ckpt", "weights.pt"])
def test_pickle_files_are_not_read_and_safetensors_is_named(tmp_path, pickle):
    (tmp_path / pickle).write_bytes(b"\x80\x02.")
    with pytest.raises(ValueError, match=f"only {pickle}: other formats are not read .* convert the file"):
        open_weights(tmp_path, "model")


def test_a_folder_without_weights_says_what_it_has(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"no model.safetensors in .*; it has config.json"):
        open_weights(tmp_path, "model")
    with pytest.raises(FileNotFoundError, match="no folder"):
        open_weights(tmp_path / "nowhere", "model")


def test_a_missing_shard_is_named(tmp_path):
    write_shards(tmp_path)
    (tmp_path / f"{UNET}-00002-of-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=rf"index.json names {UNET}-00002-of-00002.safetensors, but .* lacks"):
        open_weights(tmp_path, UNET)


def test_a_tensor_that_its_shard_lacks_is_named(tmp_path):
    index = write_shards(tmp_path)
    content = json.loads(index.read_text())
    content["weight_map"]["d"] = content["weight_map"]["c"]
    index.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"weight_map places tensors in shards that lack them: d \(in .*-00002-of-00002"
    ):
        open_weights(tmp_path, UNET)


def test_a_tensor_that_the_index_does_not_name_is_named(tmp_path):
    index = write_shards(tmp_path)
    content = json.loads(index.read_text())
    del content["weight_map"]["b"]
    index.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"weight_map does not place tensors that its shards hold: b \(in "):
        open_weights(tmp_path, UNET)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "index.json must hold a JSON object, not a list"),
        ("{}", "index.json: weight_map is missing"),
        ('{"weight_map": {"a": 1}}', "index.json: weight_map.a must be a valid string, got 1"),
        (
            '{"weight_map": {"a": "../other.safetensors"}}',
            "weight_map.a: a shard must be a file name in the index's folder, got '../other.safetensors'",
        ),
        (
            f'{{"weight_map": {{"a": "{"é" * 128}"}}}}',
            "weight_map.a: a shard's file name has at most 255 bytes, got 'éé",
        ),
        ('{"weight_map": {"a": "model-00001-of-00001.bin"}}', "weight_map.a: the shard 'model-.*' is a pickle file"),
        ("{", "is not valid JSON: line 1"),
    ],
)
def test_a_broken_index_is_explained(tmp_path, content, message):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        open_weights(tmp_path, "model")


def test_fitting_weights_pass_the_check():
    Weights.from_arrays({"a": ones(2, 3), "b": ones()}).check({"a": (2, 3), "b": ()}, "AutoencoderKL")


def test_all_that_does_not_fit_is_listed_in_one_line():
    weights = Weights.from_arrays({"a": ones(2), "b": ones(3), "x": ones(1), "y": ones(1)})
    with pytest.raises(ValueError) as caught:
        weights.check({"a": (2, 2), "b": (), "c": (1,), "d": (1,)}, owner="UNet2DConditionModel")
    assert str(caught.value) == (
        "memory does not fit the config of this UNet2DConditionModel: 2 missing: c, d; 2 unexpected: x, y; "
        "2 of the wrong shape: a is 2 instead of 2×2, b is 3 instead of a scalar"
    )


def test_a_message_stays_readable_however_many_tensors_do_not_fit():
    weights = Weights.from_arrays({f"layer.{i}.weight\x1b[31m": ones(1) for i in range(10_000)})
    with pytest.raises(ValueError, match=r"10000 unexpected: .* and 999\d more") as caught:
        weights.check({"a": (1,)}, owner="AutoencoderKL")
    assert len(str(caught.value)) <= 500 and str(caught.value).isprintable()


@pytest.mark.parametrize("kind, told", [(np.int64, "I64"), (np.bool_, "BOOL"), (np.uint8, "U8")])
def test_weights_that_are_no_floating_point_numbers_are_refused(kind, told):
    weights = Weights.from_arrays({"a": np.ones(3, kind), "b": ones(1)})
    with pytest.raises(ValueError, match=rf"1 not of a floating-point type: a is {told}"):
        weights.check({"a": (3,), "b": (1,)}, owner="AutoencoderKL")


def test_renaming_shares_the_bytes():
    weights = Weights.from_arrays({"old.a": ones(2), "drop": ones(1)})
    renamed = weights.renamed(lambda name: name.removeprefix("old.") if name != "drop" else None)
    assert set(renamed) == {"a"}
    assert renamed["a"].data is weights["old.a"].data


def test_renaming_two_tensors_to_one_name_is_refused():
    with pytest.raises(ValueError, match="'b' and another tensor would both be called 'x'"):
        Weights.from_arrays({"a": ones(1), "b": ones(1)}).renamed(lambda name: "x")


def test_old_autoencoder_attention_gets_todays_names_and_shapes():
    prefix = "encoder.mid_block.attentions.0"
    old = {f"{prefix}.{part}.weight": ones(4, 4, 1, 1) for part in ("query", "key", "value", "proj_attn")}
    old |= {f"{prefix}.proj_attn.bias": ones(4), "encoder.conv_in.weight": ones(4, 3, 1, 1)}
    shapes = {name: t.shape for name, t in Weights.from_arrays(old).normalized("AutoencoderKL").items()}
    assert shapes == {
        f"{prefix}.to_q.weight": (4, 4),
        f"{prefix}.to_k.weight": (4, 4),
        f"{prefix}.to_v.weight": (4, 4),
        f"{prefix}.to_out.0.weight": (4, 4),
        f"{prefix}.to_out.0.bias": (4,),
        "encoder.conv_in.weight": (4, 3, 1, 1),
    }


def test_todays_autoencoder_stays_as_it_is():
    names = ["decoder.mid_block.attentions.0.to_q.weight", "decoder.mid_block.attentions.0.group_norm.weight"]
    assert list(normalize_keys(names, "AutoencoderKL")) == names


def test_a_unet_is_never_renamed():
    names = ["mid_block.attentions.0.proj_in.weight", "x.attentions.1.key.weight"]
    assert normalize_keys(names, "UNet2DConditionModel") == {name: name for name in names}


@pytest.mark.parametrize("prefix", ["text_model.", ""])
def test_clip_text_files_are_read_with_and_without_prefix(prefix):
    names = [f"{prefix}{n}" for n in ("embeddings.position_ids", "embeddings.token_embedding.weight", "encoder.0.x")]
    names += [f"{prefix}final_layer_norm.bias", "text_projection.weight"]
    normalized = normalize_keys(names, "CLIPTextModelWithProjection")
    assert list(normalized) == [
        "text_model.embeddings.token_embedding.weight",
        "text_model.encoder.0.x",
        "text_model.final_layer_norm.bias",
        "text_projection.weight",
    ]


def test_each_network_takes_its_own_of_a_whole_clips_file():
    names = ["text_model.a", "text_projection.weight", "vision_model.a", "visual_projection.weight", "logit_scale"]
    assert list(normalize_keys(names, "CLIPTextModel")) == names[:1]
    assert list(normalize_keys(names, "CLIPTextModelWithProjection")) == names[:2]
    assert list(normalize_keys(names, "CLIPVisionModelWithProjection")) == names[2:4]


def test_the_safety_checkers_position_ids_are_dropped():
    names = ["vision_model.vision_model.embeddings.position_ids", "concept_embeds"]
    assert list(normalize_keys(names, "StableDiffusionSafetyChecker")) == ["concept_embeds"]


def test_one_tensor_under_two_names_is_refused():
    weights = Weights.from_arrays({"encoder.a": ones(1), "text_model.encoder.a": ones(1)})
    with pytest.raises(ValueError, match=r"memory: 'encoder.a' and 'text_model.encoder.a' are the same tensor"):
        weights.normalized("CLIPTextModel")


def test_reshaping_to_another_size_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3\) cannot be reshaped to \(7,\)"):
        StoredTensor.from_numpy(ones(2, 3)).reshape((7,))


def saved(folder, **options):
    """Three tensors of 400 bytes, written and read back."""
    tensors = {name: StoredTensor.from_numpy(ones(100) * i) for i, name in enumerate("abc")}
    save_weights(tensors, folder, "model", **options)
    read = open_weights(folder, "model", options.get("variant"))
    assert {name: float(tensor.numpy()[0]) for name, tensor in read.items()} == {"a": 0, "b": 1, "c": 2}
    return {path.name for path in folder.iterdir()}


def test_weights_are_saved_as_variants_and_shards_under_the_published_names(tmp_path):
    assert saved(tmp_path) == {"model.safetensors"}
    shards = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    assert saved(tmp_path, max_shard_size="0.8KB") == {*shards, "model.safetensors.index.json"}
    assert saved(tmp_path, max_shard_size=10**6) == {"model.safetensors"}  # what was there before is gone
    assert saved(tmp_path, variant="fp16") == {"model.safetensors", "model.fp16.safetensors"}
    assert saved(tmp_path, variant="fp16", max_shard_size=800) == {
        "model.safetensors",
        "model.fp16-00001-of-00002.safetensors",
        "model.fp16-00002-of-00002.safetensors",
        "model.safetensors.index.fp16.json",
    }


@pytest.mark.parametrize(
    "options", [{"variant": "../x"}, {"variant": ""}, {"max_shard_size": "ten"}, {"max_shard_size": 0}]
)
def test_variants_and_sizes_that_are_none_are_refused(tmp_path, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name} must be"):
        saved(tmp_path, **options)
