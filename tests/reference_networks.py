"""The reference library's outputs for `network_cases`: Hugging Face diffusers and transformers, in float32."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC, AutoencoderKL, AutoencoderTiny, SanaTransformer2DModel, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from network_cases import Case

REFERENCES = {
    cls.__name__: cls
    for cls in (
        AutoencoderDC,
        AutoencoderKL,
        AutoencoderTiny,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        SanaTransformer2DModel,
        StableDiffusionSafetyChecker,
        UNet2DConditionModel,
    )
}


def load(case: Case, folder: Path):
    """The reference's network from a checkpoint folder."""
    return REFERENCES[case.cls.__name__].from_pretrained(folder, low_cpu_mem_usage=False).eval()


@torch.no_grad()
def run(case: Case, network) -> list[np.ndarray]:
    """The outputs that ours must match, in our order."""
    x = {name: torch.from_numpy(value) for name, value in case.inputs.items()}
    name = case.cls.__name__
    if name == "UNet2DConditionModel":
        added = {key: x.pop(key) for key in ("text_embeds", "time_ids") if key in x}
        outputs = [network(**x, added_cond_kwargs=added or None).sample]
    elif name == "SanaTransformer2DModel":
        outputs = [network(**x).sample]
    elif name.startswith("CLIPText"):
        result = network(x["input_ids"].long())
        outputs = [result.last_hidden_state, result.text_embeds if "Projection" in name else result.pooler_output]
    elif name == "StableDiffusionSafetyChecker":
        outputs = [network.visual_projection(network.vision_model(x["pixel_values"])[1])]
    elif case.method == "decode_latents":
        outputs = [network.decode(x["latents"]).sample]
    elif case.method == "encode_moments":
        outputs = [network.encode(x["image"]).latent_dist.parameters]
    elif name == "AutoencoderDC":
        outputs = [network.encode(x["image"]).latent]
    else:
        outputs = [network.encode(x["image"]).latents]
    return [output.numpy() for output in outputs]
