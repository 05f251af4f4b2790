"""Classes with a config file: reading it, writing it, showing it, sharing it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import numpy as np

from ..utils.files import make_folder, write_json
from .config import Config, read_config
from .hub import Kind, Source
from .save_weights import check_upload
from .upload import upload_folder

_SAVING = ("safe_serialization", "variant", "max_shard_size")


class Configurable:
    """A class whose objects hold their options in ``config``, stored on disk as a JSON file named ``config_name``."""

    config_name: ClassVar[str] = "config.json"
    ignore_for_config: ClassVar[list[str]] = []
    """Options of the constructor that are not part of the config: none here."""
    has_compatibles: ClassVar[bool] = False
    """Whether ``from_config`` also takes the configs of other classes."""
    _config_kind: ClassVar[Kind] = "model"
    config: Config

    @classmethod
    def load_config(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        return_unused_kwargs: bool = False,
        *,
        subfolder: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **unused: object,
    ) -> Any:
        """The content of the config file, as a dictionary for ``from_config``.

        Args:
            pretrained_model_name_or_path: a folder, the file itself, a bundled checkpoint's name, or a hub id.
            return_unused_kwargs: return ``(config, unused)``; ``unused`` holds the keywords that are not listed here.
            subfolder: the file's folder within it.
            revision, cache_dir, local_files_only, token: as in huggingface_hub.

        Raises:
            FileNotFoundError: no such folder or file.
            ValueError: the file is not a JSON object, or a keyword is unknown and ``return_unused_kwargs`` false.
        """
        if unused and not return_unused_kwargs:
            raise ValueError(f"load_config takes no {', '.join(unused)}; return_unused_kwargs=True returns them")
        source = Source(pretrained_model_name_or_path, revision, cache_dir, local_files_only, token)
        if source.path.is_file():
            folder, name = source.here(source.path).parent, source.path.name
        else:
            name = cls.config_name
            folder = source.component(cls._config_kind, subfolder)
        config = read_config(folder, name)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path: str | os.PathLike[str], **options: Any) -> Any:
        """The older name of ``load_config``."""
        return cls.load_config(pretrained_model_name_or_path, **options)

    def register_to_config(self, **values: object) -> None:
        """Put values into ``config``. This rebuilds nothing: for that, create a new object."""
        self.config = Config(self.config, values)

    def to_json_string(self) -> str:
        """The config as text, as in its file."""
        return json_text(self._saved_config())

    def to_json_file(self, json_file_path: str | os.PathLike[str]) -> None:
        """Write the config to a file."""
        write_json(json_file_path, self._saved_config())

    def save_config(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **upload: Any) -> None:
        """Write the config file into a folder, creating it if needed.

        Args:
            save_directory: the folder.
            push_to_hub: also upload it, as the repository ``repo_id`` (by default the folder's name).
            upload: ``repo_id`` and the other arguments of ``push_to_hub``.
        """
        save_values(self._saved_config(), save_directory, self.config_name, push_to_hub, **upload)

    def save_pretrained(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **upload: Any) -> None:
        """Write the files that ``from_pretrained`` reads, here the config; takes the arguments of ``save_config``."""
        self.save_config(save_directory, push_to_hub, **upload)

    def push_to_hub(self, repo_id: str, **upload: Any) -> str:
        """Upload the files that ``save_pretrained`` writes to a repository on the hub; returns the commit's address.

        Args:
            repo_id: ``owner/name``.
            upload: ``commit_message``, ``private``, ``token``, ``create_pr``, ``subfolder``; and what
                ``save_pretrained`` takes for weights: ``safe_serialization``, ``variant``, ``max_shard_size``.
        """
        return push_saved(self.save_pretrained, repo_id, **upload)

    def _saved_config(self) -> dict[str, Any]:
        """The config as JSON values, without entries about this object's origin."""
        return json_values(self.config) | {"_class_name": type(self).__name__}


def json_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as JSON values, without entries about its object's origin."""
    return {key: _as_json(value) for key, value in config.items() if key != "_use_default_values"}


def json_text(config: Mapping[str, Any]) -> str:
    """A config as text, as in its file."""
    return json.dumps(json_values(config), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def save_values(
    values: Mapping[str, Any], folder: str | os.PathLike[str], name: str, push_to_hub: bool, **upload: Any
) -> None:
    """Write a config to its file in a folder; takes the arguments of `Configurable.save_config`."""
    check_upload(upload)
    folder = make_folder(folder)
    write_json(folder / name, dict(values))
    if push_to_hub:
        upload_folder(folder, upload.pop("repo_id", folder.name), **upload)


def push_saved(save: Callable[..., None], repo_id: str, **upload: Any) -> str:
    """Upload the files that ``save(folder)`` writes; takes the arguments of `Configurable.push_to_hub`."""
    check_upload({name: value for name, value in upload.items() if name not in _SAVING})
    saving = {name: upload.pop(name) for name in _SAVING if name in upload}
    with tempfile.TemporaryDirectory() as folder:
        save(folder, **saving)
        return upload_folder(folder, repo_id, **upload)


def _as_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    return value


def split_config(
    known: Collection[str], config: Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A config's ``known`` entries with the overrides applied; the unknown overrides; and the other entries."""
    init = {name: value for name, value in {**config, **overrides}.items() if name in known}
    unused = {name: value for name, value in overrides.items() if name not in known}
    return init, unused, {name: value for name, value in config.items() if name not in known}
