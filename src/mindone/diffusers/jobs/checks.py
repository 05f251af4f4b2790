"""Finds a job's errors from names, configs and the machine, before an engine is imported."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..families.family import IMAGE, MASK
from ..families.files import open_single_file
from ..families.registry import family_of
from ..loading.config import CONFIG_NAME, read_config
from ..loading.fields import listed
from ..loading.hub import MODEL_INDEX, Source, component_folder
from ..loading.hub_files import FileSource
from ..loading.weights import names_file
from ..loading.words import hint, known_words
from ..schedulers.levels import FLOW
from ..utils.decoder_memory import check_memory, stage_channels, widest
from ..utils.printable import shown
from ..utils.sizes import check_sides
from .job import Job, PipelineKey
from .loras import WeighedLora

if TYPE_CHECKING:
    from ..families.family import Family as Family  # what `family_here` returns, for those above
    from ..pipelines.parts import Parts
    from .pictures import Pictures

_ABOVE_TRAINED = 1.5
"""How many times the training size a side may have before the network repeats itself."""
_SLOW = 16
"""From how many times the training size's pixels on a warning tells the time as well: seconds become minutes."""


@dataclass(frozen=True)
class Outline:
    """What a checkpoint's configs say about sizes."""

    factor: int
    """Pixels per token of the denoiser, along each side; image sides are multiples of it."""
    trained: tuple[int, int]
    """Height and width in pixels that the network was trained on."""
    channels: int
    """Channels of the decoder's largest feature maps, those of the image's size."""

    @classmethod
    def of(
        cls, family: Family, own: Mapping[str, object], stages: int, decoder: Mapping[str, object]
    ) -> Outline | None:
        """From the configs of the denoiser, of its own autoencoder and of the decoder in use; None without stages."""
        if not stages:
            return None
        pixels = 2 ** (stages - 1)
        rows, columns = family.latents.trained(own)
        return cls(pixels * family.latents.patch, (rows * pixels, columns * pixels), widest(decoder))

    def final_size(self, job: Job, pictures: Pictures | None) -> tuple[int, int]:
        """Height and width of the job's images."""
        height, width = job.height, job.width
        if pictures is not None:
            height, width = pictures.size(height, width, self.factor)
        height, width = height or self.trained[0], width or self.trained[1]
        times = job.upscale or 1
        return round(height * times), round(width * times)


def check_ahead(job: Job, pictures: Pictures | None = None) -> None:
    """Check what the job names, its size, and whether the machine has the memory for it.

    Models that have to be downloaded, and single files, are checked when loaded.

    Raises:
        FileNotFoundError: no such model, LoRA, ControlNet or autoencoder.
        ValueError: a size that the model cannot generate, or that needs more memory than there is.
    """
    check_key(job)
    root = _folder_of(job)
    family = None if root is None else _family_in(root)
    if family is not None:
        check_supported(job, family)
    outline = None if root is None else _outline(root, job.tiny_vae)
    if outline is None:
        return
    for name, side in (("height", job.height), ("width", job.width)):
        if side is not None:
            check_sides({name: side}, outline.factor)
    check_memory(outline.channels, outline.final_size(job, pictures), job.num_images, job.dtype)


def check_key(key: PipelineKey) -> None:
    """Check that a pipeline's sources are on this machine, or may be on the hub; raises as `check_names`."""
    check_names("model", key.model)
    check_names("config", key.config)
    check_names("tiny_vae", key.tiny_vae)
    check_names("gguf", key.gguf)
    check_names("lora", *(WeighedLora.parse(text).path for text in key.lora))
    check_names("controlnet", *key.controlnet)
    root = _folder_of(key) if key.without else None
    family = None if root is None else _family_in(root)
    for name in key.without:
        if family is not None and name not in family.optional:
            can = f"it can do without {listed(family.optional)}" if family.optional else "it needs all that it has"
            raise ValueError(f"without: {family.title} has no {shown(name)} that may be left out; {can}")


def most_clip_skip(key: PipelineKey) -> int | None:
    """How many of its text encoders' last layers a model can skip; None if no config on this machine says so."""
    root = _folder_of(key)
    if root is None:
        return None
    family, layers = _family_in(root), []
    for name in () if family is None else family.text_encoders:
        with contextlib.suppress(OSError, ValueError):  # no such encoder, or loading explains the error
            layers.append(read_config(component_folder(root, name), CONFIG_NAME).get("num_hidden_layers"))
    known = [count for count in layers if isinstance(count, int)]
    return min(known) - family.skipped_layers if family is not None and known else None


def unknown_words(job: Job) -> str | None:
    """A hint if a model lists the words it knows and the prompt has none of them; otherwise None."""
    root = _folder_of(job)
    return None if root is None else hint(job.model, job.prompt, known_words(root))


def family_here(key: PipelineKey) -> Family | None:
    """A model's family; None if neither a config on this machine says so nor the model's one file."""
    root = _folder_of(key)
    if root is not None:
        return _family_in(root)
    with contextlib.suppress(OSError, ValueError):
        if names_file(key.model):
            config = None if key.config is None else Source(key.config, local_files_only=True).configs()
            file = FileSource(key.model, local_files_only=True).only_file()
            return _family_of_file(file, config, file.stat().st_mtime_ns)
    return None


def is_flow(family: Family | None) -> bool:
    """Whether all denoisers of a family are trained on flow matching; False if it is not known."""
    return family is not None and tuple(family.noise_levels) == (FLOW,)


def unsupported(job: Job, family: Family) -> tuple[str, str] | None:
    """The first field of a job for something that a family does not have, and the reason; None if there is none."""
    if job.true_cfg_scale is not None and not family.true_guidance:
        return "true_cfg_scale", f"{family.title} has no guidance beside the usual scale"
    for field, task in (("mask", MASK), ("image", IMAGE), ("upscale", IMAGE)):
        if getattr(job, field) is not None and task not in family.tasks:
            can_start = IMAGE in family.tasks
            return field, f"{family.title} {'does not inpaint' if can_start else 'generates from text alone'} here"
    return None


def check_supported(job: Job, family: Family) -> None:
    """Raise ``ValueError`` if a job asks for something that a family does not have."""
    if found := unsupported(job, family):
        raise ValueError(refusal(*found))


def refusal(field: str, reason: str) -> str:
    """The sentence about a field that cannot be honoured."""
    return f"{field} does not work with this model: {reason}; leave it out"


@lru_cache(maxsize=64)
def _family_of_file(file: Path, config: Path | None, changed: int) -> Family | None:
    """The family of a file last ``changed`` then. A server asks for each request, and reading takes 20 ms and more."""
    return family_of(open_single_file(file, config=config).pipeline_of_denoiser)


def _folder_of(key: PipelineKey) -> Path | None:
    """The folder of a model's configs on this machine, those of the hub's cache included; None for a file, for a model
    that has to be downloaded, and for one that is nowhere, which loading reports."""
    with contextlib.suppress(OSError, ValueError):
        root = FileSource(key.model).locate()
        if root is None:
            root = Source(key.model, key.revision, local_files_only=True).configs()
        return root if root.is_dir() else None
    return None


def _family_in(root: Path) -> Family | None:
    try:
        return family_of(str(read_config(root, MODEL_INDEX).get("_class_name")))
    except (OSError, ValueError):  # loading reports what is wrong
        return None


def check_names(option: str, *names: str | None) -> None:
    """Check that the named models are on this machine, or may be on the hub, and that a model is a whole pipeline.

    Raises:
        FileNotFoundError: one cannot be on either; the message names the option.
        ValueError: the model is an autoencoder or a LoRA, or the tiny autoencoder a pipeline or a file.
    """
    for name in names:
        if name is None:
            continue
        try:
            found = FileSource(name).locate()
        except FileNotFoundError as error:
            raise FileNotFoundError(str(error).replace("unknown model", f"unknown {option}", 1)) from None
        if option == "model" and found is not None:
            _check_draws(name, found)
        if option == "tiny_vae" and found is not None:
            _check_decodes(name, found)


def _check_draws(name: str, root: Path) -> None:
    """Refuse an autoencoder or a LoRA: each has its own option."""
    if (root / MODEL_INDEX).is_file():
        return
    if (root / "pytorch_lora_weights.safetensors").is_file():
        raise ValueError(f"{name} is a LoRA; use --lora {name}")
    if (root / CONFIG_NAME).is_file() and "Autoencoder" in str(read_config(root, CONFIG_NAME).get("_class_name")):
        raise ValueError(f"{name} is an autoencoder; use --tiny-vae {name}")


def _check_decodes(name: str, root: Path) -> None:
    """Refuse what is no folder of an autoencoder alone."""
    what = "a whole pipeline" if (root / MODEL_INDEX).is_file() else "a file" if root.is_file() else None
    if what is not None:
        raise ValueError(f"{name} is {what}; give an autoencoder's folder or hub id as tiny_vae (--tiny-vae)")


def check_run(view: Parts, job: Job, size: tuple[int | None, int | None], images: int) -> None:
    """`check_memory` for a job on its pipeline; None for a side means the network's own.

    Raises:
        ValueError: it needs more memory than there is.
    """
    outline = _outline_of(view)
    if outline is None:
        return
    height, width = (round((given or own) * (job.upscale or 1)) for given, own in zip(size, outline.trained))
    check_memory(outline.channels, (height, width), images, view.dtype)


def larger_than_trained(view: Parts, job: Job, pictures: Pictures | None) -> str | None:
    """A warning if a job's size is far above the network's training size; otherwise None."""
    outline = _outline_of(view)
    if outline is None or (job.upscale is not None and job.strength is None):
        return None
    size = outline.final_size(job, pictures)
    if all(side <= _ABOVE_TRAINED * most for side, most in zip(size, outline.trained)):
        return None
    own = f"{outline.trained[1]}×{outline.trained[0]}"
    if bins_sizes(view):
        return f"the network generates at most about {own}, and the image is enlarged to {size[1]}×{size[0]}"
    times = size[0] * size[1] / (outline.trained[0] * outline.trained[1])
    slow = f", and each step to take about {times:,.0f} times as long, or longer" if times >= _SLOW else ""
    return f"{size[1]}×{size[0]} is more than the {own} that the network was trained on: expect repetitions{slow}"


def bins_sizes(view: Parts) -> bool:
    """Whether a pipeline generates at a trained size and brings the image to the requested one."""
    return "use_resolution_binning" in inspect.signature(type(view).__call__).parameters


def _outline_of(view: Parts) -> Outline | None:
    return Outline.of(view.family, view.denoiser.config, view.vae_scale_factor.bit_length(), view.vae.config)


def _outline(root: Path, tiny_vae: str | None) -> Outline | None:
    family = _family_in(root)
    if family is None:
        return None
    try:
        denoiser, vae = (read_config(component_folder(root, name), CONFIG_NAME) for name in (family.denoiser, "vae"))
        decoder = vae if tiny_vae is None else _tiny_config(tiny_vae)
        return Outline.of(family, denoiser, len(stage_channels(vae)), decoder)
    except (OSError, ValueError):  # loading reports what is wrong
        return None


def _tiny_config(name: str) -> Mapping[str, object]:
    folder = FileSource(name).locate()
    return {} if folder is None or not os.path.isdir(folder) else read_config(folder, CONFIG_NAME)
