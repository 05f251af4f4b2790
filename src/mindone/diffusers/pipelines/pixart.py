"""PixArt-α and PixArt-Σ: text-to-image with a small transformer that reads T5's texts (Chen et al. 2023, 2024)."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ..engines import Array
from ..families.captions import can_clean
from ..families.components import LanguageModel, TextTokenizer
from ..families.pixart.family import PIXART_ALPHA, PIXART_SIGMA
from ..families.pixart.prompts import PixArtReading
from ..families.pixart.transformer import PixArtTransformer2DModel
from .binning import BinnedNoise
from .calls import Arguments, Texts
from .loop import Run
from .masked_calls import MaskedArguments
from .masked_texts import CALLBACK_TENSORS, Given, check_texts, condition, encode_texts, unread
from .output import ImagePipelineOutput
from .pipeline import constructor
from .pixart_calls import AlphaCall, SigmaCall
from .published import PublishedPipeline
from .stages import published

_ORDER = ("tokenizer", "text_encoder", "vae", "transformer", "scheduler")


class PixArt(PublishedPipeline):
    """The base of both: T5 reads the prompt, a transformer denoises, and Stable Diffusion's autoencoder decodes."""

    required_components: ClassVar[tuple[str, ...]] = PIXART_SIGMA.required
    optional_components: ClassVar[tuple[str, ...]] = PIXART_SIGMA.optional
    arguments: ClassVar[type[Arguments]] = MaskedArguments
    callback_tensors: ClassVar[tuple[str, ...]] = CALLBACK_TENSORS
    """The tensors that a step callback may get and replace."""

    transformer: PixArtTransformer2DModel
    text_encoder: LanguageModel | None
    tokenizer: TextTokenizer | None

    __init__ = constructor(PIXART_SIGMA.required, PIXART_SIGMA.optional, {}, _ORDER)

    @classmethod
    def dtype_of(cls, class_name: str, config: Mapping[str, object], dtype: str) -> str:
        """See `Pipeline`: bfloat16 for an autoencoder whose config says that its values overflow float16."""
        is_wide = class_name == "AutoencoderKL" and bool(config.get("force_upcast"))
        return "bfloat16" if dtype == "float16" and is_wide else dtype

    def unread(self, prompt: str, negative_prompt: str) -> list[str | None]:
        """See `Pipeline`."""
        reading = PixArtReading(self.usual("max_sequence_length"), can_clean())
        return unread(self.tokenizer, (reading, prompt), (reading, negative_prompt))

    def check(self, call: Arguments) -> None:
        """See `Pipeline`: embeddings with their masks."""
        assert isinstance(call, MaskedArguments)
        check_texts(self, call)

    def condition(self, run: Run, call: Arguments, height: int, width: int) -> None:
        """Give the run its network's conditions: the text and its mask."""
        assert isinstance(call, MaskedArguments)
        clean = can_clean() if call.clean_caption is None else call.clean_caption
        reading = PixArtReading(call.max_sequence_length, clean)
        condition(run, call, reading, reading)

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
        max_sequence_length: int | None = None,
    ) -> tuple[Array, Array, Array | None, Array | None]:
        """Embeddings and mask of the prompts, then those of the negative prompts, None without guidance.

        All are the engine's arrays: (prompts · num_images_per_prompt, tokens, channels) and (prompts ·
        num_images_per_prompt, tokens); images of one prompt are adjacent. ``max_sequence_length`` defaults to that of
        calls. ``device`` is accepted for published scripts and ignored.
        """
        reading = PixArtReading(max_sequence_length or self.usual("max_sequence_length"), clean_caption)
        prompts = Given(prompt, prompt_embeds, prompt_attention_mask, reading)
        negative = Given(negative_prompt, negative_prompt_embeds, negative_prompt_attention_mask, reading)
        return encode_texts(self, prompts, negative if do_classifier_free_guidance else None, num_images_per_prompt)


class PixArtSigmaPipeline(PixArt):
    """Text-to-image: ``pipe("A small cactus with a happy face in the Sahara desert.").images[0]``."""

    family = PIXART_SIGMA

    def check(self, call: Arguments) -> None:
        """See `Pipeline`: embeddings with their masks, and a transformer of the right kind."""
        super().check(call)
        if self.transformer.reads_sizes:
            raise ValueError(
                "the transformer reads the image size (use_additional_conditions, or a sample_size of 128 without "
                "that entry); use PixArtAlphaPipeline"
            )

    __call__ = published(SigmaCall, BinnedNoise, ImagePipelineOutput)


class PixArtAlphaPipeline(PixArt):
    """The same with shorter texts; at 1024×1024 the transformer also reads the image size."""

    family = PIXART_ALPHA

    def condition(self, run: Run, call: Arguments, height: int, width: int) -> None:
        """See `Pipeline`: the text, and the size, equal for all images, if the transformer reads it."""
        super().condition(run, call, height, width)
        if self.transformer.reads_sizes:
            sizes = {"resolution": [[height, width]], "aspect_ratio": [[height / width]]}
            run.tensors |= {name: run.engine.asarray(np.array(size, np.float32)) for name, size in sizes.items()}

    __call__ = published(AlphaCall, BinnedNoise, ImagePipelineOutput)
