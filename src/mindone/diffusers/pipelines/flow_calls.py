"""The shared arguments of families with T5 and flow matching; see `calls`."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..families.t5_texts import MOST_TOKENS
from . import checks
from .calls import Sigmas, Steps, argument
from .picture_calls import PictureArguments
from .xl_calls import Negative2, PooledEmbeds, Prompt2


def check_length(name: str, value: int) -> None:
    """Check how many tokens T5 reads."""
    checks.check_count(name, value)
    if value > MOST_TOKENS:
        raise ValueError(f"{name} must be at most {MOST_TOKENS}, got {value}")


def check_given(name: str, value: float) -> None:
    """Check for a finite number."""
    if value is None:
        raise ValueError(f"{name} must be a finite number, got None")
    checks.check_number(name, value)


@dataclass(frozen=True)
class JointAttention:
    """The scale of LoRAs."""

    joint_attention_kwargs: Mapping[str, object] | None = argument(
        None, '``{"scale": 0.5}`` halves the weight of unfused LoRAs in this call.'
    )


@dataclass(frozen=True)
class LongTexts:
    """How much of a prompt T5 reads."""

    max_sequence_length: int = argument(
        256,
        "how many tokens of a prompt T5 reads, up to 512; shorter prompts are padded to that, which costs time and "
        "memory at every step.",
        check_length,
    )


@dataclass(frozen=True)
class FlowSteps(Sigmas, Steps):
    """A number of steps, or your own noise levels."""


@dataclass(frozen=True)
class FlowArguments(LongTexts, JointAttention, PooledEmbeds, Negative2, Prompt2, PictureArguments):
    """The arguments of a call of any task."""

    @property
    def adapter_options(self) -> Mapping[str, object] | None:
        """See `Arguments`."""
        return self.joint_attention_kwargs
