"""Stable Diffusion 3 and 3.5 as a value."""

from dataclasses import replace

from ...schedulers.levels import FLOW
from ..capability import CLIP, CLIP_TOKENIZER, NETWORK, T5, T5_TOKENIZER, Capability
from ..family import IMAGE, MASK, TEXT, Defaults, Family, Int8Plan, Latents

INT8 = Int8Plan(
    products={"transformer": "construct", "vae": "decode_latents"},
    weights_only=("text_encoder", "text_encoder_2", "text_encoder_3", "vae"),
    kept=(
        "pos_embed.",
        "time_text_embed.",
        "context_embedder.",
        "norm_out.",
        "proj_out.",
        "conv_in.",
        "conv_out.",
    ),
    weights_alone=("norm1.linear.", "norm1_context.linear."),
    drawn={"height": 512, "width": 512, "max_sequence_length": 77},
)
"""The first and last layer, and the layers that read timestep and text, keep their dtype, as in the other families.

The layers that turn the timestep into shifts, scales and gates are a third of the weights and less than a thousandth of
a step's products, and their outputs multiply everything in a block: so only their weights are in int8. With 6 blocks of
random weights the error is 1.6 %; with those weights in 16 bits it would be 1.3 %, with the products after GELU kept, a
third of all, 1.5 %, and with nothing kept 2.9 %.
"""

PROJECTED_CLIP = replace(
    CLIP,
    kind="a CLIP text encoder with a projection, such as CLIPTextModelWithProjection",
    fields=(*CLIP.fields, "hidden_size", "projection_dim"),
)

_HOME = ".pipelines.stable_diffusion_3"
_FOLDER = ".families.stable_diffusion_3"

STABLE_DIFFUSION_3 = Family(
    name="stable-diffusion-3",
    title="Stable Diffusion 3",
    denoiser="transformer",
    required=("transformer", "scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    optional=("text_encoder_3", "tokenizer_3", "image_encoder", "feature_extractor"),
    text_encoders=("text_encoder", "text_encoder_2", "text_encoder_3"),
    inputs={"prompt_embeds": "encoder_hidden_states", "pooled_prompt_embeds": "pooled_projections"},
    tasks={
        TEXT: f"{_HOME}:StableDiffusion3Pipeline",
        IMAGE: f"{_HOME}:StableDiffusion3Img2ImgPipeline",
        MASK: f"{_HOME}:StableDiffusion3InpaintPipeline",
    },
    pipelines="StableDiffusion3",
    noise_levels=(FLOW,),
    int8=INT8,
    classes={"SD3Transformer2DModel": (f"{_FOLDER}.transformer", "diffusers")},
    capabilities={
        "transformer": Capability(
            "a transformer of Stable Diffusion 3, such as SD3Transformer2DModel",
            NETWORK,
            ("in_channels", "sample_size", "joint_attention_dim", "pooled_projection_dim"),
        ),
        **dict.fromkeys(("text_encoder", "text_encoder_2"), PROJECTED_CLIP),
        **dict.fromkeys(("tokenizer", "tokenizer_2"), CLIP_TOKENIZER),
        "text_encoder_3": T5,
        "tokenizer_3": T5_TOKENIZER,
    },
    skipped_layers=1,
    repeated={"encoder_hidden_states": "last_counts"},
    latents=Latents(channels=16, side=1024, patch=2, places="pos_embed_max_size"),
    defaults=Defaults(guidance_scale=7.0, scheduler="flow-euler"),
    fingerprint=("pos_embed.proj.weight", "proj_out.weight"),
    original=f"{_FOLDER}.original:ORIGINAL",
    lora=f"{_FOLDER}.adapters:LORA",
    shapes={
        "sd3-medium": f"{_FOLDER}.shapes:SD3_MEDIUM",
        "sd35-medium": f"{_FOLDER}.shapes:SD35_MEDIUM",
        "sd35-medium-without-t5": f"{_FOLDER}.shapes:SD35_MEDIUM_WITHOUT_T5",
        "sd35-large": f"{_FOLDER}.shapes:SD35_LARGE",
    },
    built_in_guidance=False,
)
"""Predicts the velocity of a straight path from noise to image (Esser et al. 2024, arXiv 2403.03206).

Image-to-image and inpainting are published with more steps, so each call's signature gives the number.
"""
