"""Pipelines answer what scripts written for the published API ask of them."""

import json
import shutil

import mindspore as ms
import numpy as np
import pytest

from mindone.diffusers import (
    AutoencoderTiny,
    LatentConsistencyModelPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from mindone.diffusers.families.convert import folder_to_file
from tiny_pipelines import PROMPT, checkpoint, images_of, load, tiny_autoencoder_folder


@pytest.fixture(scope="module")
def pipe():
    return load(checkpoint("bk_sdm"))


def test_a_pipeline_says_what_it_is_made_of(pipe):
    assert pipe.config.unet == ("diffusers", "UNet2DConditionModel")
    assert pipe.config["safety_checker"] == (None, None) and pipe.config._class_name == "StableDiffusionPipeline"
    assert pipe.name_or_path == pipe.config._name_or_path == str(checkpoint("bk_sdm"))
    assert pipe.device == "cpu" and pipe.dtype == "float32"
    index = StableDiffusionPipeline.load_config(checkpoint("bk_sdm"))
    written = json.loads(pipe.to_json_string())
    assert {name: written[name] for name in index if name in written and written[name] != [None, None]} == {
        name: index[name] for name in index if name in written and index[name] != [None, None]
    }


def test_a_pipeline_is_made_from_the_components_of_another(pipe):
    other = LatentConsistencyModelPipeline.from_pipe(pipe, requires_safety_checker=False)
    assert other.unet is pipe.unet and other.engine is pipe.engine
    assert other.config.requires_safety_checker is False and pipe.config.requires_safety_checker is True


def test_components_and_settings_are_replaced_by_name():
    pipe = load(checkpoint("bk_sdm"))
    vae = AutoencoderTiny.from_pretrained(tiny_autoencoder_folder())
    pipe.register_modules(vae=vae)
    pipe.register_to_config(requires_safety_checker=False)
    assert pipe.vae is vae and pipe.config.vae == ("diffusers", "AutoencoderTiny")
    assert pipe.config.requires_safety_checker is False
    with pytest.raises(ValueError, match="StableDiffusionPipeline has no component vea; it has vae, text_encoder"):
        pipe.register_modules(vea=vae)
    with pytest.raises(ValueError, match="has no setting requires_checker; it has requires_safety_checker"):
        pipe.register_to_config(requires_checker=False)


def test_a_pipeline_is_cast_as_a_whole():
    pipe = load(checkpoint("bk_sdm"))
    assert pipe.to(ms.float16) is pipe
    assert {pipe.dtype, pipe.vae.dtype, pipe.text_encoder.dtype} == {"float16"}
    with pytest.raises(ValueError, match="this process runs on cpu, got device 'cuda'"):
        pipe.to("cuda")


def test_switches_of_published_scripts_change_no_image(pipe):
    expected = images_of(pipe)
    pipe.enable_attention_slicing()
    pipe.enable_xformers_memory_efficient_attention()
    pipe.set_attention_slice("max")
    pipe.to("cpu")
    np.testing.assert_array_equal(images_of(pipe), expected)


def test_a_callback_sees_the_arguments_of_its_run(pipe):
    seen = []

    def look(pipe, step, timestep, tensors):
        seen.append((pipe.clip_skip, pipe.cross_attention_kwargs, pipe.num_timesteps, pipe.guidance_scale))
        return tensors

    images_of(pipe, clip_skip=1, callback_on_step_end=look, guidance_scale=3.0)
    assert seen == [(1, None, pipe.num_timesteps, 3.0)] * pipe.num_timesteps


def test_a_loop_of_ones_own_gives_the_pipelines_image(pipe):
    expected = images_of(pipe, guidance_scale=1.0)
    embeds, _ = pipe.encode_prompt(PROMPT, 1, False)
    pipe.scheduler.set_timesteps(2)
    latents = pipe.prepare_latents(1, 4, 64, 64, generator=np.random.default_rng(0))
    options = pipe.prepare_extra_step_kwargs(np.random.default_rng(0), 0.0)
    for timestep in pipe.scheduler.timesteps:
        noise = pipe.unet(pipe.scheduler.scale_model_input(latents, timestep), timestep, embeds).sample
        latents = pipe.scheduler.step(noise, timestep, latents, **options).prev_sample
    images = pipe.decode_latents(latents)
    np.testing.assert_array_equal(images, expected)
    assert pipe.numpy_to_pil(images[0])[0].size == (64, 64)


def test_a_safety_checker_can_be_run_by_hand(pipe):
    images = images_of(pipe)
    assert pipe.run_safety_checker(images)[1] is None
    checked = load(checkpoint("bk_sdm", safety_checker=True))
    expected = checked(PROMPT, num_inference_steps=2, generator=np.random.default_rng(0), output_type="np")
    made, unsafe = checked.run_safety_checker(images)
    assert unsafe == expected.nsfw_content_detected
    np.testing.assert_array_equal(made, expected.images)


def test_guidance_scales_become_embeddings_of_the_networks_width(pipe):
    one, both = pipe.get_guidance_scale_embedding(6.5, 32), pipe.get_guidance_scale_embedding(ms.Tensor([6.5, 2.0]), 32)
    assert one.shape == (1, 32) and both.shape == (2, 32)
    np.testing.assert_array_equal(one[0], both[0])


def test_downloading_a_local_checkpoint_gives_its_folder():
    assert StableDiffusionXLPipeline.download(checkpoint("sdxl")) == str(checkpoint("sdxl"))


def test_what_is_saved_can_be_pushed_to_a_repository(pipe, tmp_path, monkeypatch):
    """The hub itself is stood in for: only what it is asked for is looked at."""
    import huggingface_hub

    asked = []

    class Hub:
        def __init__(self, token=None):
            asked.append(("token", token))

        def create_repo(self, repo_id, private=None, exist_ok=False):
            asked.append(("create", repo_id, private))
            return huggingface_hub.RepoUrl(f"https://huggingface.co/me/{repo_id.split('/')[-1]}")

        def upload_folder(self, repo_id, folder_path, path_in_repo, commit_message, create_pr):
            asked.append(("upload", repo_id, path_in_repo, commit_message))
            return f"https://huggingface.co/{repo_id}/commit/1"

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    address = pipe.scheduler.push_to_hub("mine", private=True, token="secret", commit_message="first")
    assert address == "https://huggingface.co/me/mine/commit/1"
    assert asked == [("token", "secret"), ("create", "mine", True), ("upload", "me/mine", None, "first")]
    pipe.scheduler.save_pretrained(tmp_path / "named", push_to_hub=True, subfolder="scheduler")
    assert asked[-1] == ("upload", "me/named", "scheduler", None)


def test_a_variant_that_only_some_networks_have_is_read_there_and_named(tmp_path, caplog):
    folder = shutil.copytree(checkpoint("bk_sdm"), tmp_path / "mixed")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(
        folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    )
    np.testing.assert_array_equal(images_of(load(folder, variant="fp16")), images_of(load(checkpoint("bk_sdm"))))
    assert "variant 'fp16' is not there for text_encoder, vae, which are read without it" in caplog.text
    folder_to_file(folder, tmp_path / "mixed.safetensors", variant="fp16")
    folder_to_file(checkpoint("bk_sdm"), tmp_path / "plain.safetensors")
    assert (tmp_path / "mixed.safetensors").read_bytes() == (tmp_path / "plain.safetensors").read_bytes()


def test_a_pipeline_is_saved_in_a_variant_and_in_shards_and_refuses_what_it_cannot_honour(tmp_path):
    pipe = load(checkpoint("bk_sdm"))
    pipe.save_pretrained(tmp_path, variant="fp16", max_shard_size="20KB")
    assert (tmp_path / "unet" / "diffusion_pytorch_model.safetensors.index.fp16.json").is_file()
    assert (tmp_path / "text_encoder" / "model.safetensors.index.fp16.json").is_file()
    again = type(pipe).from_pretrained(tmp_path, variant="fp16", engine="openvino")
    again.set_progress_bar_config(disable=True)
    np.testing.assert_array_equal(images_of(again), images_of(pipe))
    for component in (pipe, pipe.unet):
        with pytest.raises(ValueError, match="safe_serialization must be True"):
            component.save_pretrained(tmp_path / "x", safe_serialization=False)
    for component in (pipe, pipe.unet, pipe.scheduler):
        with pytest.raises(ValueError, match="save_pretrained has no argument 'varaint'"):
            component.save_pretrained(tmp_path / "x", varaint="fp16")
    assert not (tmp_path / "x").exists()
    with pytest.raises(ValueError, match="save_function must be None"):
        pipe.unet.save_pretrained(tmp_path, save_function=print)
    pipe.unet.save_pretrained(tmp_path / "x", is_main_process=False)
    assert not (tmp_path / "x").exists()
