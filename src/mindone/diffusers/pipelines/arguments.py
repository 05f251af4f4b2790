"""What a call says, in the groups that belong together: whatever a pipeline starts from, they are read alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..engines import Array
from ..schedulers.base import Generators
from . import checks
from .callbacks import inputs_of
from .run import Interval, Run, StepCallback

Texts = str | list[str] | None


class Conditions(Protocol):
    """What the network is to be conditioned on."""

    @property
    def cross_attention_kwargs(self) -> Mapping[str, object] | None:
        """What adapters are told."""

    def count_images(self) -> int:
        """How many images are asked for. Raises ValueError where the texts are wrong."""

    def apply(self, run: Run, height: int, width: int) -> None:
        """Encode it, and tell the run; the size is that of the images in pixels."""


@dataclass(frozen=True)
class Prompts:
    """Texts or embeddings for Stable Diffusion; the fields are arguments of `StableDiffusionPipeline.__call__`."""

    prompt: Texts
    negative_prompt: Texts
    prompt_embeds: Array
    negative_prompt_embeds: Array
    clip_skip: int | None
    num_images_per_prompt: int
    cross_attention_kwargs: Mapping[str, object] | None

    def count_images(self) -> int:
        """See `Conditions`."""
        checks.check_count("num_images_per_prompt", self.num_images_per_prompt)
        embeds = (self.prompt_embeds, self.negative_prompt, self.negative_prompt_embeds)
        return checks.check_prompts(self.prompt, *embeds) * self.num_images_per_prompt

    def apply(self, run: Run, height: int, width: int) -> None:
        """See `Conditions`."""
        run.settings.clip_skip = self.clip_skip
        embeds = run.pipe.encode_prompt(
            self.prompt,
            self.num_images_per_prompt,
            run.do_classifier_free_guidance,
            self.negative_prompt,
            self.prompt_embeds,
            self.negative_prompt_embeds,
            self.clip_skip,
        )
        run.pipe._condition(run, *embeds)


@dataclass(frozen=True)
class Sampling:
    """How to go from noise to image."""

    num_inference_steps: int
    timesteps: Sequence[float] | None
    sigmas: Sequence[float] | None
    eta: float
    generator: Generators
    original_inference_steps: int | None = None
    """Of a latent consistency model: the steps of its distillation, where they are not those of the config."""


@dataclass(frozen=True)
class GuidanceOptions:
    """How closely to follow the text."""

    scale: float | None
    interval: Interval
    rescale: float = 0.0
    image_scale: float | None = None
    """How closely to follow a picture that is edited; None where there is none."""


@dataclass(frozen=True)
class Report:
    """What the caller gets to see, during the run and after it."""

    output_type: str
    callback_on_step_end: StepCallback | None
    callback_on_step_end_tensor_inputs: Sequence[str]

    @property
    def callback_tensors(self) -> Sequence[str]:
        """The tensors that the callback is shown."""
        return inputs_of(self.callback_on_step_end, self.callback_on_step_end_tensor_inputs)
