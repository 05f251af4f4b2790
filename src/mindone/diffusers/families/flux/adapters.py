"""The names of the layers of FLUX.1's transformer and its CLIP in LoRA files.

kohya's trainer, ComfyUI and XLabs name the transformer's layers nearly as in the original layout, where queries, keys
and values of a stream are one layer; OneTrainer and diffusers name them as here.
"""

from ..adapters import LoraNames
from .original import LAYERS, apart

LORA = LoraNames(
    denoiser="transformer",
    prefixes={
        "lora_transformer_": "transformer",
        "lora_te_": "text_encoder",
        "lora_te1_": "text_encoder",
        "text_encoders.clip_l.transformer.": "text_encoder",
        "clip_l.": "text_encoder",
    },
    classes={"FluxTransformer2DModel": "transformer", "CLIPTextModel": "text_encoder"},
    bases={3072: "FLUX.1"},
    telling=(
        ("single_transformer_blocks", "attn.to_q"),
        ("single_transformer_blocks", "attn_to_q"),
        ("single_blocks", "linear1"),
        ("double_blocks", "img_attn.qkv"),
        ("double_blocks", "img_attn_qkv"),
        ("double_blocks", "qkv_lora1"),
    ),
    marks={"double_blocks": "FLUX.1", "single_blocks": "FLUX.1", "single_transformer_blocks": "FLUX.1"},
    numbering=LAYERS.numbering,
    apart=apart,
)
