"""``report.html``: one file that opens from disk, with its style, its charts and its images inside."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from . import wording
from .wording import JsonObject

Images = Mapping[str, NDArray[np.uint8] | None]
"""uint8 (images, height, width, 3) by set-up."""

_FOLDER = Path(__file__).parent


def render(data: JsonObject, images: Sequence[Images]) -> str:
    """The page, from ``page.html``, the content of ``report.json``, and for each table the images of its rows."""
    pages = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)
    pages.filters |= {"sum_of": lambda stages: sum(stages.values()), "data_address": data_address}
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    tables = list(zip(data["tables"], images))
    return pages.get_template("page.html").render(data=data, tables=tables, style=style, wording=wording)


def data_address(image: NDArray[np.uint8]) -> str:
    """An image as a data URL."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
