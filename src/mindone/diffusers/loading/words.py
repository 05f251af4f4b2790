"""The things that a checkpoint's prompts can name, if its authors list them in ``words.txt`` beside its networks.

Each line is a name, then a tab and other words for it, separated by commas. General models need no list; the bundled
ones know only the labels that they were trained on.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..utils.printable import shown
from .hub import component_folder

WORDS = "words.txt"

Words = Mapping[str, Sequence[str]]
"""Each name, and other words for it."""

_BACKGROUND = re.compile(r"\bon an? [\w -]+ background\b")
_LETTERS = re.compile(r"[\w'-]+")


def known_words(root: Path) -> Words:
    """The names listed by the checkpoint in a folder, in its order; none for most checkpoints."""
    try:
        path = component_folder(root, "tokenizer").parent / WORDS
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    parts = (line.partition("\t") for line in lines if line.strip())
    return {name: others.split(", ") if others else [] for name, _, others in parts}


def names_any(prompt: str, words: Words) -> bool:
    """Whether a prompt contains one of the names or other words as a whole word."""
    text = _plain(_BACKGROUND.sub(" ", prompt.lower()))
    texts = (text, re.sub(r"s ", " ", text))  # "pandas" count, too
    return any(_plain(each) in text for name, others in words.items() for each in (name, *others) for text in texts)


def hint(model: str, prompt: str, words: Words) -> str | None:
    """One line for a prompt without any of a model's words; None for all others."""
    if not words or names_any(prompt, words):
        return None
    return (
        f"{model} knows {len(words):,} things and none of them is in {shown(prompt)}; "
        f"`mindone-diffusers models {model} --words` lists them"
    )


def _plain(text: str) -> str:
    return f" {' '.join(_LETTERS.findall(text.replace('’', chr(39))))} "
