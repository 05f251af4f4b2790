"""Pipelines and networks from one file draw as those of the folder that the file was made of."""

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from documented import documented_hub
from editing_cases import CASES, FOLDERS, WITHOUT
from lora_cases import kohya, layers, stored
from mindone.diffusers import AutoencoderKL, DiffusionPipeline, StableDiffusionPipeline, UNet2DConditionModel, jobs
from mindone.diffusers.cli import main
from mindone.diffusers.families.convert import folder_to_file
from mindone.diffusers.jobs import Job
from mindone.diffusers.jobs.loras import WeighedLora, merged
from mindone.diffusers.loading.config import read_config
from mindone.diffusers.loading.safetensors import SafetensorsFile, save_file
from original_files import opened
from tiny_pipelines import checkpoint, images_of, load


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A single file of each family."""
    folder = tmp_path_factory.mktemp("single")
    for family in ("sd1", "sd2", "sdxl"):
        folder_to_file(checkpoint(family), folder / f"{family}.safetensors")
    return folder


@pytest.mark.parametrize("family", ["sd1", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("sd2", "sdxl"))])
def test_a_pipeline_of_a_file_draws_the_folders_image_bit_for_bit(files, family):
    # The tiny text encoders have a vocabulary of their own, which no file holds: it comes from the folder.
    pipe = DiffusionPipeline.from_single_file(
        files / f"{family}.safetensors", config=checkpoint(family), engine="openvino"
    )
    pipe.set_progress_bar_config(disable=True)
    np.testing.assert_array_equal(images_of(pipe), images_of(load(checkpoint(family))))


def test_components_that_are_given_are_not_loaded_from_the_file(files):
    folder = load(checkpoint("sd1"))
    pipe = DiffusionPipeline.from_single_file(
        files / "sd1.safetensors",
        config=checkpoint("sd1"),
        engine="openvino",
        text_encoder=folder.text_encoder,
        tokenizer=folder.tokenizer,
    )
    assert pipe.text_encoder is folder.text_encoder and pipe.unet is not folder.unet


def test_a_network_comes_out_of_a_whole_pipelines_file(files):
    path = files / "sd1.safetensors"
    unet = UNet2DConditionModel.from_single_file(path, config=checkpoint("sd1"), mindspore_dtype="float16")
    theirs = load(checkpoint("sd1")).unet
    np.testing.assert_array_equal(unet.array("conv_in.weight"), theirs.array("conv_in.weight"))
    assert unet.dtype == "float16"
    assert isinstance(AutoencoderKL.from_single_file(path, config=checkpoint("sd1")), AutoencoderKL)


def test_a_file_of_another_kind_of_pipeline_is_told(files):
    with pytest.raises(ValueError, match="has no place for its text_encoder_2"):
        StableDiffusionPipeline.from_single_file(files / "sdxl.safetensors", config=checkpoint("sdxl"))


def test_a_file_of_one_network_is_no_pipeline(files, tmp_path):
    folder_to_file(checkpoint("sd1") / "unet", tmp_path / "unet.safetensors")
    unet = {"path_or_address": tmp_path / "unet.safetensors", "config": checkpoint("sd1") / "unet"}
    with pytest.raises(ValueError, match=r"holds only unet; pass vae=…, text_encoder=… for a pipeline"):
        DiffusionPipeline.from_single_file(**unet)
    with pytest.raises(ValueError, match="has no AutoencoderKL; it has UNet2DConditionModel"):
        AutoencoderKL.from_single_file(**unet)


def test_the_command_line_converts_both_ways(files, tmp_path):
    source, folder, again = files / "sd1.safetensors", tmp_path / "folder", tmp_path / "again.safetensors"
    alone = [sys.executable, "-m", "mindone.diffusers.cli"]  # where nothing else has imported a pipeline
    options = ["convert", source, "-o", folder, "--config", checkpoint("sd1")]
    assert "StableDiffusionPipeline" in subprocess.run([*alone, *options], capture_output=True, text=True).stdout
    assert CliRunner().invoke(main, ["convert", str(folder), "-o", str(again)]).exit_code == 0
    assert again.read_bytes() == source.read_bytes()
    refused = CliRunner().invoke(main, ["convert", str(folder), "-o", str(tmp_path / "file.bin")])
    assert refused.exit_code != 0 and "--output must end in .safetensors for a checkpoint" in refused.output


@pytest.mark.heavy
def test_a_job_draws_from_a_file_and_with_loras(files, tmp_path):
    job = Job(prompt="a cat", model=str(files / "sd1.safetensors"), steps=2, seed=0, dtype="float32", engine="openvino")
    folder = load(checkpoint("sd1"))
    texts = {"text_encoder": folder.text_encoder, "tokenizer": folder.tokenizer, "vae": folder.vae}
    whole = SafetensorsFile(files / "sd1.safetensors")
    save_file(dict(whole), tmp_path / "bare.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="norm_num_groups"):  # tiny networks are not told by their shapes alone
        jobs.load(job.changed(model=str(tmp_path / "bare.safetensors")), **texts)
    np.testing.assert_array_equal(jobs.draw(jobs.load(job), job)[0], jobs.draw(folder, job)[0])  # but by the metadata
    told = job.changed(model=str(tmp_path / "bare.safetensors"), config=str(checkpoint("sd1")))
    np.testing.assert_array_equal(jobs.draw(jobs.load(told), told)[0], jobs.draw(folder, job)[0])  # or by a folder
    with pytest.raises(ValueError, match=r"config is for a single-file model; icons has its own"):
        jobs.load(told.changed(model="icons"))
    with pytest.raises(ValueError, match="a single-file model has none"):
        jobs.load(job.changed(variant="fp16"))

    path = tmp_path / "style.safetensors"
    save_file(stored(kohya("sd1", {"unet": layers("sd1", "unet", ("attn1.to_q",))})), path)
    drawn = job.changed(model=str(checkpoint("sd1")), lora=(f"{path}:0.5", str(path)))
    pipe = jobs.load(drawn)
    assert pipe.get_active_adapters() == [
        "lora_0"
    ]  # one that is named twice is loaded once, and counts as much as both
    twice = np.array(jobs.draw(pipe, drawn)[0], np.float32)
    pipe.set_adapters("lora_0", 1.5)
    for job_of_its_own in (drawn.changed(lora=(f"{path}:1.5",)), job.changed(model=drawn.model)):
        once = np.array(jobs.draw(pipe, job_of_its_own)[0], np.float32)
        assert np.abs(twice - once).mean() < 0.5  # of 255: they are the same up to the order of sums
    assert drawn.pipeline_key == drawn.changed(lora=(f"{path}:0.1:3",)).pipeline_key != job.pipeline_key
    assert Job.from_json(drawn.to_json()) == drawn


@pytest.mark.parametrize(
    "text, expected",
    [
        ("style.safetensors:0.8", ("style.safetensors", 0.8, 0.8)),
        ("style.safetensors:0.5:-0.8", ("style.safetensors", 0.5, -0.8)),
        ("owner/name", ("owner/name", 1.0, 1.0)),
        (
            "https://huggingface.co/o/n/blob/main/a.safetensors:-0.5",
            ("https://huggingface.co/o/n/blob/main/a.safetensors", -0.5, -0.5),
        ),
        (
            "https://huggingface.co/o/n/blob/main/a.safetensors",
            ("https://huggingface.co/o/n/blob/main/a.safetensors", 1.0, 1.0),
        ),
    ],
)
def test_a_lora_on_the_command_line_has_a_weight(text, expected):
    assert WeighedLora.parse(text) == WeighedLora(*expected)
    assert WeighedLora.parse(str(WeighedLora.parse(text))) == WeighedLora(*expected)


def test_a_loras_weight_is_bounded():
    with pytest.raises(ValueError, match="a lora's weight must be from -1000 to 1000, got 'a:1:-1e9'"):
        WeighedLora.parse("a:1:-1e9")


def test_loras_of_a_job_are_a_set_with_weights():
    lora = ("b:0.5", "a", "b:1:0")
    assert merged(lora) == [WeighedLora("a"), WeighedLora("b", 1.5, 0.5)]
    assert Job(prompt="", lora=lora).pipeline_key == Job(prompt="", lora=("a:3", "b")).pipeline_key


@pytest.mark.parametrize("text", ["style:much", ":0.5", "", "style:nan"])
def test_a_lora_without_a_path_or_a_number_is_refused(text):
    with pytest.raises(ValueError, match="lora must be PATH, PATH:WEIGHT or PATH:TEXT_ENCODER:DENOISER"):
        Job(prompt="", lora=(text,))


@pytest.mark.heavy
def test_the_bundled_checkpoint_is_converted_by_name_and_its_file_draws_alone(tmp_path):
    result = CliRunner().invoke(main, ["convert", "icons-distilled", "-o", str(tmp_path / "icons.safetensors")])
    assert result.exit_code == 0, result.output
    pipe = jobs.load(Job(prompt="", model=str(tmp_path / "icons.safetensors"), dtype="float32", engine="openvino"))
    folder = load("icons-distilled")
    assert pipe.scheduler.config == folder.scheduler.config
    assert pipe.generation_config == folder.generation_config != {}
    assert pipe.tokenizer("a rocket").tolist() == folder.tokenizer("a rocket").tolist()
    for name in ("unet", "vae", "text_encoder"):
        mine, theirs = (getattr(each, name) for each in (pipe, folder))
        assert mine.config == theirs.config
        assert all(np.array_equal(mine.array(key), theirs.array(key)) for key in mine.published_parameters())


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.heavy)])
def test_files_without_some_parts_draw_with_those_that_are_given(files, tmp_path, family):
    folder = load(checkpoint(family))
    file = SafetensorsFile(files / f"{family}.safetensors")
    unet = {name: tensor for name, tensor in file.items() if name.startswith("model.diffusion_model.")}
    save_file(unet, tmp_path / "unet.safetensors", file.metadata)
    with pytest.raises(ValueError, match=r"holds only unet; pass vae=…, text_encoder=…"):
        DiffusionPipeline.from_single_file(tmp_path / "unet.safetensors")
    given = {name: part for name, part in folder.components.items() if name.startswith(("vae", "text_encoder"))}
    pipe = DiffusionPipeline.from_single_file(tmp_path / "unet.safetensors", engine="openvino", **given)
    pipe.set_progress_bar_config(disable=True)
    np.testing.assert_array_equal(images_of(pipe), images_of(folder))


def test_published_arguments_of_from_single_file(files, tmp_path):
    bare = tmp_path / "bare.safetensors"
    save_file(dict(SafetensorsFile(files / "sd1.safetensors")), bare)
    (tmp_path / "hub").mkdir()
    with documented_hub(tmp_path / "hub"):
        pipe = StableDiffusionPipeline.from_single_file(
            bare,
            config="stable-diffusion-v1-5/stable-diffusion-v1-5",
            variant="fp16",
            use_safetensors=True,
            engine="openvino",
        )
    assert pipe.unet.config["norm_num_groups"] == read_config(checkpoint("sd1") / "unet")["norm_num_groups"]
    with pytest.raises(ValueError, match="use_safetensors must be True"):
        StableDiffusionPipeline.from_single_file(bare, use_safetensors=False)
    unet = UNet2DConditionModel.from_single_file(bare, config=checkpoint("sd1"), subfolder="unet")
    assert unet.config["norm_num_groups"] == pipe.unet.config["norm_num_groups"]


@pytest.mark.heavy
@pytest.mark.parametrize("pipeline", FOLDERS)
def test_the_channels_of_a_unet_tell_which_pipeline_edits_with_it(tmp_path, pipeline):
    folder_to_file(FOLDERS[pipeline](), tmp_path / "edit.safetensors")
    bare = tmp_path / "bare.safetensors"
    save_file(dict(SafetensorsFile(tmp_path / "edit.safetensors")), bare, {"format": "pt"})
    assert opened(bare).pipeline == pipeline
    pipe = DiffusionPipeline.from_single_file(tmp_path / "edit.safetensors", engine="openvino")
    folder = DiffusionPipeline.from_pretrained(FOLDERS[pipeline](), engine="openvino", **WITHOUT.get(pipeline, {}))
    call = dict(next(arguments for kind, arguments in CASES.values() if kind == pipeline), num_inference_steps=2)
    drawn = []
    for each in (pipe, folder):
        each.set_progress_bar_config(disable=True)
        generator = np.random.Generator(np.random.PCG64(3))
        drawn.append(each(**{"prompt": "a cat", **call}, generator=generator, output_type="np").images)
    np.testing.assert_array_equal(*drawn)


def test_cosxls_editing_network_is_told_by_its_noise_levels(tmp_path):
    folder_to_file(FOLDERS["StableDiffusionXLInstructPix2PixPipeline"](), tmp_path / "edit.safetensors")
    tensors = dict(SafetensorsFile(tmp_path / "edit.safetensors"))
    assert opened(tmp_path / "edit.safetensors").options["is_cosxl_edit"] is False
    save_file({**tensors, "edm_vpred.sigma_max": np.float32(120)}, tmp_path / "cosxl.safetensors", {"format": "pt"})
    assert opened(tmp_path / "cosxl.safetensors").options["is_cosxl_edit"] is True
