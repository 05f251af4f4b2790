"""Tiny checkpoints as single files in the original layout, and the shapes of the published networks."""

import functools

import numpy as np

from mindone.diffusers import UNet2DConditionModel
from mindone.diffusers.loading.safetensors import StoredTensor
from mindone.diffusers.loading.single_file import SingleFile, open_single_file
from mindone.diffusers.models.base import Model

SD1 = {
    "sample_size": 64,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "in_channels": 4,
    "out_channels": 4,
}
SD2 = {**SD1, "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
XL = {
    **SD1,
    "sample_size": 128,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
XL_REFINER = {
    **XL,
    "block_out_channels": [384, 768, 1536, 1536],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": 4,
    "attention_head_dim": [6, 12, 24, 24],
    "cross_attention_dim": 1280,
    "projection_class_embeddings_input_dim": 2560,
}
BK_SDM_TINY = {
    **SD1,
    "block_out_channels": [320, 640, 1280],
    "layers_per_block": 1,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3,
    "up_block_types": ["CrossAttnUpBlock2D"] * 3,
    "mid_block_type": None,
}
SSD_1B = {
    **XL,
    "transformer_layers_per_block": [1, 2, 4],
    "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
    "mid_block_type": "UNetMidBlock2D",
}
"""Its own config says [2, 2] and [4, 4] for 2 and 4, Vega's likewise."""
VEGA = {
    **XL,
    "transformer_layers_per_block": [1, 1, 2],
    "reverse_transformer_layers_per_block": [[2, 2, 5], 1, 1],
    "mid_block_type": "UNetMidBlock2D",
}
PUBLISHED = {
    "sd1": SD1,
    "sd1-inpainting": {**SD1, "in_channels": 9},
    "sd2": SD2,
    "xl": XL,
    "xl-refiner": XL_REFINER,
    "ssd-1b": SSD_1B,
    "vega": VEGA,
    "bk-sdm-base": {**SD1, "layers_per_block": 1},
    "bk-sdm-small": {**SD1, "layers_per_block": 1, "mid_block_type": None},
    "bk-sdm-tiny": BK_SDM_TINY,
}
"""The published configs of UNets, as far as they differ from the defaults."""


@functools.cache
def shapes_only(name: str) -> dict[str, StoredTensor]:
    """The tensors of a published UNet without their bytes: what names and shapes tell."""
    return without_bytes(UNet2DConditionModel(**PUBLISHED[name]))


def without_bytes(network: Model) -> dict[str, StoredTensor]:
    """A network's parameters as tensors that have a shape and nothing else."""
    nothing = np.empty(0, np.uint8)
    return {name: StoredTensor("F16", tuple(p.shape), nothing) for name, p in network.parameters_and_names()}


def equal(a: StoredTensor, b: StoredTensor) -> bool:
    """Whether two tensors have the same type, shape and bytes."""
    return (a.dtype, a.shape) == (b.dtype, b.shape) and a.data.tobytes() == b.data.tobytes()


def opened(path, **options) -> SingleFile:
    """What a single file in the layout of any family holds."""
    return open_single_file(path, **options)
