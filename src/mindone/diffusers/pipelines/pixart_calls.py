"""What a call of PixArt-α or -Σ may be asked; see `calls`."""

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
    """A text to images."""

    num_inference_steps: int = 20
    clean_caption: bool | None = argument(
        None,
        "leave out of prompts what captions of the training data were cleaned of: addresses, markup, numbers of "
        "articles. It needs beautifulsoup4 and ftfy; None cleans where both are installed, as published. Otherwise "
        "prompts are only brought to lower case.",
        check_cleaning,
    )


@dataclass(frozen=True)
class AlphaCall(SigmaCall):
    """The same with shorter texts."""

    max_sequence_length: int = 120
