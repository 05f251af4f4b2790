"""Writes tests/golden/published_paths.json, the modules from which the reference's names can be imported:
python tests/golden/make_published_paths.py

Needs the test extra (diffusers, transformers). Every module of both libraries is walked. A name's paths are the modules
that define it, and the packages around these that export it; the libraries' own top level is left out. The names are
those that `mindone.diffusers` and `mindone.transformers` export and the libraries have, and what stands in ``FURTHER``.
"""

import importlib
import inspect
import json
import pkgutil
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

FURTHER = (
    "AutoencoderKLOutput",
    "AutoencoderTinyOutput",
    "BaseOutput",
    "ConfigMixin",
    "DecoderOutput",
    "DiagonalGaussianDistribution",
    "FromSingleFileMixin",
    "FrozenDict",
    "IPAdapterMixin",
    "IPAdapterScaleCutoffCallback",
    "ImagePipelineOutput",
    "FluxLoraLoaderMixin",
    "KarrasDiffusionSchedulers",
    "LCMSchedulerOutput",
    "LoraLoaderMixin",
    "ModelMixin",
    "MultiPipelineCallbacks",
    "PipelineCallback",
    "PipelineImageInput",
    "SDCFGCutoffCallback",
    "SDXLCFGCutoffCallback",
    "SDXLControlnetCFGCutoffCallback",
    "SD3LoraLoaderMixin",
    "SchedulerMixin",
    "SchedulerOutput",
    "StableDiffusionLoraLoaderMixin",
    "StableDiffusionPipelineOutput",
    "StableDiffusionSafetyChecker",
    "StableDiffusionXLLoraLoaderMixin",
    "StableDiffusionXLPipelineOutput",
    "TCDSchedulerOutput",
    "TextualInversionLoaderMixin",
    "UNet2DConditionOutput",
    "VaeImageProcessor",
    "load_image",
    "make_image_grid",
    "randn_tensor",
)
"""Names that exist here and that the packages do not export at their top level."""


def modules(library: ModuleType, only: str = "") -> list[ModuleType]:
    """The library's modules that can be imported here, without tests, experiments and stand-ins for what is missing."""
    found = []
    for info in pkgutil.walk_packages(library.__path__, f"{library.__name__}.", onerror=lambda name: None):
        path = info.name.partition(".")[2]
        if path.startswith(("experimental", "commands", "utils.dummy", "utils.testing")) or not path.startswith(only):
            continue
        try:
            found.append(importlib.import_module(info.name))
        except Exception:  # needs a library that is not there
            continue
    return found


def paths_of(library: ModuleType, names: set[str], only: str = "") -> dict[str, list[str]]:
    """For each name the modules that it can be imported from, without the library's own name."""
    homes: dict[str, set[str]] = {}
    for module in modules(library, only):
        for name in names & vars(module).keys():
            if defined_in(module, name):
                homes.setdefault(name, set()).add(module.__name__)
    return {name: sorted({p for home in found for p in exporting(home, name)}) for name, found in sorted(homes.items())}


def defined_in(module: ModuleType, name: str) -> bool:
    value: Any = vars(module)[name]
    if inspect.isclass(value) or inspect.isfunction(value):
        return value.__module__ == module.__name__
    return name == "PipelineImageInput" and module.__name__.endswith("image_processor")


def exporting(home: str, name: str) -> list[str]:
    """The module that defines a name, and the packages around it that export it."""
    library, *parts = home.split(".")
    paths = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return [path for path in paths if hasattr(importlib.import_module(f"{library}.{path}"), name)]


def collect() -> dict[str, dict[str, list[str]]]:
    import diffusers
    import transformers

    import mindone.diffusers
    import mindone.transformers

    warnings.simplefilter("ignore")
    names = {name for name in mindone.diffusers.__all__ if hasattr(diffusers, name)}
    clip = {name for name in mindone.transformers.__all__ if hasattr(transformers, name)}
    return {
        "diffusers": paths_of(diffusers, names | set(FURTHER)),
        "transformers": paths_of(transformers, clip, "models.clip"),
    }


if __name__ == "__main__":
    text = json.dumps(collect(), indent=1, sort_keys=True) + "\n"
    Path(__file__).with_name("published_paths.json").write_text(text, encoding="utf-8")
