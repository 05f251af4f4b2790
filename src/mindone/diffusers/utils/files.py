"""Reads and writes small files: mistakes are explained, and an interruption leaves nothing half-written."""

import codecs
import contextlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, BinaryIO

from ..interrupts import unfinished
from .errors import explained
from .printable import shown


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], is_new: bool = False, follows_links: bool = True) -> Iterator[BinaryIO]:
    """Open ``path`` for binary writing so that it appears complete or not at all.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and only then take the name ``path``.
    If the block raises (a full disk and Ctrl-C included), the temporary file is removed and an existing ``path`` keeps
    its content.

    Args:
        path: the file.
        is_new: refuse if something already has that name.
        follows_links: keep a symbolic link of that name and replace the file it points to; otherwise the link is
            replaced.

    Raises:
        FileExistsError: the name is taken and ``is_new`` is set.
        FileNotFoundError: the folder of ``path`` does not exist.
        IsADirectoryError: ``path`` is a folder.
    """
    name = os.fspath(path) or "''"
    with explained(f"write {name}"):
        target = Path(os.path.realpath(path) if follows_links else os.path.abspath(path))
        if target.is_dir() and not target.is_symlink():
            raise IsADirectoryError(f"cannot write {name}: it is a folder; give a file name inside it")
        try:
            target.parent.stat()
        except FileNotFoundError:
            said = f"cannot write {name}: the folder {target.parent} does not exist; create it"
            raise FileNotFoundError(said) from None
    temporary = target.with_name(f".{shortened(target.name, 100)}.{uuid.uuid4().hex}.part")
    # O_EXCL with mode 0o666 lets the umask decide, as for any new file; tempfile would make it private.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    unfinished.add(str(temporary))
    try:
        descriptor = os.open(temporary, flags, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            before = target.lstat().st_mode
            if stat.S_ISREG(before):
                os.chmod(temporary, stat.S_IMODE(before))
        if is_new:
            _name(temporary, target)
        else:
            os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            with explained(f"write {name}"):
                raise
        raise
    finally:
        unfinished.discard(str(temporary))


def _name(temporary: Path, target: Path) -> None:
    """Give a file its name if the name is free; only a hard link does that in one step."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError(f"{target} exists already") from None
        os.replace(temporary, target)
    else:
        temporary.unlink()


def stem_of(text: str, letters: int, size: int) -> str:
    """A file name that reads like a text, limited in letters and in bytes."""
    words = re.sub(r"[^\w]+", "-", text.lower()).strip("-_")
    return shortened(words[:letters], size).rstrip("-_") or "image"


def shortened(name: str, size: int) -> str:
    """The beginning of a file's name, at most ``size`` bytes: systems count bytes, not letters."""
    return os.fsencode(name)[:size].decode(errors="ignore")


def first_unused(path: Path, taken: Callable[[Path], bool] = Path.exists) -> Path:
    """The path or, if it is taken, the first free one of NAME-2, NAME-3 and so on."""
    names = (path.with_name(f"{path.stem}-{i}{path.suffix}") for i in count(2))
    return path if not taken(path) else next(each for each in names if not taken(each))


@contextlib.contextmanager
def scratch_folder(folder: Path, prefix: str) -> Iterator[Path]:
    """A folder inside ``folder`` that is removed with the context. It is on the user's chosen disk, since many systems
    keep their temporary folder in memory."""
    with TemporaryDirectory(prefix=prefix, dir=folder) as made:
        unfinished.add(made)
        try:
            yield Path(made)
        finally:
            unfinished.discard(made)


def check_path(what: str, path: object) -> None:
    """Raise ValueError unless it is a path: a text or an object such as `Path`."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise ValueError(f"{what} must be a path, got {shown(path)}")


def folder_to_write(path: str | os.PathLike[str]) -> Path:
    """A folder to write into; raises ValueError for an empty name, which would mean the current folder."""
    check_path("the folder to write into", path)
    if not os.fspath(path):
        raise ValueError('the folder to write into has no name; give one, or "." for the current folder')
    return Path(path)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """A `folder_to_write`, created if missing.

    Raises:
        ValueError: ``path`` is empty.
        OSError: the folder cannot be made.
    """
    folder = folder_to_write(path)
    with explained(f"make the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str], last: str) -> Iterator[Path]:
    """A folder to write into; its files appear in ``path`` when the block ends, or not at all.

    It lies next to ``path``, so that a killed run leaves nothing among the next one's files.

    Args:
        path: the folder; it may exist and hold other files.
        last: the file that marks the folder as complete; it is moved after all others.

    Raises:
        OSError: the folder cannot be written.
    """
    target = Path(os.path.realpath(path))
    make_folder(target.parent)
    temporary = target.with_name(f".{shortened(target.name, 100)}.{uuid.uuid4().hex}.part")
    unfinished.add(str(temporary))
    try:
        with explained(f"write {os.fspath(path)}"):
            temporary.mkdir()
            yield temporary
            files = [each for each in temporary.rglob("*") if each.is_file()]
            for file in sorted(files, key=lambda each: (each == temporary / last, each)):
                final = target / file.relative_to(temporary)
                final.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, final)
    except OSError as error:
        error.args = tuple(
            each.replace(str(temporary), os.fspath(path)) if isinstance(each, str) else each for each in error.args
        )
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        unfinished.discard(str(temporary))


def read_json(path: str | os.PathLike[str]) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no UTF-8 JSON; the message names the file and the line.
    """
    text = read_utf8(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError:
        line = _line_of(text, next((at for at in _DIGITS.finditer(text) if at.end() - at.start() > 4300), None))
        raise ValueError(f"{path} is not usable JSON:{line} a number has thousands of digits") from None
    except RecursionError:
        raise ValueError(f"{path} is not usable JSON:{_line_of(text, _deep(text))} it is nested too deeply") from None


_DIGITS, _BRACKETS = re.compile(r"\d+"), re.compile(r"[\[\]{}]")


def _deep(text: str, limit: int = 500) -> re.Match[str] | None:
    """The position where brackets are nested deeper than the limit."""
    depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > limit:
            return bracket
    return None


def _line_of(text: str, match: re.Match[str] | None) -> str:
    return "" if match is None else f" line {text.count(chr(10), 0, match.start()) + 1}:"


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a UTF-8 text file, stripped of white space; empty ones are skipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no UTF-8 text; the message names the line.
    """
    return [line for _, line in numbered_lines(path)]


def numbered_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """`read_lines` with line numbers, counted from 1."""
    lines = read_utf8(path).splitlines()
    return ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())


def check_file(file: Path) -> None:
    """Raise FileNotFoundError, IsADirectoryError or OSError, in one line, for a path that is not a regular file.

    Opening a pipe waits for somebody to write to it, and a device may never end.
    """
    with explained(f"read {file}"):
        if file.is_dir():
            raise IsADirectoryError(f"{file} is a folder; give a file")
        if not file.exists():
            raise FileNotFoundError(f"no file {file}")
        if not file.is_file():
            raise OSError(f"{file} is a pipe or a device; give a file")
        if not os.access(file, os.R_OK):
            raise PermissionError(f"cannot read {file}: you may not; change its rights, or give another file")


def read_utf8(path: str | os.PathLike[str]) -> str:
    """The content of a UTF-8 text file; raises as `read_lines`."""
    file = Path(path)
    check_file(file)
    content = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    return decoded(content, file, "export the file again as UTF-8")


def decoded(content: bytes, path: object, advice: str) -> str:
    """A file's content as text.

    Raises:
        ValueError: it is not UTF-8; the message names the line, and ends with the advice.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: byte {error.start} is not UTF-8; {advice}") from None


def write_json(path: str | os.PathLike[str], obj: object) -> None:
    """Write ``obj`` as indented JSON, atomically, with sorted keys as the published configs have them."""
    text = json.dumps(obj, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def check_folder(path: str | os.PathLike[str]) -> None:
    """Check, before any work, that ``path`` is a writable folder or that one can be made there.

    Raises:
        FileExistsError, NotADirectoryError, PermissionError: it cannot.
    """
    folder = Path(path)
    with explained(f"write to {folder}"):
        if folder.is_file():
            raise FileExistsError(f"the folder {folder} is a file; give another name with --output")
        existing = _nearest(folder)
    if not existing.is_dir():
        raise NotADirectoryError(f"cannot make the folder {folder}: {existing} is a file; give another with --output")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write to {folder}: {existing} is read-only; give another with --output")
    try:  # only a trial write reveals quotas, full disks, and paths that are not folders
        with TemporaryFile(dir=existing) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        raise type(error)(f"cannot write to {folder}: {error.strerror}; give another with --output") from None


def check_space(path: str | os.PathLike[str], needed: int) -> None:
    """Check that ``needed`` bytes are free where the folder ``path`` is or will be.

    Raises:
        OSError: they are not.
    """
    free = shutil.disk_usage(_nearest(Path(path))).free
    if free < needed:
        raise OSError(
            f"no space left for {path}: it takes up to {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free; "
            "make room, or give a folder on another disk with --output"
        )


def _nearest(folder: Path) -> Path:
    """The folder, or its nearest existing parent."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
