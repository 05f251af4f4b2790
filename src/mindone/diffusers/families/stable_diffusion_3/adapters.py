"""The names of the layers of Stable Diffusion 3's transformer and its CLIPs in LoRA files.

kohya's trainer and ComfyUI name the transformer's layers as in the original layout, where queries, keys and values of a
stream are one layer; so do some files with peft's names.
"""

from ..adapters import LoraNames
from .original import LAYERS

LORA = LoraNames(
    denoiser="transformer",
    prefixes={
        "lora_transformer_": "transformer",
        "lora_te1_": "text_encoder",
        "lora_te2_": "text_encoder_2",
        "text_encoders.clip_l.transformer.": "text_encoder",
        "text_encoders.clip_g.transformer.": "text_encoder_2",
        "clip_l.": "text_encoder",
        "clip_g.": "text_encoder_2",
    },
    classes={"SD3Transformer2DModel": "transformer", "CLIPTextModelWithProjection": "text_encoder"},
    bases={1536: "Stable Diffusion 3 or 3.5 medium", 2432: "Stable Diffusion 3.5 large"},
    telling=(
        ("transformer_blocks", "attn.to_q"),
        ("transformer_blocks", "attn_to_q"),
        ("joint_blocks", "x_block.attn.qkv"),
        ("joint_blocks", "x_block_attn_qkv"),
    ),
    marks={
        "joint_blocks": "Stable Diffusion 3",
        "lora_te3_": "Stable Diffusion 3",
        "text_encoder_3.": "Stable Diffusion 3",
    },
    numbering=LAYERS.numbering,
    apart=LAYERS.apart,
)
