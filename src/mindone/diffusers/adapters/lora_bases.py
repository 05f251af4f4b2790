"""Which base a LoRA was trained for, by the looks of its keys: for messages, never for decisions."""

from collections.abc import Mapping

from ..loading.safetensors import StoredTensor

_MARKS = (
    ("double_blocks", "FLUX.1"),
    ("single_blocks", "FLUX.1"),
    ("single_transformer_blocks", "FLUX.1"),
    ("joint_blocks", "Stable Diffusion 3"),
    ("lora_te3_", "Stable Diffusion 3"),
    ("text_encoder_3.", "Stable Diffusion 3"),
    ("lora_prior_", "Stable Cascade"),
    ("motion_modules", "AnimateDiff"),
    ("self_attn.q.lora", "Wan"),
    ("lora_controlnet", "a Control-LoRA"),
    ("^transformer.", "a transformer such as FLUX.1 or Stable Diffusion 3"),
)
_TEXT_WIDTHS = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    2048: "Stable Diffusion XL",
    1280: "the refiner of Stable Diffusion XL",
}


def looks_like(tensors: Mapping[str, StoredTensor]) -> str | None:
    """The base of a LoRA in words, or None when nothing tells: by names, then by the width of the text it looks at."""
    for mark, base in _MARKS:
        if any(f"^{name}".find(mark) >= 0 for name in tensors):
            return base
    for name, tensor in tensors.items():
        if "attn2" in name and "to_k" in name and ("down" in name.rsplit("to_k", 1)[1] or "lora_A" in name):
            width = tensor.shape[-1] if len(tensor.shape) == 2 else 0
            if width in _TEXT_WIDTHS:
                return _TEXT_WIDTHS[width]
    return "Stable Diffusion XL" if any(name.startswith(("lora_te2_", "text_encoder_2.")) for name in tensors) else None
