"""The components of a pipeline: the class behind each name in ``model_index.json``, and how to load it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..families import registry
from ..loading.fields import listed
from ..schedulers.registry import LIBRARY
from ..utils.printable import shown

INDEX_NAME = "model_index.json"

_CLASSES: dict[str, tuple[str, str]] = {
    "AutoencoderDC": (".models.autoencoder_dc", "diffusers"),
    "AutoencoderKL": (".models.autoencoder_kl", "diffusers"),
    "AutoencoderTiny": (".models.autoencoder_tiny", "diffusers"),
    "CLIPTextModel": (".models.clip_text", "transformers"),
    "CLIPTextModelWithProjection": (".models.clip_text", "transformers"),
    "CLIPVisionModelWithProjection": (".models.clip_vision", "transformers"),
    "Gemma2Model": (".models.gemma2", "transformers"),
    "CLIPTokenizer": (".loading.tokenizer", "transformers"),
    "GemmaTokenizerFast": (".loading.fast_tokenizer", "transformers"),
    "T5EncoderModel": (".models.t5", "transformers"),
    "T5TokenizerFast": (".loading.t5_tokenizer", "transformers"),
    "CLIPImageProcessor": (".loading.clip_image_processor", "transformers"),
    "StableDiffusionSafetyChecker": (".models.safety_checker", "stable_diffusion"),
    **dict.fromkeys(LIBRARY, (".schedulers", "diffusers")),
}
"""Where each class shared by several families is defined, and its library in ``model_index.json``."""

_SYNONYMS = {
    "CLIPTokenizerFast": "CLIPTokenizer",
    "CLIPFeatureExtractor": "CLIPImageProcessor",
    "CLIPImageProcessorFast": "CLIPImageProcessor",
    "Gemma2ForCausalLM": "Gemma2Model",
    "GemmaTokenizer": "GemmaTokenizerFast",
    "T5Tokenizer": "T5TokenizerFast",
    "Transformer2DModel": "PixArtTransformer2DModel",
}

_ABSENT_SCHEDULER = "AbsentScheduler"
_ABSENT_HOME = (".schedulers.absent", "diffusers")


def _homes() -> dict[str, tuple[str, str]]:
    """`_CLASSES`, plus the classes of single families."""
    own = (each.classes for each in registry.families())
    return {**_CLASSES, **{name: home for classes in own for name, home in classes.items()}}


def known_networks() -> list[str]:
    """The classes of networks, by name."""
    shared = [name for name, (module, _) in _CLASSES.items() if module.startswith(".models.")]
    return sorted({*shared, *(_homes().keys() - _CLASSES.keys())})


def is_known_network(name: str) -> bool:
    """Whether that is the name, or an older name, of a network class here."""
    return _SYNONYMS.get(name, name) in known_networks()


def published_names(component: object) -> list[str | None]:
    """A component's entry in ``model_index.json``: the library and the class under which other programs know it."""
    if component is None:
        return [None, None]
    name = type(component).__name__
    if name == _ABSENT_SCHEDULER:
        return published_class(getattr(component, "class_name", name))
    return published_class(name) if name in _homes() else [type(component).__module__, name]


def published_class(name: str) -> list[str | None]:
    """The entry in ``model_index.json`` for a class of this library, or for a scheduler that is not here."""
    return [_home(_known(name))[1], name]


def _home(name: str) -> tuple[str, str]:
    return _ABSENT_HOME if name == _ABSENT_SCHEDULER else _homes()[name]


def _known(class_name: str) -> str:
    """The class here for a published one; the config of an unsupported scheduler is kept for another to use."""
    class_name = _SYNONYMS.get(class_name, class_name)
    absent = class_name not in _homes() and class_name.endswith("Scheduler") and not _own_scheduler(class_name)
    return _ABSENT_SCHEDULER if absent else class_name


def _own_scheduler(class_name: str) -> type[Any] | None:
    """A program's own scheduler of that name."""
    from ..schedulers.configured import CLASSES  # this imports NumPy, which a list of names does not need

    return None if class_name in LIBRARY else CLASSES.get(class_name)


def component_classes(index: Mapping[str, object], required: Iterable[str], optional: Iterable[str]) -> dict[str, str]:
    """The class of every component to load, under current names; optional ones may be absent.

    Raises:
        ValueError: ``model_index.json`` lacks a required component, or names a class that is not supported.
    """
    optional = tuple(optional)
    classes = {}
    for name in (*required, *optional):
        entry = index.get(name)
        if entry is None or entry == [None, None]:
            if name in optional:
                continue
            raise ValueError(f"{INDEX_NAME} has no {name}; pass one: from_pretrained(…, {name}=…)")
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], str):
            raise ValueError(f"{INDEX_NAME}: {name} must be a library and a class, got {shown(entry)}")
        class_name = _known(entry[1])
        if class_name not in (*_homes(), _ABSENT_SCHEDULER) and not _own_scheduler(class_name):
            raise ValueError(
                f"{INDEX_NAME}: {name} is a {entry[1]:.80}, which is not supported; supported: "
                f"{listed(sorted([*_homes(), *_SYNONYMS]), room=300)}"
            )
        classes[name] = class_name
    return classes


def component_class(name: str) -> type[Any]:
    """The class that a name in ``model_index.json`` stands for."""
    name = _known(name)
    own = _own_scheduler(name)
    return own or registry.load(f"{_home(name)[0]}:{name}")


def load_component(class_name: str, folder: Path, dtype: str, variant: str | None) -> object:
    """Load a component: networks in ``dtype`` from the files of ``variant``, others as stored."""
    cls = component_class(class_name)
    if hasattr(cls, "from_folder"):
        return cls.from_folder(folder, dtype, variant)
    return cls.from_pretrained(folder)
