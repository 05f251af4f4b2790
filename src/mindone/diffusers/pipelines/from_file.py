"""A pipeline from one file in the original layout: what the file holds, as components that are loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypeVar

from .. import engines
from ..engines import Engine
from ..loading.config import Config, read_generation_config
from ..loading.dtypes import parse_dtype
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
        def _check_keywords(cls, keywords: Mapping[str, object]) -> None: ...
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
        prediction_type: str | None = None,
        scaling_factor: float | None = None,
        extract_ema: bool = False,
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
            mindspore_dtype, engine, cache_dir, local_files_only, token, components: as in ``from_pretrained``.
            config, prediction_type, scaling_factor, extract_ema: what the file leaves open; see
                `loading.single_file.open_single_file`.

        Raises:
            ValueError: a wrong argument, a pickle, or an architecture that is not known (its tensors are named).
            FileNotFoundError: no such file.
        """
        dtype = parse_dtype(mindspore_dtype)
        cls._check_keywords(components)
        chosen_engine = engines.get(engine) if isinstance(engine, str) else engine
        file = FileSource(path_or_address, None, cache_dir, local_files_only, token).file()
        single = open_single_file(
            file,
            config=config,
            prediction_type=prediction_type,
            scaling_factor=scaling_factor,
            extract_ema=extract_ema,
        )
        index = index_of(single)
        pipeline, classes = cls._plan(index, components)
        loaded = load_components(single, pipeline, classes, dtype)
        settings = {name: index.get(name, default) for name, default in pipeline.config_defaults.items()}
        pipe = pipeline(**{**settings, **loaded, **components}, engine=chosen_engine)
        if config is not None:
            pipe.generation_config = read_generation_config(Path(config))
        return pipe


def index_of(single: SingleFile) -> dict[str, object]:
    """The ``model_index.json`` of a folder with the file's components.

    Raises:
        ValueError: the file is no whole pipeline.
    """
    if single.pipeline is None:
        raise ValueError(
            f"{single.path} holds {' and '.join(single.components)} only, which is no pipeline; load it with the "
            "component's own class and pass it to a pipeline"
        )
    classes = {name: component.class_name for name, component in single.components.items() if name != "controlnet"}
    tokenizers = [name.replace("text_encoder", "tokenizer") for name in classes if name.startswith("text_encoder")]
    classes |= dict.fromkeys(tokenizers, "CLIPTokenizer") | {"scheduler": str(single.scheduler["_class_name"])}
    entries = {name: published_class(class_name) for name, class_name in classes.items()}
    return {"_class_name": single.pipeline, **single.options, **entries}


def load_components(
    single: SingleFile, pipeline: type[SingleFilePipeline], wanted: Iterable[str], dtype: str
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
            f"{single.path} is for {single.pipeline}: {pipeline.__name__} has no place for its {' and '.join(strange)}"
        )
    loaded: dict[str, Value] = {}
    wanted = list(wanted)
    for name in wanted:
        component = single.components.get(name)
        if component is not None:
            network = component_class(component.class_name).from_config(component.config)
            network.load(component.weights, pipeline._dtype_of(component.class_name, component.config, dtype))
            loaded[name] = network
    tokenizers = [name for name in wanted if name.startswith("tokenizer")]
    if tokenizers:
        found = single.tokenizers()
        loaded |= {name: found[name] for name in tokenizers}
    if "scheduler" in wanted:
        loaded["scheduler"] = component_class(str(single.scheduler["_class_name"])).from_config(single.scheduler)
    return loaded
