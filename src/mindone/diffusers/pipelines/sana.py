"""Sana, and SANA-Sprint, which is distilled from it: text-to-image with linear attention (Xie et al. 2024)."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ..engines import Array
from ..families.components import CausalTextEncoder, TextTokenizer
from ..families.sana.family import SANA, SANA_SPRINT
from ..families.sana.prompts import INSTRUCTION, Reading
from ..families.sana.transformer import SanaTransformer2DModel
from ..lazy import look_up
from ..published_paths import exported
from ..utils import logging
from .binning import BinnedNoise
from .calls import Arguments, Texts
from .loop import Run
from .masked_texts import CALLBACK_TENSORS, Given, check_texts, condition, encode_texts, unread
from .output import ImagePipelineOutput
from .pipeline import constructor
from .published import OfRuns, PublishedPipeline
from .sana_calls import SanaArguments, SanaCall, SprintArguments, SprintCall, SprintImageCall
from .sana_starts import ArcImage, ArcNoise
from .stages import published

logger = logging.get_logger(__name__)

_TRAINED_GUIDANCE = (4.0, 5.0)
"""The range of guidance scales in SANA-Sprint's distillation."""
_MOST_STEPS = 4


class SanaPipeline(PublishedPipeline):
    """Text-to-image: ``pipe("a cyberpunk cat with a neon sign that says Sana").images[0]``.

    Gemma 2 reads the prompt, a transformer denoises, and an autoencoder with factor 32 decodes.
    """

    family = SANA
    required_components: ClassVar[tuple[str, ...]] = SANA.required
    arguments = SanaArguments
    callback_tensors: ClassVar[tuple[str, ...]] = CALLBACK_TENSORS
    """What a step callback may ask for and replace."""

    transformer: SanaTransformer2DModel
    text_encoder: CausalTextEncoder | None
    tokenizer: TextTokenizer | None

    __init__ = constructor(SANA.required, (), {})

    attention_kwargs = OfRuns[object]("cross_attention_kwargs", "What the run passes to adapters.")

    def unread(self, prompt: str, negative_prompt: str) -> list[str | None]:
        """See `Pipeline`."""
        return unread(self.tokenizer, (Reading(instruction=INSTRUCTION), prompt), (Reading(), negative_prompt))

    def check(self, call: Arguments) -> None:
        """See `Pipeline`: embeddings with their masks, and a transformer of the right kind."""
        assert isinstance(call, SanaArguments)
        check_texts(self, call)
        if self.denoiser.config.get("guidance_embeds"):
            raise ValueError(
                "the transformer reads a guidance scale (guidance_embeds in its config); use SanaSprintPipeline"
            )

    def encode_prompt(
        self,
        prompt: Texts = None,
        do_classifier_free_guidance: bool = True,
        negative_prompt: Texts = "",
        num_images_per_prompt: int = 1,
        device: object = None,
        prompt_embeds: Array | None = None,
        negative_prompt_embeds: Array | None = None,
        prompt_attention_mask: Array | None = None,
        negative_prompt_attention_mask: Array | None = None,
        clean_caption: bool = False,
        max_sequence_length: int = 300,
        complex_human_instruction: Sequence[str] | None = None,
        lora_scale: float | None = None,
    ) -> tuple[Array, Array, Array | None, Array | None]:
        """Embeddings and mask of the prompts, then those of the negative prompts, None without guidance.

        All are the engine's arrays: (prompts · num_images_per_prompt, tokens, channels) and (prompts ·
        num_images_per_prompt, tokens); images of one prompt are adjacent. ``complex_human_instruction`` precedes only
        prompts, not negative ones. ``device`` and ``lora_scale`` are accepted for published scripts and ignored: LoRAs
        change only the transformer.
        """
        rest, negative = (max_sequence_length, clean_caption), None
        if do_classifier_free_guidance:
            given = negative_prompt_embeds, negative_prompt_attention_mask
            negative = Given(negative_prompt, *given, Reading(*rest))
        reading = Reading(*rest, complex_human_instruction)
        prompts = Given(prompt, prompt_embeds, prompt_attention_mask, reading)
        return encode_texts(self, prompts, negative, num_images_per_prompt)

    def condition(self, run: Run, call: Arguments, height: int, width: int) -> None:
        """Give the run its network's conditions: the text and its mask.

        The instruction precedes only prompts, not negative ones.
        """
        assert isinstance(call, SanaArguments)
        rest = call.max_sequence_length, bool(call.clean_caption)
        condition(run, call, Reading(*rest, call.complex_human_instruction), Reading(*rest))

    __call__ = published(SanaCall, BinnedNoise, ImagePipelineOutput)


class SanaSprint(PublishedPipeline):
    """The same with networks distilled to generate in 1 to 4 steps, with built-in guidance (Chen et al. 2025)."""

    family = SANA_SPRINT
    required_components: ClassVar[tuple[str, ...]] = SANA_SPRINT.required
    arguments = SprintArguments
    takes_negative_prompts = False
    callback_tensors: ClassVar[tuple[str, ...]] = ("latents", "prompt_embeds", "prompt_attention_mask")
    """What a step callback may ask for and replace."""

    transformer: SanaTransformer2DModel
    text_encoder: CausalTextEncoder | None
    tokenizer: TextTokenizer | None

    __init__ = constructor(SANA_SPRINT.required, (), {})

    attention_kwargs = OfRuns[object]("cross_attention_kwargs", "What the run passes to adapters.")

    def unread(self, prompt: str, negative_prompt: str) -> list[str | None]:
        """See `Pipeline`."""
        return unread(self.tokenizer, (Reading(instruction=INSTRUCTION), prompt))

    def check(self, call: Arguments) -> None:
        """See `Pipeline`: embeddings with their mask, a transformer of the right kind, and steps that it can take."""
        assert isinstance(call, SprintArguments)
        check_texts(self, call)
        if not self.denoiser.config.get("guidance_embeds"):
            raise ValueError(
                "the transformer reads no guidance scale (guidance_embeds in its config); use SanaPipeline"
            )
        scale, (least, most) = self.choose_guidance_scale(call.guidance_scale), _TRAINED_GUIDANCE
        if call.timesteps is None and call.intermediate_timesteps is not None and call.num_inference_steps != 2:
            raise ValueError(
                f"intermediate_timesteps={call.intermediate_timesteps:g} is for num_inference_steps=2, got "
                f"{call.num_inference_steps}; leave it out, or pass None"
            )
        if call.timesteps is not None and (call.max_timesteps, call.intermediate_timesteps) != (None, None):
            raise ValueError("timesteps replace max_timesteps and intermediate_timesteps; pass those as None")
        if call.timesteps is None and call.max_timesteps is None:
            raise ValueError("max_timesteps is None, so no step has a start; leave it out, or pass timesteps")
        if not least <= scale <= most:
            logger.warning(f"SANA-Sprint was distilled with guidance scales from {least} to {most}, got {scale:g}")
        if isinstance(call.num_inference_steps, int) and call.num_inference_steps > _MOST_STEPS:
            logger.warning(
                f"SANA-Sprint was distilled to generate in 1 to {_MOST_STEPS} steps, got {call.num_inference_steps}: "
                "more take longer and add nothing"
            )

    def encode_prompt(
        self,
        prompt: Texts = None,
        num_images_per_prompt: int = 1,
        device: object = None,
        prompt_embeds: Array | None = None,
        prompt_attention_mask: Array | None = None,
        clean_caption: bool = False,
        max_sequence_length: int = 300,
        complex_human_instruction: Sequence[str] | None = None,
        lora_scale: float | None = None,
    ) -> tuple[Array, Array]:
        """Embeddings and mask of the prompts; see `SanaPipeline.encode_prompt`."""
        reading = Reading(max_sequence_length, clean_caption, complex_human_instruction)
        given = Given(prompt, prompt_embeds, prompt_attention_mask, reading)
        return encode_texts(self, given, None, num_images_per_prompt)[:2]

    def condition(self, run: Run, call: Arguments, height: int, width: int) -> None:
        """Give the run its network's conditions: the text, its mask, and the guidance scale."""
        assert isinstance(call, SprintArguments)
        clean = bool(call.clean_caption)
        condition(run, call, Reading(call.max_sequence_length, clean, call.complex_human_instruction), None)
        scale = run.settings.guidance_scale * float(self.denoiser.config["guidance_embeds_scale"])
        rows = run.tensors["prompt_embeds"].shape[0]
        run.tensors["guidance"] = run.engine.asarray(np.full(rows, scale, np.float32))


class SanaSprintPipeline(SanaSprint):
    """Text-to-image: ``pipe("a tiny astronaut hatching from an egg on the moon").images[0]``."""

    __call__ = published(SprintCall, ArcNoise, ImagePipelineOutput)


class SanaSprintImg2ImgPipeline(SanaSprint):
    """Image-to-image: ``pipe("a cute pink bear", image=photo, strength=0.5).images[0]``."""

    __call__ = published(SprintImageCall, ArcImage, ImagePipelineOutput)


def __getattr__(name: str) -> object:
    """Further exports of the published package of this name."""
    return look_up(__name__, exported(__name__), name)
