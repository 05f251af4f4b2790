"""What can be wrong with a request is found here, from small files and before anything is timed."""

import importlib.util
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..loading.config import read_config, read_generation_config
from ..loading.hub import MODEL_INDEX, component_folder, resolve

if TYPE_CHECKING:
    from .plan import Sampler, Table

LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
"""Components that no row loads: blackened images could not be compared."""

REFERENCE_PACKAGES = ("torch", "diffusers", "transformers")


@dataclass(frozen=True)
class Checkpoint:
    """A pipeline's folder and what its configs say about its latents."""

    name: str
    folder: Path
    channels: int
    sample_size: tuple[int, int]
    vae_scale_factor: int
    guidance_scale: float | None
    """What the checkpoint suggests."""

    def image_size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Height and width of the images in pixels: as asked for, or what the network was trained on.

        Raises:
            ValueError: a side is no positive multiple of what a latent stands for.
        """
        factor = self.vae_scale_factor
        size = (height or self.sample_size[0] * factor, width or self.sample_size[1] * factor)
        for name, value in zip(("height", "width"), size):
            if value < 1 or value % factor:
                below = max(value // factor, 1) * factor
                raise ValueError(
                    f"{name} must be a multiple of {factor}, got {value}; the nearest are {below} and {below + factor}"
                )
        return size


@dataclass(frozen=True)
class TinyAutoencoder:
    """A tiny autoencoder's folder and what its config says about its latents."""

    name: str
    folder: Path
    channels: int
    vae_scale_factor: int


def check_reference(sampler: "Sampler | None") -> None:
    """The reference library must be there, and its scheduler must be one that draws no noise of its own."""
    absent = [package for package in REFERENCE_PACKAGES if importlib.util.find_spec(package) is None]
    if absent:
        raise ValueError(
            f"--against diffusers needs {', '.join(absent)}, not installed here: pip install {' '.join(absent)}"
        )
    if sampler and sampler.draws_noise:
        raise ValueError(
            f"--against diffusers compares images, but {sampler.name} draws noise at every step and the two libraries "
            "draw it differently; take a scheduler without noise, such as ddim, pndm, euler or dpm++"
        )


def check_folder(folder: Path) -> None:
    """The report's folder must be one, or be possible to make."""
    if folder.is_file():
        raise FileExistsError(f"the report's folder {folder} is a file; give another name with --output")
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"cannot make the folder {folder}: {existing} is a file; give another with --output")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write the report to {folder}: {existing} is read-only; give another --output")


def check_space(folder: Path, needed: int) -> None:
    """``needed`` bytes must be free where ``folder`` is or will be."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OSError(
            f"no space left for {folder}: it takes up to {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free; "
            "make room, or give a folder on another disk with --output"
        )


def report_bytes(tables: "Collection[Table]") -> int:
    """An upper bound of the report's size: every image in the page and the grid, uncompressed."""
    pixels = sum(len(table.setups) * table.num_images * table.height * table.width for table in tables)
    return 8_000_000 + 3 * pixels * 3


def read_checkpoint(name: str, at: str | Path) -> Checkpoint:
    """Find a checkpoint, fetching it if needed, and read what its latents are like.

    Args:
        name: what the report calls it.
        at: its folder, or its name on the hub.

    Raises:
        FileNotFoundError: there is none of that name, or a part is missing.
        ValueError: a config is broken, or the UNet does not go from text to image.
    """
    folder = resolve(at, needed=_wanted)
    index = read_config(folder, MODEL_INDEX)
    if not _is_component(index.get("unet")) or not _is_component(index.get("vae")):
        raise ValueError(f"{name} is no Stable Diffusion checkpoint: its {MODEL_INDEX} names no unet and vae")
    unet = read_config(component_folder(folder, "unet"))
    vae = read_config(component_folder(folder, "vae"))
    channels, latent_channels = int(unet.get("in_channels", 4)), int(vae.get("latent_channels", 4))
    if channels != latent_channels:
        raise ValueError(
            f"{name}: its UNet takes {channels} channels and its autoencoder has {latent_channels}; text-to-image "
            "needs equal numbers (9 is an inpainting model)"
        )
    size = unet.get("sample_size") or 64
    rows, columns = size if isinstance(size, (list, tuple)) else (size, size)
    scale = 2 ** (len(vae.get("block_out_channels", [0])) - 1)
    if vae.get("_class_name") == "AutoencoderTiny":
        scale = _tiny_scale(vae)
    guidance_scale = read_generation_config(folder).get("guidance_scale")
    return Checkpoint(name, folder, channels, (int(rows), int(columns)), scale, guidance_scale)


def read_tiny_autoencoder(name: str, at: str | Path) -> TinyAutoencoder:
    """Find a tiny autoencoder, fetching it if needed, and read what its latents are like."""
    folder = resolve(at)
    config = read_config(folder)
    kind = config.get("_class_name")
    if kind != "AutoencoderTiny":
        raise ValueError(f"--tiny-vae must be an AutoencoderTiny such as madebyollin/taesd; {name} is {kind or 'none'}")
    return TinyAutoencoder(name, folder, int(config.get("latent_channels", 4)), _tiny_scale(config))


def check_fit(
    model: Checkpoint, distilled: Checkpoint | None, tiny_vae: TinyAutoencoder | None, *, sized: bool
) -> None:
    """All rows of a table must draw from the same noise; ``sized``: the user has chosen the size of the images."""
    for other in (distilled, tiny_vae):
        if other and other.channels != model.channels:
            raise ValueError(
                f"{other.name} has {other.channels} latent channels and {model.name} has {model.channels}: they cannot "
                "draw from the same noise; give checkpoints of one family"
            )
        if other and other.vae_scale_factor != model.vae_scale_factor:
            raise ValueError(
                f"a latent of {other.name} stands for {other.vae_scale_factor} pixels a side, one of {model.name} for "
                f"{model.vae_scale_factor}: their images would differ in size; give checkpoints of one family"
            )
    if distilled and distilled.sample_size != model.sample_size and not sized:
        ours, theirs = ("×".join(map(str, each.image_size(None, None)[::-1])) for each in (model, distilled))
        raise ValueError(
            f"{model.name} draws {ours} pixels and {distilled.name} {theirs}; choose one size with --height and --width"
        )


def _wanted(index: dict[str, Any]) -> list[str]:
    return [name for name, entry in index.items() if name not in LEFT_OUT and _is_component(entry)]


def _is_component(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str)


def _tiny_scale(config: dict[str, Any]) -> int:
    return int(config.get("upsampling_scaling_factor", 2)) ** (
        len(config.get("decoder_block_out_channels", [64] * 4)) - 1
    )
