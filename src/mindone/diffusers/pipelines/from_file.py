"""Loads a pipeline from one file in the original layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..families.files import SingleFile
from ..loading.fields import naming
from .components import component_class, published_class
from .pipeline import Pipeline


def index_of(single: SingleFile, given: Mapping[str, Any]) -> dict[str, Any]:
    """The ``model_index.json`` of a folder with the file's components and the ``given`` ones.

    Raises:
        ValueError: they do not make a complete pipeline.
    """
    if not single.has_denoiser:
        raise ValueError(
            f"{single.path} holds only {' and '.join(single.components)}, which is no pipeline; load it with the "
            "component's own class and pass it to a pipeline"
        )
    without = [name for name in single.release.dispensable if name in given and given[name] is None]
    absent = [name for name in single.absent if given.get(name) is None and name not in without]
    if absent:
        held = " and ".join(single.components) + (f" that can be read ({single.unread})" if single.unread else "")
        forms = {name: f"{name}=… or {name}=None" for name in single.release.dispensable}
        needed = ", ".join(forms.get(name, f"{name}=…") for name in absent)
        folder = "; or convert it to a folder that goes without" if set(absent) <= forms.keys() else ""
        beside = (
            "; a job takes the file as its gguf (--gguf), beside the model" if single.path.suffix == ".gguf" else ""
        )
        raise ValueError(
            f"{single.path} holds only {held}; pass {needed} for a pipeline, from another checkpoint{folder}{beside}"
        )
    left_out = ("controlnet", *without)
    classes = {name: component.class_name for name, component in single.components.items() if name not in left_out}
    encoders = [name for name in (*classes, *given) if name.startswith("text_encoder") and name not in without]
    for name in encoders:
        if name in classes or given[name] is not None:
            classes[name.replace("text_encoder", "tokenizer")] = single.layout.vocabulary(name).tokenizer
    classes["scheduler"] = str(single.scheduler.get("_class_name"))
    entries = {name: published_class(class_name) for name, class_name in classes.items()}
    return {"_class_name": single.pipeline_of_denoiser, **single.options, **entries}


def load_components(
    single: SingleFile,
    pipeline: type[Pipeline],
    wanted: Iterable[str],
    dtype: str,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """The ``wanted`` components of a pipeline's class; networks' weights stay in the file until an engine needs them.

    Raises:
        ValueError: the file has networks that the pipeline has no place for, or a text encoder with a vocabulary other
            than CLIP's but no tokenizer was given.
    """
    owned = (*pipeline.required_components, *pipeline.optional_components)
    strange = [name for name in single.components if name not in owned and name != "controlnet"]
    if strange:
        raise ValueError(
            f"{single.path} is for {single.pipeline_of_denoiser}: {pipeline.__name__} has no place for its "
            f"{' and '.join(strange)}"
        )
    loaded: dict[str, Any] = {}
    wanted = list(wanted)
    for name in wanted:
        component = single.components.get(name)
        if component is not None:
            kind = component_class(component.class_name)
            own = pipeline.dtype_of(component.class_name, component.config, dtype)
            loaded[name] = kind.of_weights(component.config, component.weights, single.path, own)
    for name in wanted:
        encoder = name.replace("tokenizer", "text_encoder")
        if name.startswith("tokenizer") and encoder in single.components:
            loaded[name] = single.tokenizer(encoder)
        elif name.startswith("tokenizer") and encoder in given:
            loaded[name] = single.tokenizer(encoder, given[encoder].config.get("vocab_size"))
    if "scheduler" in wanted:
        with naming(single.path):
            loaded["scheduler"] = component_class(str(single.scheduler["_class_name"])).from_config(single.scheduler)
    return loaded
