"""Groups of arguments for calls whose texts come with a mask, PixArt's and Sana's; see `calls`."""

from dataclasses import dataclass

from ..engines import Array
from ..families.captions import check_cleaning
from . import checks
from .calls import (
    Count,
    Embeds,
    Eta,
    Generator,
    GuidanceScale,
    Latents,
    Negative,
    NegativeEmbeds,
    OwnSteps,
    Prompt,
    Size,
    argument,
)
from .picture_calls import PictureArguments


@dataclass(frozen=True)
class Masks:
    """The mask of embeddings: which tokens are words."""

    prompt_attention_mask: Array | None = argument(
        None, "goes with ``prompt_embeds``: 1 for words and 0 for padding, (prompts, tokens)."
    )


@dataclass(frozen=True)
class NegativeMasks:
    """The mask of negative embeddings."""

    negative_prompt_attention_mask: Array | None = argument(None, "goes with ``negative_prompt_embeds``, likewise.")


@dataclass(frozen=True)
class Cleaning:
    """Cleaning of the prompts."""

    clean_caption: bool | None = argument(
        False,
        "remove from prompts what was cleaned from the captions of the training data: addresses, markup, numbers of "
        "articles. Needs beautifulsoup4 and ftfy. Otherwise prompts are only lower-cased.",
        check_cleaning,
    )


@dataclass(frozen=True)
class Binning:
    """Binning of sizes."""

    use_resolution_binning: bool = argument(
        True,
        "generate at the training size with the nearest aspect ratio; the image is then resized "
        "and cropped to the requested size. Your own latents, without a height and width, keep their size.",
        checks.check_flag,
    )


@dataclass(frozen=True)
class TextLength:
    """The length of prompts."""

    max_sequence_length: int = argument(
        300, "how many tokens of a prompt to read; the rest is ignored.", checks.check_count
    )


@dataclass(frozen=True)
class MaskedTexts(
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
    """The first arguments of text-to-image with guidance."""

    num_inference_steps: int = 20


@dataclass(frozen=True)
class MaskedArguments(TextLength, Binning, Cleaning, NegativeMasks, Masks, PictureArguments):
    """The arguments of a call of any task."""
