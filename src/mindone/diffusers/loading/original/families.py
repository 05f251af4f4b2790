"""The families of Stable Diffusion, and what a single file of each does not say: pipeline, scheduler, usual sizes."""

from collections.abc import Mapping
from dataclasses import dataclass

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
"""EDM's noise levels with σ_data = 1, the network conditioned on log σ: the published EDMEulerScheduler in words that
other schedulers share. ``sigma_min`` and ``sigma_max`` are the file's. The spacing says that a run begins at
√(σ_max² + 1)."""


@dataclass(frozen=True)
class Family:
    """One family: its name in words, and what its published folders say beyond the shapes."""

    title: str
    pipelines: Mapping[int, str]
    """The pipeline's class by the channels that the UNet takes."""
    scheduler: Mapping[str, object]
    sample_size: int
    scaling_factor: float = 0.18215
    options: Mapping[str, object] | None = None
    """Further entries of ``model_index.json``."""
    modelspec: str = ""
    """The architecture's name in the ModelSpec metadata that model-sharing sites read."""

    text_encoders: tuple[str, ...] = ("text_encoder",)
    """The text encoders that its pipelines need."""
    is_open_clip: bool = False
    """Whether the first of them was trained by OpenCLIP, not by OpenAI."""

    @property
    def is_xl(self) -> bool:
        """Of the family of XL, whose text encoders are called ``conditioner`` in the original layout."""
        return self.scheduler is EULER


_CHANNELS = {
    4: "StableDiffusionPipeline",
    8: "StableDiffusionInstructPix2PixPipeline",
    9: "StableDiffusionInpaintPipeline",
}

SD1 = Family(
    "Stable Diffusion 1.x",
    _CHANNELS,
    PNDM,
    64,
    modelspec="stable-diffusion-v1",
)
SD2 = Family(
    "Stable Diffusion 2.x",
    {**_CHANNELS, 5: "StableDiffusionDepth2ImgPipeline"},
    DDIM,
    64,
    modelspec="stable-diffusion-v2-512",
    is_open_clip=True,
)
SD2_V = Family(
    "Stable Diffusion 2.x with v-prediction",
    SD2.pipelines,
    DDIM,
    96,
    modelspec="stable-diffusion-v2-768-v",
    is_open_clip=True,
)
XL = Family(
    "Stable Diffusion XL",
    {
        4: "StableDiffusionXLPipeline",
        8: "StableDiffusionXLInstructPix2PixPipeline",
        9: "StableDiffusionXLInpaintPipeline",
    },
    EULER,
    128,
    0.13025,
    {"force_zeros_for_empty_prompt": True},
    modelspec="stable-diffusion-xl-v1-base",
    text_encoders=("text_encoder", "text_encoder_2"),
)
XL_REFINER = Family(
    "the refiner of Stable Diffusion XL",
    {4: "StableDiffusionXLImg2ImgPipeline"},
    EULER,
    128,
    0.13025,
    {"force_zeros_for_empty_prompt": False, "requires_aesthetics_score": True},
    modelspec="stable-diffusion-xl-v1-refiner",
    text_encoders=("text_encoder_2",),
    is_open_clip=True,
)


def scheduler_config(family: Family, prediction_type: str, *, zero_terminal_snr: bool) -> dict[str, object]:
    """The published scheduler of a family, for what the UNet predicts.

    Args:
        zero_terminal_snr: trained to start from pure noise (Lin et al. 2024, §3), as the tensor ``ztsnr`` says. The
            published PNDM has no such option; DDIM is the scheduler of that paper. A network that predicts the noise
            says nothing about pure noise: Euler's method starts just below it, as web UIs do.
    """
    if not zero_terminal_snr:
        return {**family.scheduler, "prediction_type": prediction_type}
    scheduler = EULER if prediction_type == "epsilon" else DDIM if family.scheduler is PNDM else family.scheduler
    more = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return {**scheduler, "prediction_type": prediction_type, **more}


def edm_scheduler_config(sigma_min: float, sigma_max: float) -> dict[str, object]:
    """The scheduler of CosXL, for the noise levels that the tensors ``edm_vpred.sigma_min`` and ``.sigma_max`` say."""
    return {**COSXL, "sigma_min": sigma_min, "sigma_max": sigma_max}
