"""The calls that the reference's guides show for Stable Diffusion 1, 2 and XL, page by page, on tiny checkpoints.

What a guide writes for PyTorch is written for MindSpore: ``mindspore_dtype`` for ``torch_dtype``, NumPy's generators.
What is not here is refused in one line, and stands in docs/api-differences.md.
"""

import copy
import inspect
import pickle

import numpy as np
import pytest
from mindone.diffusers.callbacks import IPAdapterScaleCutoffCallback

import mindone.diffusers as ours
from adapter_cases import ip_adapter_folder
from image_pipelines import controlnet_folder, mask, photo, refiner_checkpoint
from mindone.diffusers import (
    AutoencoderKL,
    AutoModel,
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from mindone.diffusers.schedulers import AysSchedules
from mindone.diffusers.utils import load_image, make_image_grid
from mindone.transformers import CLIPTextModel, CLIPTokenizer
from tiny_pipelines import PROMPT, checkpoint, load, sharing

SIZE = (64, 64)


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def same(a, b):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def differ(a, b):
    assert np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max() > 0.5 / 255


@pytest.fixture
def quick():
    """Stable Diffusion 2 with few steps and no bar."""
    pipe = sharing("sd2")
    return lambda *arguments, **options: pipe(
        *arguments, **{"num_inference_steps": 2, "generator": generator(), **options}
    )


# ---- quicktour, stable_diffusion, loading, schedulers ----------------------------------------------------------------


def test_loading_a_pipeline_its_parts_and_a_copy_of_it(tmp_path):
    folder = checkpoint("sdxl")
    scheduler = EulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", mindspore_dtype="float16", use_safetensors=True)
    pipe = StableDiffusionXLPipeline.from_pretrained(
        folder, scheduler=scheduler, vae=vae, mindspore_dtype="float16", add_watermarker=False, low_cpu_mem_usage=True
    )
    assert pipe.vae is vae and pipe.scheduler is scheduler and pipe.vae.dtype == "float16"
    pipe.save_pretrained(tmp_path / "copy")
    assert isinstance(DiffusionPipeline.from_pretrained(tmp_path / "copy"), StableDiffusionXLPipeline)


@pytest.mark.parametrize(
    "part, cls", [("unet", "UNet2DConditionModel"), ("text_encoder_2", "CLIPTextModelWithProjection")]
)
def test_a_network_is_loaded_by_its_config(part, cls):
    network = AutoModel.from_pretrained(checkpoint("sdxl"), subfolder=part, mindspore_dtype="float16")
    assert type(network).__name__ == cls and network.dtype == "float16"


def test_what_is_no_network_is_no_auto_model(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "HunyuanDiT2DModel"}')
    with pytest.raises(ValueError, match=r"config.json names 'HunyuanDiT2DModel', which is no network here"):
        AutoModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "argument, message",
    [
        ({"torch_dtype": "float16"}, "use mindspore_dtype"),
        ({"device_map": "cuda"}, "all networks run on the process's device"),
        ({"custom_pipeline": "lpw"}, "code from a hub is not run"),
        ({"enable_pag": True}, "perturbed-attention guidance is not here"),
        ({"add_watermarker": True}, "this library adds no watermarks"),
    ],
)
def test_arguments_of_loading_that_mean_nothing_here_are_refused(argument, message):
    for cls in (StableDiffusionXLPipeline, AutoPipelineForText2Image):
        with pytest.raises(ValueError, match=message) as error:
            cls.from_pretrained(checkpoint("sdxl"), **argument)
        assert "\n" not in str(error.value)


def test_schedulers_are_exchanged_and_say_what_is_compatible(quick):
    pipe = sharing("sd2")
    assert DPMSolverMultistepScheduler in pipe.scheduler.compatibles
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=True)
    image = pipe(PROMPT, num_inference_steps=2, generator=generator()).images[0]
    assert image.size == SIZE
    differ(image, quick(PROMPT).images[0])


@pytest.mark.heavy
def test_a_prompt_embedding_and_sizes_of_a_text_to_image_guide(quick):
    pipe = sharing("sd2")
    image = quick(PROMPT, height=48, width=80, guidance_scale=3.5, negative_prompt="on").images[0]
    assert image.size == (80, 48)
    embeds, negative = pipe.encode_prompt(PROMPT, device="cpu", negative_prompt="on")
    given = quick(prompt_embeds=embeds, negative_prompt_embeds=negative).images[0]
    same(given, quick(PROMPT, negative_prompt="on").images[0])


# ---- batched_inference, reusing_seeds, image_quality -----------------------------------------------------------------


@pytest.mark.heavy
def test_batches_of_prompts_and_of_generators(quick):
    images = quick([PROMPT, "on a mat"], generator=[generator(i) for i in range(2)]).images
    same(images[1], quick("on a mat", generator=generator(1)).images[0])
    several = quick(PROMPT, num_images_per_prompt=3, generator=[generator(i) for i in range(3)]).images
    assert make_image_grid(several, rows=1, cols=3).size == (192, 64)
    same(several[0], images[0])


def test_one_seed_gives_one_picture_and_eta_makes_noise(quick):
    same(quick(PROMPT, output_type="np").images, quick(PROMPT, output_type="np").images)
    differ(quick(PROMPT, eta=1.0).images[0], quick(PROMPT).images[0])


@pytest.mark.parametrize("output_type", ["pil", "np", "latent"])
def test_output_types(output_type, quick):
    images = quick(PROMPT, output_type=output_type).images
    shapes = {"np": (1, 64, 64, 3), "latent": (1, 4, 8, 8)}
    assert images[0].size == SIZE if output_type == "pil" else images.shape == shapes[output_type]
    as_tuple = quick(PROMPT, output_type=output_type, return_dict=False)
    same(as_tuple[0], images)


@pytest.mark.parametrize(
    "name",
    ["enable_sequential_cpu_offload", "fuse_qkv_projections", "save_lora_weights", "hf_device_map"],
)
def test_methods_that_are_not_here_say_why(name):
    pipe = sharing("bk_sdm")
    assert not hasattr(pipe, name)
    with pytest.raises(AttributeError, match=f"StableDiffusionPipeline has no {name}: .{{20}}"):
        getattr(pipe, name)


# ---- img2img, inpaint, autopipeline ----------------------------------------------------------------------------------


def test_chains_of_pipelines_hand_on_latents_and_pictures():
    text2image = sharing("sd2")
    latents = text2image(PROMPT, num_inference_steps=2, output_type="latent", generator=generator()).images
    image2image = AutoPipelineForImage2Image.from_pipe(text2image)
    image2image.set_progress_bar_config(disable=True)
    redrawn = image2image(PROMPT, image=latents, strength=0.5, num_inference_steps=4, generator=generator()).images[0]
    inpaint = AutoPipelineForInpainting.from_pipe(image2image)
    inpaint.set_progress_bar_config(disable=True)
    soft = inpaint.mask_processor.blur(mask(), blur_factor=3)
    options = {"num_inference_steps": 4, "strength": 0.75, "generator": generator()}
    drawn = inpaint(prompt=PROMPT, image=redrawn, mask_image=soft, **options).images[0]
    kept = inpaint.image_processor.apply_overlay(mask(), load_image(redrawn), drawn)
    same(np.asarray(kept)[:24], np.asarray(redrawn)[:24])
    differ(kept, redrawn)


@pytest.mark.heavy
def test_auto_pipelines_take_the_checkpoints_family_and_a_controlnet():
    net = ours.ControlNetModel.from_pretrained(controlnet_folder("bk_sdm"), mindspore_dtype="float32")
    pipe = AutoPipelineForText2Image.from_pretrained(checkpoint("bk_sdm"), controlnet=net, engine="openvino")
    pipe.set_progress_bar_config(disable=True)
    image = pipe(PROMPT, image=photo(), num_inference_steps=2, controlnet_conditioning_scale=0.5).images[0]
    assert type(pipe).__name__ == "StableDiffusionControlNetPipeline" and image.size == SIZE


# ---- sdxl, sdxl_turbo ------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_base_and_its_refiner_share_parts_and_the_way():
    base = sharing("sdxl")
    refiner = load(refiner_checkpoint(), text_encoder_2=base.text_encoder_2, vae=base.vae, variant=None)
    assert isinstance(refiner, StableDiffusionXLImg2ImgPipeline) and refiner.vae is base.vae
    options = {"prompt": PROMPT, "num_inference_steps": 5, "generator": generator()}
    latents = base(**options, denoising_end=0.8, output_type="latent").images
    assert refiner(**options, denoising_start=0.8, image=latents).images[0].size == SIZE
    whole = base(PROMPT, num_inference_steps=2, output_type="latent", generator=generator()).images[0]
    assert refiner(PROMPT, image=whole[None, :], num_inference_steps=4).images[0].size == SIZE


@pytest.mark.parametrize(
    "conditions",
    [
        {"original_size": (256, 256)},
        {"target_size": (128, 128)},
        {"crops_coords_top_left": (16, 0)},
        {
            "negative_original_size": (32, 32),
            "negative_crops_coords_top_left": (0, 0),
            "negative_target_size": (96, 96),
        },
        {"prompt_2": "on a mat", "negative_prompt_2": "red"},
        {"guidance_rescale": 0.7},
    ],
)
def test_what_sdxl_is_conditioned_on_changes_the_picture(conditions):
    pipe = sharing("sdxl")
    options = {"num_inference_steps": 2, "output_type": "np"}
    plain, conditioned = (pipe(PROMPT, generator=generator(), **options, **more).images for more in ({}, conditions))
    assert np.abs(plain - conditioned).max() > 1e-4


def test_turbo_draws_in_one_step_without_guidance():
    pipe = sharing("sdxl")
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    pipe.upcast_vae()
    assert pipe(prompt=PROMPT, guidance_scale=0.0, num_inference_steps=1).images[0].size == SIZE
    redraw = AutoPipelineForImage2Image.from_pipe(pipe)
    redraw.set_progress_bar_config(disable=True)
    image = redraw(PROMPT, image=photo(), strength=0.5, guidance_scale=0.0, num_inference_steps=2).images[0]
    assert image.size == SIZE


# ---- scheduler_features, callback, latent consistency ----------------------------------------------------------------


def test_schedules_of_ones_own_are_visited():
    pipe = sharing("sdxl")
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, algorithm_type="sde-dpmsolver++")
    steps = AysSchedules["StableDiffusionXLTimesteps"]
    pipe(PROMPT, timesteps=steps, generator=generator())
    assert list(pipe.scheduler.timesteps) == steps
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    sigmas = AysSchedules["StableDiffusionXLSigmas"]
    pipe(PROMPT, sigmas=sigmas, generator=generator())
    np.testing.assert_allclose(pipe.scheduler.sigmas, sigmas, atol=1e-6)


def test_zero_terminal_signal_with_trailing_steps_and_rescaled_guidance(quick):
    pipe = sharing("sd2")
    config = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, **config)
    image = pipe(PROMPT, num_inference_steps=2, guidance_rescale=0.7, generator=generator()).images[0]
    differ(image, quick(PROMPT).images[0])


def test_a_run_is_interrupted_and_previewed():
    pipe = sharing("bk_sdm")
    seen = []

    def watch(pipe, i, t, callback_kwargs):
        seen.append(np.asarray(callback_kwargs["latents"]).copy())
        pipe._interrupt = i == 2
        return callback_kwargs

    assert "prompt_embeds" in pipe._callback_tensor_inputs
    options = {"callback_on_step_end": watch, "callback_on_step_end_tensor_inputs": ["latents"]}
    latents = pipe(PROMPT, num_inference_steps=6, output_type="latent", **options).images
    assert len(seen) == 3
    same(latents, seen[-1])


@pytest.mark.heavy
def test_an_ip_adapter_is_switched_off_after_some_steps():
    pipe = load(checkpoint("bk_sdm"))
    pipe.load_ip_adapter(
        ip_adapter_folder("bk_sdm", "plain"), subfolder="models", weight_name="ip-adapter_sd15.safetensors"
    )
    pipe.set_ip_adapter_scale(0.6)
    callback = IPAdapterScaleCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=1)
    options = {"ip_adapter_image": photo(), "num_inference_steps": 4, "output_type": "np"}
    whole = pipe(PROMPT, **options, generator=generator()).images
    cut = pipe(PROMPT, **options, generator=generator(), callback_on_step_end=callback).images
    assert np.abs(whole - cut).max() > 1e-4
    pipe.set_ip_adapter_scale(0.6)
    embeds = pipe.prepare_ip_adapter_image_embeds(
        ip_adapter_image=photo(),
        ip_adapter_image_embeds=None,
        device="cpu",
        num_images_per_prompt=1,
        do_classifier_free_guidance=True,
    )
    del options["ip_adapter_image"]
    same(whole, pipe(PROMPT, ip_adapter_image_embeds=embeds, generator=generator(), **options).images)


def test_a_latent_consistency_model_takes_the_distillations_steps():
    pipe = LatentConsistencyModelPipeline.from_pipe(sharing("lcm"))
    pipe.set_progress_bar_config(disable=True)
    pipe(PROMPT, 64, 64, 4, 40, None, 8.0, generator=generator())
    assert list(pipe.scheduler.timesteps) == [999, 749, 499, 249]  # of every 25th
    pipe(PROMPT, generator=generator())
    assert list(pipe.scheduler.timesteps) == [999, 759, 499, 259]  # of every 20th
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    takers = "LCMScheduler and TCDScheduler do"
    with pytest.raises(ValueError, match=f"EulerDiscreteScheduler takes no original_inference_steps; {takers}"):
        pipe(PROMPT, original_inference_steps=40)


# ---- write_own_pipeline, memory --------------------------------------------------------------------------------------


def test_a_pipeline_written_out_by_hand(quick):
    folder = checkpoint("sd2")
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", use_safetensors=True)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", use_safetensors=True)
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", use_safetensors=True)
    scheduler = UniPCMultistepScheduler.from_pretrained(folder, subfolder="scheduler")
    settings = {"padding": "max_length", "max_length": tokenizer.model_max_length, "return_tensors": "np"}
    embeddings = [text_encoder(tokenizer(text, truncation=True, **settings).input_ids)[0] for text in ("", PROMPT)]
    latents = generator().standard_normal((1, unet.config.in_channels, 8, 8)).astype(np.float32)
    latents = latents * scheduler.init_noise_sigma
    scheduler.set_timesteps(2)
    for t in scheduler.timesteps:
        model_input = scheduler.scale_model_input(np.concatenate([latents] * 2), timestep=t)
        noise = unet(model_input, t, encoder_hidden_states=np.concatenate(embeddings)).sample
        without, text = np.split(noise, 2)
        latents = scheduler.step(without + 7.5 * (text - without), t, latents).prev_sample
    image = vae.decode(latents / 0.18215).sample
    pipe = sharing("sd2")
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config)
    expected = pipe(PROMPT, num_inference_steps=2, generator=generator(), output_type="np").images
    np.testing.assert_allclose((image / 2 + 0.5).clip(0, 1).transpose(0, 2, 3, 1), expected, atol=1e-5)


def test_the_steps_that_remain_for_a_picture_are_those_of_a_run():
    pipe = AutoPipelineForImage2Image.from_pipe(sharing("sd2"))
    pipe.set_progress_bar_config(disable=True)
    visited = []
    pipe(PROMPT, photo(), 0.5, 6, callback_on_step_end=lambda pipe, step, timestep, tensors: visited.append(timestep))
    pipe.scheduler.set_timesteps(6)
    timesteps, count = pipe.get_timesteps(6, 0.5, "cpu")
    assert list(timesteps) == visited and count == 3
    init, unused, hidden = pipe.extract_init_dict({"vae": 1, "_class_name": "x"}, requires_safety_checker=False, seed=1)
    assert (
        init == {"vae": 1, "requires_safety_checker": False}
        and unused == {"seed": 1}
        and hidden == {"_class_name": "x"}
    )


def test_text_encoders_may_be_left_out_where_embeddings_are_given():
    full = sharing("sdxl")
    embeds, negative, pooled, negative_pooled = full.encode_prompt(PROMPT, device="cpu")
    pipe = load(checkpoint("sdxl"), text_encoder=None, text_encoder_2=None, tokenizer=None, tokenizer_2=None)
    given = {"prompt_embeds": embeds, "negative_prompt_embeds": negative}
    given |= {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": negative_pooled}
    options = {"num_inference_steps": 2, "output_type": "np"}
    same(pipe(**given, **options, generator=generator()).images, full(PROMPT, **options, generator=generator()).images)


@pytest.mark.parametrize("family", ["sd2", pytest.param("sdxl", marks=pytest.mark.heavy)])
def test_memory_saving_switches_change_no_picture(family):
    pipe = sharing(family)
    options = {"num_inference_steps": 2, "output_type": "np"}
    expected = pipe([PROMPT, "on"], **options, generator=generator()).images
    pipe.enable_vae_slicing()
    pipe.enable_attention_slicing()
    pipe.enable_xformers_memory_efficient_attention()
    sliced = pipe([PROMPT, "on"], **options, generator=generator()).images
    pipe.disable_vae_slicing()
    np.testing.assert_allclose(sliced, expected, atol=1e-5)
    pipe.vae.enable_tiling()
    assert pipe([PROMPT, "on"], **options, generator=generator()).images.shape == expected.shape
    pipe.vae.disable_tiling()


# ---- processes -------------------------------------------------------------------------------------------------------


def test_pickling_a_pipeline_says_what_to_do_instead():
    pipe = load(checkpoint("bk_sdm"))
    for attempt in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match=r"StableDiffusionPipeline cannot be pickled.*load it again there") as error:
            attempt(pipe)
        assert "\n" not in str(error.value) and str(checkpoint("bk_sdm")) in str(error.value)
    assert copy.copy(pipe).unet is pipe.unet


@pytest.mark.oracle
@pytest.mark.parametrize("name", [name for name in ours.__all__ if name.endswith("Pipeline") and "Auto" not in name])
def test_calls_take_the_references_arguments_in_its_order(name):
    """All but ``kwargs``, which hold the older callback; others may lie between and behind them."""
    import diffusers

    if "__call__" not in vars(getattr(diffusers, name)):
        pytest.skip("it is no pipeline of its own")
    theirs = [*inspect.signature(getattr(diffusers, name).__call__).parameters]
    mine = [*inspect.signature(getattr(ours, name).__call__).parameters]
    older = ("kwargs", "callback", "callback_steps")
    expected = [argument for argument in theirs if argument not in older]
    if name == "StableDiffusionControlNetImg2ImgPipeline":
        expected.remove("latents")  # which the reference takes and ignores
    if name == "StableDiffusionInstructPix2PixPipeline":
        expected = [argument for argument in expected if not argument.startswith("ip_adapter")]
    common = [argument for argument in mine if argument in expected]
    assert common == expected


def test_stable_diffusion_takes_a_safety_checker_of_none():
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint("bk_sdm", safety_checker=True), safety_checker=None)
    assert pipe.safety_checker is None and pipe.feature_extractor is not None
