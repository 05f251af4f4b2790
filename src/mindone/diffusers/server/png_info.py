"""The parameters in an uploaded image file, in AUTOMATIC1111's form."""

from __future__ import annotations

import io
import json

from ..jobs.infotext import format_infotext
from ..jobs.png import INFOTEXT, KEYWORD, parameters_of, texts_in
from .refusals import Refusal


def png_info_of(content: bytes, field: str) -> dict[str, object]:
    """``info``, the text of the parameters; ``items``, the text chunk that it stands in; ``parameters``, the same under
    our names. Pixels are not decoded.

    Raises:
        Refusal: it is no PNG, JPEG or WebP file, is damaged, or holds more text than parameters have.
    """
    try:
        said = texts_in(io.BytesIO(content), field)
    except ValueError as error:
        raise Refusal(422, str(error), field) from None
    parameters = parameters_of(said) or {}
    # Version 0.1 wrote a text of its own into the same chunk.
    text = format_infotext(parameters) if parameters and KEYWORD in said.texts else said.texts.get(INFOTEXT, "")
    items = {INFOTEXT: text} if text else {}
    return {"info": text, "items": items, "parameters": {**parameters, **_profile(said.texts.get(KEYWORD, "{}"))}}


def _profile(remembered: str) -> dict[str, object]:
    """The profile that an image of ours was drawn with, for which AUTOMATIC1111 has no name."""
    try:
        about = json.loads(remembered)
    except (ValueError, RecursionError):
        return {}
    name = about.get("profile") if isinstance(about, dict) else None
    return {"profile": name} if isinstance(name, str) and name.isprintable() else {}
