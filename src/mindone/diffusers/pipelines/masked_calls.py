"""What calls may be asked whose texts come with a mask, PixArt's and Sana's: groups of arguments; see `calls`."""

from dataclasses import dataclass

from ..engines import Array
from ..families.captions import check_cleaning
from . import checks
from .calls import argument
from .picture_calls import PictureArguments


@dataclass(frozen=True)
class Masks:
    """Which tokens of embeddings are words."""

    prompt_attention_mask: Array | None = argument(
        None, "goes with ``prompt_embeds``: 1 for words and 0 for padding, (prompts, tokens)."
    )


@dataclass(frozen=True)
class NegativeMasks:
    """The same of negative ones."""

    negative_prompt_attention_mask: Array | None = argument(None, "goes with ``negative_prompt_embeds``, likewise.")


@dataclass(frozen=True)
class Cleaning:
    """Of the prompts."""

    clean_caption: bool | None = argument(
        False,
        "leave out of prompts what captions of the training data were cleaned of: addresses, markup, numbers of "
        "articles. It needs beautifulsoup4 and ftfy. Otherwise prompts are only brought to lower case.",
        check_cleaning,
    )


@dataclass(frozen=True)
class Binning:
    """Of sizes."""

    use_resolution_binning: bool = argument(
        True,
        "draw at the size, of those the network was trained on, whose aspect ratio is nearest; the image is resized "
        "and cropped to the size asked for. Latents of your own, without a height and width, are drawn as they are.",
    )


@dataclass(frozen=True)
class TextLength:
    """How much of prompts is read."""

    max_sequence_length: int = argument(
        300, "tokens of a prompt that are read; what is beyond is ignored.", checks.check_count
    )


@dataclass(frozen=True)
class MaskedArguments(TextLength, Binning, Cleaning, NegativeMasks, Masks, PictureArguments):
    """What a call has been asked, whatever its task."""
