"""PixArt-α and PixArt-Σ as values."""

from dataclasses import replace

from ...schedulers.levels import DISCRETE
from ..capability import NETWORK, T5, T5_TOKENIZER, Capability
from ..family import TEXT, Defaults, Family, Int8Plan, Latents

INT8 = Int8Plan(
    products={"transformer": "construct", "vae": "decode_latents"},
    weights_only=("text_encoder", "vae"),
    kept=(
        "pos_embed.",
        "adaln_single.",
        "caption_projection.",
        "attn2.to_k.",
        "attn2.to_v.",
        "proj_out.",
        "conv_in.",
        "conv_out.",
        "post_quant_conv.",
    ),
)
"""The first and last layers, and the layers that read timestep and text, keep their dtype, as in Stable Diffusion.

`PixArtTransformer2DModel.read_text` runs once for a text and keeps its dtype entirely.
"""

_HOME = ".pipelines.pixart"
_SHAPES = ".families.pixart.shapes"

PIXART_SIGMA = Family(
    name="pixart-sigma",
    title="PixArt-Σ",
    denoiser="transformer",
    required=("vae", "transformer", "scheduler"),
    optional=("tokenizer", "text_encoder"),
    text_encoders=("text_encoder",),
    inputs={"prompt_embeds": "encoder_hidden_states", "prompt_attention_mask": "encoder_attention_mask"},
    padded={"encoder_hidden_states": "encoder_attention_mask"},
    read_once={"encoder_hidden_states": "read_text"},
    tasks={TEXT: f"{_HOME}:PixArtSigmaPipeline"},
    pipelines="PixArtSigma",
    noise_levels=(DISCRETE,),
    int8=INT8,
    classes={"PixArtTransformer2DModel": (".families.pixart.transformer", "diffusers")},
    capabilities={
        "transformer": Capability(
            "a transformer of PixArt, such as PixArtTransformer2DModel",
            NETWORK,
            ("in_channels", "sample_size", "cross_attention_dim"),
        ),
        "text_encoder": T5,
        "tokenizer": T5_TOKENIZER,
    },
    latents=Latents(side=1024, patch=2),
    defaults=Defaults(steps=20, guidance_scale=4.5, scheduler="dpm++"),
    fingerprint=("pos_embed.proj.weight", "proj_out.weight"),
    lora=".families.pixart.adapters:LORA",
    shapes={"pixart-sigma": f"{_SHAPES}:SIGMA"},
    built_in_guidance=False,
    parameterization=".schedulers.parameterization:WithoutVariance",
)
"""Reads texts of 300 tokens and generates up to 3840×2160 (Chen et al. 2024, arXiv 2403.04692)."""

PIXART_ALPHA = replace(
    PIXART_SIGMA,
    name="pixart-alpha",
    title="PixArt-α",
    inputs={**PIXART_SIGMA.inputs, "resolution": "resolution", "aspect_ratio": "aspect_ratio"},
    tasks={TEXT: f"{_HOME}:PixArtAlphaPipeline"},
    pipelines="PixArtAlpha",
    shapes={"pixart-alpha": f"{_SHAPES}:ALPHA"},
    parameterization=".families.pixart.parameterization:OneStep",
)
"""Reads texts of 120 tokens, and at 1024×1024 the size of the image (Chen et al. 2023, arXiv 2310.00426)."""
