"""FLUX.1 in one file, in the original layout: there and back, the transformer alone and with all else."""

import functools
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

import tiny_pipelines
from mindone.diffusers import FluxPipeline, FluxTransformer2DModel
from mindone.diffusers.families import convert
from mindone.diffusers.families.flux.original import TRANSFORMER
from mindone.diffusers.jobs import PipelineKey
from mindone.diffusers.jobs.checks import family_here
from mindone.diffusers.loading.config import read_config
from mindone.diffusers.loading.safetensors import SafetensorsFile, StoredTensor, save_file
from mindone.diffusers.loading.weights import open_weights
from original_files import equal, opened
from test_networks import error
from tiny_flux import checkpoint, dev_checkpoint
from tiny_pipelines import hub_cache, images_of

NETWORKS = ("transformer", "vae", "text_encoder", "text_encoder_2")
_folder = tempfile.TemporaryDirectory(prefix="flux-files-")


@functools.cache
def file(dev: bool = True) -> Path:
    """The transformer in one file, with nothing of ours in its metadata."""
    path = Path(_folder.name) / f"flux1-{'dev' if dev else 'schnell'}.safetensors"
    convert.folder_to_file((dev_checkpoint() if dev else checkpoint()) / "transformer", path.with_suffix(".own"))
    save_file(dict(SafetensorsFile(path.with_suffix(".own")).items()), path, {"format": "pt"})
    return path


@functools.cache
def whole() -> Path:
    """All networks in one file, as `convert` writes them."""
    path = Path(_folder.name) / "flux-whole.safetensors"
    convert.folder_to_file(dev_checkpoint(), path)
    return path


def test_a_job_knows_the_family_of_a_file_and_of_what_the_hubs_cache_has(tmp_path, monkeypatch):
    hub_cache(tmp_path, {"owner/flux": dev_checkpoint})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = [
        family_here(PipelineKey(model=model)) for model in (str(whole()), str(file()), "owner/flux", "owner/other")
    ]
    assert [each and each.name for each in found] == ["flux", "flux", "flux", None]


def test_the_family_of_a_replaced_file_is_read_again(tmp_path):
    model, found = tmp_path / "model.safetensors", []
    for each in (tiny_pipelines.checkpoint("sd1"), dev_checkpoint()):
        model.unlink(missing_ok=True)
        convert.folder_to_file(each, model)
        found += [family_here(PipelineKey(model=str(model))) for _ in range(2)]
    assert [each and each.name for each in found] == ["stable-diffusion"] * 2 + ["flux"] * 2


def drawn(pipe) -> np.ndarray:
    asked = {"height": 64, "width": 64, "num_inference_steps": 2, "max_sequence_length": 16}
    return images_of(pipe, **asked, generator=np.random.default_rng(0))


def transformer(dev: bool = True):
    stored = open_weights((dev_checkpoint() if dev else checkpoint()) / "transformer", "diffusion_pytorch_model")
    return stored.normalized("FluxTransformer2DModel")


@pytest.mark.parametrize("dev", [True, False], ids=["dev", "schnell"])
def test_a_transformer_comes_back_as_it_was(dev, tmp_path):
    assert {"double_blocks.0.img_attn.qkv.weight", "single_blocks.2.linear1.bias"} <= SafetensorsFile(file(dev)).keys()
    single, stored = opened(file(dev)), transformer(dev)
    assert single.release.title == ("FLUX.1-dev" if dev else "FLUX.1-schnell")
    assert single.scheduler["use_dynamic_shifting"] is dev
    weights = single.components["transformer"].weights
    assert weights.keys() == stored.keys() and all(equal(weights[key], stored[key]) for key in stored)
    convert.file_to_folder(file(dev), tmp_path / "back")
    config = read_config(tmp_path / "back")
    assert (config["guidance_embeds"], config["num_layers"], config["num_single_layers"]) == (dev, 2, 3)
    assert config["axes_dims_rope"] == [4, 6, 6]  # about the published part of a head's channels


def test_only_what_is_the_other_way_round_there_is_copied():
    copied = [name for name, x in opened(file()).components["transformer"].weights.items() if x.data.flags.owndata]
    assert sorted(copied) == ["norm_out.linear.bias", "norm_out.linear.weight"]


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", ""])
def test_a_transformer_of_one_file_draws_in_a_pipeline(prefix, tmp_path):
    path = tmp_path / "flux.safetensors"
    save_file({prefix + name: x for name, x in SafetensorsFile(file()).items()}, path, {"format": "pt"})
    read = FluxTransformer2DModel.from_single_file(path)
    pipe = FluxPipeline.from_pretrained(dev_checkpoint(), transformer=read)
    np.testing.assert_array_equal(drawn(pipe), drawn(FluxPipeline.from_pretrained(dev_checkpoint())))


def test_a_pipeline_of_one_file_takes_the_other_networks():
    folder = FluxPipeline.from_pretrained(dev_checkpoint())
    others = {name: part for name, part in folder.components.items() if name not in ("transformer", "scheduler")}
    pipe = FluxPipeline.from_single_file(file(), **others, config=dev_checkpoint())
    np.testing.assert_array_equal(drawn(pipe), drawn(folder))
    with pytest.raises(ValueError, match=r"holds only transformer; pass vae=…, text_encoder=…, text_encoder_2=… for"):
        FluxPipeline.from_single_file(file())


def test_a_whole_pipeline_comes_back_as_it_was(tmp_path):
    single = opened(whole())
    assert single.pipeline == "FluxPipeline" and tuple(single.components) == NETWORKS
    convert.file_to_folder(whole(), tmp_path / "back")
    back, first = (FluxPipeline.from_pretrained(each) for each in (tmp_path / "back", dev_checkpoint()))
    assert error(drawn(back), drawn(first)) <= 1e-6
    assert error(drawn(FluxPipeline.from_single_file(whole())), drawn(first)) <= 1e-6
    vae = read_config(tmp_path / "back" / "vae")
    assert (vae["scaling_factor"], vae["shift_factor"]) == (0.3611, 0.1159)


def test_a_transformer_that_reads_pictures_has_no_pipeline_here(tmp_path):
    tensors = dict(SafetensorsFile(file()).items())
    tensors["img_in.weight"] = StoredTensor.from_numpy(np.zeros((32, 384), np.float32))
    save_file(tensors, tmp_path / "fill.safetensors", {"format": "pt"})
    others = {name: object() for name in ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")}
    with pytest.raises(ValueError, match=r"takes 384 channels and gives 64; .*384 is FLUX\.1 Fill") as refused:
        FluxPipeline.from_single_file(tmp_path / "fill.safetensors", **others)
    assert "\n" not in str(refused.value)


def test_a_matrix_that_is_not_three_is_refused():
    with pytest.raises(ValueError, match=r"double_blocks\.0\.img_attn\.qkv\.weight must have rows that 3 divides"):
        TRANSFORMER.ours({"double_blocks.0.img_attn.qkv.weight": StoredTensor.from_numpy(np.zeros((4, 2), np.float32))})


@pytest.mark.parametrize(
    ("mark", "said"), [("double_stream_modulation_img.lin.weight", "FLUX.2"), ("distilled_guidance_layer.x", "Chroma")]
)
def test_its_relatives_are_named(mark, said, tmp_path):
    tensors = {**dict(SafetensorsFile(file()).items()), mark: StoredTensor.from_numpy(np.zeros(1, np.float32))}
    save_file(tensors, tmp_path / "other.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=f"says that it is {said}; supported"):
        FluxTransformer2DModel.from_single_file(tmp_path / "other.safetensors")


def test_a_broken_config_is_refused_in_one_line(tmp_path):
    folder = shutil.copytree(checkpoint() / "transformer", tmp_path / "transformer")
    config = {**json.loads((folder / "config.json").read_text()), "axes_dims_rope": [4, 6, 8]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"axes_dims_rope must add up to attention_head_dim, got 18 and 16") as refused:
        FluxTransformer2DModel.from_pretrained(folder)
    assert "\n" not in str(refused.value)
