"""PNG files that remember how they were made: the parameters travel in the file's text chunks."""

import json
import os
from collections.abc import Mapping
from typing import Any

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ..utils.files import atomic_write

KEYWORD = "mindone-diffusers"
"""The text chunk that holds the parameters as JSON; "parameters" holds them for people, as other tools do."""


def save_png(image: Image.Image, path: str | os.PathLike[str], parameters: Mapping[str, Any]) -> None:
    """Write ``image`` to ``path`` with ``parameters`` (JSON values) in its text chunks, completely or not at all."""
    chunks = PngInfo()
    chunks.add_itxt(KEYWORD, json.dumps(dict(parameters), ensure_ascii=False))
    chunks.add_itxt("parameters", _readable(parameters))
    with atomic_write(path) as file:
        image.save(file, format="PNG", pnginfo=chunks)


def read_parameters(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The parameters that `save_png` wrote into the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no PNG, or carries no parameters of ours.
    """
    try:
        with Image.open(path) as image:
            if image.format != "PNG":
                raise ValueError(f"{os.fspath(path)} is a {image.format} file; only PNG files carry their parameters")
            image.load()  # text chunks may stand behind the pixels
            text = getattr(image, "text", {}).get(KEYWORD)
    except FileNotFoundError:
        raise FileNotFoundError(f"no file {os.fspath(path)}") from None
    except UnidentifiedImageError:
        raise ValueError(f"{os.fspath(path)} is not an image") from None
    except SyntaxError as error:  # what Pillow raises for a broken PNG
        raise ValueError(f"{os.fspath(path)} is a damaged PNG: {error}") from None
    if text is None:
        raise ValueError(
            f"{os.fspath(path)} has no text chunk {KEYWORD!r}: it was not made by `mindone-diffusers generate`, or a "
            "program that saved it again dropped the parameters"
        )
    try:
        parameters = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"the parameters in {os.fspath(path)} are not valid JSON: {error.msg}") from None
    if not isinstance(parameters, dict):
        raise ValueError(f"the parameters in {os.fspath(path)} are no JSON object")
    return parameters


def _readable(parameters: Mapping[str, Any]) -> str:
    """The prompt on the first line, then one ``name: value`` a line."""
    lines = [str(parameters["prompt"])] if "prompt" in parameters else []
    lines += [f"{name}: {value}" for name, value in parameters.items() if name != "prompt" and value is not None]
    return "\n".join(lines)
