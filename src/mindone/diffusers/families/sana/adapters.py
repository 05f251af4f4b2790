"""What LoRA files call the layers of Sana's transformer."""

from ..adapters import LoraNames

LORA = LoraNames("transformer", prefixes={}, classes={"SanaTransformer2DModel": "transformer"}, bases={2304: "Sana"})
