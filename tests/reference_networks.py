"""The reference library's outputs for `network_cases`: Hugging Face diffusers and transformers, in float32."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderTiny,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtTransformer2DModel,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import load_file
from torch import nn
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
        FluxTransformer2DModel,
        PixArtTransformer2DModel,
        SanaTransformer2DModel,
        SD3Transformer2DModel,
        StableDiffusionSafetyChecker,
        UNet2DConditionModel,
    )
}


def load(case: Case, folder: Path):
    """The reference's network from a checkpoint folder."""
    if "encoder_stem_channels" in case.config:
        return _deep_tiny_autoencoder(case.config, folder)
    return REFERENCES[case.cls.__name__].from_pretrained(folder, low_cpu_mem_usage=False).eval()


def _deep_tiny_autoencoder(config: dict, folder: Path) -> AutoencoderTiny:
    """The reference's tiny autoencoder with the layers of TAESANA, which its own config cannot ask for."""

    def convolution(ins, outs, **more):
        return nn.Conv2d(ins, outs, 3, padding=1, **more)

    def blocks(width, count):
        return [AutoencoderTinyBlock(width, width, "relu") for _ in range(count)]

    network, latent = AutoencoderTiny(latent_channels=config["latent_channels"]), config["latent_channels"]
    strided = [3, *config["encoder_stem_channels"], config["encoder_block_out_channels"][0]]
    encoder = [layer for pair in pairwise(strided) for layer in (convolution(*pair, stride=2), nn.ReLU())]
    widths, depths = config["encoder_block_out_channels"], config["num_encoder_blocks"]
    for i, (width, depth) in enumerate(zip(widths, depths)):
        encoder += [convolution(widths[i - 1], width, stride=2, bias=False)] if i else []
        encoder += blocks(width, depth)
    widths, depths = config["decoder_block_out_channels"], config["num_decoder_blocks"]
    decoder = [convolution(latent, widths[0]), nn.ReLU()]
    for (width, after), depth in zip(pairwise([*widths, 3]), depths):
        decoder += blocks(width, depth)
        decoder += [] if after == 3 else [nn.Upsample(scale_factor=2)]
        decoder += [convolution(width, after, bias=after == 3)]
    network.encoder.layers = nn.Sequential(*encoder, convolution(config["encoder_block_out_channels"][-1], latent))
    network.decoder.layers = nn.Sequential(*decoder)
    network.load_state_dict(load_file(folder / "diffusion_pytorch_model.safetensors"))
    network.register_to_config(**config)
    return network.eval()


@torch.no_grad()
def run(case: Case, network) -> list[np.ndarray]:
    """The outputs that ours must match, in our order."""
    x = {name: torch.from_numpy(value) for name, value in case.inputs.items()}
    name = case.cls.__name__
    if name == "UNet2DConditionModel":
        added = {key: x.pop(key) for key in ("text_embeds", "time_ids") if key in x}
        outputs = [network(**x, added_cond_kwargs=added or None).sample]
    elif name in ("SanaTransformer2DModel", "SD3Transformer2DModel"):
        outputs = [network(**x, **case.constants).sample]
    elif name == "FluxTransformer2DModel":
        outputs = [_flux(network, **x)]
    elif name == "PixArtTransformer2DModel":
        added = {key: x.pop(key) for key in ("resolution", "aspect_ratio") if key in x}
        outputs = [network(**x, added_cond_kwargs=added or None).sample]
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


def _flux(network, hidden_states, timestep, guidance=None, **texts):
    """FLUX.1's transformer for latents as pictures, which its pipelines pack; times and scales are thousandths."""
    height, width = hidden_states.shape[2:]
    latents = FluxPipeline._pack_latents(hidden_states, *hidden_states.shape)
    places = FluxPipeline._prepare_latent_image_ids(1, height // 2, width // 2, "cpu", torch.float32)
    velocity = network(
        latents,
        **texts,
        timestep=timestep / 1000,
        guidance=None if guidance is None else guidance / 1000,
        img_ids=places,
        txt_ids=torch.zeros(texts["encoder_hidden_states"].shape[1], 3),
    ).sample
    return FluxPipeline._unpack_latents(velocity, height, width, 1)
