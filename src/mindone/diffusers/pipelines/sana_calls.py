"""What a call of Sana or SANA-Sprint may be asked: their groups of arguments, and their tasks; see `calls`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..families.sana.prompts import INSTRUCTION
from ..schedulers.scm import INTERMEDIATE_TIMESTEP, MAX_TIMESTEP
from . import checks
from .calls import (
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
    Steps,
    Timesteps,
    argument,
)
from .masked_calls import Binning, Cleaning, MaskedArguments, Masks, NegativeMasks, TextLength
from .picture_calls import Image, Strength

# ---- groups of arguments ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attention:
    """For LoRAs."""

    attention_kwargs: Mapping[str, object] | None = argument(
        None, '``{"scale": 0.5}`` for this call has LoRAs that are not fused count half as much.'
    )


@dataclass(frozen=True)
class PromptReading(TextLength):
    """How prompts are read."""

    complex_human_instruction: Sequence[str] | None = argument(
        INSTRUCTION,
        "lines that the text encoder reads before each prompt, but no negative one; the last of them leads over to "
        "it. None or an empty list leaves them out.",
        checks.check_lines,
    )


@dataclass(frozen=True)
class Arc:
    """Where steps are."""

    max_timesteps: float | None = argument(
        MAX_TIMESTEP,
        "the angle where the first step begins, up to π/2, which is noise; None with ``timesteps``.",
        checks.check_number,
    )
    intermediate_timesteps: float | None = argument(
        INTERMEDIATE_TIMESTEP,
        "the angle where the second of two steps begins. Other numbers of steps are spaced evenly, as two are with "
        "None.",
        checks.check_number,
    )

    @classmethod
    def implied(cls, given: Mapping[str, object]) -> dict[str, object]:
        """Angles that the published defaults leave for other numbers of steps than two, or for steps of one's own."""
        own = given.get("timesteps") is not None
        evenly = {} if given.get("num_inference_steps", 2) == 2 and not own else {"intermediate_timesteps": None}
        return {**evenly, **({"max_timesteps": None} if own else {})}


@dataclass(frozen=True)
class Asked(PromptReading, Callbacks, Attention, Binning, Cleaning, Output):
    """What all tasks end with."""


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SanaCall(
    GuidedPart,
    Asked,
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


@dataclass(frozen=True)
class SprintCall(
    Asked, Masks, Embeds, Latents, Generator, Eta, Size, Count, GuidanceScale, Arc, Timesteps, Steps, Prompt
):
    """A text to images, in one to four steps."""

    num_inference_steps: int = 2


@dataclass(frozen=True)
class SprintImageCall(
    Asked,
    Masks,
    Embeds,
    Latents,
    Generator,
    Eta,
    Size,
    Count,
    Strength,
    Image,
    GuidanceScale,
    Arc,
    Timesteps,
    Steps,
    Prompt,
):
    """A text and a picture to images, in one to four steps."""

    num_inference_steps: int = 2
    strength: float = 0.6


@dataclass(frozen=True)
class SanaArguments(PromptReading, Attention, MaskedArguments):
    """What a call has been asked, whatever its task."""

    @property
    def adapter_options(self) -> Mapping[str, object] | None:
        """See `Arguments`."""
        return self.attention_kwargs


@dataclass(frozen=True)
class SprintArguments(Arc, SanaArguments):
    """What a call of SANA-Sprint has been asked."""

    @property
    def layout_options(self) -> dict[str, object]:
        """See `Arguments`: the angles."""
        return {"max_timesteps": self.max_timesteps, "intermediate_timesteps": self.intermediate_timesteps}
