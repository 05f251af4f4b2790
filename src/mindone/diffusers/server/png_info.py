"""The parameters in an uploaded PNG file, in the form of the well-known web user interface."""

from __future__ import annotations

from ..jobs.png import INFOTEXT, KEYWORD
from ..utils.infotext import parse_infotext
from .uploads import Upload


def parameters_of(upload: Upload) -> dict[str, object]:
    """``info``, the text of the parameters; ``items``, all text chunks; ``parameters``, the same under our names."""
    text = upload.texts.get(INFOTEXT, "")
    items = {name: value for name, value in upload.texts.items() if name != KEYWORD}
    return {"info": text, "items": items, "parameters": parse_infotext(text) if text else {}}
