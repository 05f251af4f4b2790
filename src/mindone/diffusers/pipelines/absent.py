"""Parts of the published pipeline API that are not here, each with the reason or the replacement."""

from collections.abc import Mapping
from typing import Any

LOADING: Mapping[str, str] = {
    "torch_dtype": "use mindspore_dtype=ms.float16 (or a string)",
    "device_map": "all networks run on the process's device; choose it with ms.set_context(device_target=…)",
    "max_memory": "weights are mapped from disk; see enable_model_cpu_offload, and Int8Config for smaller weights",
    "custom_pipeline": "code from a hub is not run; subclass a pipeline",
    "custom_revision": "code from a hub is not run; subclass a pipeline",
    "trust_remote_code": "code from a hub is not run; subclass a pipeline",
    "enable_pag": "perturbed-attention guidance is not here",
    "pag_applied_layers": "perturbed-attention guidance is not here",
    "from_flax": "weights are read from safetensors files",
    "use_onnx": "weights are read from safetensors files",
    "dduf_file": "DDUF archives are not read; load a folder or a single file",
    "provider": "choose an engine: engine='openvino' or 'mindspore'",
}
"""Arguments of ``from_pretrained``."""

_OFFLOAD = "weights are mapped from disk until they are needed; enable_model_cpu_offload() holds one network at a time"
_TORCH = "it is PyTorch's; MindSpore or OpenVINO already compile and fuse the networks"
METHODS: Mapping[str, str] = {
    "enable_sequential_cpu_offload": _OFFLOAD,
    "enable_group_offload": _OFFLOAD,
    "hf_device_map": _OFFLOAD,
    "reset_device_map": _OFFLOAD,
    "maybe_free_model_hooks": _OFFLOAD,
    "remove_all_hooks": _OFFLOAD,
    "fuse_qkv_projections": _TORCH,
    "unfuse_qkv_projections": _TORCH,
    "set_attn_processor": _TORCH,
    "save_lora_weights": "networks are not trained here; keep the LoRA's own file",
    "set_pag_applied_layers": "perturbed-attention guidance is not here",
    "from_config": "a pipeline is made of components: its constructor, from_pretrained or from_pipe",
    "check_inputs": "a call checks its arguments itself, before any network runs",
}
"""Methods and attributes of pipelines."""


CALLS: Mapping[str, str] = {
    "pag_scale": "perturbed-attention guidance is not here",
    "pag_adaptive_scale": "perturbed-attention guidance is not here",
    "num_images": "it is num_images_per_prompt",
    "seed": "pass generator=np.random.default_rng(seed)",
    "negative_prompts": "it is negative_prompt",
    "init_image": "it is image",
}
"""Arguments of calls."""


def take_meaningless(keywords: dict[str, Any]) -> dict[str, Any]:
    """The arguments of ``from_pretrained`` without those that have no effect here.

    These are ``low_cpu_mem_usage``, always on since weights are mapped, and ``add_watermarker`` if it asks for none.

    Raises:
        ValueError: ``add_watermarker`` asks for a watermark.
    """
    if keywords.get("add_watermarker"):
        raise ValueError("add_watermarker must be False or left out: this library adds no watermarks")
    return {name: value for name, value in keywords.items() if name not in ("low_cpu_mem_usage", "add_watermarker")}
