"""A checkpoint's scheduler whose class is not here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NoReturn

from ..loading.config import Config
from ..loading.configurable import Configurable
from .registry import LIBRARY
from .short_names import listed


class AbsentScheduler(Configurable):
    """It keeps the published class's config, so that another scheduler can be made from it, and refuses to sample.

    So a checkpoint loads whichever scheduler it names: ``pipe.scheduler = X.from_config(pipe.scheduler.config)``,
    ``by_name``, or ``--scheduler`` on the command line.
    """

    config_name = "scheduler_config.json"
    _config_kind = "scheduler"
    order = 1
    init_noise_sigma = 1.0

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = Config(config)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AbsentScheduler:
        """A stand-in for the class that the config names."""
        return cls(config)

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str]) -> AbsentScheduler:
        """The same, from a folder's config."""
        return cls(cls.load_config(path))

    @property
    def class_name(self) -> str:
        """The published class's name."""
        return str(self.config.get("_class_name"))

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        """
        Raises:
            ValueError: always.
        """
        instead = (
            "use --scheduler NAME or pipe.scheduler = by_name(NAME, pipe.scheduler.config) with one of "
            f"{listed(self.config)}"
        )
        if self.class_name in LIBRARY:  # then it is the index that names another class
            raise ValueError(
                f"model_index.json: scheduler names a class that is not here, and {self.config_name} says "
                f"{self.class_name}; correct model_index.json, or {instead}"
            )
        raise ValueError(f"the checkpoint's {self.class_name[:60]!r} is not here; {instead}")

    set_timesteps = step = scale_model_input = add_noise = for_run = _refuse

    def _saved_config(self) -> dict[str, object]:
        return dict(self.config)
