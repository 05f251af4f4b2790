"""Cleans captions like the training data of DeepFloyd IF; PixArt and Sana offer it for prompts.

It removes addresses, file names, nicknames, article numbers and shop phrases, and simplifies dashes and quotes.
"""

import html
import re
from urllib.parse import unquote_plus

from ..utils.extras import is_there
from ..utils.finite import check_flag

_ENDINGS = "png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4"
_DOMAIN = r"[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b\/?(?!@)"
_DASHES = (
    r"\u002D\u058A\u05BE\u1400\u1806\u2010-\u2015\u2E17\u2E1A\u2E3A\u2E3B\u2E40\u301C\u3030\u30A0\uFE31\uFE32\uFE58"
    r"\uFE63\uFF0D"
)
_BEFORE_MARKUP = (
    ("<person>", "person"),
    *((rf"\b((?:{scheme}:(?:\/{{1,3}}|[a-zA-Z0-9%])|{_DOMAIN}))", "") for scheme in ("https?", "www")),
)
_AFTER_MARKUP = (
    (r"@[\w\d]+\b", ""),
    (r"[\u31C0-\u9FFF]+", ""),
    (rf"[{_DASHES}]+", "-"),
    (r"[`´«»“”¨]", '"'),
    (r"[‘’]", "'"),
    (r"&quot;?", ""),
    (r"&amp", ""),
    (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", " "),
    (r"\d:\d\d\s+$", ""),
    (r"\\n", " "),
    (r"#\d{1,3}\b", ""),
    (r"#\d{5,}\b", ""),
    (r"\b\d{6,}\b", ""),
    (rf"[\S]+\.(?:{_ENDINGS})", ""),
    (r"[\"\']{2,}", '"'),
    (r"[\.]{2,}", " "),
    (r"[#®•©™&@·º½¾¿¡§~)(\]\[}{|\\/*]+", " "),
    (r"\s+\.\s+", " "),
)
_JOINTS = re.compile(r"[-_]")
_LAST = (
    (r"\b[a-zA-Z]{1,3}\d{3,15}\b", ""),
    (r"\b[a-zA-Z]+\d+[a-zA-Z]+\b", ""),
    (r"\b\d+[a-zA-Z]+\d+\b", ""),
    (r"(worldwide\s+)?(free\s+)?shipping", ""),
    (r"(free\s)?download(\sfree)?", ""),
    (r"\bclick\b\s(?:for|on)\s\w+", ""),
    (rf"\b(?:{_ENDINGS})(\simage[s]?)?", ""),
    (r"\bpage\s+\d+\b", ""),
    (r"\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b", " "),
    (r"\b\d+\.?\d*[xх×]\d+\.?\d*\b", ""),
    (r"\b\s+\:\s+", ": "),
    (r"(\D[,\./])\b", r"\1 "),
    (r"\s+", " "),
    (r"^[\"\']([\w\W]+)[\"\']$", r"\1"),
    (r"^[\'\_,\-\:;]", ""),
    (r"[\'\_,\-\:\-\+]$", ""),
    (r"^\.\S+$", ""),
)
"""Patterns and their replacements, in order."""


def can_clean() -> bool:
    """Whether the two packages for cleaning are installed."""
    return not _missing()


def _missing() -> list[str]:
    return [package for package in ("bs4", "ftfy") if not is_there(package)]


def check_cleaning(name: str, value: object) -> None:
    """Check for True, False or None, and if True for the two packages that read markup and repair encodings."""
    if value is not None:
        check_flag(name, value)
    if value and (missing := _missing()):
        raise ValueError(
            f"{name}=True needs {' and '.join(missing)}: pip install beautifulsoup4 ftfy, or leave it out to "
            "read prompts unchanged"
        )


def cleaned(caption: str) -> str:
    """A cleaned caption, as networks trained on cleaned ones expect; cleaned twice, as in training."""
    return _cleaned(_cleaned(caption))


def _cleaned(caption: str) -> str:
    from bs4 import BeautifulSoup
    from ftfy import fix_text

    text = _replaced(unquote_plus(caption).strip().lower(), _BEFORE_MARKUP)
    text = _replaced(BeautifulSoup(text, features="html.parser").text, _AFTER_MARKUP)
    if len(_JOINTS.findall(text)) > 3:
        text = _JOINTS.sub(" ", text)
    return _replaced(html.unescape(html.unescape(fix_text(text))), _LAST).strip()


def _replaced(text: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, instead in rules:
        text = re.sub(pattern, instead, text)
    return text
