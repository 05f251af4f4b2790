"""Lists the checkpoints on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..utils.files import read_json
from .hub import CHECKPOINTS, MODEL_INDEX, bundled_names


@dataclass(frozen=True)
class Found:
    """A checkpoint."""

    name: str
    """The name that its loaders take."""
    nbytes: int
    """Bytes on disk."""
    kind: str
    """The class of a pipeline, or a guess for anything else."""


def bundled() -> Iterator[Found]:
    """The bundled checkpoints."""
    for name in bundled_names():
        yield Found(name, _size(CHECKPOINTS / name), _kind(CHECKPOINTS / name))


def cached() -> Iterator[Found]:
    """The checkpoints fetched from the hub, sorted by name."""
    import huggingface_hub

    try:
        repositories = huggingface_hub.scan_cache_dir().repos
    except (huggingface_hub.CacheNotFound, ValueError):
        return
    for each in sorted(repositories, key=lambda each: str(each.repo_id)):
        if each.repo_type == "model" and each.revisions:
            newest = max(each.revisions, key=lambda revision: revision.last_modified)
            yield Found(each.repo_id, each.size_on_disk, _kind(newest.snapshot_path))


def _kind(folder: Path) -> str:
    for name in (MODEL_INDEX, "config.json"):
        if (folder / name).is_file():
            try:
                return str(read_json(folder / name).get("_class_name", "a network"))
            except (OSError, ValueError, AttributeError):
                return "damaged"
    return "weights" if any(folder.rglob("*.safetensors")) else "no model"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
