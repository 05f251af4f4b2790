"""FLUX.1 as a value."""

from ...schedulers.levels import FLOW
from ..capability import CLIP, CLIP_TOKENIZER, NETWORK, T5, T5_TOKENIZER, Capability
from ..family import IMAGE, MASK, TEXT, Defaults, Family, Int8Plan, Latents

INT8 = Int8Plan(
    products={"transformer": "construct", "vae": "decode_latents"},
    weights_only=("text_encoder", "text_encoder_2", "vae"),
    kept=(
        "time_text_embed.",
        "context_embedder.",
        "x_embedder.",
        "norm_out.",
        "^proj_out.",
        "conv_in.",
        "conv_out.",
    ),
    weights_alone=("norm.linear.", "norm1.linear.", "norm1_context.linear."),
)
"""As for Stable Diffusion 3: the first and last layer, and the layers that read timestep and text, keep their dtype;
layers that make shifts, scales and gates have only their weights in int8."""

_HOME = ".pipelines.flux"
_FOLDER = ".families.flux"

FLUX = Family(
    name="flux",
    title="FLUX.1",
    denoiser="transformer",
    required=("scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "transformer"),
    optional=("image_encoder", "feature_extractor"),
    text_encoders=("text_encoder", "text_encoder_2"),
    inputs={
        "prompt_embeds": "encoder_hidden_states",
        "pooled_prompt_embeds": "pooled_projections",
        "guidance": "guidance",
    },
    tasks={
        TEXT: f"{_HOME}:FluxPipeline",
        IMAGE: f"{_HOME}:FluxImg2ImgPipeline",
        MASK: f"{_HOME}:FluxInpaintPipeline",
    },
    pipelines="Flux",
    noise_levels=(FLOW,),
    int8=INT8,
    classes={"FluxTransformer2DModel": (f"{_FOLDER}.transformer", "diffusers")},
    capabilities={
        "transformer": Capability(
            "a transformer of FLUX.1, such as FluxTransformer2DModel",
            NETWORK,
            ("in_channels", "joint_attention_dim", "pooled_projection_dim"),
        ),
        "text_encoder": CLIP,
        "tokenizer": CLIP_TOKENIZER,
        "text_encoder_2": T5,
        "tokenizer_2": T5_TOKENIZER,
    },
    latents=Latents(channels=16, side=1024, patch=2, packed=True),
    defaults=Defaults(guidance_scale=3.5, scheduler="flow-euler"),
    fingerprint=("x_embedder.weight", "proj_out.weight"),
    original=f"{_FOLDER}.original:ORIGINAL",
    lora=f"{_FOLDER}.adapters:LORA",
    shapes={"flux-schnell": f"{_FOLDER}.shapes:FLUX_SCHNELL", "flux-dev": f"{_FOLDER}.shapes:FLUX_DEV"},
    built_in_guidance=True,
    true_guidance=True,
    even_levels=True,
)
"""Predicts the velocity of a straight path from noise to image; FLUX.1-dev reads a guidance scale, schnell needs none.

Image-to-image and inpainting are published with another scale.
"""
