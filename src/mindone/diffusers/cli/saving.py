"""Saves a command's results. It overwrites earlier files only if the user named them, and loses no image."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import click
from click.core import ParameterSource

from ..jobs import Job

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_LONGEST_STEM = 120
"""The most bytes of a prompt in a file name."""
_LONGEST_NAME = 255
"""The most bytes of a file name if the system does not say."""


class Destination:
    """The files of a command's images.

    Args:
        output: the user's file; None names new files after the prompt and the seed.
        job: the job.
        files: their number.

    Raises:
        click.UsageError: they cannot be written, or one of them is an input picture of the job.
    """

    def __init__(self, output: Path | None, job: Job, files: int):
        from ..utils.files import stem_of

        self.is_new, self.files = output is None, files
        self.output = Path(f"{stem_of(job.prompt, 60, _LONGEST_STEM)}-{job.seed}.png") if output is None else output
        _check(self.output)
        for path in self.paths:
            if path.is_dir():
                raise click.UsageError(f"cannot write {path}: it is a folder")
            if any(Path(picture).resolve() == path.resolve() for picture in job.pictures):
                raise click.UsageError(f"--output {path} is an input picture; give another file")

    @property
    def paths(self) -> list[Path]:
        """The files, one per image."""
        return _numbered(self.output, self.files)

    def settle(self) -> None:
        """Choose free names once the images exist; names from the user stay."""
        from ..utils.files import first_unused

        if self.is_new:
            self.output = first_unused(
                self.output, lambda path: any(each.exists() for each in _numbered(path, self.files))
            )

    def write(self, path: Path, content: bytes) -> Path:
        """Write an image's file. Returns its name.

        Raises:
            OSError: it cannot be written. The message says where the image is instead, if there is room anywhere.
        """
        try:
            return _written(path, content, self.is_new)
        except OSError as error:
            there = _kept(path.name, content)
            kept = f"the image is kept in {there}" if there else "and there is no room for the image anywhere else"
            raise OSError(f"{error}; {kept}") from None


def _kept(name: str, content: bytes) -> Path | None:
    """Write an image to any place with room; a user may have no home."""
    for folder in (tempfile.gettempdir(), os.path.expanduser("~"), "/dev/shm"):
        with contextlib.suppress(OSError):
            return _written(Path(folder, name), content, is_new=True)
    return None


def unused_folder(context: click.Context, output: Path, report: str) -> Path:
    """The folder for a command's report: the user's, else one without a report."""
    from ..utils.files import first_unused

    if context.get_parameter_source("output") is not ParameterSource.DEFAULT:
        return output
    return first_unused(output, lambda folder: (folder / report).exists())


def _written(path: Path, content: bytes, is_new: bool) -> Path:
    from ..utils.files import atomic_write, first_unused

    while True:
        there = first_unused(path) if is_new else path
        try:
            with atomic_write(there, is_new) as file:
                file.write(content)
            return there
        except FileExistsError:  # another process was faster
            if not is_new:
                raise


def _numbered(output: Path, files: int) -> list[Path]:
    if files == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{i}{output.suffix}") for i in range(files)]


def _check(output: Path) -> None:
    """Refuse a file that cannot be written, before generating: only a trial reveals quotas and full disks."""
    folder = output.parent
    if output.suffix.lower() not in _SUFFIXES:
        raise click.UsageError(f"--output must be a .png, .jpg or .webp file, got {str(output)!r}")
    if not folder.is_dir():
        raise click.UsageError(f"cannot write {output}: there is no folder {folder}")
    longest = os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else _LONGEST_NAME
    if (size := len(os.fsencode(output.name))) > longest - len("-999"):
        raise click.UsageError(f"--output {output.name[:40]}… is too long: its name has {size} bytes; shorten it")
    if not os.access(folder, os.W_OK):
        raise click.UsageError(f"cannot write {output}: the folder {folder.resolve()} is read-only")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        raise click.UsageError(f"cannot write {output}: {error.strerror} (in {folder.resolve()})") from None
