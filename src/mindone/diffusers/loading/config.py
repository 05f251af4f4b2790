"""Component configs: JSON objects in the published layout, read-only once loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import Field

from ..utils import logging
from ..utils.files import make_folder, read_json, write_json
from .fields import Real, listed, read_fields

CONFIG_NAME = "config.json"
GENERATION_CONFIG_NAME = "generation_config.json"


@dataclass(frozen=True)
class GenerationFields:
    """The entries of ``generation_config.json`` that we use."""

    guidance_scale: Annotated[Real, Field(ge=0, le=1000)] = 0.0
    num_inference_steps: Annotated[int, Field(ge=1, le=1000, strict=True)] = 50


logger = logging.get_logger(__name__)


class Config(dict[str, Any]):
    """A read-only dictionary whose entries are attributes too: ``config.sample_size`` is ``config["sample_size"]``.

    It keeps unknown keys, so saving writes back everything that was loaded. ``dict(config)`` is a dictionary you can
    change.
    """

    def __init__(self, *values: Mapping[str, Any], **more: Any) -> None:
        for value in (*values, more):
            super().update(value)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the config has no entry {name!r}; it has {', '.join(self)}") from None

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a config is read-only; dict(config) makes a dictionary to change, from_config a new object")

    def _refuse_attribute(self, name: str, *_: object) -> NoReturn:
        raise AttributeError(f"a config is read-only: cannot change {name!r}; make a new one with from_config")

    __setattr__ = __delattr__ = _refuse_attribute
    __setitem__ = __delitem__ = pop = popitem = setdefault = update = clear = __ior__ = _refuse

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __reduce__(self) -> tuple[type[Config], tuple[dict[str, object]]]:
        return (Config, (dict(self),))

    def __repr__(self) -> str:
        return f"Config({dict(self)!r})"


def read_config(folder: str | os.PathLike[str], filename: str = CONFIG_NAME) -> dict[str, Any]:
    """The JSON object in `folder/filename`, unknown keys included.

    Raises:
        FileNotFoundError: the folder or the file does not exist.
        ValueError: the file is not a JSON object.
    """
    path = Path(folder) / filename
    if not path.is_file():
        found = "it does not exist" if not path.parent.is_dir() else "no such file in it"
        raise FileNotFoundError(f"no {filename} in {path.parent}: {found}; give a folder in the published layout")
    config = read_json(path)
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a JSON object, not a {type(config).__name__}")
    return config


def write_config(folder: str | os.PathLike[str], config: Mapping[str, object], filename: str = CONFIG_NAME) -> None:
    """Write `config` to `folder/filename`, creating the folder if needed."""
    write_json(make_folder(folder) / filename, dict(config))


def read_generation_config(folder: str | os.PathLike[str]) -> Config:
    """A checkpoint's suggested call options, from `folder/generation_config.json`; empty without that file.

    It uses `guidance_scale` and `num_inference_steps` and ignores other entries.

    Raises:
        ValueError: the file is not a JSON object, or one of the two is not a valid number.
    """
    if not (Path(folder) / GENERATION_CONFIG_NAME).is_file():
        return Config()
    config = Config(read_config(folder, GENERATION_CONFIG_NAME))
    read_fields(GenerationFields, config, str(Path(folder) / GENERATION_CONFIG_NAME))
    honoured = [field.name for field in fields(GenerationFields)]
    if others := [name for name in config if name not in honoured]:
        logger.warning(f"{GENERATION_CONFIG_NAME}: ignored {listed(others)}; only {' and '.join(honoured)} are used")
    return config
