"""Lists the checkpoints on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
    folder: Path
    gguf: Mapping[str, Path] = field(default_factory=dict)
    """Its GGUF files by the addresses that ``--gguf`` takes."""


_GGUF = "*.gguf"


def bundled() -> Iterator[Found]:
    """The bundled checkpoints."""
    for name in bundled_names():
        folder = CHECKPOINTS / name
        yield Found(name, _size(folder), _kind(folder), folder)


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
            name = "main" if "main" in newest.refs else newest.commit_hash
            address, folder = f"hf.co/{each.repo_id}/blob/{name}", newest.snapshot_path
            gguf = {f"{address}/{path.relative_to(folder).as_posix()}": path for path in sorted(folder.rglob(_GGUF))}
            yield Found(each.repo_id, each.size_on_disk, _kind(folder), folder, gguf)


def folder_of(name: str) -> Path | None:
    """The folder of the checkpoint with that name, if it is here."""
    return next((each.folder for found in (bundled, cached) for each in found() if each.name == name), None)


def _kind(folder: Path) -> str:
    for name in (MODEL_INDEX, "config.json"):
        if (folder / name).is_file():
            try:
                return str(read_json(folder / name).get("_class_name", "a network"))
            except (OSError, ValueError, AttributeError):
                return "damaged"
    if any(folder.rglob("*.safetensors")):
        return "weights"
    return "GGUF files" if any(folder.rglob(_GGUF)) else "no model"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
