"""CLIP's own vocabulary, which every Stable Diffusion uses and no single file carries.

``merges.txt.gz`` holds the 48,894 merges of "Learning Transferable Visual Models From Natural Language Supervision"
(Radford et al. 2021) as OpenAI published them; the 49,408 tokens follow from them. See ``NOTICE`` for the licence.
"""

import functools
import gzip
from collections.abc import Iterable
from pathlib import Path

from ..tokenizer import CLIPTokenizer
from ..tokenizer_files import END, START, WORD_END

SIZE = 49_408
"""The tokens of the vocabulary, including start and end."""


def clip_tokenizer(pad_token: str = END) -> CLIPTokenizer:
    """The tokenizer of Stable Diffusion 1.x and of XL's first text encoder.

    Args:
        pad_token: ``"!"`` for Stable Diffusion 2.x and for XL's second text encoder.
    """
    merges = _merges()
    return CLIPTokenizer(numbered(map("".join, merges)), merges, special_tokens={"pad_token": pad_token})


def numbered(tokens: Iterable[str]) -> dict[str, int]:
    """The ids of a vocabulary of these tokens, between those of single letters and the start and end."""
    letters = _letters()
    every = [*letters, *(letter + WORD_END for letter in letters), *tokens, START, END]
    return {token: number for number, token in enumerate(every)}


@functools.cache
def _merges() -> list[tuple[str, str]]:
    text = gzip.decompress((Path(__file__).parent / "merges.txt.gz").read_bytes()).decode("utf-8")
    pairs = (line.split(" ") for line in text.splitlines()[1:])
    return [(first, second) for first, second in pairs]


def _letters() -> list[str]:
    """The characters for the 256 bytes in byte-level encoding (Radford et al. 2019, §2.2): itself if printable."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, printable), *(chr(256 + i) for i in range(256 - len(printable)))]
