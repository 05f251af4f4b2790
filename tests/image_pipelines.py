"""Pipelines that take pictures, ours and the reference's, on tiny checkpoints and with the same noise."""

import contextlib
import functools
import json
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import safetensors.numpy
from PIL import Image, ImageDraw

import checkpoints
import tiny_pipelines
from mindone import diffusers as ours
from tiny_pipelines import PROMPT, checkpoint

SEED = 11


def photo(width: int = 64, height: int = 64, seed: int = 0) -> Image.Image:
    """A picture with smooth colours and sharp edges."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    ImageDraw.Draw(coarse).ellipse((width // 4, height // 4, width // 2, height // 2), fill=(250, 30, 60))
    return coarse


def mask(width: int = 64, height: int = 64) -> Image.Image:
    """White in the lower middle."""
    picture = Image.new("L", (width, height), 0)
    ImageDraw.Draw(picture).rectangle((width // 4, height // 2, 3 * width // 4, 7 * height // 8), fill=255)
    return picture


def generators(count: int) -> list[np.random.Generator]:
    """One per image."""
    return [np.random.Generator(np.random.PCG64(SEED + i)) for i in range(count)]


@functools.cache
def inpainting_checkpoint(family: str) -> Path:
    """A family's tiny checkpoint with a network of nine input channels."""
    folder = checkpoint(family).with_name(f"{family}-inpainting")
    shutil.copytree(checkpoint(family), folder)
    config = {**checkpoints.UNETS[family], "in_channels": 9}
    checkpoints.write_model(ours.UNet2DConditionModel, config, folder / "unet")
    return folder


@functools.cache
def beside_checkpoint(family: str, pipeline: str, channels: int) -> Path:
    """A family's tiny checkpoint for a pipeline whose network takes so many channels."""
    folder = checkpoint(family).with_name(f"{family}-{pipeline}")
    shutil.copytree(checkpoint(family), folder)
    config = {**checkpoints.UNETS[family], "in_channels": channels}
    checkpoints.write_model(ours.UNet2DConditionModel, config, folder / "unet")
    index = json.loads((folder / "model_index.json").read_text()) | {"_class_name": pipeline}
    if "Depth2Img" in pipeline:
        index |= {"depth_estimator": ["transformers", "DPTForDepthEstimation"]}
        index |= {"feature_extractor": ["transformers", "DPTFeatureExtractor"]}
        del index["safety_checker"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@functools.cache
def refiner_checkpoint() -> Path:
    """A tiny refiner: one text encoder, and an aesthetic score among what the network is told."""
    folder = checkpoint("sdxl").with_name("refiner")
    shutil.copytree(checkpoint("sdxl"), folder)
    channels = checkpoints.TEXTS["projection"]["hidden_size"]
    config = {
        **checkpoints.UNETS["sdxl"],
        "cross_attention_dim": channels,
        "projection_class_embeddings_input_dim": 8 * 5 + 12,
    }
    checkpoints.write_model(ours.UNet2DConditionModel, config, folder / "unet")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {
        "_class_name": "StableDiffusionXLImg2ImgPipeline",
        "text_encoder": [None, None],
        "tokenizer": [None, None],
        "requires_aesthetics_score": True,
        "force_zeros_for_empty_prompt": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@functools.cache
def controlnet_folder(family: str, number: int = 0, order: str = "rgb") -> Path:
    """A tiny ControlNet for a family; numbers differ in their weights."""
    encoder = (
        "in_channels",
        "down_block_types",
        "block_out_channels",
        "layers_per_block",
        "attention_head_dim",
        "cross_attention_dim",
        "norm_num_groups",
        "use_linear_projection",
        "transformer_layers_per_block",
        "addition_embed_type",
        "addition_time_embed_dim",
        "projection_class_embeddings_input_dim",
    )
    config = {name: value for name, value in checkpoints.UNETS[family].items() if name in encoder}
    config |= {"_class_name": "ControlNetModel", "conditioning_embedding_out_channels": [4, 8, 8, 16]}
    config |= {"controlnet_conditioning_channel_order": order}
    folder = checkpoint(family).with_name(f"{family}-controlnet-{number}-{order}")
    checkpoints.write_model(ours.ControlNetModel, config, folder)
    if number:
        path = folder / "diffusion_pytorch_model.safetensors"
        tensors = {name: np.roll(x, number, axis=0) for name, x in safetensors.numpy.load_file(path).items()}
        safetensors.numpy.save_file(tensors, path)
    return folder


def controlnets(family: str, count: int = 1, order: str = "rgb", theirs: bool = False):
    """One ControlNet, or a list of several."""
    cls = ours.ControlNetModel
    if theirs:
        import diffusers

        cls = diffusers.ControlNetModel
    nets = [cls.from_pretrained(controlnet_folder(family, i, order)) for i in range(count)]
    return nets[0] if count == 1 else nets


def load(name: str, folder: Path, **options):
    """Our pipeline of a class, on OpenVINO unless an engine is named."""
    pipe = getattr(ours, name).from_pretrained(folder, **{"engine": "openvino", **options})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def reference(name: str, folder: Path, **components):
    """The reference's pipeline of a class."""
    import diffusers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    pipe = getattr(diffusers, name).from_pretrained(folder, low_cpu_mem_usage=False, **components)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextlib.contextmanager
def numpy_noise():
    """Let the reference draw from the NumPy generators that it is called with."""
    import torch
    from diffusers.utils import torch_utils

    def randn_tensor(shape, generator=None, device=None, dtype=torch.float32, layout=None):
        if isinstance(generator, list):
            values = np.stack([one.standard_normal(shape[1:]) for one in generator])
        else:
            values = generator.standard_normal(shape)
        return torch.from_numpy(values).to(dtype)

    holders = [m for n, m in list(sys.modules.items()) if n.startswith("diffusers.") and "randn_tensor" in vars(m)]
    with contextlib.ExitStack() as stack:
        for holder in [torch_utils, *holders]:
            stack.enter_context(mock.patch.object(holder, "randn_tensor", randn_tensor))
        yield


def draw(pipe, **arguments) -> np.ndarray:
    """Images or latents of either pipeline, as an array."""
    count = (len(arguments["prompt"]) if isinstance(arguments.get("prompt"), list) else 1) * arguments.get(
        "num_images_per_prompt", 1
    )
    arguments = {"prompt": PROMPT, "num_inference_steps": 4, "output_type": "np", **arguments}
    arguments.setdefault("generator", generators(count))
    if "timesteps" in arguments or "sigmas" in arguments:
        del arguments["num_inference_steps"]
    theirs = type(pipe).__module__.startswith("diffusers.")
    if not theirs:
        images = pipe(**arguments).images
    else:
        import torch

        tensors = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
        with numpy_noise():
            images = pipe(**tensors).images
    return np.stack([np.asarray(image) for image in images]) if isinstance(images, list) else np.asarray(images)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The mean difference of pixels in [0, 1]."""
    assert a.shape == b.shape
    scale = 255.0 if a.dtype == np.uint8 else 1.0
    return float(np.abs(a.astype(np.float64) - b).mean() / scale)


tiny_autoencoder_folder = tiny_pipelines.tiny_autoencoder_folder
