"""Reads the parameters in an uploaded image file, in AUTOMATIC1111's format."""

from __future__ import annotations

import io
import json

from ..jobs.infotext import format_infotext
from ..jobs.png import INFOTEXT, KEYWORD, parameters_of, texts_in
from .refusals import Refusal


def png_info_of(content: bytes, field: str) -> dict[str, object]:
    """The parameters as text (``info``), as their text chunk (``items``) and under our names (``parameters``), without
    decoding pixels.

    Raises:
        Refusal: the file is not PNG, JPEG or WebP, is damaged, or holds more text than parameters have.
    """
    try:
        said = texts_in(io.BytesIO(content), field)
    except ValueError as error:
        raise Refusal(422, str(error), field) from None
    parameters = parameters_of(said) or {}
    # Version 0.1 wrote another text into the same chunk.
    text = format_infotext(parameters) if parameters and KEYWORD in said.texts else said.texts.get(INFOTEXT, "")
    items = {INFOTEXT: text} if text else {}
    return {"info": text, "items": items, "parameters": {**parameters, **_profile(said.texts.get(KEYWORD, "{}"))}}


def _profile(remembered: str) -> dict[str, object]:
    """The profile of an image of ours; AUTOMATIC1111 has no name for it."""
    try:
        about = json.loads(remembered)
    except (ValueError, RecursionError):
        return {}
    name = about.get("profile") if isinstance(about, dict) else None
    return {"profile": name} if isinstance(name, str) and name.isprintable() else {}
