"""What a single file is when it is none of ours: the tensors that tell, and what to say."""

from collections.abc import Collection

from ...utils.printable import shown
from ..fields import listed

_TELL_TALES = (
    ("double_blocks.0.img_attn.", "FLUX.1"),
    ("joint_blocks.0.", "Stable Diffusion 3"),
    ("text_encoders.", "Stable Diffusion 3 or FLUX.1 with its text encoders"),
    ("clip_txt_mapper.", "Stable Cascade"),
    ("double_layers.0.", "AuraFlow"),
    ("double_stream_blocks.", "HiDream"),
    ("txt_in.individual_token_refiner.", "HunyuanVideo"),
    ("patchify_proj.", "LTX-Video"),
    ("head.modulation", "Wan"),
    ("cap_embedder.", "Lumina"),
    ("motion_modules.", "AnimateDiff"),
    ("time_mix_", "Stable Video Diffusion"),
    ("time_stack.", "Stable Video Diffusion"),
    ("edm_mean", "Playground 2.5"),
    ("edm_std", "Playground 2.5"),
    ("cc_projection.", "Zero-1-to-3"),
    ("noise_augmentor.", "Stable unCLIP"),
    ("embedder.model.visual.", "Stable unCLIP"),
    ("label_emb.weight", "the ×4 upscaler"),
    ("lora_controlnet", "a Control-LoRA"),
    ("lora_unet_", "a LoRA: give it to load_lora_weights"),
    (".lora_A.", "a LoRA: give it to load_lora_weights"),
    (".lora.down.", "a LoRA: give it to load_lora_weights"),
    ("_lora.down.", "a LoRA: give it to load_lora_weights"),
    ("emb_params", "a textual inversion: give it to load_textual_inversion"),
    ("image_proj.", "an IP-Adapter: give it to load_ip_adapter"),
    ("adapter.body.", "a T2I-Adapter"),
)

KNOWN = (
    "known are Stable Diffusion 1.x, 2.x and XL (base, refiner and inpainting), their UNets and autoencoders, and "
    "ControlNets of them"
)


def unknown_architecture(names: Collection[str]) -> str | None:
    """What tells that a file is of another architecture, in words; None when nothing does."""
    ordered = sorted(names)
    for mark, architecture in _TELL_TALES:
        found = next((name for name in ordered if mark in name), None)
        if found is not None:
            return f"{shown(found)} says that it is {architecture}; {KNOWN}"
    return None


def nothing_known(names: Collection[str]) -> str:
    """What to say of a file without a single part that is known here."""
    return f"of no architecture known here, by its tensors {listed(map(repr, sorted(names)))}; {KNOWN}"
