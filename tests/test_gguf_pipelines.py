"""GGUF files in pipelines: they draw what their weights stand for, on both engines, and the command line takes them."""

import logging
import re
import shutil

import mindspore as ms
import numpy as np
import pytest
from click.testing import CliRunner

from gguf_files import write_gguf
from mindone.diffusers import (
    DiffusionPipeline,
    FluxTransformer2DModel,
    GGUFQuantizationConfig,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    cli,
    jobs,
)
from mindone.diffusers.engines.base import is_grouped
from mindone.diffusers.engines.binding import bound
from mindone.diffusers.families.stable_diffusion.original import ORIGINAL, SD1, SD2
from mindone.diffusers.loading.gguf import GGUFFile
from mindone.diffusers.loading.original.clip import CLIP
from mindone.diffusers.loading.original.training_config import TrainingConfig
from mindone.diffusers.loading.safetensors import StoredTensor
from mindone.diffusers.server.catalogue import Catalogue, Choice
from mindone.diffusers.server.settings import Settings
from tiny_gguf import WIDE_UNETS, folder, sd1_files, transformer_file, transformer_tensors, unet_file, widened_folder
from tiny_pipelines import images_of, load

SMALL = {"height": 64, "width": 64}
"""Tensors do not tell what size a network was trained on."""


def transformer(dtype=ms.float32, **options) -> SD3Transformer2DModel:
    config = GGUFQuantizationConfig(compute_dtype=dtype)
    options = {"config": folder(), "subfolder": "transformer", **options}
    return SD3Transformer2DModel.from_single_file(transformer_file(), quantization_config=config, **options)


def pipeline(engine="openvino", **options):
    return load(folder(), transformer=transformer(**options), engine=engine)


@pytest.mark.parametrize("engine", ["openvino", pytest.param("mindspore", marks=pytest.mark.heavy)])
def test_a_pipeline_draws_what_the_weights_of_the_file_stand_for(engine):
    pipe = pipeline(engine)
    assert isinstance(pipe, StableDiffusion3Pipeline)
    expected = images_of(load(widened_folder(), engine=engine))
    assert np.abs(images_of(pipe) - expected).mean() <= 1e-5


def test_flux_draws_what_the_weights_of_the_file_stand_for():
    """Its fused matrices are taken apart by rows, and stay in their bits."""
    config = GGUFQuantizationConfig(compute_dtype="float32")
    read = FluxTransformer2DModel.from_single_file(transformer_file("flux"), quantization_config=config)
    weight = read.published_parameters()["single_transformer_blocks.0.attn.to_k.weight"]
    assert is_grouped(bound(weight)) and weight.shape == (64, 64)
    pipe, plain = load(folder("flux"), transformer=read), load(widened_folder("flux"))
    assert np.abs(images_of(pipe, **SMALL) - images_of(plain, **SMALL)).mean() <= 1e-5


def test_the_weights_stay_in_their_bits_in_the_compiled_graph():
    pipe = pipeline()
    images_of(pipe)
    grouped = [name for name, each in pipe.transformer.published_parameters().items() if is_grouped(bound(each))]
    (key,) = pipe.transformer.graphs
    executed = pipe.transformer.graphs.get(key, dict).executed()
    kept = sum(count for (_, kind), count in executed.items() if kind in ("u4", "i4", "u8", "i8"))
    assert kept >= len(grouped) > 40


def test_half_precision_rounds_no_more_than_that_of_the_same_weights_in_16_bits():
    expected = images_of(load(widened_folder()))
    kept = pipeline(dtype="bfloat16")
    assert kept.transformer.dtype == "bfloat16"
    plain = load(widened_folder(), mindspore_dtype="bfloat16")
    kept.vae, kept.text_encoder_3 = plain.vae, plain.text_encoder_3
    errors = [np.square(images_of(each) - expected).mean() for each in (kept, plain)]
    assert errors[0] <= 2 * errors[1] + 1e-12  # the last digits of float32, in which a CPU without 16 bits computes


def test_the_tensors_tell_the_config_where_no_model_does():
    pipe = load(folder(), transformer=transformer(config=None, subfolder=None))
    np.testing.assert_array_equal(images_of(pipe, **SMALL), images_of(pipeline(), **SMALL))


def test_ggml_s_shapes_and_prefix_are_read(tmp_path):
    tensors = {f"model.diffusion_model.{name}": each for name, each in transformer_tensors("sd3").items()}
    places = tensors["model.diffusion_model.pos_embed"]
    tensors["model.diffusion_model.pos_embed"] = places.reshape(places.shape[1:])
    path = write_gguf(tmp_path / "x.gguf", tensors)
    read = SD3Transformer2DModel.from_single_file(path)
    images = images_of(load(folder(), transformer=read), **SMALL)
    np.testing.assert_array_equal(images, images_of(pipeline(), **SMALL))


@pytest.mark.parametrize("by", ["ComfyUI", "stable-diffusion.cpp"])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_denoiser_of_stable_diffusion_alone_is_recognised_and_keeps_its_values(family, by, tmp_path):
    path, values = unet_file(family, tmp_path, by)
    read = UNet2DConditionModel.from_single_file(path)
    told = {name: read.config[name] for name in ("use_linear_projection", "cross_attention_dim", "attention_head_dim")}
    expected = {name: WIDE_UNETS[family].get(name, False) for name in told}
    assert told == expected
    parameters = read.published_parameters()
    assert sum(is_grouped(bound(each)) for each in parameters.values()) >= 10
    for name, value in values.items():
        np.testing.assert_allclose(bound(parameters[name]).numpy(), value, rtol=1e-6, atol=1e-6, err_msg=name)


def test_a_text_encoder_that_stable_diffusion_cpp_renamed_is_recognised_by_its_width():
    """OpenCLIP ViT-H/14 of Stable Diffusion 2, whose last layer nothing reads."""
    shapes = {"text_model.embeddings.token_embedding.weight": (8, 1024), "text_model.final_layer_norm.weight": (1024,)}
    shapes["text_model.embeddings.position_embedding.weight"] = (77, 1024)
    shapes |= {f"text_model.encoder.layers.{i}.mlp.fc1.weight": (4, 1024) for i in range(24)}
    tensors = {name: StoredTensor.from_numpy(np.zeros(shape, np.float16)) for name, shape in shapes.items()}
    ours = CLIP.ours(tensors)
    assert tensors.keys() - ours.keys() == {"text_model.encoder.layers.23.mlp.fc1.weight"}
    config = CLIP.config(ours, SD2, TrainingConfig())
    assert (config["hidden_act"], config["num_hidden_layers"]) == ("gelu", 23)
    sections = {"text_encoder": ours}
    assert ORIGINAL.release(sections, {"text_encoder": CLIP}) is SD2
    narrow = {name: StoredTensor.from_numpy(tensor.numpy()[..., :768]) for name, tensor in ours.items()}
    assert ORIGINAL.release({"text_encoder": narrow}, {"text_encoder": CLIP}) is SD1


def test_the_text_encoders_of_xl_that_stable_diffusion_cpp_renamed_are_refused_by_name(tmp_path):
    """What it calls text_projection is stored either way round, and nothing says which."""
    path, _ = unet_file("sdxl", tmp_path, "stable-diffusion.cpp")
    text = {f"cond_stage_model.1.transformer.text_model.{name}": np.ones((8, 8), np.float32) for name in "ab"}
    whole = write_gguf(tmp_path / "whole.gguf", {**GGUFFile(path), **text}, "sdxl")
    with pytest.raises(
        ValueError, match=r"cond_stage_model\.1.*pass vae=…, text_encoder=…, text_encoder_2=…"
    ) as caught:
        DiffusionPipeline.from_single_file(whole)
    assert len(str(caught.value).splitlines()) == 1
    assert UNet2DConditionModel.from_single_file(whole).config["addition_embed_type"] == "text_time"


@pytest.mark.heavy
def test_a_whole_pipeline_in_one_file_draws():
    path, widened, config = sd1_files()
    pipe = DiffusionPipeline.from_single_file(path, config=config, engine="openvino")
    expected = DiffusionPipeline.from_single_file(widened, config=config, engine="openvino")
    assert type(pipe) is StableDiffusionPipeline
    for each in (pipe, expected):
        each.set_progress_bar_config(disable=True)
    assert np.abs(images_of(pipe) - images_of(expected)).mean() <= 1e-5


def test_a_network_that_is_saved_again_keeps_its_integers(tmp_path):
    read = transformer()
    read.save_pretrained(tmp_path)
    again = SD3Transformer2DModel.from_pretrained(tmp_path)
    kept = 0
    for name, parameter in read.published_parameters().items():
        before, after = bound(parameter), bound(again.published_parameters()[name])
        assert is_grouped(after) == is_grouped(before), name
        if is_grouped(before):
            kept += 1
            np.testing.assert_array_equal(after.packed, before.packed, err_msg=name)
        np.testing.assert_array_equal(after.numpy(), before.numpy(), err_msg=name)
    assert kept > 40
    assert np.abs(images_of(load(folder(), transformer=again)) - images_of(load(widened_folder()))).mean() <= 1e-5


@pytest.mark.heavy
def test_a_lora_lies_beside_the_weights_and_is_fused_into_wider_ones(caplog):
    pipe, plain = pipeline(), load(widened_folder())
    rng = np.random.default_rng(0)
    name = "transformer.transformer_blocks.0.attn.to_q"
    lora = {
        f"{name}.lora_A.weight": rng.standard_normal((2, 64), np.float32),
        f"{name}.lora_B.weight": rng.standard_normal((64, 2), np.float32),
    }
    for each in (pipe, plain):
        each.load_lora_weights(lora)
    beside = images_of(pipe)
    assert np.abs(beside - images_of(plain)).mean() <= 1e-5
    assert is_grouped(bound(pipe.transformer.published_parameters()[f"{name[12:]}.weight"]))
    with caplog.at_level(logging.WARNING):
        pipe.fuse_lora()
    assert any("1 weight in 4 or 8 bits" in message for message in caplog.messages)
    assert np.abs(images_of(pipe) - beside).mean() <= 1e-5
    pipe.unfuse_lora()
    assert is_grouped(bound(pipe.transformer.published_parameters()[f"{name[12:]}.weight"]))


# ---- jobs and the command line ---------------------------------------------------------------------------------------


def test_generate_takes_the_denoiser_of_a_file_and_remembers_it(tmp_path):
    picture = tmp_path / "x.png"
    words = [
        "--model",
        str(folder()),
        "--gguf",
        str(transformer_file()),
        "--steps",
        "2",
        "--seed",
        "3",
        "-o",
        str(picture),
    ]
    result = CliRunner().invoke(
        cli.main, ["generate", "a red cat", "--dtype", "float32", "--engine", "openvino", *words]
    )
    assert result.exit_code == 0, result.output
    remembered = CliRunner().invoke(cli.main, ["info", str(picture)]).output
    assert f"--gguf {transformer_file()}" in remembered


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "x.safetensors", "gguf": "y.gguf"}, "gguf goes with a model that is a folder or a hub id"),
        ({"model": "icons", "gguf": "absent.gguf"}, "no file absent.gguf"),
        (
            {"model": "icons", "gguf": "y.safetensors"},
            "gguf must be a FILE.gguf or its address on the hub, got 'y.safe",
        ),
    ],
)
def test_jobs_whose_denoiser_comes_from_nowhere_are_refused(fields, message):
    with pytest.raises((ValueError, OSError), match=message):
        jobs.load(jobs.PipelineKey(**fields))


def test_a_job_whose_model_is_a_denoiser_alone_is_refused():
    with pytest.raises(ValueError, match=r"holds only transformer; .*; a job takes the file as its gguf \(--gguf\)"):
        jobs.load(jobs.PipelineKey(model=str(transformer_file())))


def test_a_denoiser_of_another_family_is_refused():
    with pytest.raises(ValueError, match=r"sd3-file\.gguf has no UNet2DConditionModel; it has SD3Transformer2DModel"):
        jobs.load(jobs.PipelineKey(model="icons", gguf=str(transformer_file())))


def test_the_server_says_which_model_draws_with_a_file_and_tells_clients_no_path():
    settings = Settings(model=(f"sd35={folder()}", f"plain={folder()}"), gguf=(f"sd35={transformer_file()}",))
    catalogue = Catalogue(settings)
    key, plain = catalogue.key(Choice("sd35")), catalogue.key(Choice("plain"))
    assert key.gguf == str(transformer_file()) and plain.gguf is None
    assert [catalogue.name_of(each) for each in (key, plain)] == ["sd35", "plain"]
    public = catalogue.public(jobs.Job(**key.to_dict(), prompt="a cat"))
    assert public.gguf == transformer_file().name and public.model == "sd35"
    with pytest.raises(ValueError, match=r"once per model \(sd35\); got 'x=y\.gguf'"):
        Catalogue(Settings(model=("sd35=icons",), gguf=("x=y.gguf",)))


def test_the_memory_that_a_pipeline_is_counted_with_is_that_of_its_bits():
    kept, plain = transformer(dtype="bfloat16"), load(widened_folder(), mindspore_dtype="bfloat16").transformer
    assert 0.3 * plain.get_memory_footprint() < kept.get_memory_footprint() < 0.6 * plain.get_memory_footprint()


def test_info_says_family_types_and_sizes(tmp_path):
    said = CliRunner().invoke(cli.main, ["info", str(transformer_file())]).output
    lines = {line.split("  ")[0]: line for line in said.splitlines()}
    assert lines["family"].endswith("Stable Diffusion 3.5 medium") and lines["architecture"].endswith("sd3")
    assert "SD3Transformer2DModel" in lines["networks"]
    assert all(re.search(" tensors?, ", lines[kind]) for kind in ("F32", "Q4_K", "Q5_K", "Q6_K", "Q4_0", "Q8_0"))
    other = write_gguf(tmp_path / "x.gguf", {"blk.0.attn_q.weight": np.ones((2, 2), np.float32)}, "llama")
    assert "not known here" in CliRunner().invoke(cli.main, ["info", str(other)]).output


def test_models_says_what_a_downloaded_gguf_file_is_and_which_option_takes_it(tmp_path, monkeypatch):
    snapshot = tmp_path / "models--acme--medium-gguf" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(tmp_path), raising=False)
    shutil.copy(transformer_file(), snapshot / "medium.gguf")
    write_gguf(snapshot / "other.gguf", {"blk.0.attn_q.weight": np.ones((2, 2), np.float32)}, "llama")
    (snapshot / "zero.gguf").touch()
    result = CliRunner().invoke(cli.main, ["models", "acme/medium-gguf"])
    lines = [line.strip() for line in result.output.splitlines()]
    assert lines[1].startswith("acme/medium-gguf") and lines[1].endswith("GGUF files")
    address, about = lines[2].split("  ", 1)
    assert address == f"--gguf hf.co/acme/medium-gguf/blob/{'0' * 40}/medium.gguf"
    assert about.startswith("Stable Diffusion 3.5 medium; ") and "Q4_K" in about and "Q8_0" in about
    assert lines[3] == "other.gguf: of no family here (llama); F32"
    assert "zero.gguf" in lines[4] and "GGUF" in lines[4]


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_another_architecture_is_refused_by_its_name(tmp_path):
    path = write_gguf(tmp_path / "x.gguf", {"blk.0.attn_q.weight": np.ones((2, 2), np.float32)}, "llama")
    with pytest.raises(
        ValueError, match=r"x\.gguf: its general\.architecture is 'llama'; it is of no architecture known"
    ):
        SD3Transformer2DModel.from_single_file(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantization_config": GGUFQuantizationConfig(ms.bfloat16), "mindspore_dtype": ms.float32}, "one type"),
        ({"quantization_config": {"compute_dtype": "x"}}, "must be a GGUFQuantizationConfig, got a dict"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SD3Transformer2DModel.from_single_file(transformer_file(), **options)


def test_the_config_is_for_gguf_files_alone():
    with pytest.raises(ValueError, match=r"quantization_config is for \.gguf files"):
        SD3Transformer2DModel.from_single_file("x.safetensors", quantization_config=GGUFQuantizationConfig())
    with pytest.raises(ValueError, match="must be float32, float16 or bfloat16"):
        GGUFQuantizationConfig(compute_dtype="int4")
