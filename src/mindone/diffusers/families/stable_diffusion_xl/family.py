"""Stable Diffusion XL as a value."""

from ..capability import CLIP, CLIP_TOKENIZER
from ..family import CONTROLLED, EDIT, IMAGE, MASK, TEXT, Defaults, Family, Latents
from ..stable_diffusion.family import (
    CONTROLNETS,
    DENOISER,
    IMAGE_PROMPTS,
    INT8,
    LORA,
    NETWORKS,
    NOISE_LEVELS,
)

_HOME = ".pipelines.stable_diffusion_xl"

STABLE_DIFFUSION_XL = Family(
    name="stable-diffusion-xl",
    title="Stable Diffusion XL",
    denoiser="unet",
    required=("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "scheduler"),
    optional=("image_encoder", "feature_extractor"),
    text_encoders=("text_encoder", "text_encoder_2"),
    inputs={
        "prompt_embeds": "encoder_hidden_states",
        "timestep_cond": "timestep_cond",
        "add_text_embeds": "text_embeds",
        "add_time_ids": "time_ids",
    },
    tasks={
        TEXT: f"{_HOME}:StableDiffusionXLPipeline",
        IMAGE: f"{_HOME}:StableDiffusionXLImg2ImgPipeline",
        MASK: f"{_HOME}:StableDiffusionXLInpaintPipeline",
        CONTROLLED[TEXT]: f"{_HOME}:StableDiffusionXLControlNetPipeline",
        CONTROLLED[IMAGE]: f"{_HOME}:StableDiffusionXLControlNetImg2ImgPipeline",
        CONTROLLED[MASK]: f"{_HOME}:StableDiffusionXLControlNetInpaintPipeline",
        EDIT: f"{_HOME}:StableDiffusionXLInstructPix2PixPipeline",
    },
    pipelines="StableDiffusionXL",
    noise_levels=NOISE_LEVELS,
    int8=INT8,
    classes=NETWORKS,
    original=".families.stable_diffusion_xl.original:ORIGINAL",
    capabilities={
        "unet": DENOISER,
        **dict.fromkeys(("text_encoder", "text_encoder_2"), CLIP),
        **dict.fromkeys(("tokenizer", "tokenizer_2"), CLIP_TOKENIZER),
    },
    lora=LORA,
    image_prompts=IMAGE_PROMPTS,
    controlnets=CONTROLNETS,
    skipped_layers=1,
    latents=Latents(side=1024),
    defaults=Defaults(guidance_scale=5.0),
    fingerprint=("conv_in.weight", "conv_out.weight"),
    shapes={"sdxl": ".families.stable_diffusion_xl.shapes:SDXL"},
)
