"""FLUX.1: text-to-image, image-to-image and inpainting with a transformer that reads T5's tokens and CLIP's pooled
text."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import ClassVar

import numpy as np

from ..engines import Array
from ..families.clip_texts import TextTower
from ..families.components import LanguageModel, TextEncoder, TextTokenizer, Tokenizer
from ..families.flux.family import FLUX
from ..families.flux.prompts import Readers
from ..families.flux.transformer import TIMES, FluxTransformer2DModel
from ..families.t5_texts import lost
from ..lazy import look_up
from ..published_paths import exported
from ..schedulers.base import Generators
from ..utils import logging
from . import checks
from .calls import Arguments, Texts
from .flux_calls import FluxArguments, FluxEnding, FluxImageCall, FluxMaskCall, FluxTextCall
from .joint_texts import Given, check_embeds, condition, encode_texts, refuse_pictures, texts_of
from .loop import Run
from .output import ImagePipelineOutput
from .packing import as_published
from .pipeline import constructor
from .published import OfRuns, PublishedPipeline
from .stable_diffusion_3_starts import FlowInpainting, ResizedImage
from .stages import published, stage_over
from .starts import FromNoise

logger = logging.get_logger(__name__)


class Flux(PublishedPipeline):
    """CLIP's and T5's text encoders, and a transformer that reads text and image as one sequence.

    FLUX.1-dev reads ``guidance_scale`` itself; FLUX.1-schnell is distilled to need none. ``true_cfg_scale`` guides
    either away from a negative prompt.
    """

    family = FLUX
    required_components: ClassVar[tuple[str, ...]] = FLUX.required
    optional_components: ClassVar[tuple[str, ...]] = FLUX.optional
    components_to_pass: ClassVar[tuple[str, ...]] = FLUX.optional
    arguments = FluxArguments
    callback_tensors: ClassVar[tuple[str, ...]] = (
        "latents",
        "prompt_embeds",
        "pooled_prompt_embeds",
        "negative_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    """The tensors that a step callback may get and replace; latents are tokens, (images, tokens, channels)."""

    transformer: FluxTransformer2DModel
    text_encoder: TextEncoder | None
    text_encoder_2: LanguageModel | None
    tokenizer: Tokenizer | None
    tokenizer_2: TextTokenizer | None

    __init__ = constructor(required_components, optional_components, {})

    joint_attention_kwargs = OfRuns[object]("cross_attention_kwargs", "The run's options for adapters.")
    guidance_scale = OfRuns[float]("built_in_guidance_scale", "The guidance scale that the network reads.")
    true_cfg_scale = OfRuns[float](
        "guidance_scale", "The weight of the prompt against the negative one; 1 without one.", changes=True
    )

    @property
    def _clip(self) -> TextTower:
        return TextTower(self.text_encoder, self.tokenizer, skip=0, apply_final_norm=True)

    def unread(self, prompt: str, negative_prompt: str) -> list[str | None]:
        """See `Pipeline`: T5 reads what CLIP cuts off."""
        tokenizer, reads = self.tokenizer_2, FluxEnding.max_sequence_length
        if tokenizer is None:
            return []
        return [lost(tokenizer, tokenizer.encode(text), reads) for text in (prompt, negative_prompt)]

    def check(self, call: Arguments) -> None:
        """See `Pipeline`: embeddings need their pooled ones, and text encoders must match the transformer."""
        assert isinstance(call, FluxArguments)
        check_embeds(self, call)
        refuse_pictures(self, call)
        self._check_widths()
        if call.negative_prompt_2 and not call.has_negative:
            logger.warning(checks.lost_negative("negative_prompt_2", "without negative_prompt"))

    def _check_widths(self) -> None:
        """Check that the text encoders match the transformer."""
        config, reason = self.denoiser.config, "they are not from one checkpoint"
        if self.text_encoder is not None:
            pooled, wanted = int(self.text_encoder.config["hidden_size"]), config["pooled_projection_dim"]
            if pooled != wanted:
                raise ValueError(
                    f"the transformer reads pooled texts of {wanted} channels (pooled_projection_dim), and "
                    f"text_encoder makes {pooled} (hidden_size): {reason}"
                )
        if self.text_encoder_2 is not None:
            made, reads = int(self.text_encoder_2.config["d_model"]), config["joint_attention_dim"]
            if made != reads:
                raise ValueError(
                    f"the transformer reads texts of {reads} channels (joint_attention_dim), and text_encoder_2 makes "
                    f"{made} (d_model): {reason}"
                )

    def encode_prompt(
        self,
        prompt: Texts = None,
        prompt_2: Texts = None,
        device: object = None,
        num_images_per_prompt: int = 1,
        prompt_embeds: Array | None = None,
        pooled_prompt_embeds: Array | None = None,
        max_sequence_length: int = 512,
        lora_scale: float | None = None,
    ) -> tuple[Array, Array, Array]:
        """Text embeddings, pooled texts, and the positions of the tokens, which are all 0.

        All are the engine's arrays: (prompts · num_images_per_prompt, max_sequence_length, channels), with images of
        one prompt adjacent, (prompts · num_images_per_prompt, channels) and (max_sequence_length, 3). CLIP reads
        ``prompt``; T5 reads ``prompt_2``, by default the same. ``lora_scale`` is the weight of text encoder LoRAs.
        ``device`` is accepted for published scripts and ignored.
        """
        count = checks.check_prompts(prompt, prompt_embeds, None, None, prompt_2=prompt_2)
        checks.check_pooled("", prompt_embeds, pooled_prompt_embeds)
        prompts = Given(texts_of(count, prompt, prompt_2), prompt_embeds, pooled_prompt_embeds)
        read = partial(self._read, max_sequence_length)
        with nullcontext() if lora_scale is None else self.loras.scaled({"scale": lora_scale}):
            embeds, pooled, _, _ = encode_texts(self.engine, read, prompts, None, num_images_per_prompt)
        return embeds, pooled, self.engine.asarray(np.zeros((embeds.shape[1], 3), np.float32))

    def prepare_latents(  # type: ignore[override]  # published with the places of tokens
        self,
        batch_size: int,
        num_channels_latents: int,
        height: int,
        width: int,
        dtype: object = None,
        device: object = None,
        generator: Generators = None,
        latents: Array | None = None,
    ) -> tuple[Array, Array]:
        """The initial noise of a run, as tokens, and their positions along three axes, (tokens, 3).

        See `PublishedPipeline.prepare_latents`.
        """
        sizes = batch_size, num_channels_latents, height, width
        noise = super().prepare_latents(*sizes, dtype, device, generator, latents)
        rows, columns = height // self.pixels_per_token, width // self.pixels_per_token
        places = np.zeros((rows * columns, 3), np.float32)
        places[:, 1:] = np.mgrid[:rows, :columns].reshape(2, -1).T
        return as_published(self, noise), self.engine.asarray(places)

    def _read(self, length: int, texts: Sequence[list[str]], _: int) -> tuple[Array, Array]:
        """Embeddings and pooled texts; ``texts`` has one list for CLIP and one for T5, with one text per prompt."""
        network, tokenizer = self.text_encoder_2, self.tokenizer_2
        embeds = "prompt_embeds and pooled_prompt_embeds, with a negative prompt the negative ones too"
        checks.check_readers(self, ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"), embeds)
        assert network is not None and tokenizer is not None
        rests = partial(stage_over, self, ("text_encoder_2", self.family.denoiser, "vae"))
        return Readers(self._clip, (network, tokenizer), length).read(self.engine, texts, rests)

    def condition(self, run: Run, call: Arguments, height: int, width: int) -> None:
        """Give the run its network's conditions: the text, the pooled text, and the guidance scale."""
        assert isinstance(call, FluxArguments)
        count = checks.check_prompts(call.prompt, call.prompt_embeds, None, None)
        prompts = Given(texts_of(count, call.prompt, call.prompt_2), call.prompt_embeds, call.pooled_prompt_embeds)
        negative = None
        if run.do_classifier_free_guidance:
            texts = texts_of(count, call.negative_prompt, call.negative_prompt_2)
            negative = Given(texts, call.negative_prompt_embeds, call.negative_pooled_prompt_embeds)
        read = partial(self._read, call.max_sequence_length)
        condition(run, encode_texts(self.engine, read, prompts, negative, call.num_images_per_prompt))
        scale = run.settings.built_in_guidance_scale = self.choose_guidance_scale(call.guidance_scale)
        if self.denoiser.config["guidance_embeds"]:
            rows = run.tensors["prompt_embeds"].shape[0]
            run.tensors["guidance"] = run.engine.asarray(np.full(rows, scale * TIMES, np.float32))


class FluxPipeline(Flux):
    """Text-to-image: ``pipe("a cat holding a sign that says hello world").images[0]``."""

    __call__ = published(FluxTextCall, FromNoise, ImagePipelineOutput)


class FluxImg2ImgPipeline(Flux):
    """Image-to-image: ``pipe("a watercolour", image=photo, strength=0.9).images[0]``."""

    default_guidance_scale = 7.0

    __call__ = published(FluxImageCall, ResizedImage, ImagePipelineOutput)


class FluxInpaintPipeline(Flux):
    """Inpainting: ``pipe("a red hat", image=photo, mask_image=mask).images[0]``."""

    default_guidance_scale = 7.0
    callback_tensors = (*Flux.callback_tensors, "mask")

    __call__ = published(FluxMaskCall, FlowInpainting, ImagePipelineOutput)


def __getattr__(name: str) -> object:
    """Further exports of the published package of this name."""
    return look_up(__name__, exported(__name__), name)
