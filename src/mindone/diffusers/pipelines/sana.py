"""Sana, and SANA-Sprint, which is distilled from it: text to image with linear attention (Xie et al. 2024)."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ..engines import Array
from ..families.components import CausalTextEncoder, TextTokenizer
from ..families.sana.family import SANA, SANA_SPRINT
from ..families.sana.prompts import INSTRUCTION, Reading, encode_texts
from ..lazy import look_up
from ..published_paths import exported
from ..utils import logging
from . import checks
from .calls import Arguments, Texts
from .loop import Run, repeat_each
from .output import ImagePipelineOutput
from .pipeline import constructor
from .published import OfRuns, PublishedPipeline
from .published_sana import SanaTransformer2DModel
from .sana_calls import SanaArguments, SanaCall, SprintArguments, SprintCall, SprintImageCall
from .sana_starts import ArcImage, ArcNoise, BinnedNoise
from .stages import published

logger = logging.get_logger(__name__)

_TRAINED_GUIDANCE = (4.0, 5.0)
"""Guidance scales that SANA-Sprint was distilled with, from the first to the second."""
_MOST_STEPS = 4


class SanaPipeline(PublishedPipeline):
    """A text to images: ``pipe("a cyberpunk cat with a neon sign that says Sana").images[0]``.

    Gemma 2 reads the prompt, a transformer denoises, and an autoencoder of factor 32 decodes.
    """

    family = SANA
    required_components: ClassVar[tuple[str, ...]] = SANA.required
    arguments = SanaArguments
    callback_tensors: ClassVar[tuple[str, ...]] = (
        "latents",
        "prompt_embeds",
        "prompt_attention_mask",
        "negative_prompt_embeds",
    )
    """What a step callback may ask for and replace."""

    transformer: SanaTransformer2DModel
    text_encoder: CausalTextEncoder | None
    tokenizer: TextTokenizer | None

    __init__ = constructor(SANA.required, (), {})

    attention_kwargs = OfRuns[object]("cross_attention_kwargs", "What the run passes to adapters.")

    def unread(self, prompt: str, negative_prompt: str) -> list[str | None]:
        """See `Pipeline`."""
        return _unread(self.tokenizer, (Reading(INSTRUCTION), prompt), (Reading(), negative_prompt))

    def check(self, call: Arguments) -> None:
        """See `Pipeline`: embeddings with their masks, and a transformer of the right kind."""
        assert isinstance(call, SanaArguments)
        _check_masks("", call.prompt_embeds, call.prompt_attention_mask)
        _check_masks("negative_", call.negative_prompt_embeds, call.negative_prompt_attention_mask)
        _check_embeds(self, prompt_embeds=call.prompt_embeds, negative_prompt_embeds=call.negative_prompt_embeds)
        if self.denoiser.config.get("guidance_embeds"):
            raise ValueError(
                "the transformer reads a guidance scale (guidance_embeds in its config); SanaSprintPipeline is for it"
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
        """Embeddings and mask of the prompts, then those of the negative ones, which are None without guidance.

        All are native arrays of the engine: (prompts · num_images_per_prompt, tokens, channels) and
        (prompts · num_images_per_prompt, tokens); images of one prompt stand side by side. Only prompts follow
        ``complex_human_instruction``. ``device`` and ``lora_scale`` are taken for published scripts, and not needed:
        LoRAs change the transformer alone.
        """
        count = checks.check_prompts(prompt, prompt_embeds, negative_prompt or None, negative_prompt_embeds)
        _check_masks("", prompt_embeds, prompt_attention_mask)
        _check_masks("negative_", negative_prompt_embeds, negative_prompt_attention_mask)
        reading = Reading(complex_human_instruction, max_sequence_length, clean_caption)
        read = _read(self, prompt, count, prompt_embeds, prompt_attention_mask, reading)
        embeds, mask = (repeat_each(self.engine, x, num_images_per_prompt) for x in read)
        if not do_classifier_free_guidance:
            return embeds, mask, None, None
        reading = Reading(None, max_sequence_length, clean_caption)
        given = negative_prompt_embeds, negative_prompt_attention_mask
        read = _read(self, negative_prompt, count, *given, reading)
        checks.check_lengths(embeds, read[0])
        negative, negative_mask = (repeat_each(self.engine, x, num_images_per_prompt) for x in read)
        return embeds, mask, negative, negative_mask

    def condition(self, run: Run, call: Arguments, height: int, width: int) -> None:
        """Tell the run what its network is conditioned on: the text, and what of it is padding."""
        assert isinstance(call, SanaArguments)
        embeds, mask, negative, negative_mask = self.encode_prompt(
            call.prompt,
            run.do_classifier_free_guidance,
            call.negative_prompt,
            call.num_images_per_prompt,
            None,
            call.prompt_embeds,
            call.negative_prompt_embeds,
            call.prompt_attention_mask,
            call.negative_prompt_attention_mask,
            call.clean_caption,
            call.max_sequence_length,
            call.complex_human_instruction,
        )
        run.condition_on(
            prompt_embeds=run.rows_of(embeds, negative),
            prompt_attention_mask=run.rows_of(mask, negative_mask),
            negative_prompt_embeds=negative,
        )

    __call__ = published(SanaCall, BinnedNoise, ImagePipelineOutput)


class SanaSprint(PublishedPipeline):
    """The same with networks that are distilled to generate in 1 to 4 steps, guidance built in (Chen et al. 2025)."""

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
        return _unread(self.tokenizer, (Reading(INSTRUCTION), prompt))

    def check(self, call: Arguments) -> None:
        """See `Pipeline`: embeddings with their mask, a transformer of the right kind, and steps that it can take."""
        assert isinstance(call, SprintArguments)
        _check_masks("", call.prompt_embeds, call.prompt_attention_mask)
        _check_embeds(self, prompt_embeds=call.prompt_embeds)
        if not self.denoiser.config.get("guidance_embeds"):
            raise ValueError(
                "the transformer reads no guidance scale (guidance_embeds in its config); SanaPipeline is for it"
            )
        scale, (least, most) = self.choose_guidance_scale(call.guidance_scale), _TRAINED_GUIDANCE
        if call.timesteps is None and call.intermediate_timesteps is not None and call.num_inference_steps != 2:
            raise ValueError(
                f"intermediate_timesteps={call.intermediate_timesteps:g} is for num_inference_steps=2, got "
                f"{call.num_inference_steps}; leave it out, or pass None"
            )
        if call.timesteps is not None and (call.max_timesteps, call.intermediate_timesteps) != (None, None):
            raise ValueError("timesteps take the place of max_timesteps and intermediate_timesteps; pass those as None")
        if call.timesteps is None and call.max_timesteps is None:
            raise ValueError("max_timesteps is None, and so no step begins anywhere; leave it out, or pass timesteps")
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
        count = checks.check_prompts(prompt, prompt_embeds, None, None)
        _check_masks("", prompt_embeds, prompt_attention_mask)
        reading = Reading(complex_human_instruction, max_sequence_length, clean_caption)
        both = _read(self, prompt, count, prompt_embeds, prompt_attention_mask, reading)
        embeds, mask = (repeat_each(self.engine, x, num_images_per_prompt) for x in both)
        return embeds, mask

    def condition(self, run: Run, call: Arguments, height: int, width: int) -> None:
        """Tell the run what its network is conditioned on: the text, what of it is padding, and the guidance scale."""
        assert isinstance(call, SprintArguments)
        embeds, mask = self.encode_prompt(
            call.prompt,
            call.num_images_per_prompt,
            None,
            call.prompt_embeds,
            call.prompt_attention_mask,
            call.clean_caption,
            call.max_sequence_length,
            call.complex_human_instruction,
        )
        scale = run.settings.guidance_scale * float(self.denoiser.config["guidance_embeds_scale"])
        run.tensors |= {
            "prompt_embeds": embeds,
            "prompt_attention_mask": mask,
            "guidance": run.engine.asarray(np.full(embeds.shape[0], scale, np.float32)),
        }


class SanaSprintPipeline(SanaSprint):
    """A text to images: ``pipe("a tiny astronaut hatching from an egg on the moon").images[0]``."""

    __call__ = published(SprintCall, ArcNoise, ImagePipelineOutput)


class SanaSprintImg2ImgPipeline(SanaSprint):
    """A text and a picture to pictures: ``pipe("a cute pink bear", image=photo, strength=0.5).images[0]``."""

    __call__ = published(SprintImageCall, ArcImage, ImagePipelineOutput)


def _unread(tokenizer: TextTokenizer | None, *texts: tuple[Reading, str]) -> list[str | None]:
    """A sentence for each text that is longer than what is read of it."""
    if tokenizer is None:
        return []
    return [reading.lost(tokenizer, reading.ids(tokenizer, text)) for reading, text in texts]


def _read(
    pipe: SanaPipeline | SanaSprint,
    texts: Texts,
    count: int,
    embeds: Array | None,
    mask: Array | None,
    reading: Reading,
) -> tuple[Array, Array]:
    """Embeddings and mask of texts, one row each, or those that are given."""
    if embeds is not None and mask is not None:
        return pipe.engine.asarray(embeds), pipe.engine.asarray(mask)
    network, tokenizer = pipe.text_encoder, pipe.tokenizer
    if network is None or tokenizer is None:
        name = "text_encoder" if network is None else "tokenizer"
        raise ValueError(
            f"the pipeline's {name} is None, so that it reads no texts; pass prompt_embeds and prompt_attention_mask, "
            "under guidance the negative ones too, or set one"
        )
    return encode_texts(pipe.engine, network, tokenizer, checks.as_list(texts, count), reading)


def _check_embeds(pipe: SanaPipeline | SanaSprint, **given: Array | None) -> None:
    channels = pipe.denoiser.config["caption_channels"]
    for name, embeds in given.items():
        if embeds is not None and embeds.shape[-1] != channels:
            raise ValueError(
                f"{name} must have the {channels} channels that the transformer reads, got {embeds.shape[-1]}"
            )


def _check_masks(prefix: str, embeds: Array | None, mask: Array | None) -> None:
    if (embeds is None) != (mask is None):
        raise ValueError(f"{prefix}prompt_embeds and {prefix}prompt_attention_mask go together; pass both or neither")
    if mask is not None and not hasattr(mask, "shape"):
        raise ValueError(f"{prefix}prompt_attention_mask must be an array (prompts, tokens), got {type(mask).__name__}")
    if embeds is not None and mask is not None and tuple(mask.shape) != tuple(embeds.shape[:2]):
        raise ValueError(
            f"{prefix}prompt_attention_mask must have the shape {tuple(embeds.shape[:2])} of {prefix}prompt_embeds "
            f"without channels, got {tuple(mask.shape)}"
        )


def __getattr__(name: str) -> object:
    """What the published package of this module's name exports besides."""
    return look_up(__name__, exported(__name__), name)
