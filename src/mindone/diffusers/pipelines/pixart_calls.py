"""The arguments of PixArt-α's and -Σ's calls; see `calls`."""

from dataclasses import dataclass

from ..families.captions import check_cleaning
from .calls import Adapters, Callbacks, GuidedPart, Output, argument
from .masked_calls import Binning, Cleaning, MaskedTexts, TextLength


@dataclass(frozen=True)
class SigmaCall(GuidedPart, Callbacks, Adapters, TextLength, Binning, Cleaning, Output, MaskedTexts):
    """Text-to-image."""

    clean_caption: bool | None = argument(
        None,
        "remove from prompts what was cleaned from the captions of the training data: addresses, markup, numbers of "
        "articles. Needs beautifulsoup4 and ftfy; None cleans if both are installed, as published. Otherwise "
        "prompts are only lower-cased.",
        check_cleaning,
    )


@dataclass(frozen=True)
class AlphaCall(SigmaCall):
    """The same with shorter texts."""

    max_sequence_length: int = 120
