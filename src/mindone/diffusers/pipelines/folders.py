"""Loads a pipeline from a folder in the published layout, and writes one to a folder."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

from ..acceleration.int8 import Int8Config, quantize_pipeline, require_int8
from ..acceleration.weights import WeightOnlyConfig, quantize_weights
from ..engines import Engine
from ..loading.config import CONFIG_NAME, GENERATION_CONFIG_NAME, read_config, read_generation_config
from ..loading.fields import Flag, read_fields
from ..loading.hub import Source, component_folder, component_variants
from ..loading.save_weights import saving_options
from ..utils.files import make_folder, write_json
from ..utils.nearest import nearest
from ..utils.printable import shown
from .absent import LOADING
from .components import INDEX_NAME, load_component, published_names
from .pipeline import Pipeline

P = TypeVar("P", bound=Pipeline)


def load_folder(
    kind: type[P],
    source: Source,
    dtype: str,
    variant: str | None,
    engine: Engine,
    quantization: Int8Config | WeightOnlyConfig | None,
    given: Mapping[str, Any],
) -> P:
    """The pipeline in a folder; ``given`` holds components to use instead of the folder's, and settings.

    Raises:
        ValueError: a wrong argument, an unknown class, or a broken file.
        FileNotFoundError: a part of the checkpoint is missing.
    """
    if not isinstance(quantization, (Int8Config, WeightOnlyConfig, NoneType)):
        raise ValueError(f"quantization_config must be Int8Config(…) or WeightOnlyConfig(…), got {shown(quantization)}")
    if isinstance(quantization, Int8Config):
        require_int8(engine)  # before anything is downloaded
    index = source.index()
    pipeline, classes = kind.plan(index, given)
    check_keywords(pipeline, given)
    root = source.pipeline(classes, variant)
    generation_config = read_generation_config(root)
    folders = {name: component_folder(root, name) for name in classes}
    variants = component_variants(folders, variant)
    loaded = {}
    for name, class_name in classes.items():
        folder = folders[name]
        config = read_config(folder) if (folder / CONFIG_NAME).is_file() else {}
        loaded[name] = load_component(class_name, folder, pipeline.dtype_of(class_name, config, dtype), variants[name])
    settings = {name: index.get(name, default) for name, default in pipeline.config_defaults.items()}
    read_fields(dict[str, Flag | None], settings, str(root / INDEX_NAME))
    pipe = pipeline(**{**settings, **loaded, **given}, engine=engine)
    pipe.generation_config = generation_config
    if isinstance(quantization, Int8Config):
        quantize_pipeline(pipe, quantization)
    elif quantization is not None:
        quantize_weights(pipe, quantization)
    return pipe


def save_folder(pipe: Pipeline, root: Path, variant: str | None, max_shard_size: int | str | None) -> None:
    """Write a pipeline to a folder, created if missing.

    Raises:
        ValueError: a component cannot be saved.
    """
    for name, component in pipe.components.items():
        if component is not None and not hasattr(component, "save_pretrained"):
            raise ValueError(f"{name} is a {type(component).__name__}, which cannot be saved; set pipe.{name} = None")
    make_folder(root)
    index: dict[str, object] = {"_class_name": type(pipe).__name__, **pipe.own_settings}
    for name, component in pipe.components.items():
        index[name] = published_names(component)
        if component is not None:
            options = saving_options(component.save_pretrained, variant=variant, max_shard_size=max_shard_size)
            component.save_pretrained(root / name, **options)
    write_json(root / INDEX_NAME, index)
    suggestions = root / GENERATION_CONFIG_NAME
    if pipe.generation_config:
        write_json(suggestions, dict(pipe.generation_config))
    else:
        suggestions.unlink(missing_ok=True)  # left by an earlier checkpoint in the same folder


def check_keywords(kind: type[Pipeline], keywords: Mapping[str, object], loader: str = "from_pretrained") -> None:
    """Refuse arguments that a pipeline's loader does not take.

    Raises:
        ValueError: it has no such argument; the message names the nearest one, or the replacement.
    """
    known, parameters = kind.keywords(), inspect.signature(getattr(kind, loader)).parameters
    for name in keywords:
        if name in LOADING:
            raise ValueError(f"{name} is not an argument here; {LOADING[name]}")
        if name not in known:
            options = [each.name for each in parameters.values() if each.kind is each.KEYWORD_ONLY]
            meant = nearest(name, [*options, *known])
            raise ValueError(
                f"{kind.__name__}.{loader} has no argument {name!r}; {meant and f'{meant} '}besides the loading "
                f"options it takes {', '.join(known)}"
            )
