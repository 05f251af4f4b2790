"""Single files in the original layout: what is read off names and shapes, and the way there and back."""

import shutil

import numpy as np
import pytest

from checkpoints import AUTOENCODER, UNETS, random_weights, shapes_of, write_model
from mindone.diffusers import AutoencoderKL, CLIPTextModel, CLIPTextModelWithProjection, UNet2DConditionModel
from mindone.diffusers.families import convert
from mindone.diffusers.families.stable_diffusion.original import SD1, SD2
from mindone.diffusers.families.stable_diffusion.original_unet import Stages, unet_config, unet_key_map
from mindone.diffusers.loading.clip_vocabulary import clip_tokenizer
from mindone.diffusers.loading.config import read_config, write_config
from mindone.diffusers.loading.original.autoencoder import autoencoder_config
from mindone.diffusers.loading.original.clip import from_open_clip, text_config
from mindone.diffusers.loading.original.key_map import KeyMap
from mindone.diffusers.loading.safetensors import SafetensorsFile, StoredTensor, save_file
from mindone.diffusers.loading.weights import open_weights
from mindone.diffusers.schedulers.base import Scheduler
from original_files import PUBLISHED, equal, opened, shapes_only, without_bytes
from tiny_pipelines import checkpoint, images_of, load

FAMILIES = ("sd1", "sd2", "sdxl", "bk_sdm")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A single file of each family."""
    folder = tmp_path_factory.mktemp("single")
    for family in FAMILIES:
        convert.folder_to_file(checkpoint(family), folder / f"{family}.safetensors")
    return folder


def rewritten(path, new_path, change, metadata=None):
    """A copy of a file whose tensors ``change`` has edited."""
    tensors = dict(SafetensorsFile(path))
    change(tensors)
    save_file(tensors, new_path, metadata)
    return new_path


@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_file_holds_the_folders_tensors_under_our_names(files, family):
    single = opened(files / f"{family}.safetensors")
    for name, component in single.components.items():
        basename = "model" if "text" in name else "diffusion_pytorch_model"
        stored = open_weights(checkpoint(family) / name, basename)
        assert component.weights.keys() == stored.keys()
        assert all(equal(component.weights[key], stored[key]) for key in stored)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_weights_are_views_of_the_file(files, family):
    single = opened(files / f"{family}.safetensors")
    copies = [
        name
        for component in single.components.values()
        for name, tensor in component.weights.items()
        if tensor.data.flags.owndata or tensor.data.flags.writeable
    ]
    assert copies == (["text_projection.weight"] if family == "sdxl" else [])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_unet_configs_are_read_off_shapes(name):
    published = PUBLISHED[name]
    read = unet_config(shapes_only(name), published["sample_size"])
    assert {field: read.get(field, published[field]) for field in published} == published
    assert read.get("mid_block_type", "as usual") == published.get("mid_block_type", "as usual")


@pytest.mark.parametrize("width, layers, projection", [(768, 12, None), (1024, 23, None), (1280, 32, 1280)])
def test_published_text_configs_are_read_off_shapes(width, layers, projection):
    published = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": {768: 12, 1024: 16, 1280: 20}[width],
        "vocab_size": 49408,
        "max_position_embeddings": 77,
    }
    cls = CLIPTextModel if projection is None else CLIPTextModelWithProjection
    network = cls(**published, projection_dim=projection or width)
    read = text_config(without_bytes(network), open_clip=projection is not None)
    assert {field: read[field] for field in published} == published
    assert read["architectures"] == [cls.__name__]
    assert read["hidden_act"] == ("quick_gelu" if projection is None else "gelu")


def test_the_published_autoencoder_config_is_read_off_shapes():
    published = {
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "latent_channels": 4,
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "norm_num_groups": 32,
    }
    tensors = without_bytes(AutoencoderKL(**published))
    read = autoencoder_config(tensors, scaling_factor=0.18215, sample_size=512)
    assert {field: read[field] for field in published} == published


def test_the_pipeline_is_told_by_the_tensors(files):
    told = {family: opened(files / f"{family}.safetensors").pipeline for family in FAMILIES}
    assert told == {
        "sd1": "StableDiffusionPipeline",
        "sd2": "StableDiffusionPipeline",
        "sdxl": "StableDiffusionXLPipeline",
        "bk_sdm": "StableDiffusionPipeline",
    }


def test_nine_input_channels_mean_inpainting(files, tmp_path):
    def widen(tensors):
        name = "model.diffusion_model.input_blocks.0.0.weight"
        tensors[name] = StoredTensor.from_numpy(np.zeros((8, 9, 3, 3), np.float32))

    single = opened(rewritten(files / "sd1.safetensors", tmp_path / "inpainting.safetensors", widen))
    assert single.pipeline == "StableDiffusionInpaintPipeline"
    assert single.components["unet"].config["in_channels"] == 9


def test_a_refiner_has_only_the_second_text_encoder(files, tmp_path):
    def drop(tensors):
        for name in [n for n in tensors if n.startswith("conditioner.embedders.0.")]:
            del tensors[name]
        for name in [n for n in tensors if n.startswith("conditioner.embedders.1.")]:
            tensors[name.replace("embedders.1.", "embedders.0.")] = tensors.pop(name)

    single = opened(rewritten(files / "sdxl.safetensors", tmp_path / "refiner.safetensors", drop))
    assert single.pipeline == "StableDiffusionXLImg2ImgPipeline"
    assert "text_encoder" not in single.components
    assert "text_encoder_2" in single.components
    assert single.options["requires_aesthetics_score"] is True


def test_what_is_predicted_is_told_by_metadata_then_training_steps_then_the_family(files, tmp_path):
    def predicted(metadata, **tensors):
        def change(stored):
            del stored["v_pred"]  # what `convert` has written for this family
            stored.update(tensors)

        path = rewritten(files / "sd2.safetensors", tmp_path / "2.safetensors", change, metadata)
        return opened(path).scheduler["prediction_type"]

    step = lambda number: StoredTensor.from_numpy(np.array(number))  # noqa: E731
    assert predicted({"modelspec.prediction_type": "epsilon"}) == "epsilon"
    assert predicted({}) == "v_prediction"
    assert predicted({}, global_step=step(220_000)) == "epsilon"
    assert predicted({}, global_step=step(110_000)) == "v_prediction"
    scheduler = read_config(checkpoint("sd1") / "scheduler", "scheduler_config.json")
    assert opened(files / "sd1.safetensors").scheduler == scheduler  # which the file carries
    chosen = opened(files / "sd1.safetensors", prediction_type="v_prediction")
    assert chosen.scheduler["prediction_type"] == "v_prediction"


def test_stable_diffusion_2_does_without_the_last_layer_of_a_complete_tower():
    width, layers = 4, 3
    shapes = {"positional_embedding": (7, width), "token_embedding.weight": (9, width), "text_projection": (width, 2)}
    shapes |= {f"ln_final.{kind}": (width,) for kind in ("weight", "bias")}
    for i in range(layers):
        shapes[f"transformer.resblocks.{i}.attn.in_proj_weight"] = (3 * width, width)
        shapes[f"transformer.resblocks.{i}.attn.in_proj_bias"] = (3 * width,)
    tensors = {name: StoredTensor.from_numpy(array) for name, array in random_weights(shapes).items()}
    kept = from_open_clip(tensors, penultimate=True)
    assert "text_model.encoder.layers.1.self_attn.q_proj.weight" in kept
    assert not any(".layers.2." in name or "projection" in name for name in kept)
    fused = tensors["transformer.resblocks.0.attn.in_proj_weight"].numpy()
    value = kept["text_model.encoder.layers.0.self_attn.v_proj.weight"].numpy()
    assert np.array_equal(value, fused[2 * width :])
    turned = from_open_clip(tensors, penultimate=False)["text_projection.weight"]
    assert np.array_equal(turned.numpy(), tensors["text_projection"].numpy().T)


def test_averaged_weights_are_taken_on_demand(files, tmp_path):
    name = "model.diffusion_model.out.2.bias"
    average = StoredTensor.from_numpy(np.arange(4, dtype=np.float32))

    def add(tensors):
        for key in [n for n in tensors if n.startswith("model.diffusion_model.")]:
            tensors["model_ema." + key.removeprefix("model.").replace(".", "")] = tensors[key]
        tensors["model_ema." + name.removeprefix("model.").replace(".", "")] = average
        tensors["model_ema.decay"] = StoredTensor.from_numpy(np.array(0.9999, np.float32))

    path = rewritten(files / "sd1.safetensors", tmp_path / "ema.safetensors", add)
    last, averaged = (opened(path, extract_ema=ema).components["unet"].weights for ema in (False, True))
    assert equal(averaged["conv_out.bias"], average)
    assert not equal(last["conv_out.bias"], average)
    with pytest.raises(ValueError, match=r"no averaged weights such as 'model_ema\.diffusion_modelinput"):
        opened(files / "sd1.safetensors", extract_ema=True)


@pytest.mark.parametrize(
    "cls, config",
    [
        (AutoencoderKL, AUTOENCODER),
        (UNet2DConditionModel, UNETS["sd1"]),
        (UNet2DConditionModel, UNETS["ssd"]),
        (UNet2DConditionModel, UNETS["bk_sdm"]),
    ],
)
def test_a_component_alone_goes_there_and_back(tmp_path, cls, config):
    folder = write_model(cls, config, tmp_path / "folder")
    convert.folder_to_file(folder, tmp_path / "alone.safetensors")
    single = convert.file_to_folder(tmp_path / "alone.safetensors", tmp_path / "back", config=folder)
    assert single.pipeline is None
    before, after = (open_weights(f, "diffusion_pytorch_model") for f in (folder, tmp_path / "back"))
    assert before.keys() == after.keys()
    assert all(equal(before[name], after[name]) for name in before)
    assert read_config(tmp_path / "back") == read_config(folder)


def test_a_component_under_our_names_is_taken_too(tmp_path):
    folder = write_model(UNet2DConditionModel, UNETS["sdxl"], tmp_path / "unet")
    single = opened(folder / "diffusion_pytorch_model.safetensors")
    assert single.components["unet"].weights.keys() == shapes_of(UNet2DConditionModel(**UNETS["sdxl"])).keys()
    assert single.release.title == "Stable Diffusion XL"


def test_half_of_the_bytes_in_half_precision(files, tmp_path):
    convert.folder_to_file(checkpoint("sd2"), tmp_path / "half.safetensors", dtype="float16")
    single = opened(tmp_path / "half.safetensors")
    assert {t.dtype for c in single.components.values() for t in c.weights.values()} == {"F16"}


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.heavy)])
def test_the_folder_of_a_single_file_draws_the_same_image(files, tmp_path, family):
    convert.file_to_folder(files / f"{family}.safetensors", tmp_path / family, config=checkpoint(family))
    assert np.array_equal(images_of(load(tmp_path / family)), images_of(load(checkpoint(family))))


def test_a_float8_file_is_that_of_its_numbers_in_float16(files, tmp_path):
    """The unet's kernels and matrices as ones in E4M3, half of them with the scale that ComfyUI writes."""

    def narrow(tensors):
        unet = [n for n, t in tensors.items() if n.startswith("model.diffusion_model.") and len(t.shape) > 1]
        for i, name in enumerate(unet):
            tensors[name] = StoredTensor("F8_E4M3", tensors[name].shape, np.full(tensors[name].size, 0x38, np.uint8))
            if i % 2:
                tensors[name.removesuffix("weight") + "scale_weight"] = StoredTensor.from_numpy(np.float32(0.5))
        tensors["model.diffusion_model.scaled_fp8"] = StoredTensor("F8_E4M3", (0,), np.zeros(0, np.uint8))

    single = opened(rewritten(files / "sd2.safetensors", tmp_path / "fp8.safetensors", narrow))
    wide = [tensor for tensor in single.components["unet"].weights.values() if len(tensor.shape) > 1]
    assert {(tensor.dtype, float(tensor.numpy().reshape(-1)[0])) for tensor in wide} == {("F16", 1.0), ("F32", 0.5)}
    convert.file_to_folder(tmp_path / "fp8.safetensors", tmp_path / "folder", config=checkpoint("sd2"))
    assert np.isfinite(images_of(load(tmp_path / "folder"))).all()


def test_a_file_of_another_architecture_is_named_by_its_tensors(tmp_path):
    one = np.zeros(1, np.float32)
    cases = {
        "double_stream_modulation_img.lin.weight": "'double_stream_modulation_img.* says that it is FLUX.2; supported",
        "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": "a LoRA: give it to load_lora_weights",
        "decoder.something.weight": r"no architecture known here, by its tensors 'decoder.something.weight'; supported",
    }
    for name, message in cases.items():
        save_file({name: one}, tmp_path / "strange.safetensors")
        with pytest.raises(ValueError, match=message):
            opened(tmp_path / "strange.safetensors")


def test_tensors_without_a_place_are_named(files, tmp_path):
    strange = "model.diffusion_model.input_blocks.1.7.weight"
    path = rewritten(
        files / "sd1.safetensors", tmp_path / "more.safetensors", lambda t: t.update({strange: t[next(iter(t))]})
    )
    with pytest.raises(ValueError, match=r"its unet: 1 tensors are of no .* 'input_blocks\.1\.7\.weight'"):
        opened(path)
    network = write_model(UNet2DConditionModel, UNETS["lcm"], tmp_path / "lcm")
    with pytest.raises(ValueError, match=r"no place for the tensor 'time_embedding\.cond_proj\.weight'"):
        convert.folder_to_file(network, tmp_path / "lcm.safetensors")


def test_pickles_are_refused_by_their_suffix(tmp_path):
    (tmp_path / "model.ckpt").touch()
    with pytest.raises(ValueError, match=r"is a pickle file, which can run code and is not read"):
        opened(tmp_path / "model.ckpt")


def test_clips_own_vocabulary_is_at_hand():
    ids = clip_tokenizer()("a photo of a cat", padding=False)
    assert ids.tolist() == [[49406, 320, 1125, 539, 320, 2368, 49407]]
    assert clip_tokenizer("!").pad_token_id == 0


def test_another_vocabulary_needs_a_config_folder(files, tmp_path):
    bare = rewritten(files / "sd1.safetensors", tmp_path / "bare.safetensors", lambda tensors: None)
    single = opened(bare)
    with pytest.raises(ValueError, match=r"knows 521 tokens, CLIP's vocabulary has 49408; pass config="):
        single.tokenizers()
    told = opened(files / "sd1.safetensors", config=checkpoint("sd1"))
    assert told.tokenizers()["tokenizer"].vocab_size == 521


def test_every_name_of_a_published_unet_has_its_own_in_the_original_layout():
    for network in PUBLISHED:
        names = shapes_only(network)
        keys = unet_key_map(Stages.of_ours(names))
        original = {keys.original(name): name for name in names}
        assert None not in original
        assert len(original) == len(names)
        assert Stages.of_original(original) == Stages.of_ours(names)
        assert all(keys.ours(name) == ours for name, ours in original.items())


def test_a_folder_with_a_checkpoint_is_not_overwritten(files, tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(FileExistsError, match="already has a checkpoint"):
        convert.file_to_folder(files / "sd1.safetensors", tmp_path)


EMPTY = StoredTensor.from_numpy(np.zeros(0, np.float32))


def number(value):
    return StoredTensor.from_numpy(np.float32(value))


@pytest.fixture
def marked(files, tmp_path):
    """What the scheduler's config of a file with other markers, and other metadata, is."""

    def scheduler(family, tensors, metadata=None):
        def change(stored):
            stored.pop("v_pred", None)
            stored.update(tensors)

        path = rewritten(files / f"{family}.safetensors", tmp_path / "marked.safetensors", change, metadata)
        return opened(path).scheduler

    return scheduler


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_marker_tensors_say_what_is_predicted_and_from_which_noise(marked, family):
    velocity = marked(family, {"v_pred": EMPTY})
    assert velocity["prediction_type"] == "v_prediction" and not velocity.get("rescale_betas_zero_snr")
    zero = marked(family, {"v_pred": EMPTY, "ztsnr": EMPTY})
    told = (zero["prediction_type"], zero["rescale_betas_zero_snr"], zero["timestep_spacing"])
    assert told == ("v_prediction", True, "trailing")
    edm = marked(family, {"edm_vpred.sigma_max": number(80), "v_pred": EMPTY})
    assert (edm["timestep_type"], edm["sigma_max"], edm["sigma_min"]) == ("continuous", 80.0, 0.002)
    assert edm["prediction_type"] == "v_prediction"


def test_zero_terminal_snr_of_a_network_of_noise_begins_just_below_pure_noise(marked):
    config = marked("sd1", {"ztsnr": EMPTY})
    assert (config["prediction_type"], config["_class_name"]) == ("epsilon", "EulerDiscreteScheduler")
    assert 0 < Scheduler.from_config(config).alphas_cumprod[-1] < 1e-6


@pytest.mark.parametrize("low, high", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (0.1, np.inf), (np.nan, 1.0)])
def test_noise_levels_that_make_no_sense_are_refused(marked, low, high):
    with pytest.raises(ValueError, match=r"marked\.safetensors: its noise levels edm_vpred\.sigma_min"):
        marked("sdxl", {"edm_vpred.sigma_min": number(low), "edm_vpred.sigma_max": number(high)})


def test_the_metadata_counts_where_no_tensor_marks_and_nonsense_is_refused(marked):
    assert marked("sd1", {}, {"modelspec.prediction_type": "v"})["prediction_type"] == "v_prediction"
    assert marked("sd1", {}, {"modelspec.predict_key": "v"})["prediction_type"] == "v_prediction"
    assert marked("sd1", {"v_pred": EMPTY}, {"modelspec.predict_key": "epsilon"})["prediction_type"] == "v_prediction"
    assert marked("sd1", {}, {"ss_v2": "True", "ss_zero_terminal_snr": "True"})["prediction_type"] == "epsilon"
    with pytest.raises(ValueError, match=r"modelspec\.prediction_type='flow'; supported: epsilon, eps, v"):
        marked("sd1", {}, {"modelspec.prediction_type": "flow"})
    for name in ("edm_mean", "edm_std"):
        with pytest.raises(ValueError, match=rf"'{name}' says that it is Playground 2\.5"):
            marked("sdxl", {name: number(0)})


@pytest.mark.parametrize("deviation, predicted", [(0.05, "epsilon"), (0.2, "v_prediction")])
def test_an_unmarked_network_of_stable_diffusion_2_is_told_by_a_bias(deviation, predicted):
    bias = np.array([-deviation, deviation] * 8, np.float32)
    unet = {
        "conv_in.weight": StoredTensor.from_numpy(np.zeros((1, 4, 1, 1), np.float32)),
        "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias": StoredTensor.from_numpy(bias),
    }
    assert SD2.predicts({}, unet) == predicted
    assert SD1.predicts({}, unet) == "epsilon"


@pytest.mark.parametrize(
    "told, markers",
    [
        ({"prediction_type": "v_prediction"}, {"v_pred"}),
        (
            {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "leading"},
            {"v_pred", "ztsnr"},
        ),
        (
            {"prediction_type": "v_prediction", "timestep_type": "continuous", "sigma_min": 0.01, "sigma_max": 50.0},
            {"edm_vpred.sigma_min", "edm_vpred.sigma_max"},
        ),
        ({"beta_end": 0.02, "timestep_spacing": "trailing"}, set()),
    ],
)
def test_a_file_keeps_the_folders_scheduler_and_marks_it_for_other_programs(tmp_path, told, markers):
    folder = tmp_path / "folder"
    shutil.copytree(checkpoint("sdxl"), folder)
    before = read_config(folder / "scheduler", "scheduler_config.json") | told
    write_config(folder / "scheduler", before, "scheduler_config.json")
    convert.folder_to_file(folder, tmp_path / "xl.safetensors", dtype="float16")
    assert opened(tmp_path / "xl.safetensors").scheduler == before
    file = SafetensorsFile(tmp_path / "xl.safetensors")
    assert {name for name in file if not name.startswith(("model.", "first_stage", "conditioner"))} == markers
    assert all(file[name].dtype == "F32" for name in markers)  # 0.01 would be another number in float16


def test_the_scheduler_that_a_file_carries_gives_way_to_markers_set_since(files, tmp_path):
    metadata = SafetensorsFile(files / "sdxl.safetensors").metadata
    path = rewritten(
        files / "sdxl.safetensors", tmp_path / "v.safetensors", lambda t: t.update({"v_pred": EMPTY}), metadata
    )
    assert opened(path).scheduler["prediction_type"] == "v_prediction"


@pytest.mark.parametrize("entry", ["{", "[]", '{"../evil": 1}', '{"unet/weights.bin": 1}', '{"vae/config.json": 1}'])
def test_broken_configs_in_a_file_are_named(files, tmp_path, entry):
    path = rewritten(files / "sd1.safetensors", tmp_path / "x.safetensors", lambda t: None, {"mindone.configs": entry})
    with pytest.raises(ValueError, match=r"x\.safetensors: .*(mindone\.configs|vae/config\.json)"):
        opened(path)


def test_the_yaml_file_beside_a_checkpoint_is_read(files, tmp_path):
    path = rewritten(files / "sd1.safetensors", tmp_path / "v.safetensors", lambda t: None)
    beside = tmp_path / "v.yaml"
    beside.write_text(
        "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n"
        "    parameterization: 'v'  # velocity\n    linear_end: 0.02\n    scale_factor: 0.5\n"
        "    unet_config:\n      params:\n        num_heads: -1\n"
        "        num_head_channels: 4\n"
    )
    single = opened(path)
    assert (single.scheduler["prediction_type"], single.scheduler["beta_end"]) == ("v_prediction", 0.02)
    assert single.components["vae"].config["scaling_factor"] == 0.5
    assert single.components["unet"].config["attention_head_dim"] == [2, 4]
    beside.write_text("model:\n  target: sgm.models.diffusion.DiffusionEngine\n  target: a.b.VScaling\n")
    assert opened(path).scheduler["prediction_type"] == "v_prediction"
    beside.write_text("just: text\n")
    with pytest.raises(ValueError, match=r"v\.yaml is no original config"):
        opened(path)
    with pytest.raises(ValueError, match="is an address: fetch the file and give its path"):
        opened(path, original_config="https://example.com/v1-inference.yaml")


def test_stable_diffusion_2_is_read_under_the_names_of_stabilitys_later_code_too(files, tmp_path):
    def rename(tensors):
        for name in [n for n in tensors if n.startswith("cond_stage_model.")]:
            tensors[name.replace("cond_stage_model.", "conditioner.embedders.0.")] = tensors.pop(name)

    single = opened(rewritten(files / "sd2.safetensors", tmp_path / "2.safetensors", rename))
    assert (single.pipeline, single.release.modelspec) == ("StableDiffusionPipeline", "stable-diffusion-v2-768-v")


def header_only(path, names):
    """A file of empty tensors."""
    save_file(dict.fromkeys(names, np.zeros(0, np.float32)), path)
    return path


COUNTS = {
    "an autoencoder's stages and layers": [
        *(f"first_stage_model.encoder.down.{i}.x" for i in range(2000)),
        *(f"first_stage_model.encoder.down.0.block.{i}.x" for i in range(2000)),
        *(f"first_stage_model.decoder.up.0.block.{i}.x" for i in range(2000)),
    ],
    "a UNet's stages": [f"model.diffusion_model.input_blocks.{i}.0.op.weight" for i in range(6000)],
    "a UNet's layers": [f"model.diffusion_model.input_blocks.{i}.0.x" for i in range(6000)],
    "our own stages": [f"down_blocks.{i}.resnets.0.conv1.weight" for i in range(6000)] + ["conv_norm_out.weight"],
    "our own layers": [f"down_blocks.0.resnets.{i}.conv1.weight" for i in range(6000)] + ["conv_norm_out.weight"],
    "a text tower's layers": [f"cond_stage_model.model.transformer.resblocks.{i}.x" for i in range(6000)],
    "a ControlNet's layers": [f"control_model.input_hint_block.{i}.weight" for i in range(6000)],
}


@pytest.mark.parametrize("what", COUNTS)
def test_a_file_cannot_ask_for_a_product_of_counts(tmp_path, monkeypatch, what):
    """No more names are made, and compared, than a network of the largest counts has."""
    compared = []
    monkeypatch.setattr(KeyMap, "__init__", lambda self, pairs: compared.extend(pairs))
    path = header_only(tmp_path / "many.safetensors", COUNTS[what])
    with pytest.raises(ValueError, match=r"many\.safetensors: (its \w+: )?it has more than \d+ parts called") as caught:
        opened(path)
    assert len(compared) == 0 and len(str(caught.value)) <= 500


def test_tensors_of_the_wrong_dimensions_and_names_without_end_are_told_in_one_short_line(files, tmp_path):
    scalar = number(1.0)
    for name in ("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.encoder.conv_in.weight"):
        path = rewritten(files / "sd1.safetensors", tmp_path / "s.safetensors", lambda t, n=name: t.update({n: scalar}))
        with pytest.raises(
            ValueError, match=r"s\.safetensors: the tensor '.*' must have 4 dimensions, got the shape \("
        ):
            opened(path)
    for name in ("model.diffusion_model." + "x" * 9999, "x\n" * 9999, "lora_unet_" + "x" * 9999):
        with pytest.raises(ValueError) as caught:
            opened(header_only(tmp_path / "long.safetensors", [name]))
        assert len(str(caught.value)) <= 500 + len(str(tmp_path)) and str(caught.value).isprintable()
