"""Stable Diffusion 1 and 2 in one file, as the authors published them: parts, tell-tale tensors, and facts that no file
holds.

Latent Diffusion's code names the parts ``model.diffusion_model`` (the UNet), ``first_stage_model`` (the autoencoder),
``cond_stage_model`` (the text encoder) and ``control_model``; `families.stable_diffusion_xl.original` shares them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from ...loading.original.autoencoder import AUTOENCODER, OUR_AUTOENCODER
from ...loading.original.clip import CLIP, PENULTIMATE_OPEN_CLIP, is_vit_h
from ...loading.original.key_map import sides
from ...loading.original.layout import Alone, NetworkLayout, OriginalLayout, Part, Parts, Release, Tensors
from ...loading.original.training import Training
from .original_unet import CONTROLNET, OUR_CONTROLNET, OUR_UNET, UNET

_BETAS: dict[str, object] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "trained_betas": None,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
}
PNDM: dict[str, object] = {"_class_name": "PNDMScheduler", **_BETAS}
DDIM: dict[str, object] = {"_class_name": "DDIMScheduler", **_BETAS}
EULER: dict[str, object] = {
    "_class_name": "EulerDiscreteScheduler",
    **_BETAS,
    "interpolation_type": "linear",
    "timestep_spacing": "leading",
    "use_karras_sigmas": False,
}
COSXL: dict[str, object] = {
    "_class_name": "EulerDiscreteScheduler",
    "prediction_type": "v_prediction",
    "timestep_type": "continuous",
    "timestep_spacing": "leading",
    "use_exponential_sigmas": True,
}
"""EDM's noise levels with σ_data = 1, the network conditioned on log σ: the published EDMEulerScheduler in options that
other schedulers share. ``sigma_min`` and ``sigma_max`` are the file's. The spacing makes a run begin at √(σ_max² +
1)."""
_CHANNELS = {
    4: "StableDiffusionPipeline",
    8: "StableDiffusionInstructPix2PixPipeline",
    9: "StableDiffusionInpaintPipeline",
}
_EPSILON_STEPS = (875_000, 220_000)
"""The training steps in the files of Stable Diffusion 2.0-base and 2.1-base, which predict noise."""
_TELLING_BIAS = "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias"
_LEAST_DEVIATION = 0.09
"""From this standard deviation of that bias on, ComfyUI treats a UNet of Stable Diffusion 2 as predicting velocity."""


def by_channels(pipelines: Mapping[int, str], title: str, unet: Tensors) -> str:
    """The pipeline's class by the UNet's input channels.

    Raises:
        ValueError: there is none.
    """
    channels = sides(unet, "conv_in.weight", 4)[1]
    if channels not in pipelines:
        raise ValueError(
            f"a UNet of {channels} input channels (tensor 'conv_in.weight') fits no supported pipeline for {title}; "
            f"supported: {', '.join(map(str, pipelines))} channels"
        )
    return pipelines[channels]


def _velocity_or_noise(file: Tensors, unet: Tensors) -> str:
    """The prediction of a Stable Diffusion 2 UNet whose file does not give it.

    It is the velocity, unless the UNet inpaints, its ``global_step`` is that of a published base model, or a bias is as
    narrow as theirs.
    """
    if "conv_in.weight" in unet and sides(unet, "conv_in.weight", 4)[1] != 4:  # inpainting, depth
        return "epsilon"
    step = file.get("global_step")
    if step is not None and step.size == 1 and float(step.numpy().reshape(-1)[0]) in _EPSILON_STEPS:
        return "epsilon"
    bias = unet.get(_TELLING_BIAS)
    is_narrow = bias is not None and float(bias.numpy(np.float32).std()) <= _LEAST_DEVIATION
    return "epsilon" if is_narrow else "v_prediction"


SD1 = Release(
    "Stable Diffusion 1.x",
    partial(by_channels, _CHANNELS, "Stable Diffusion 1.x"),
    PNDM,
    64,
    {"text_encoder": "<|endoftext|>"},
    modelspec="stable-diffusion-v1",
    absent=("safety_checker", "feature_extractor"),
)
SD2 = Release(
    "Stable Diffusion 2.x",
    partial(by_channels, {**_CHANNELS, 5: "StableDiffusionDepth2ImgPipeline"}, "Stable Diffusion 2.x"),
    DDIM,
    64,
    {"text_encoder": "!"},
    modelspec="stable-diffusion-v2-512",
    predicts=_velocity_or_noise,
    absent=SD1.absent,
)
SD2_V = replace(
    SD2, title="Stable Diffusion 2.x with v-prediction", sample_size=96, modelspec="stable-diffusion-v2-768-v"
)


def scheduler_config(release: Release, prediction_type: str, *, zero_terminal_snr: bool) -> dict[str, object]:
    """The published scheduler of a release, for its UNet's prediction.

    Args:
        zero_terminal_snr: trained to start from pure noise (Lin et al. 2024, §3), as the tensor ``ztsnr`` says. The
            published PNDM has no such option; DDIM is the scheduler of that paper. A noise-predicting network says
            nothing about pure noise: Euler's method starts just below it, as AUTOMATIC1111 does.
    """
    if not zero_terminal_snr:
        return {**release.scheduler, "prediction_type": prediction_type}
    scheduler = EULER if prediction_type == "epsilon" else DDIM if release.scheduler is PNDM else release.scheduler
    more = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return {**scheduler, "prediction_type": prediction_type, **more}


def edm_scheduler_config(sigma_min: float, sigma_max: float) -> dict[str, object]:
    """The scheduler of CosXL, for the noise levels in the tensors ``edm_vpred.sigma_min`` and ``.sigma_max``."""
    return {**COSXL, "sigma_min": sigma_min, "sigma_max": sigma_max}


def trained(release: Release, training: Training, parts: Parts) -> Release:
    """A release with the scheduler that matches its training; see `OriginalLayout.trained`."""
    if training.sigmas is not None:
        scheduler = edm_scheduler_config(*training.sigmas)
    else:
        scheduler = scheduler_config(release, training.prediction_type, zero_terminal_snr=training.zero_terminal_snr)
    unet = parts.get("unet", {})
    inpaints = "conv_in.weight" in unet and sides(unet, "conv_in.weight", 4)[1] == 9
    return replace(release, scheduler=scheduler, modelspec=release.modelspec + "-inpainting" * inpaints)


def _release(parts: Parts, networks: Mapping[str, NetworkLayout]) -> Release:
    """The version, by the text encoder or by whether the UNet projects with matrices; a lone autoencoder is version
    1's."""
    if "text_encoder" in networks:
        return SD1 if networks["text_encoder"] is CLIP and not is_vit_h(parts["text_encoder"]) else SD2
    unet = parts.get("unet") or parts.get("controlnet") or {}
    linear = any(name.endswith(".proj_in.weight") and len(tensor.shape) == 2 for name, tensor in unet.items())
    return SD2 if linear else SD1


def _trained(release: Release, training: Training, parts: Parts) -> Release:
    is_velocity = release is SD2 and training.prediction_type == "v_prediction"
    return trained(SD2_V if is_velocity else release, training, parts)


_UNET, _CONTROL = "model.diffusion_model.", "control_model."
_BLOCKS = tuple(f"{_UNET}{blocks}" for blocks in ("input_blocks.", "middle_block.", "output_blocks."))
_SIZES = ("label_emb.0.", "add_embedding.")
"""The layer that embeds XL's sizes and pooled text, in the original layout and under our names."""


def has_sizes(names: Iterable[str]) -> bool:
    """Whether a file's UNet or ControlNet takes sizes as inputs, as all XL ones do."""
    return any(name.removeprefix(_UNET).removeprefix(_CONTROL).startswith(_SIZES) for name in names)


def _is_of_others(names: Iterable[str]) -> bool:
    denoiser = [name for name in names if name.startswith(_UNET)]
    return has_sizes(names) or (bool(denoiser) and not any(name.startswith(_BLOCKS) for name in denoiser))


IMAGE_PARTS = (
    Part(_UNET, "unet", UNET),
    Part(_CONTROL, "controlnet", CONTROLNET),
    Part("first_stage_model.", "vae", AUTOENCODER),
    Part("vae.", "vae", AUTOENCODER),
)
ALONE = (
    Alone(("input_hint_block.0.weight", "zero_convs.0.0.weight"), "controlnet", CONTROLNET),
    Alone(("input_blocks.0.0.weight", "out.2.weight"), "unet", UNET),
    Alone(("encoder.down.0.block.0.conv1.weight", "decoder.conv_in.weight"), "vae", AUTOENCODER),
    Alone(("controlnet_cond_embedding.conv_in.weight", "conv_in.weight"), "controlnet", OUR_CONTROLNET),
    Alone(("down_blocks.0.resnets.0.conv1.weight", "conv_norm_out.weight"), "unet", OUR_UNET),
    Alone(("encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.conv_in.weight"), "vae", OUR_AUTOENCODER),
)

ORIGINAL = OriginalLayout(
    known="Stable Diffusion 1.x and 2.x",
    denoiser="unet",
    parts=(
        *IMAGE_PARTS,
        Part("cond_stage_model.transformer.", "text_encoder", CLIP),
        Part("cond_stage_model.model.", "text_encoder", PENULTIMATE_OPEN_CLIP),
        Part("conditioner.embedders.0.model.", "text_encoder", PENULTIMATE_OPEN_CLIP),  # Stability's later code
    ),
    release=_release,
    trained=_trained,
    alone=ALONE,
    excludes=_is_of_others,
)
