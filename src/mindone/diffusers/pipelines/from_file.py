"""A pipeline from one file in the original layout: what the file holds, as components that are loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypeVar

from .. import engines
from ..engines import Engine
from ..loading.config import Config, read_generation_config
from ..loading.dtypes import parse_dtype
from ..loading.fields import naming
from ..loading.hub import Source
from ..loading.hub_files import FileSource
from ..loading.single_file import SingleFile, open_single_file
from ..utils.types import Value
from .components import Component, component_class, published_class

if TYPE_CHECKING:
    from typing_extensions import Self


P = TypeVar("P")
Plan: TypeAlias = tuple[type[P], dict[str, str]]
"""A pipeline's class, and the classes of the components to load."""


class SingleFilePipeline:
    """Mixed into `base.Pipeline`."""

    required_components: ClassVar[tuple[str, ...]]
    optional_components: ClassVar[tuple[str, ...]]
    config_defaults: ClassVar[Mapping[str, object]]
    generation_config: Config

    if TYPE_CHECKING:

        def __init__(self, *components: Component, **more: Component) -> None: ...
        @classmethod
        def _check_keywords(cls, keywords: Mapping[str, object], loader: str = ...) -> None: ...
        @classmethod
        def _plan(cls, index: Mapping[str, object], given: Mapping[str, object]) -> Plan[Self]: ...
        @classmethod
        def _dtype_of(cls, class_name: str, config: Mapping[str, object], dtype: str) -> str: ...

    @classmethod
    def from_single_file(
        cls,
        path_or_address: str | os.PathLike[str],
        *,
        mindspore_dtype: object = None,
        config: str | os.PathLike[str] | None = None,
        original_config: str | os.PathLike[str] | None = None,
        prediction_type: str | None = None,
        scaling_factor: float | None = None,
        extract_ema: bool = False,
        use_safetensors: bool = True,
        variant: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        engine: Engine | str | None = None,
        **components: Component,
    ) -> Self:
        """Load a pipeline from one ``.safetensors`` file in the original layout, as model-sharing sites have them.

        The architecture is read off the tensors' names and shapes; without a safety checker, which no such file has.

        Args:
            path_or_address: the file, or its address on the hub such as
                ``https://huggingface.co/owner/name/blob/main/file.safetensors``.
            mindspore_dtype, engine, use_safetensors, cache_dir, local_files_only, token: as in ``from_pretrained``.
            config: a folder, a bundled checkpoint's name, or a hub id, whose configs and tokenizers replace what the
                file's tensors tell.
            original_config, prediction_type, scaling_factor, extract_ema: what the file leaves open; see
                `loading.single_file.open_single_file`.
            variant: taken for published scripts, and without meaning: the path says which file it is.
            revision: which branch, tag or commit of ``config`` on the hub.
            components: components to use instead of the file's, or because it has none: files of a denoiser alone, or
                without an autoencoder, are published, too. The tokenizer of a text encoder that is given is CLIP's.

        Raises:
            ValueError: a wrong argument, a pickle, or an architecture that is not known (its tensors are named).
            FileNotFoundError: no such file.
        """
        if not use_safetensors:
            raise ValueError("use_safetensors must be True: pickle files are not read; convert them to safetensors")
        dtype = parse_dtype(mindspore_dtype)
        cls._check_keywords(components, "from_single_file")
        chosen_engine = engines.get(engine) if isinstance(engine, str) else engine
        file = FileSource(path_or_address, None, cache_dir, local_files_only, token).only_file()
        folder = None if config is None else Source(config, revision, cache_dir, local_files_only, token).configs()
        single = open_single_file(
            file,
            config=folder,
            original_config=original_config,
            prediction_type=prediction_type,
            scaling_factor=scaling_factor,
            extract_ema=extract_ema,
        )
        index = index_of(single, components)
        pipeline, classes = cls._plan(index, components)
        loaded = load_components(single, pipeline, classes, dtype, components)
        settings = {name: index.get(name, default) for name, default in pipeline.config_defaults.items()}
        pipe = pipeline(**{**settings, **loaded, **components}, engine=chosen_engine)
        if single.config_folder is not None:
            pipe.generation_config = read_generation_config(single.config_folder)
        return pipe


def index_of(single: SingleFile, given: Mapping[str, Component]) -> dict[str, object]:
    """The ``model_index.json`` of a folder with the file's components, and with those that are ``given``.

    Raises:
        ValueError: they make no whole pipeline.
    """
    if "unet" not in single.components:
        raise ValueError(
            f"{single.path} holds {' and '.join(single.components)} only, which is no pipeline; load it with the "
            "component's own class and pass it to a pipeline"
        )
    absent = [name for name in single.absent if given.get(name) is None]
    if absent:
        held = " and ".join(single.components)
        needed = ", ".join(f"{name}=…" for name in absent)
        raise ValueError(f"{single.path} holds {held} only; pass {needed} for a pipeline, from another checkpoint")
    classes = {name: component.class_name for name, component in single.components.items() if name != "controlnet"}
    encoders = [*classes, *(name for name in given if given[name] is not None)]
    tokenizers = [name.replace("text_encoder", "tokenizer") for name in encoders if name.startswith("text_encoder")]
    classes |= dict.fromkeys(tokenizers, "CLIPTokenizer") | {"scheduler": str(single.scheduler.get("_class_name"))}
    entries = {name: published_class(class_name) for name, class_name in classes.items()}
    return {"_class_name": single.pipeline_of_unet, **single.options, **entries}


def load_components(
    single: SingleFile,
    pipeline: type[SingleFilePipeline],
    wanted: Iterable[str],
    dtype: str,
    given: Mapping[str, Component],
) -> dict[str, Value]:
    """The components ``wanted`` of a pipeline's class; networks' weights stay in the file until an engine asks.

    Raises:
        ValueError: the file has networks that the pipeline has no place for, or a text encoder with
            another vocabulary than CLIP's whose tokenizer nobody gave.
    """
    owned = (*pipeline.required_components, *pipeline.optional_components)
    strange = [name for name in single.components if name not in owned and name != "controlnet"]
    if strange:
        raise ValueError(
            f"{single.path} is for {single.pipeline_of_unet}: {pipeline.__name__} has no place for its "
            f"{' and '.join(strange)}"
        )
    loaded: dict[str, Value] = {}
    wanted = list(wanted)
    for name in wanted:
        component = single.components.get(name)
        if component is not None:
            kind = component_class(component.class_name)
            own = pipeline._dtype_of(component.class_name, component.config, dtype)
            loaded[name] = kind.of_weights(component.config, component.weights, single.path, own)
    found = single.tokenizers() if any(name.startswith("tokenizer") for name in wanted) else {}
    for name in wanted:
        encoder = name.replace("tokenizer", "text_encoder")
        if name in found:
            loaded[name] = found[name]
        elif name.startswith("tokenizer") and encoder in given:
            loaded[name] = single.tokenizer(encoder, given[encoder].config.get("vocab_size"))
    if "scheduler" in wanted:
        with naming(single.path):
            loaded["scheduler"] = component_class(str(single.scheduler["_class_name"])).from_config(single.scheduler)
    return loaded
