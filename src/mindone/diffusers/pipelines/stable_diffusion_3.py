"""Stable Diffusion 3 and 3.5: text-to-image, image-to-image and inpainting with a two-stream transformer."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import ClassVar

from ..engines import Array
from ..families.clip_texts import TextTower
from ..families.components import LanguageModel, TextEncoder, TextTokenizer, Tokenizer
from ..families.stable_diffusion_3.family import STABLE_DIFFUSION_3
from ..families.stable_diffusion_3.prompts import Readers
from ..families.stable_diffusion_3.transformer import SD3Transformer2DModel
from ..families.t5_texts import lost
from ..lazy import look_up
from ..published_paths import exported
from . import checks
from .calls import Arguments, Texts
from .flow_calls import LongTexts
from .joint_texts import Given, check_embeds, condition, encode_texts, refuse_pictures, texts_of
from .loop import Run
from .output import ImagePipelineOutput
from .pipeline import constructor
from .published import OfRuns, PublishedPipeline
from .stable_diffusion_3_calls import SD3Arguments, SD3ImageCall, SD3MaskCall, SD3TextCall
from .stable_diffusion_3_starts import FlowInpainting, GuidedNoise, ResizedImage
from .stages import published, stage_over

_ORDER = (*STABLE_DIFFUSION_3.required, *STABLE_DIFFUSION_3.optional)


class StableDiffusion3(PublishedPipeline):
    """Two CLIP text encoders and, unless omitted, T5; a transformer that reads text and image as one sequence.

    ``from_pretrained(…, text_encoder_3=None, tokenizer_3=None)`` loads without T5, the largest part: then only the
    CLIPs read prompts.
    """

    family = STABLE_DIFFUSION_3
    required_components: ClassVar[tuple[str, ...]] = STABLE_DIFFUSION_3.required
    optional_components: ClassVar[tuple[str, ...]] = STABLE_DIFFUSION_3.optional
    components_to_pass: ClassVar[tuple[str, ...]] = ("image_encoder", "feature_extractor")
    arguments = SD3Arguments
    callback_tensors: ClassVar[tuple[str, ...]] = (
        "latents",
        "prompt_embeds",
        "pooled_prompt_embeds",
        "negative_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    """The tensors that a step callback may get and replace."""

    transformer: SD3Transformer2DModel
    text_encoder: TextEncoder | None
    text_encoder_2: TextEncoder | None
    text_encoder_3: LanguageModel | None
    tokenizer: Tokenizer | None
    tokenizer_2: Tokenizer | None
    tokenizer_3: TextTokenizer | None

    __init__ = constructor(required_components, optional_components, {}, _ORDER)

    joint_attention_kwargs = OfRuns[object]("cross_attention_kwargs", "The run's options for adapters.")

    @property
    def is_ip_adapter_active(self) -> bool:
        """Whether an IP-Adapter is active: never, as this family has none here."""
        return False

    def unread(self, prompt: str, negative_prompt: str) -> list[str | None]:
        """See `Pipeline`."""
        texts = prompt, negative_prompt
        of_clips = [
            tower.lost(tower.ids(text))
            for tower in self._clips
            if None not in (tower.network, tower.tokenizer)
            for text in texts
        ]
        if self.text_encoder_3 is None or self.tokenizer_3 is None:
            return of_clips
        # T5 reads what a CLIP cuts off.
        reads = LongTexts.max_sequence_length
        return [lost(self.tokenizer_3, self.tokenizer_3.encode(text), reads) for text in texts]

    def check(self, call: Arguments) -> None:
        """See `Pipeline`: embeddings need their pooled ones, texts an encoder, and a shift a scheduler that uses it."""
        assert isinstance(call, SD3Arguments)
        check_embeds(self, call)
        refuse_pictures(self, call)
        self._check_texts_of_t5(call.prompt_3, call.negative_prompt_3)
        is_dynamic = bool(self.scheduler.config.get("use_dynamic_shifting"))
        if call.mu is not None and not is_dynamic:
            kind, shift = type(self.scheduler).__name__, self.scheduler.config.get("shift")
            raise ValueError(
                f"mu={call.mu:g} is for schedulers with use_dynamic_shifting, and this {kind} has a fixed shift "
                f"({shift}); leave mu out, or set {kind}.from_config(pipe.scheduler.config, use_dynamic_shifting=True)"
            )
        self._check_widths()

    def encode_prompt(
        self,
        prompt: Texts = None,
        prompt_2: Texts = None,
        prompt_3: Texts = None,
        device: object = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: Texts = None,
        negative_prompt_2: Texts = None,
        negative_prompt_3: Texts = None,
        prompt_embeds: Array | None = None,
        negative_prompt_embeds: Array | None = None,
        pooled_prompt_embeds: Array | None = None,
        negative_pooled_prompt_embeds: Array | None = None,
        clip_skip: int | None = None,
        max_sequence_length: int = 256,
        lora_scale: float | None = None,
    ) -> tuple[Array, Array | None, Array, Array | None]:
        """Text embeddings of the prompts and of the negative prompts, then both pooled to one vector per prompt.

        All are the engine's arrays: (prompts · num_images_per_prompt, tokens, channels) and (prompts ·
        num_images_per_prompt, channels), with images of one prompt adjacent; the negative ones are None without
        guidance. The tokens are CLIP's 77 and T5's ``max_sequence_length``, or 77 zeros without T5. A second and a
        third prompt go to the second CLIP and to T5, which read the first by default. ``clip_skip`` is the number of
        CLIP's last layers to skip, only for the prompts. ``lora_scale`` is the weight of text encoder LoRAs. ``device``
        is accepted for published scripts and ignored.
        """
        further = {
            "prompt_2": prompt_2,
            "prompt_3": prompt_3,
            "negative_prompt_2": negative_prompt_2,
            "negative_prompt_3": negative_prompt_3,
        }
        count = checks.check_prompts(prompt, prompt_embeds, negative_prompt, negative_prompt_embeds, **further)
        checks.check_pooled("", prompt_embeds, pooled_prompt_embeds)
        checks.check_pooled("negative_", negative_prompt_embeds, negative_pooled_prompt_embeds)
        self._check_texts_of_t5(prompt_3, negative_prompt_3)
        layers = [tower.network.config["num_hidden_layers"] for tower in self._clips if tower.network is not None]
        if layers:
            checks.check_clip_skip(clip_skip, min(layers) - 1)

        prompts = Given(texts_of(count, prompt, prompt_2, prompt_3), prompt_embeds, pooled_prompt_embeds)
        negative = None
        if do_classifier_free_guidance:
            texts = texts_of(count, negative_prompt, negative_prompt_2, negative_prompt_3)
            negative = Given(texts, negative_prompt_embeds, negative_pooled_prompt_embeds)
        read, skip = partial(self._read, max_sequence_length), clip_skip or 0
        with nullcontext() if lora_scale is None else self.loras.scaled({"scale": lora_scale}):
            encoded = encode_texts(self.engine, read, prompts, negative, num_images_per_prompt, skip)
        embeds, pooled, negative_embeds, negative_pooled = encoded
        return embeds, negative_embeds, pooled, negative_pooled

    @property
    def _clips(self) -> list[TextTower]:
        pairs = (self.text_encoder, self.tokenizer), (self.text_encoder_2, self.tokenizer_2)
        return [TextTower(*pair, skip=self.family.skipped_layers, apply_final_norm=False) for pair in pairs]

    def _read(self, length: int, texts: Sequence[list[str]], clip_skip: int) -> tuple[Array, Array]:
        """Embeddings and pooled texts; ``texts`` has one list for each text encoder, with one text per prompt."""
        embeds = "prompt_embeds and pooled_prompt_embeds, with guidance the negative ones too"
        checks.check_readers(self, ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"), embeds)
        network, tokenizer = self.text_encoder_3, self.tokenizer_3
        if network is not None and tokenizer is None:
            raise ValueError(
                "the pipeline's tokenizer_3 is None, and text_encoder_3 reads no texts without it; set "
                "pipe.tokenizer_3, or pipe.text_encoder_3 = None"
            )
        t5 = None if network is None or tokenizer is None else (network, tokenizer)
        readers = Readers(self._clips, t5, int(self.denoiser.config["joint_attention_dim"]), length, clip_skip)
        return readers.read(
            self.engine, texts, partial(stage_over, self, ("text_encoder_3", self.family.denoiser, "vae"))
        )

    def _check_texts_of_t5(self, prompt_3: Texts, negative_prompt_3: Texts) -> None:
        """Refuse a third text without T5; the reference silently ignores it."""
        for name, text in (("prompt_3", prompt_3), ("negative_prompt_3", negative_prompt_3)):
            if text is not None and self.text_encoder_3 is None:
                raise ValueError(
                    f"{name} is for the third text encoder, T5, and the pipeline's text_encoder_3 is None; leave "
                    f"{name} out, or load the pipeline with its text_encoder_3 and tokenizer_3"
                )

    def _check_widths(self) -> None:
        """Check that the text encoders match the transformer."""
        config = self.denoiser.config
        wanted, reads = config["pooled_projection_dim"], config["joint_attention_dim"]
        clips, reason = [self.text_encoder, self.text_encoder_2], "they are not of one checkpoint"
        parts = [each.config for each in clips if each is not None]
        pooled, width = (sum(int(each[entry]) for each in parts) for entry in ("projection_dim", "hidden_size"))
        if None not in clips and (pooled != wanted or width > reads):
            raise ValueError(
                f"the transformer reads pooled texts of {wanted} channels and others of {reads}, and text_encoder and "
                f"text_encoder_2 make {pooled} (projection_dim) and {width} (hidden_size): {reason}"
            )
        if self.text_encoder_3 is not None and (made := self.text_encoder_3.config["d_model"]) != reads:
            raise ValueError(
                f"the transformer reads texts of {reads} channels, and text_encoder_3 makes {made} (d_model): {reason}"
            )

    def condition(self, run: Run, call: Arguments, height: int, width: int) -> None:
        """Give the run its network's conditions: the text and the pooled text."""
        assert isinstance(call, SD3Arguments)
        embeds, negative, pooled, negative_pooled = self.encode_prompt(
            call.prompt,
            call.prompt_2,
            call.prompt_3,
            None,
            call.num_images_per_prompt,
            run.do_classifier_free_guidance,
            call.negative_prompt,
            call.negative_prompt_2,
            call.negative_prompt_3,
            call.prompt_embeds,
            call.negative_prompt_embeds,
            call.pooled_prompt_embeds,
            call.negative_pooled_prompt_embeds,
            call.clip_skip,
            call.max_sequence_length,
        )
        condition(run, (embeds, pooled, negative, negative_pooled))


class StableDiffusion3Pipeline(StableDiffusion3):
    """Text-to-image: ``pipe("a cat holding a sign that says hello").images[0]``."""

    skip_guidance_layers = OfRuns[Sequence[int] | None](
        "skip_guidance_layers", "The layers that the run's extra prediction skips; None if there is no such prediction."
    )

    __call__ = published(SD3TextCall, GuidedNoise, ImagePipelineOutput)


class StableDiffusion3Img2ImgPipeline(StableDiffusion3):
    """Image-to-image: ``pipe("a watercolour", image=photo, strength=0.6).images[0]``."""

    __call__ = published(SD3ImageCall, ResizedImage, ImagePipelineOutput)


class StableDiffusion3InpaintPipeline(StableDiffusion3):
    """Inpainting: ``pipe("a red hat", image=photo, mask_image=mask).images[0]``.

    It works with any network of the family, or an inpainting one (33 input channels); see `inpainting`.
    """

    callback_tensors = (*StableDiffusion3.callback_tensors, "mask", "masked_image_latents")

    __call__ = published(SD3MaskCall, FlowInpainting, ImagePipelineOutput)


def __getattr__(name: str) -> object:
    """Further exports of the published package of this name."""
    return look_up(__name__, exported(__name__), name)
