"""Configs and vocabularies in a single file's metadata, which its tensors' names and shapes do not show.

`convert` stores them in one entry, so that a file of a small network, or one with its own vocabulary, needs no folder
beside it. Other programs ignore it.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ...utils.files import read_json
from ...utils.printable import shown
from ..config import CONFIG_NAME, GENERATION_CONFIG_NAME, read_config
from ..hub import MODEL_INDEX
from ..tokenizer_base import TokenizerBase

ENTRY = "mindone.configs"
"""The metadata's entry: a JSON object that maps paths in a folder in the published layout to the files' contents. JSON
files are values in it, others are strings."""
_PATH = re.compile(r"(?:model_index|generation_config)\.json|[a-z][a-z0-9_]*/(?:[a-z_]+\.json|merges\.txt)")
"""A folder's own files, and those of its components."""


def carry(folders: Mapping[str, Path], root: Path, tokenizers: Mapping[str, TokenizerBase]) -> str:
    """The entry for a checkpoint.

    Args:
        folders: its other components' folders by name.
        root: its own folder.
        tokenizers: those that differ from the published ones of their kind.
    """
    found: dict[str, object] = {}
    for component, folder in {**folders, "": root}.items():
        names = {"scheduler": ["scheduler_config.json"], "": [MODEL_INDEX, GENERATION_CONFIG_NAME]}
        for name in names.get(component, [CONFIG_NAME]):
            if (folder / name).is_file():
                content = read_config(folder, name)
                if name == MODEL_INDEX:  # the tensors show the components
                    content = {key: value for key, value in content.items() if isinstance(value, bool)}
                found[f"{component}/{name}".removeprefix("/")] = content
    for component, tokenizer in tokenizers.items():
        with tempfile.TemporaryDirectory() as written:
            tokenizer.save_pretrained(written)
            for path in Path(written).iterdir():
                is_json = path.suffix == ".json"
                found[f"{component}/{path.name}"] = read_json(path) if is_json else path.read_text(encoding="utf-8")
    return json.dumps(found, separators=(",", ":"), sort_keys=True)


def unpack(entry: str) -> "tempfile.TemporaryDirectory[str]":
    """A temporary folder with the files of an entry; it is deleted with the object.

    Raises:
        ValueError: the entry does not have the form that `carry` writes.
    """
    try:
        contents = json.loads(entry)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the entry {ENTRY} of its metadata is not JSON: {error}") from None
    if not isinstance(contents, dict):
        raise ValueError(f"the entry {ENTRY} of its metadata must hold files by their names, got {shown(contents)}")
    if strange := next((name for name in contents if not _PATH.fullmatch(name)), None):
        raise ValueError(f"the entry {ENTRY} of its metadata has no file {shown(strange)}; fetch the file again")
    folder = tempfile.TemporaryDirectory(prefix="mindone-configs-")
    for name, content in contents.items():
        path = Path(folder.name, name)
        path.parent.mkdir(exist_ok=True)
        text = content if isinstance(content, str) and path.suffix != ".json" else json.dumps(content)
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return folder
