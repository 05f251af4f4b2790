"""A model's own defaults for fields that a job leaves unset, read from its configs without loading it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..families.family import IMAGE, MASK, TEXT
from ..families.files import open_single_file
from ..families.registry import family_of, load
from ..loading.config import CONFIG_NAME, read_config, read_generation_config
from ..loading.hub import MODEL_INDEX, Source, component_folder
from ..loading.hub_files import FileSource
from ..loading.weights import names_file
from ..schedulers.short_names import suited
from ..utils.decoder_memory import stage_channels
from .checks import Outline
from .job import PipelineKey

if TYPE_CHECKING:
    from ..families.family import Family
    from ..pipelines.published import PublishedPipeline

EXAMPLES = "examples.txt"
"""A file in the model's folder, like ``words.txt``: prompts that suit it well, one per line."""
SCHEDULER_CONFIG_NAME = "scheduler_config.json"
_LONGEST_EXAMPLES = 10_000
_MOST_EXAMPLES = 12


@dataclass(frozen=True)
class OwnValues:
    """A model's defaults, and the tasks that it supports."""

    steps: int
    guidance_scale: float
    width: int
    """In pixels: the training size, as for ``height``."""
    height: int
    multiple: int
    """Image sides must be multiples of this."""
    tasks: tuple[str, ...]
    """The tasks of `families.family` that it supports: ``text-to-image``, ``inpainting`` and so on."""
    takes_loras: bool
    takes_controlnets: bool
    takes_negative_prompts: bool
    """Whether its guidance leads away from a negative prompt; if it is built in, none has an effect."""
    schedulers: tuple[str, ...]
    """The short names of the schedulers that can sample it."""
    examples: tuple[str, ...] = ()
    """Prompts that suit it well; empty if it lists none."""


def own_values(key: PipelineKey) -> OwnValues | None:
    """The defaults of a key's model; None if nothing on this machine gives them.

    Such is a hub model that is not downloaded yet, or one that cannot load. This downloads nothing and reads only the
    headers of weights.
    """
    try:
        return _of_file(key) if names_file(key.model) else _of_folder(key)
    except (OSError, ValueError):  # loading reports what is wrong
        return None


def _of_folder(key: PipelineKey) -> OwnValues | None:
    root = Source(key.model, key.revision, local_files_only=True).configs()
    name = str(read_config(root, MODEL_INDEX).get("_class_name"))
    family = family_of(name)
    if family is None:
        return None
    denoiser, vae = (read_config(component_folder(root, part), CONFIG_NAME) for part in (family.denoiser, "vae"))
    scheduler = read_config(component_folder(root, "scheduler"), SCHEDULER_CONFIG_NAME)
    return _values(family, denoiser, vae, scheduler, root)


def _of_file(key: PipelineKey) -> OwnValues | None:
    file = FileSource(key.model, local_files_only=True).only_file()
    given = None if key.config is None else Source(key.config, local_files_only=True).configs()
    single = open_single_file(file, config=given)
    family = family_of(single.pipeline_of_denoiser)
    if family is None or "vae" not in single.components:
        return None
    parts = single.components
    denoiser, vae = parts[family.denoiser].config, parts["vae"].config
    return _values(family, denoiser, vae, single.scheduler, single.config_folder)


def _values(
    family: Family,
    denoiser: Mapping[str, object],
    vae: Mapping[str, object],
    scheduler: Mapping[str, object],
    folder: Path | None,
) -> OwnValues | None:
    """From the components' configs, and the folder with the checkpoint's suggestions, if any."""
    outline = Outline.of(family, denoiser, len(stage_channels(vae)), vae)
    if outline is None:
        return None
    suggested = {} if folder is None else read_generation_config(folder)
    steps = suggested.get("num_inference_steps", family.defaults.steps) or _signature_steps(family)
    scale = suggested.get("guidance_scale", family.defaults.guidance_scale)
    return OwnValues(
        steps=int(steps),
        guidance_scale=float(scale),
        width=outline.trained[1],
        height=outline.trained[0],
        multiple=outline.factor,
        tasks=tuple(task for task in (TEXT, IMAGE, MASK) if task in family.tasks),
        takes_loras=family.lora is not None,
        takes_controlnets=family.controlnets is not None,
        takes_negative_prompts=_pipeline(family).takes_negative_prompts and not family.has_built_in_guidance(denoiser),
        schedulers=tuple(suited(scheduler, family.noise_levels)),
        examples=() if folder is None else _examples(folder),
    )


def _signature_steps(family: Family) -> int:
    """The default in the signature of the family's call."""
    call = _pipeline(family).__call__
    return int(inspect.signature(call).parameters["num_inference_steps"].default)


def _pipeline(family: Family) -> type[PublishedPipeline]:
    kind: type[PublishedPipeline] = load(family.tasks[TEXT])
    return kind


def _examples(folder: Path) -> tuple[str, ...]:
    try:
        path = component_folder(folder, "tokenizer").parent / EXAMPLES  # a distilled model shares those of its teacher
        with path.open(encoding="utf-8") as file:
            lines = file.read(_LONGEST_EXAMPLES).splitlines()
    except OSError:
        return ()
    return tuple(line.strip() for line in lines if line.strip())[:_MOST_EXAMPLES]
