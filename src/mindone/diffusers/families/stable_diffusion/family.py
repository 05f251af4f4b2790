"""Stable Diffusion 1 and 2, BK-SDM and latent consistency models, as values."""

from dataclasses import replace

from ...schedulers.levels import DISCRETE, EDM, FLOW
from ..capability import CLIP, CLIP_TOKENIZER, NETWORK, Capability
from ..family import CONTROLLED, DEPTH, EDIT, IMAGE, MASK, TEXT, Defaults, Family, Int8Plan

INT8 = Int8Plan(
    products={"unet": "construct", "vae": "decode_latents"},
    weights_only=("text_encoder", "text_encoder_2", "vae"),
    kept=(
        "conv_in.",
        "conv_out.",
        "time_embedding.",
        "add_embedding.",
        "time_emb_proj.",
        "attn2.to_k.",
        "attn2.to_v.",
        "post_quant_conv.",
    ),
    between_products=("attn1.to_q.", "attn1.to_k."),
)
"""The first and last convolution, and the layers that read timestep, text and latents, keep their dtype.

They compute less than a hundredth of a step, so int8 would save no time, and everything else depends on them. Measured
on ``icons`` against float32 (12 prompts, 25 steps, ranges from 4 others): 40.3 dB with them in 16 bits, 40.0 dB with
everything in int8. Among the others, the products after GEGLU cost the most, 2.7 dB; they are 25 GMAC for each row of
Stable Diffusion 1.5's batch, too many to keep in 16 bits.

Without int8 weights of the text encoders and the autoencoder the checkpoint would be 0.62 of the float16 one, not half;
on ``icons`` they lower 39.6 dB to 39.3.

Queries and keys of self-attention are rounded too: in int8 their product, a quarter of a step in Stable Diffusion 1.5's
shapes, saves 7 % of a step. Attention to the text, whose keys come from a layer that keeps its dtype, is small.
"""

NETWORKS = {
    "UNet2DConditionModel": (".families.stable_diffusion.unet", "diffusers"),
    "ControlNetModel": (".families.stable_diffusion.controlnet", "diffusers"),
    "MultiControlNetModel": (".families.stable_diffusion.multi_controlnet", "diffusers"),
}

DENOISER = Capability(
    "a denoising network, such as UNet2DConditionModel",
    NETWORK,
    ("in_channels", "sample_size", "cross_attention_dim"),
)

CONTROLNETS = ".families.stable_diffusion.multi_controlnet:MultiControlNetModel"
NOISE_LEVELS = (DISCRETE, EDM, FLOW)
"""Published networks use the first two kinds, and networks that others trained further use all three."""

LORA = ".families.stable_diffusion.adapters:LORA"
IMAGE_PROMPTS = ".families.stable_diffusion.adapters:IMAGE_PROMPTS"

_HOME = ".pipelines.stable_diffusion"

STABLE_DIFFUSION = Family(
    name="stable-diffusion",
    title="Stable Diffusion",
    denoiser="unet",
    required=("vae", "text_encoder", "tokenizer", "unet", "scheduler"),
    optional=("safety_checker", "feature_extractor", "image_encoder"),
    text_encoders=("text_encoder",),
    inputs={"prompt_embeds": "encoder_hidden_states", "timestep_cond": "timestep_cond"},
    tasks={
        TEXT: f"{_HOME}:StableDiffusionPipeline",
        IMAGE: f"{_HOME}:StableDiffusionImg2ImgPipeline",
        MASK: f"{_HOME}:StableDiffusionInpaintPipeline",
        CONTROLLED[TEXT]: f"{_HOME}:StableDiffusionControlNetPipeline",
        CONTROLLED[IMAGE]: f"{_HOME}:StableDiffusionControlNetImg2ImgPipeline",
        CONTROLLED[MASK]: f"{_HOME}:StableDiffusionControlNetInpaintPipeline",
        EDIT: f"{_HOME}:StableDiffusionInstructPix2PixPipeline",
        DEPTH: f"{_HOME}:StableDiffusionDepth2ImgPipeline",
    },
    pipelines="StableDiffusion",
    noise_levels=NOISE_LEVELS,
    int8=INT8,
    classes=NETWORKS,
    original=".families.stable_diffusion.original:ORIGINAL",
    capabilities={"unet": DENOISER, "text_encoder": CLIP, "tokenizer": CLIP_TOKENIZER},
    lora=LORA,
    image_prompts=IMAGE_PROMPTS,
    controlnets=CONTROLNETS,
    fingerprint=("conv_in.weight", "conv_out.weight"),
    shapes={"sd15": ".families.stable_diffusion.shapes:SD15"},
)

LATENT_CONSISTENCY = replace(
    STABLE_DIFFUSION,
    name="latent-consistency",
    title="latent consistency model",
    tasks={
        TEXT: f"{_HOME}:LatentConsistencyModelPipeline",
        IMAGE: f"{_HOME}:StableDiffusionImg2ImgPipeline",
        MASK: f"{_HOME}:StableDiffusionInpaintPipeline",
    },
    pipelines="LatentConsistencyModel",
    defaults=Defaults(guidance_scale=8.5),
    shapes={},
)
"""Distilled to generate in 1 to 8 steps, with guidance built in (Luo et al. 2023)."""
