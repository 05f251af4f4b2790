"""Wrong input gets one line that says what was given and what would work, before any network runs."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mindone.diffusers import (
    AutoencoderTiny,
    DDIMScheduler,
    DiffusionPipeline,
    LatentConsistencyModelPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from mindone.diffusers.pipelines import checks
from mindone.diffusers.prompts import encode_prompt
from tiny_pipelines import checkpoint, load

EMBEDS = np.zeros((1, 77, 16), np.float32)
EMBEDS_XL, POOLED = np.zeros((1, 77, 32), np.float32), np.zeros((1, 12), np.float32)
GENERATOR = np.random.default_rng(0)

SD_ERRORS = [
    ({}, "nothing to generate: pass prompt"),
    ({"prompt": 3}, "prompt must be a string or a list of strings, got int"),
    ({"prompt": []}, "prompt is an empty list"),
    ({"prompt": ["a", None]}, r"prompt\[1\] must be a string, got NoneType"),
    ({"prompt": "a", "prompt_embeds": EMBEDS}, "prompt and prompt_embeds were both given"),
    ({"prompt_embeds": EMBEDS[0]}, r"prompt_embeds must have the shape \(prompts, tokens, channels\), got \(77, 16\)"),
    ({"prompt_embeds": EMBEDS[:, :9]}, "prompt_embeds has 9 tokens but the text encoder gives 77"),
    (
        {"prompt": "a", "negative_prompt_embeds": EMBEDS[:, :9]},
        "^negative_prompt_embeds has 9 tokens but the text encoder gives 77; pass prompt_embeds",
    ),
    (
        {"prompt": "a", "negative_prompt": "b", "negative_prompt_embeds": EMBEDS},
        "negative_prompt and negative_prompt_embeds were both given",
    ),
    ({"prompt": ["a", "b"], "negative_prompt": ["c"]}, "negative_prompt must hold one text for each of the 2 prompts"),
    ({"prompt_embeds": EMBEDS, "negative_prompt_embeds": EMBEDS[:, :9]}, "must have one shape"),
    ({"prompt": ["a", "b"], "negative_prompt_embeds": EMBEDS}, "one row for each of the 2 prompts, got 1"),
    ({"prompt": "a", "height": 60}, "height must be a multiple of 8, got 60; the nearest are 56 and 64"),
    ({"prompt": "a", "width": 3}, "width must be a multiple of 8, got 3; the nearest is 8"),
    ({"prompt": "a", "width": 0}, "width must be a positive number of pixels"),
    ({"prompt": "a", "height": 64.0}, "height must be a positive number of pixels"),
    ({"prompt": "a", "num_inference_steps": 0}, "num_inference_steps must be .* at least 1|from 1 to"),
    ({"prompt": "a", "timesteps": [9, 1], "sigmas": [1.0]}, "timesteps and sigmas were both given"),
    ({"prompt": "a", "timesteps": [9, 1]}, "PNDMScheduler takes no custom timesteps"),
    ({"prompt": "a", "num_images_per_prompt": 0}, "num_images_per_prompt must be a whole number of at least 1, got 0"),
    ({"prompt": "a", "generator": [GENERATOR] * 2}, "one generator for each of the 1 images, got 2"),
    ({"prompt": "a", "generator": 7}, "generator must be a NumPy generator such as .*, got int"),
    ({"prompt": "a", "generator": [None]}, "generator must be a NumPy generator such as .*, got NoneType"),
    (
        {"prompt": "a", "latents": np.zeros((2, 4, 8, 8))},
        r"latents must have the shape \(1, 4, 8, 8\) .*got \(2, 4, 8, 8\)",
    ),
    ({"prompt": "a", "latents": np.zeros((1, 4, 8, 8)), "height": 72}, r"latents must have the shape \(1, 4, 9, 8\)"),
    ({"prompt": "a", "output_type": "pt"}, "output_type must be one of pil, np, latent, got 'pt'"),
    (
        {"prompt": "a", "cross_attention_kwargs": {"scale": 1}},
        "{'scale': 1} scales LoRAs, but none is loaded",
    ),
    ({"prompt": "a", "cross_attention_kwargs": {"a": 1}}, "a call's LoRA options must be {'scale': number}, got"),
    ({"prompt": "a", "latents": "noise"}, r"latents must have the shape \(1, 4, 8, 8\) .*got 'noise'"),
    ({"prompt": "a", "latents": np.full((1, 4, 8, 8), None)}, "latents must be an array of numbers, got one of object"),
    ({"prompt_embeds": np.full((1, 7, 8), "a")}, "prompt_embeds must be an array of numbers, got one of <U1"),
    ({"prompt": "a" * 100_001}, "prompt may have 100000 characters, got 100001"),
    ({"prompt": "a", "clip_skip": 9}, "clip_skip must be a whole number from 0 to 3, got 9"),
    ({"prompt": "a", "clip_skip": True}, "clip_skip must be a whole number from 0 to 3, got True"),
    ({"prompt": "a", "height": 10**30}, "height must be at most 1000000000 pixels, got 1000"),
    ({"prompt": "a", "guidance_scale": 1e300}, r"guidance_scale must be a number from -1,000,000 to 1,000,000, got 1e"),
    ({"prompt": "a", "guidance_rescale": 10**30}, "guidance_rescale must be a number from -1,000,000 to 1,000,000"),
    ({"prompt": "a", "callback_on_step_end_tensor_inputs": None}, "tensor_inputs must be a list of names, got None"),
    ({"prompt": "a", "callback_on_step_end_tensor_inputs": "latents"}, "must be a list of names, got 'latents'"),
    ({"prompt": "a", "eta": "1"}, "eta must be a finite number or None, got '1'"),
    ({"prompt": "a", "guidance_rescale": "1"}, "guidance_rescale must be a finite number or None, got '1'"),
    ({"prompt": "a", "callback_on_step_end": 3}, "callback_on_step_end must be a function or None, got 3"),
    (
        {"prompt": "a", "callback_on_step_end_tensor_inputs": ["noise"]},
        "names 'noise'; choose from latents, prompt_embeds, negative_prompt_embeds",
    ),
]
XL_ERRORS = [
    ({"prompt": "a", "prompt_2": "a" * 100_001}, "prompt_2 may have 100000 characters, got 100001"),
    ({"prompt": "a", "prompt_2": ["b", "c"]}, "prompt_2 must hold one text for each of the 1 prompts, got 2"),
    ({"prompt_2": "b", "prompt_embeds": EMBEDS_XL}, "prompt_2 and prompt_embeds were both given"),
    ({"prompt_embeds": EMBEDS_XL}, "prompt_embeds and pooled_prompt_embeds go together"),
    (
        {"prompt": "a", "negative_prompt_embeds": EMBEDS_XL},
        "negative_prompt_embeds and negative_pooled_prompt_embeds go together",
    ),
    (
        {"prompt": "a", "negative_prompt_embeds": EMBEDS_XL[:, :9], "negative_pooled_prompt_embeds": POOLED},
        "^negative_prompt_embeds has 9 tokens but the text encoder gives 77; pass prompt_embeds",
    ),
    (
        {"prompt_embeds": EMBEDS_XL, "pooled_prompt_embeds": POOLED[0]},
        r"pooled_prompt_embeds must have the shape \(1, channels\), got \(12,\)",
    ),
    (
        {"prompt": "a", "original_size": (64,)},
        r"original_size must be two whole numbers \(height, width\), got \(64,\)",
    ),
    (
        {"prompt": "a", "crops_coords_top_left": (0.5, 1)},
        r"crops_coords_top_left must be two whole numbers \(top, left\)",
    ),
    (
        {"prompt": "a", "negative_original_size": (1, 2, 3), "negative_target_size": (1, 2)},
        "negative_original_size must be two whole numbers",
    ),
    ({"prompt": "a", "denoising_end": 1.5}, "denoising_end must be above 0 and at most 1, got 1.5"),
    ({"prompt": "a", "clip_skip": 3}, "clip_skip must be a whole number from 0 to 2, got 3"),
]


@pytest.fixture(scope="module")
def sd():
    return load(checkpoint("bk_sdm"))


@pytest.fixture(scope="module")
def xl():
    return load(checkpoint("sdxl"))


@pytest.mark.parametrize("arguments, message", SD_ERRORS)
def test_stable_diffusion_call(arguments, message, sd, monkeypatch):
    assert_refused(sd, arguments, message, monkeypatch)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"negative_prompt": "blue"}, "negative_prompt"),
        ({"negative_prompt": ["", "blue"]}, "negative_prompt"),
        ({"negative_prompt_2": "blue"}, "negative_prompt_2"),
        ({"negative_prompt_embeds": EMBEDS_XL, "negative_pooled_prompt_embeds": POOLED}, "negative_prompt_embeds"),
        ({"negative_prompt": ""}, None),
    ],
)
@pytest.mark.parametrize("default", [False, True])
def test_a_negative_prompt_without_guidance_is_said_to_have_no_effect(given, name, default, xl, monkeypatch, caplog):
    """Also at the default scale of a distilled checkpoint, which suggests 0 in its ``generation_config.json``."""
    monkeypatch.setattr(xl, "generation_config", {"guidance_scale": 0.0})
    scale = {} if default else {"guidance_scale": 1.0}
    count = len(given["negative_prompt"]) if isinstance(given.get("negative_prompt"), list) else 1
    xl(["a"] * count, num_inference_steps=1, output_type="latent", **scale, **given)
    why = f"at guidance_scale {scale.get('guidance_scale', 0.0):g}, without guidance"
    assert caplog.messages == ([] if name is None else [f"{name} has no effect {why}"])


@pytest.mark.parametrize("arguments, message", XL_ERRORS)
def test_stable_diffusion_xl_call(arguments, message, xl, monkeypatch):
    assert_refused(xl, arguments, message, monkeypatch)


def assert_refused(pipe, arguments, message, monkeypatch):
    ran = []
    run = pipe.engine.run
    monkeypatch.setattr(pipe.engine, "run", lambda model, *x, **k: (ran.append(model), run(model, *x, **k))[1])
    with pytest.raises(ValueError, match=message) as error:
        pipe(**{"num_inference_steps": 2, **arguments})
    assert "\n" not in str(error.value)
    assert pipe.unet not in ran and pipe.vae not in ran


@pytest.mark.parametrize(
    "keyword, message",
    [
        ("negativ_prompt", "did you mean 'negative_prompt'?"),
        ("num_inference_step", "did you mean 'num_inference_steps'?"),
        ("seed", r"pass generator=np.random.default_rng\(seed\)"),
        ("pag_scale", "perturbed-attention guidance is not here"),
        ("qqq", "it has prompt, height, width"),
    ],
)
def test_an_unknown_argument_names_the_function_and_the_nearest(keyword, message, sd, xl):
    for pipe in (sd, xl):
        expected = message.replace("prompt, height", "prompt, prompt_2, height") if pipe is xl else message
        with pytest.raises(TypeError, match=rf"{type(pipe).__name__}.__call__ has no argument '{keyword}'; {expected}"):
            pipe("a", **{keyword: 1})


def test_an_unknown_argument_of_a_latent_consistency_model_names_that_pipeline(sd):
    pipe = LatentConsistencyModelPipeline.from_pipe(sd)
    with pytest.raises(TypeError, match=r"LatentConsistencyModelPipeline.__call__ has no argument 'widht'"):
        pipe("a", widht=1)


def test_latent_consistency_models_take_no_negative_prompt(sd):
    from mindone.diffusers import LatentConsistencyModelPipeline

    with pytest.raises(ValueError, match="negative_prompt means nothing to a latent consistency model"):
        LatentConsistencyModelPipeline(**sd.components)("a", negative_prompt="b")


def test_an_inpainting_unet_is_named(sd, tmp_path):
    from checkpoints import UNETS, write_model
    from mindone.diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(write_model(UNet2DConditionModel, UNETS["inpainting"], tmp_path))
    pipe = StableDiffusionPipeline(**{**sd.components, "unet": unet})
    with pytest.raises(ValueError, match=r"takes 9 channels and the autoencoder has 4, .* takes an image and a mask"):
        pipe("a")


# ---- loading ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A checkpoint to break."""
    return shutil.copytree(checkpoint("bk_sdm"), tmp_path / "broken")


def edit_index(folder, **entries):
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def refuse(folder, error, message, cls=DiffusionPipeline, **options):
    with pytest.raises(error, match=message) as raised:
        cls.from_pretrained(folder, **options)
    assert "\n" not in str(raised.value) and len(str(raised.value)) <= 500


def test_unknown_model(tmp_path):
    refuse("no-such-model", FileNotFoundError, "unknown model 'no-such-model'")
    refuse(tmp_path, FileNotFoundError, "no model_index.json in")
    refuse(checkpoint("bk_sdm") / "unet", FileNotFoundError, "no model_index.json in .* single component")


def test_unknown_pipeline(folder):
    edit_index(folder, _class_name="KandinskyPipeline")
    refuse(folder, ValueError, "KandinskyPipeline, which is not supported; supported: StableDiffusionPipeline, ")


def test_unknown_component_class(folder):
    edit_index(folder, unet=["diffusers", "UVit2DModel"])
    refuse(
        folder,
        ValueError,
        "unet is a UVit2DModel, which is not supported; supported: AutoencoderDC, AutoencoderKL, ",
    )
    edit_index(folder, unet="UNet2DConditionModel")
    refuse(folder, ValueError, "unet must be a library and a class, got 'UNet2DConditionModel'")


def test_a_setting_of_the_wrong_type(tmp_path):
    folder = shutil.copytree(checkpoint("sdxl"), tmp_path / "broken")
    edit_index(folder, force_zeros_for_empty_prompt="yes")
    refuse(folder, ValueError, "model_index.json: force_zeros_for_empty_prompt must be a valid boolean.*, got 'yes'")


def test_a_unet_without_a_size_draws_what_its_family_was_trained_on(folder):
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sample_size": None}))
    pipe = load(folder)
    assert checks.default_size(pipe, None, 64, None) == (512 // 8 * pipe.vae_scale_factor, 64)


def test_absent_component(folder):
    edit_index(folder, vae=[None, None])
    refuse(folder, ValueError, r"model_index.json has no vae; pass one: from_pretrained\(…, vae=…\)")
    edit_index(folder, vae=["diffusers", "AutoencoderKL"])
    shutil.rmtree(folder / "vae")
    refuse(folder, FileNotFoundError, "no folder 'vae' in .*; it has scheduler, text_encoder, tokenizer, unet")


def test_broken_index(folder):
    (folder / "model_index.json").write_text("{")
    refuse(folder, ValueError, "model_index.json is not valid JSON: line 1")


def test_wrong_arguments(folder):
    refuse(folder, ValueError, "use_safetensors must be True: pickle files are not read", use_safetensors=False)
    refuse(folder, ValueError, "mindspore_dtype must be float32, float16 or bfloat16", mindspore_dtype="int8")
    refuse(folder, ValueError, "use mindspore_dtype=ms.float16", torch_dtype="float16")
    refuse(folder, ValueError, "from_pretrained has no argument 'unett'; .* vae, text_encoder", unett=None)
    refuse(folder, ValueError, "no argument 'text_encoder_2'", cls=StableDiffusionPipeline, text_encoder_2=None)
    refuse(folder, ValueError, "engine must be one of auto, openvino, mindspore, got 'cuda'", engine="cuda")
    refuse(folder, ValueError, "StableDiffusionPipeline needs unet, got None", unet=None)


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (
            lambda pipe: DiffusionPipeline.from_pretrained(3),
            "a checkpoint's name, unless it is a hub id, must be a path",
        ),
        (
            lambda pipe: DiffusionPipeline.from_pretrained("icons", engine=3),
            "engine must be one of auto, openvino, mind",
        ),
        (
            lambda pipe: DiffusionPipeline.from_pretrained("icons", quantization_config=3),
            r"quantization_config must be Int8Config\(…\) or WeightOnlyConfig\(…\), got 3",
        ),
        (lambda pipe: AutoencoderTiny.from_pretrained("icons", subfolder=3), "subfolder must be a path, got 3"),
        (lambda pipe: pipe.save_pretrained(None), "the folder to write into must be a path, got None"),
        (lambda pipe: pipe.unet.save_pretrained("x", variant=3), 'variant must be letters and digits such as "fp16"'),
        (lambda pipe: pipe.load_lora_weights([]), "a checkpoint's name, unless it is a hub id, must be a path, got"),
        (lambda pipe: pipe.load_lora_weights("icons-lcm-lora", weight_name=3), "weight_name must be a path, got 3"),
        (lambda pipe: pipe.load_ip_adapter([], [], []), "must agree in number, got 0, 0, 0"),
        (lambda pipe: pipe.set_adapters(3), "adapter_names must be a name or a list of names, got 3"),
        (lambda pipe: pipe.delete_adapters([3]), r"adapter_names must be a name or a list of names, got \[3\]"),
        (lambda pipe: pipe.fuse_lora(components=3), "components must be a list of unet, text_encoder, text_encoder_2"),
        (lambda pipe: pipe.fuse_lora(lora_scale=float("nan")), "lora_scale must be a number, got nan"),
        (lambda pipe: pipe.fuse_lora(lora_scale="a"), "lora_scale must be a number, got 'a'"),
        (lambda pipe: pipe.load_lora_weights({1: EMBEDS}), "a LoRA's tensors must have names, got 1"),
        (
            lambda pipe: pipe.load_lora_weights("icons-lcm-lora", adapter_name=["a"]),
            "adapter_name must be a text or None",
        ),
        (lambda pipe: pipe("a", cross_attention_kwargs={"scale": 1e300}), "a call's LoRA options must be"),
        (lambda pipe: pipe("a", cross_attention_kwargs={"scale": 10**400}), "a call's LoRA options must be"),
        (
            lambda pipe: pipe("a", guidance_scale=10**400),
            "guidance_scale must be a number from -1,000,000 to 1,000,000",
        ),
        (lambda pipe: pipe("a", return_dict="false"), "return_dict must be True or False, got 'false'"),
        (lambda pipe: pipe.enable_model_cpu_offload(gpu_id=0), "gpu_id=0: all networks run on the process's device"),
        (lambda pipe: pipe.progress_bar(), "progress_bar needs an iterable, or the total of its steps"),
        (lambda pipe: pipe.unload_textual_inversion(3), "tokens must be a name or a list of names, got 3"),
    ],
)
def test_methods_given_something_else_say_what_they_take(do, message, sd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        do(sd)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("image", Image.new("RGB", (1, 1)), "image must have at least 8 pixels each way, got 1×1"),
        ("image", Image.new("RGB", (9000, 1)), "image must have at least 8 pixels each way, got 1×9000"),
        ("image", np.zeros((0, 0, 3)), r"image has no pixels: an array of the shape \(0, 0, 3\)"),
        ("padding_mask_crop", "a", "padding_mask_crop must be None or a whole number of pixels, 0 or more, got 'a'"),
        ("padding_mask_crop", -5, "padding_mask_crop must be None or a whole number of pixels, 0 or more, got -5"),
    ],
)
def test_pictures_that_cannot_be_started_from_are_refused(name, given, message, sd, monkeypatch):
    kind = StableDiffusionImg2ImgPipeline if name == "image" else StableDiffusionInpaintPipeline
    arguments = {"prompt": "a", "image": Image.new("RGB", (64, 64)), "strength": 1.0, name: given}
    if name != "image":
        arguments["mask_image"] = Image.new("L", (64, 64), 255)
    assert_refused(kind.from_pipe(sd), arguments, message, monkeypatch)


def test_a_checkpoint_of_another_pipeline(folder):
    refuse(folder, ValueError, "model_index.json has no text_encoder_2", cls=StableDiffusionXLPipeline)


def test_missing_variant(folder):
    refuse(folder, FileNotFoundError, "variant='fp16' is not there; there is variant=None", variant="fp16")


def test_safety_checker_without_its_feature_extractor(folder):
    checked = checkpoint("bk_sdm", safety_checker=True)
    refuse(checked, ValueError, "a safety_checker needs a feature_extractor", feature_extractor=None)
    pipe = DiffusionPipeline.from_pretrained(checked, safety_checker=None, scheduler=DDIMScheduler())
    assert pipe.safety_checker is None and isinstance(pipe.scheduler, DDIMScheduler)


def test_single_models_say_what_a_pipeline_is(folder):
    with pytest.raises(FileNotFoundError, match="whole pipeline"):
        AutoencoderTiny.from_pretrained(folder)


def test_an_image_that_memory_cannot_hold_is_refused_before_any_network_runs(monkeypatch):
    pipe = load(checkpoint("bk_sdm"))
    monkeypatch.setattr("mindone.diffusers.utils.decoder_memory.total_memory", lambda: 8 * 10**9)
    monkeypatch.setattr(pipe.engine, "run", lambda *_, **__: pytest.fail("a network ran"))
    said = r"^an image of 100000×100000 takes about [\d,]+ GB of memory and this machine has 8; generate at most about "
    with pytest.raises(ValueError, match=said):
        pipe("a", height=100000, width=100000)


@pytest.mark.parametrize("enable", ["enable_tiling", "enable_slicing"])
def test_memory_is_counted_for_what_is_decoded_at_a_time(enable, monkeypatch):
    pipe = load(checkpoint("bk_sdm"))
    monkeypatch.setattr("mindone.diffusers.utils.decoder_memory.total_memory", lambda: 10**9)
    with pytest.raises(ValueError, match=r"^16 images of 1024×1024 take about "):
        checks.check_memory(pipe, 16, 1024, 1024)
    getattr(pipe.vae, enable)()
    checks.check_memory(pipe, 16, 1024, 1024)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda pipe: StableDiffusionPipeline.from_pretrained("nowhere", mindspore_dtyp="float16"),
            "StableDiffusionPipeline.from_pretrained has no argument 'mindspore_dtyp'; did you mean 'mindspore_dtype'?",
        ),
        (
            lambda pipe: StableDiffusionPipeline.from_single_file("nowhere.safetensors", configg="x"),
            "StableDiffusionPipeline.from_single_file has no argument 'configg'; did you mean 'config'?",
        ),
        (
            lambda pipe: pipe.load_lora_weights("nowhere", adapter_nam="x"),
            "StableDiffusionPipeline.load_lora_weights: got an unexpected keyword argument 'adapter_nam'; did you mean "
            "'adapter_name'?",
        ),
        (
            lambda pipe: pipe.load_textual_inversion("nowhere", tokn="x"),
            "StableDiffusionPipeline.load_textual_inversion: got an unexpected keyword argument 'tokn'; did you mean "
            "'token'?",
        ),
        (
            lambda pipe: pipe.load_ip_adapter("nowhere", subfolder="", weight_name="x", low_cpu_mem_usagee=True),
            "StableDiffusionPipeline.load_ip_adapter: got an unexpected keyword argument 'low_cpu_mem_usagee'; did "
            "you mean 'low_cpu_mem_usage'?",
        ),
        (
            lambda pipe: encode_prompt("icons", "a"),
            "pipe must be a loaded pipeline, such as DiffusionPipeline.from_pretrained(…) returns, got str",
        ),
    ],
)
def test_an_argument_that_a_method_does_not_have_names_the_method_and_the_nearest(call, message):
    with pytest.raises((TypeError, ValueError)) as refusal:
        call(load(checkpoint("bk_sdm")))
    assert str(refusal.value).startswith(message)
