"""Sana and SANA-Sprint as values."""

from dataclasses import replace

from ...schedulers.levels import FLOW, TRIGFLOW
from ..capability import NETWORK, Capability
from ..family import IMAGE, TEXT, Defaults, Family, Int8Plan, Latents

INT8 = Int8Plan(
    products={"transformer": "construct", "vae": "decode_latents"},
    weights_only=("text_encoder", "vae"),
    kept=(
        "patch_embed.",
        "time_embed.",
        "caption_projection.",
        "attn2.to_k.",
        "attn2.to_v.",
        "conv_depth.",
        "proj_out.",
        "decoder.conv_in.",
        "decoder.conv_out.",
        "conv_out.conv_point.",
    ),
)
"""The first and last layer, and the layers that read timestep and text, keep their dtype, as in Stable Diffusion.

So do the depthwise convolutions, a hundredth of a step's time: they are computed in halves of their weights, which int8
products do not support. `SanaTransformer2DModel.read_text` runs once for a text and keeps its dtype entirely.

The autoencoder's layers after its gates, 3 % of its decoder's products, keep theirs too: gated values are small except
for a few. In int8, two such layers raised the error of a tiny random decoder from 4 % to 16 %.
"""

_HOME = ".pipelines.sana"
_SHAPES = ".families.sana.shapes"

SANA = Family(
    name="sana",
    title="Sana",
    denoiser="transformer",
    required=("tokenizer", "text_encoder", "vae", "transformer", "scheduler"),
    optional=(),
    text_encoders=("text_encoder",),
    inputs={"prompt_embeds": "encoder_hidden_states", "prompt_attention_mask": "encoder_attention_mask"},
    padded={"encoder_hidden_states": "encoder_attention_mask"},
    read_once={"encoder_hidden_states": "read_text"},
    tasks={TEXT: f"{_HOME}:SanaPipeline"},
    pipelines="Sana",
    noise_levels=(FLOW,),
    int8=INT8,
    classes={"SanaTransformer2DModel": (".families.sana.transformer", "diffusers")},
    capabilities={
        "transformer": Capability(
            "a transformer of Sana, such as SanaTransformer2DModel",
            NETWORK,
            ("in_channels", "sample_size", "caption_channels"),
        ),
        "text_encoder": Capability(
            "a text encoder, such as Gemma2Model", (*NETWORK, "encode_with"), ("vocab_size", "hidden_size")
        ),
        "tokenizer": Capability(
            "a tokenizer, such as mindone.transformers.GemmaTokenizerFast", ("encode", "decode", "pad_token_id")
        ),
    },
    latents=Latents(channels=32, pixels=32, side=1024),
    defaults=Defaults(steps=20, guidance_scale=4.5, scheduler="dpm++"),
    fingerprint=("patch_embed.proj.weight", "proj_out.weight"),
    original=".families.sana.original:ORIGINAL",
    lora=".families.sana.adapters:LORA",
    shapes={"sana-0.6b": f"{_SHAPES}:SANA_600M", "sana-1.6b": f"{_SHAPES}:SANA_1600M"},
    built_in_guidance=False,
    parameterization=".families.sana.parameterization:Velocity",
)
"""Predicts the velocity of a straight path from noise to image (Xie et al. 2024, arXiv 2410.10629)."""

SANA_SPRINT = replace(
    SANA,
    name="sana-sprint",
    title="SANA-Sprint",
    inputs={**SANA.inputs, "guidance": "guidance"},
    tasks={TEXT: f"{_HOME}:SanaSprintPipeline", IMAGE: f"{_HOME}:SanaSprintImg2ImgPipeline"},
    pipelines="SanaSprint",
    noise_levels=(TRIGFLOW,),
    defaults=Defaults(steps=2, guidance_scale=4.5, scheduler="scm"),
    shapes={"sana-sprint-0.6b": f"{_SHAPES}:SPRINT_600M", "sana-sprint-1.6b": f"{_SHAPES}:SPRINT_1600M"},
    built_in_guidance=True,
    parameterization=".families.sana.parameterization:TrigFlow",
)
"""Distilled to generate in 1 to 4 steps, with guidance built in (Chen et al. 2025, arXiv 2503.09641)."""
