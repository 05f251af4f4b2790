"""The contents of a checkpoint's folder, from its configs and the headers of its weights."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .config import CONFIG_NAME, read_config
from .hub import MODEL_INDEX, component_folder, component_names
from .safetensors import SafetensorsFile

_FILE = re.compile(r"[^.]+(?:\.(?P<variant>[^.]+?))??(?:-\d{5}-of-\d{5})?\.safetensors")
_LICENCES = ("licen", "copying", "notice")


@dataclass(frozen=True)
class WeightFiles:
    """The weights of a network or of one variant."""

    variant: str | None
    numbers: int
    dtypes: tuple[str, ...]
    """In safetensors' terms: F32, BF16 …"""
    nbytes: int
    """Bytes on disk."""


@dataclass(frozen=True)
class Part:
    """A component of a checkpoint."""

    name: str | None
    """None if the folder holds only this component."""
    class_name: str
    weights: tuple[WeightFiles, ...]
    """By variant, the usual ones first; empty for a component without weights."""


@dataclass(frozen=True)
class Contents:
    """The contents of a folder."""

    pipeline: str | None
    """The class that ``model_index.json`` names; None for one component."""
    parts: tuple[Part, ...]
    nbytes: int
    """Bytes of all files in the folder."""
    licences: tuple[str, ...]
    """Files whose names begin like a licence's."""


def contents(folder: Path) -> Contents:
    """The contents of a checkpoint's folder.

    Raises:
        FileNotFoundError: it has no pipeline, component or weights, or a component's folder is missing.
        ValueError: a config or a header of weights is broken.
    """
    pipeline = None
    if (folder / MODEL_INDEX).is_file():
        index = read_config(folder, MODEL_INDEX)
        pipeline = str(index.get("_class_name"))
        parts = [
            Part(name, class_name, tuple(_weights(component_folder(folder, name))))
            for name, class_name in sorted(component_names(index).items())
        ]
    else:
        weights = tuple(_weights(folder))
        if not (folder / CONFIG_NAME).is_file() and not weights:
            raise FileNotFoundError(
                f"{folder} is a folder without {MODEL_INDEX}, {CONFIG_NAME} and weights; give a checkpoint's, or a file"
            )
        parts = [Part(None, network_in(folder) or "weights", weights)]
    files = [path for path in folder.rglob("*") if path.is_file()]
    licences = sorted(path.name for path in files if path.parent == folder and path.name.lower().startswith(_LICENCES))
    return Contents(pipeline, tuple(parts), sum(path.stat().st_size for path in files), tuple(licences))


def network_in(folder: Path) -> str | None:
    """The class of the network that a folder's config describes; None without a config, or if that names none.

    Raises:
        ValueError: the config is broken.
    """
    config = read_config(folder) if (folder / CONFIG_NAME).is_file() else {}
    architectures = config.get("architectures")
    named = config.get("_class_name") or (architectures[0] if isinstance(architectures, list) and architectures else "")
    return str(named) or None


def _weights(folder: Path) -> Iterator[WeightFiles]:
    by_variant: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*.safetensors")):
        named = _FILE.fullmatch(path.name)
        by_variant[(named and named["variant"]) or ""].append(path)
    for variant, paths in sorted(by_variant.items()):
        files = [SafetensorsFile(path) for path in paths]
        yield WeightFiles(
            variant or None,
            sum(tensor.size for file in files for tensor in file.values()),
            tuple(sorted({kind for file in files for kind in file.types.values()})),
            sum(path.stat().st_size for path in paths),
        )
