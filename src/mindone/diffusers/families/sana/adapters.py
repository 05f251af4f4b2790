"""The names of Sana's layers in LoRA files."""

from ..adapters import LoraNames

LORA = LoraNames("transformer", prefixes={}, classes={"SanaTransformer2DModel": "transformer"}, bases={2304: "Sana"})
