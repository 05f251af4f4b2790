"""The arguments of PixArt-α's and -Σ's calls; see `calls`."""

from dataclasses import dataclass

from ..families.captions import check_cleaning
from .calls import (
    Adapters,
    Callbacks,
    Count,
    Embeds,
    Eta,
    Generator,
    GuidanceScale,
    GuidedPart,
    Latents,
    Negative,
    NegativeEmbeds,
    Output,
    OwnSteps,
    Prompt,
    Size,
    argument,
)
from .masked_calls import Binning, Cleaning, Masks, NegativeMasks, TextLength


@dataclass(frozen=True)
class SigmaCall(
    GuidedPart,
    Callbacks,
    Adapters,
    TextLength,
    Binning,
    Cleaning,
    Output,
    NegativeMasks,
    NegativeEmbeds,
    Masks,
    Embeds,
    Latents,
    Generator,
    Eta,
    Size,
    Count,
    GuidanceScale,
    OwnSteps,
    Negative,
    Prompt,
):
    """Text-to-image."""

    num_inference_steps: int = 20
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
