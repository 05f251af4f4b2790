"""The parameters in an uploaded PNG file, in the form of the well-known web user interface."""

from __future__ import annotations

import json

from ..jobs.png import INFOTEXT, KEYWORD
from ..utils.infotext import parse_infotext
from .uploads import Upload


def parameters_of(upload: Upload) -> dict[str, object]:
    """``info``, the text of the parameters; ``items``, all text chunks; ``parameters``, the same under our names."""
    text = upload.texts.get(INFOTEXT, "")
    items = {name: value for name, value in upload.texts.items() if name != KEYWORD}
    parameters = parse_infotext(text) if text else {}
    return {"info": text, "items": items, "parameters": {**parameters, **_profile(upload.texts.get(KEYWORD, "{}"))}}


def _profile(remembered: str) -> dict[str, object]:
    """The profile that an image of ours was drawn with, for which that interface has no word."""
    try:
        about = json.loads(remembered)
    except (ValueError, RecursionError):
        return {}
    name = about.get("profile") if isinstance(about, dict) else None
    return {"profile": name} if isinstance(name, str) else {}
