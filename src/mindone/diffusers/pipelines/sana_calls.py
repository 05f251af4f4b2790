"""The arguments of Sana's and SANA-Sprint's calls: groups and tasks; see `calls`."""

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
    Output,
    Prompt,
    Size,
    Steps,
    Timesteps,
    argument,
)
from .masked_calls import Binning, Cleaning, MaskedArguments, MaskedTexts, Masks, TextLength
from .picture_calls import Image, Strength

# ---- groups of arguments ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attention:
    """The scale of LoRAs."""

    attention_kwargs: Mapping[str, object] | None = argument(
        None, '``{"scale": 0.5}`` halves the weight of unfused LoRAs in this call.'
    )


@dataclass(frozen=True)
class PromptReading(TextLength):
    """The instruction before prompts."""

    complex_human_instruction: Sequence[str] | None = argument(
        INSTRUCTION,
        "lines that the text encoder reads before each prompt, but not before negative ones; the last line leads to "
        "the prompt. None or an empty list omits them.",
        checks.check_lines,
    )


@dataclass(frozen=True)
class Arc:
    """The positions of steps."""

    max_timesteps: float | None = argument(
        MAX_TIMESTEP,
        "the angle where the first step begins, up to π/2, pure noise; None with ``timesteps``.",
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
        """The defaults of the angles for numbers of steps other than two, or for your own steps."""
        own = given.get("timesteps") is not None
        evenly = {} if given.get("num_inference_steps", 2) == 2 and not own else {"intermediate_timesteps": None}
        return {**evenly, **({"max_timesteps": None} if own else {})}


@dataclass(frozen=True)
class Asked(PromptReading, Callbacks, Attention, Binning, Cleaning, Output):
    """The last arguments of all tasks."""


@dataclass(frozen=True)
class SprintAsked(Asked, Masks, Embeds, Latents, Generator, Eta, Size, Count):
    """The last arguments of SANA-Sprint's."""


@dataclass(frozen=True)
class SprintSteps(GuidanceScale, Arc, Timesteps, Steps, Prompt):
    """The first arguments of SANA-Sprint's."""

    num_inference_steps: int = 2


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SanaCall(GuidedPart, Asked, MaskedTexts):
    """Text-to-image."""


@dataclass(frozen=True)
class SprintCall(SprintAsked, SprintSteps):
    """Text-to-image in one to four steps."""


@dataclass(frozen=True)
class SprintImageCall(SprintAsked, Strength, Image, SprintSteps):
    """Image-to-image in one to four steps."""

    strength: float = 0.6


@dataclass(frozen=True)
class SanaArguments(PromptReading, Attention, MaskedArguments):
    """The arguments of a call of any task."""

    @property
    def adapter_options(self) -> Mapping[str, object] | None:
        """See `Arguments`."""
        return self.attention_kwargs


@dataclass(frozen=True)
class SprintArguments(Arc, SanaArguments):
    """The arguments of a SANA-Sprint call."""

    @property
    def layout_options(self) -> dict[str, object]:
        """See `Arguments`: the angles."""
        return {"max_timesteps": self.max_timesteps, "intermediate_timesteps": self.intermediate_timesteps}
