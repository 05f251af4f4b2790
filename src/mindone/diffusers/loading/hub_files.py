"""Checkpoints in one file: on this machine, in a folder or repository, or at an address on the hub."""

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from ..utils.files import check_path
from .config import CONFIG_NAME
from .fields import listed
from .hub import MODEL_INDEX, Source, bundled_names, component_names
from .safetensors import other_format, refuse_other_formats, refuse_other_name
from .weights import names_file

_ADDRESS = re.compile(r"^(?:https?://)?(?:huggingface\.co|hf\.co)/([^/]+/[^/]+)/(?:blob|resolve)/([^/]+)/([^?#]+)")


@dataclass(frozen=True)
class FileSource(Source):
    """A checkpoint if you need one file of it; raises the errors of `Source`."""

    def locate(self) -> Path | None:
        """The file or folder on this machine; None if it can only be on the hub. This reads only a file's first bytes.

        Raises:
            FileNotFoundError: it is neither.
            ValueError: the file has a format that is not read.
        """
        given = os.fspath(self.name_or_path)
        if (file := self._given()) is not None:
            return file
        if _ADDRESS.match(given):
            return None
        if names_file(given):
            raise FileNotFoundError(f"no file {given}")
        return self._local()

    def fetch(self, variant: str | None = None) -> Path:
        """Fetch everything that loading it reads: a pipeline, a single network, or a LoRA's file.

        Returns:
            The folder or the file.
        """
        local = self.locate()
        if local is not None:
            return local
        try:
            return self.pipeline(component_names(self.index()), variant)
        except FileNotFoundError:
            names = self._names()
            if not names or MODEL_INDEX in names:
                raise
        return self.component("model", variant=variant) if CONFIG_NAME in names else self.file()

    def only_file(self) -> Path:
        """The file if you give no name: the path or address itself, or the only one in a folder.

        Raises:
            FileNotFoundError: no such file, or a folder, which loads in another way.
            ValueError: see `file`.
        """
        given = os.fspath(self.name_or_path)
        if self.path.is_dir() or given in bundled_names():
            local = self._local()
            if len(self._safetensors(local)) != 1:
                raise FileNotFoundError(f"{given} is a folder: from_pretrained loads one{self._there(local)}")
        return self.file()

    def file(
        self,
        name: str | None = None,
        usual: str | None = None,
        beside: str | None = None,
        subfolder: str | None = None,
    ) -> Path:
        """The file's path on this machine.

        Args:
            name: its path in the folder or repository; optional if ``name_or_path`` is the file itself or its address
                on the hub, such as ``https://huggingface.co/owner/name/blob/main/file.safetensors``.
            usual: without ``name``, the file to take if it exists; otherwise the only safetensors file.
            beside: a file in the same folder to fetch as well, if it exists.
            subfolder: the file's folder within the folder or repository; on the hub that is ``name`` or ``usual``.

        Raises:
            FileNotFoundError: no such file, or several candidates (the message lists them).
            ValueError: an address outside the hub, a pickle file, or a name, folder or revision that is not that of the
                only file.
        """
        for option, value in (("weight_name", name), ("subfolder", subfolder)):
            if value is not None:
                check_path(option, value)
        given = os.fspath(self.name_or_path)
        if (file := self._given()) is not None:
            self._check_only(file, name, subfolder)
            return file
        address = _ADDRESS.match(given)
        if address is not None:
            repository, revision, path = address.groups()
            self._check_only(PurePosixPath(path), name, subfolder)
            if self.revision not in (None, revision):
                raise ValueError(f"revision {self.revision!r} is not that of {given}, {revision!r}; leave it out")
            source = FileSource(repository, revision, self.cache_dir, self.local_files_only, self.token)
            return source.file(path, beside=beside)
        if "://" in given:
            raise ValueError(f"{given} is no address of a file on the hub; fetch the file and give its path")
        if names_file(given):
            raise FileNotFoundError(f"no file {given}")
        local = self._local()
        if subfolder and local is not None:
            return FileSource(local / subfolder).file(name, usual, beside)
        if subfolder:
            name = f"{subfolder}/{name or usual}"
        if name is None:
            name = self._only(local, usual)
        if local is None:
            refuse_other_name(name)
        wanted = [name] if beside is None else [name, str(PurePosixPath(name).with_name(beside))]
        root = self._snapshot(wanted) if local is None else local
        if not (root / name).is_file():
            raise FileNotFoundError(f"{given} has no {name}{self._there(local)}")
        return root / name

    def _given(self) -> Path | None:
        """The file that ``name_or_path`` is, if it is one on this machine."""
        path = self.path
        if not path.is_file():
            return None
        if other_format(path.name) is not None:
            refuse_other_formats(path)
        return self.here(path)

    def _check_only(self, file: PurePath, name: str | None, subfolder: str | None) -> None:
        """Refuse a name or a folder that is not that of the only file."""
        for option, value, own in (("weight_name", name, file.name), ("subfolder", subfolder, file.parent.name)):
            if value and PurePosixPath(value).name != own:
                raise ValueError(
                    f"{self._id} is one file, so {option}={value!r} has no effect; leave it out, or give the folder or "
                    "hub id that has that file"
                )

    def _only(self, local: Path | None, usual: str | None) -> str:
        """The file to take if you name none."""
        names = self._safetensors(local)
        if usual is not None and (usual in names or not names):
            return usual
        if len(names) != 1:
            raise FileNotFoundError(f"{self._id} needs weight_name={self._there(local)}")
        return names[0]

    def _safetensors(self, local: Path | None) -> list[str]:
        names = self._names() if local is None else [entry.name for entry in local.iterdir() if entry.is_file()]
        return sorted(name for name in names if name.endswith(".safetensors") and "/" not in name)

    def _there(self, local: Path | None) -> str:
        names = self._safetensors(local)
        return f"; it has {listed(names)}" if names else ""


def file_and_configs(
    path_or_address: str | os.PathLike[str],
    config: str | os.PathLike[str] | None,
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    local_files_only: bool,
    token: str | bool | None,
) -> tuple[Path, Path | None]:
    """A file that is a whole checkpoint, and the folder of the configs that replace its own; None without ``config``.

    The revision is that of ``config``, and without one that in the file's address. Raises the errors of
    `FileSource.file`.
    """
    where = (cache_dir, local_files_only, token)
    if config is None:
        return FileSource(path_or_address, revision, *where).only_file(), None
    return FileSource(path_or_address, None, *where).only_file(), Source(config, revision, *where).configs()
