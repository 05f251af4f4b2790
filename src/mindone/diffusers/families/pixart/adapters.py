"""The names of PixArt's layers in LoRA files."""

from ..adapters import LoraNames

LORA = LoraNames(
    "transformer",
    prefixes={},
    classes=dict.fromkeys(("PixArtTransformer2DModel", "Transformer2DModel"), "transformer"),
    bases={1152: "PixArt"},
)
