"""Where the hub ids of the documentation and of the examples lead: to tiny checkpoints."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

import tiny_flux
import tiny_gguf
import tiny_pixart
import tiny_sana
from editing_cases import DEPTH, EDIT, FOLDERS
from image_pipelines import controlnet_folder
from lora_cases import kohya, layers, stored
from mindone.diffusers.families.flux.family import FLUX
from mindone.diffusers.loading.safetensors import save_file
from tiny_pipelines import PUBLISHED, checkpoint, hub_cache, tiny_autoencoder_folder

ROOT = Path(__file__).parent.parent
"""The folder of the project."""


@contextlib.contextmanager
def documented_hub(folder: Path) -> Iterator[None]:
    """A hub cache in ``folder`` with a repository for each hub id, and no other hub.

    FLUX.1 draws 128×128 pixels, as no config says its size and a sixty-fourth shows as well that a snippet runs.
    """
    lora = _lora(folder / "lora")
    adapters = {
        "lllyasviel/sd-controlnet-canny": lambda: controlnet_folder("sd1"),
        "timbrooks/instruct-pix2pix": FOLDERS[EDIT],
        "sd2-community/stable-diffusion-2-depth": FOLDERS[DEPTH],
        "latent-consistency/lcm-lora-sdv1-5": lambda: lora,
        "stabilityai/stable-diffusion-3.5-medium": tiny_gguf.folder,
        "city96/stable-diffusion-3.5-medium-gguf": tiny_gguf.repository,
        "black-forest-labs/FLUX.1-schnell": tiny_flux.checkpoint,
        "black-forest-labs/FLUX.1-dev": tiny_flux.dev_checkpoint,
        **dict.fromkeys(
            (
                "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
                "PixArt-alpha/PixArt-Sigma-XL-2-512-MS",
                "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers",
            ),
            lambda: tiny_pixart.checkpoint("pixart-sigma"),
        ),
        "Efficient-Large-Model/Sana_600M_1024px_diffusers": lambda: tiny_sana.checkpoint("sana"),
        "Efficient-Large-Model/Sana_Sprint_0.6B_1024px_diffusers": lambda: tiny_sana.checkpoint("sana-sprint"),
    }
    cache = folder / "cache"
    hub_cache(cache, {**PUBLISHED, **adapters})
    for weights in (cache / "models--stable-diffusion-v1-5--stable-diffusion-v1-5").rglob("*.safetensors"):
        shutil.copy(weights, weights.with_suffix(".fp16.safetensors"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        patch.setitem(vars(FLUX.latents), "side", 128)
        yield


def tiny_bundled(folder: Path) -> Path:
    """Fill ``folder`` with tiny checkpoints that have the names of the bundled ones."""
    (folder / "icons").symlink_to(checkpoint("sd1"))
    (folder / "icons-distilled").symlink_to(checkpoint("bk_sdm"))
    (folder / "icons-tiny-vae").symlink_to(tiny_autoencoder_folder())
    _lora(folder / "icons-lcm-lora")
    return folder


def _lora(folder: Path) -> Path:
    folder.mkdir()
    tensors = kohya("sd1", {"unet": layers("sd1", "unet", (".to_q", ".to_v"))})
    save_file(stored(tensors), folder / "pytorch_lora_weights.safetensors")
    return folder
