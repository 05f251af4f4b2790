"""Stable Diffusion XL and what is distilled from it: SDXL (Podell et al. 2023)."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ..engines import Array, Engine
from ..lazy import look_up
from ..published_paths import exported
from ..schedulers.base import Generators
from ..utils.types import Value
from . import checks
from .arguments import GuidanceOptions, Report, Sampling, Texts
from .base import Pipeline
from .components import Component
from .drawing import draw
from .image_processor import Images, decode_latents, to_pil
from .image_prompt import ImageEmbeds, ImagePrompt, ImagePrompts
from .output import StableDiffusionXLPipelineOutput
from .predictors import guidance_scale_embedding
from .prompts import TextTower, as_list, encode_text, repeat_each
from .run import Interval, Run, StepCallback
from .starts import FromNoise
from .xl_prompts import Size, XLPrompts


class StableDiffusionXLPipeline(Pipeline):
    """Text to images with two CLIP text encoders, and a UNet that is also told sizes and crops (§2.2).

    The autoencoder of most checkpoints overflows in float16 (its config says ``force_upcast``): a pipeline that is
    loaded in float16 loads it in float32.
    """

    required_components: ClassVar[tuple[str, ...]] = (
        "vae",
        "text_encoder",
        "text_encoder_2",
        "tokenizer",
        "tokenizer_2",
        "unet",
        "scheduler",
    )
    optional_components: ClassVar[tuple[str, ...]] = ("image_encoder", "feature_extractor")
    config_defaults: ClassVar[Mapping[str, object]] = {"force_zeros_for_empty_prompt": True}
    default_guidance_scale = 5.0
    callback_tensors: ClassVar[tuple[str, ...]] = (
        "latents",
        "prompt_embeds",
        "negative_prompt_embeds",
        "add_text_embeds",
        "add_time_ids",
        "negative_pooled_prompt_embeds",
    )
    """What a step callback may ask for and replace."""

    text_encoder: Component
    text_encoder_2: Component
    tokenizer: Component
    tokenizer_2: Component

    def __init__(
        self,
        vae: Component,
        text_encoder: Component,
        text_encoder_2: Component,
        tokenizer: Component,
        tokenizer_2: Component,
        unet: Component,
        scheduler: Component,
        image_encoder: Component = None,
        feature_extractor: Component = None,
        force_zeros_for_empty_prompt: bool = True,
        engine: Engine | str | None = None,
    ):
        components = {
            "vae": vae,
            "text_encoder": text_encoder,
            "text_encoder_2": text_encoder_2,
            "tokenizer": tokenizer,
            "tokenizer_2": tokenizer_2,
            "unet": unet,
            "scheduler": scheduler,
            "image_encoder": image_encoder,
            "feature_extractor": feature_extractor,
        }
        super().__init__(components, {"force_zeros_for_empty_prompt": force_zeros_for_empty_prompt}, engine)

    @classmethod
    def _dtype_of(cls, class_name: str, config: Mapping[str, object], dtype: str) -> str:
        if class_name == "AutoencoderKL" and dtype == "float16" and config.get("force_upcast", True):
            return "float32"
        return dtype

    def encode_prompt(
        self,
        prompt: Texts = None,
        prompt_2: Texts = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: Texts = None,
        negative_prompt_2: Texts = None,
        prompt_embeds: Array = None,
        negative_prompt_embeds: Array = None,
        pooled_prompt_embeds: Array = None,
        negative_pooled_prompt_embeds: Array = None,
        clip_skip: int | None = None,
        device: object = None,
    ) -> tuple[Array, Array, Array, Array]:
        """Text embeddings: of the prompts, of the negative ones, and both again pooled to one vector a prompt.

        All are native arrays of the engine: (prompts · num_images_per_prompt, tokens, channels of both encoders) and
        (prompts · num_images_per_prompt, channels of the second); the negative ones are None without guidance. A second
        prompt goes to the second encoder, which reads the first where there is none. Without any negative prompt the
        negative embeddings are zeros where the checkpoint was trained so (``force_zeros_for_empty_prompt``). ``device``
        is taken for published scripts, and not needed.
        """
        count = checks.check_prompts(
            prompt, prompt_embeds, negative_prompt, negative_prompt_embeds, prompt_2, negative_prompt_2
        )
        _check_pooled("", prompt_embeds, pooled_prompt_embeds)
        _check_pooled("negative_", negative_prompt_embeds, negative_pooled_prompt_embeds)
        layers = [tower.network.config["num_hidden_layers"] for tower in self.text_towers if tower.network is not None]
        if layers:
            checks.check_clip_skip(clip_skip, min(layers) - 1)
        engine = self.engine

        if prompt_embeds is None:
            texts, texts_2 = as_list(prompt, count), as_list(prompt_2 or prompt, count)
            prompt_embeds, pooled_prompt_embeds = self._encode(texts, texts_2, clip_skip or 0)
        embeds = [engine.asarray(prompt_embeds), engine.asarray(pooled_prompt_embeds)]
        if not do_classifier_free_guidance:
            embeds, pooled = (repeat_each(engine, x, num_images_per_prompt) for x in embeds)
            return embeds, None, pooled, None

        nothing_negative = negative_prompt is None and negative_prompt_2 is None
        if negative_prompt_embeds is None and nothing_negative and self.own_settings.force_zeros_for_empty_prompt:
            negative_prompt_embeds, negative_pooled_prompt_embeds = (x * 0.0 for x in embeds)
        elif negative_prompt_embeds is None:
            texts, texts_2 = as_list(negative_prompt, count), as_list(negative_prompt_2 or negative_prompt, count)
            negative_prompt_embeds, negative_pooled_prompt_embeds = self._encode(texts, texts_2)
            checks.check_lengths(prompt_embeds, negative_prompt_embeds)
        every = [embeds[0], negative_prompt_embeds, embeds[1], negative_pooled_prompt_embeds]
        a, b, c, d = (repeat_each(engine, engine.asarray(x), num_images_per_prompt) for x in every)
        return a, b, c, d

    @property
    def text_towers(self) -> list[TextTower]:
        """What reads prompts: both encoders (§2.1), of which the last one pools; a refiner has that alone."""
        pairs = [(self.text_encoder_2, self.tokenizer_2)]
        if self.text_encoder is not None:
            pairs.insert(0, (self.text_encoder, self.tokenizer))
        return [TextTower(*pair, skip=1, apply_final_norm=False) for pair in pairs]

    def _encode(self, texts: list[str], texts_2: list[str], clip_skip: int = 0) -> tuple[Array, Array]:
        """The encoders' hidden states side by side, and the last one's pooled text. One alone reads the first text."""
        each = [
            encode_text(self.engine, tower, own, clip_skip) for tower, own in zip(self.text_towers, (texts, texts_2))
        ]
        return self.engine.concat([hidden for hidden, _ in each], axis=-1), each[-1][1]

    @property
    def denoising_start(self) -> float | None:
        """The part of the trajectory that another pipeline has behind it; None where the run begins with a picture."""
        start: float | None = self._read("denoising_start")
        return start

    @property
    def denoising_end(self) -> float | None:
        """The part of the trajectory after which the run stops, for another pipeline to go on."""
        end: float | None = self._read("denoising_end")
        return end

    def upcast_vae(self) -> None:
        """Decode in float32, as most checkpoints need; pipelines loaded in float16 do so already."""
        self.vae.to("float32")

    def __call__(
        self,
        prompt: Texts = None,
        prompt_2: Texts = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        denoising_end: float | None = None,
        guidance_scale: float | None = None,
        negative_prompt: Texts = None,
        negative_prompt_2: Texts = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generators = None,
        latents: Array = None,
        prompt_embeds: Array = None,
        negative_prompt_embeds: Array = None,
        pooled_prompt_embeds: Array = None,
        negative_pooled_prompt_embeds: Array = None,
        ip_adapter_image: ImagePrompts = None,
        ip_adapter_image_embeds: ImageEmbeds = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, object] | None = None,
        guidance_rescale: float = 0.0,
        original_size: Size | None = None,
        crops_coords_top_left: Size = (0, 0),
        target_size: Size | None = None,
        negative_original_size: Size | None = None,
        negative_crops_coords_top_left: Size = (0, 0),
        negative_target_size: Size | None = None,
        clip_skip: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: list[str] | tuple[str, ...] = ("latents",),
        guidance_interval: Interval = (0.0, 1.0),
    ) -> StableDiffusionXLPipelineOutput | tuple[Images]:
        """Draw images. Arguments that are not listed here are those of `StableDiffusionPipeline`.

        Args:
            prompt_2, negative_prompt_2: texts for the second text encoder, if it is to read others than the first.
            pooled_prompt_embeds, negative_pooled_prompt_embeds: go with prompt_embeds and negative_prompt_embeds.
            guidance_scale: as there; 5 where the checkpoint suggests none.
            denoising_end: a part of the way, between 0 and 1, to stop at; with output_type "latent", for a refiner.
            original_size: (height, width) that the image is to look as if it had been shot in; by default its own size.
            crops_coords_top_left: (top, left) that it is to look as if it had been cut at; (0, 0) looks well centred.
            target_size: (height, width) that it is to look as if it had been resized to; by default its own size.
            negative_original_size, negative_crops_coords_top_left, negative_target_size: the same for what to stay away
                from, in force when both sizes are given.

        Raises:
            ValueError: an argument is wrong; raised before any network runs.
        """
        conditions = XLPrompts(
            (prompt, prompt_2),
            (negative_prompt, negative_prompt_2),
            (prompt_embeds, pooled_prompt_embeds),
            (negative_prompt_embeds, negative_pooled_prompt_embeds),
            (original_size, crops_coords_top_left, target_size),
            (negative_original_size, negative_crops_coords_top_left, negative_target_size),
            clip_skip,
            num_images_per_prompt,
            cross_attention_kwargs,
        )
        sampling = Sampling(num_inference_steps, timesteps, sigmas, eta, generator)
        guidance = GuidanceOptions(guidance_scale, guidance_interval, guidance_rescale)
        pictures = ImagePrompt(ip_adapter_image, ip_adapter_image_embeds)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        start = FromNoise(height, width, latents, denoising_end)
        images = self._decode(draw(self, conditions, start, sampling, guidance, report, [pictures]), output_type)
        return StableDiffusionXLPipelineOutput(images) if return_dict else (images,)

    def _condition(
        self,
        run: Run,
        embeds: Array,
        negative_embeds: Array,
        pooled: Array,
        negative_pooled: Array,
        time_ids: list[float],
        negative_time_ids: list[float],
    ) -> None:
        """Tell the run what its network is conditioned on: text, pooled text, sizes and, built in, the guidance."""
        negative, images = run.guided_rows - 1 if run.do_classifier_free_guidance else 0, embeds.shape[0]
        concat = run.engine.concat
        run.tensors |= {
            "prompt_embeds": concat([negative_embeds] * negative + [embeds]),
            "negative_prompt_embeds": negative_embeds,
            "add_text_embeds": concat([negative_pooled] * negative + [pooled]),
            "negative_pooled_prompt_embeds": negative_pooled,
            "add_time_ids": np.array([negative_time_ids] * images * negative + [time_ids] * images, np.float32),
        }
        if (channels := run.unet.config.get("time_cond_proj_dim")) is not None:
            embedding = guidance_scale_embedding(run.settings.guidance_scale, channels, images)
            run.tensors["timestep_cond"] = run.engine.asarray(embedding)

    def _decode(self, latents: Array, output_type: str) -> Images:
        """Latents as the user wants them."""
        if output_type == "latent":
            return latents
        images = decode_latents(self.engine, self.vae, latents)
        self.stage_over()
        return to_pil(images) if output_type == "pil" else images


def _check_pooled(prefix: str, embeds: Array, pooled: Array) -> None:
    if (embeds is None) != (pooled is None):
        raise ValueError(f"{prefix}prompt_embeds and {prefix}pooled_prompt_embeds go together; pass both or neither")
    if pooled is not None and (len(pooled.shape) != 2 or pooled.shape[0] != embeds.shape[0]):
        raise ValueError(
            f"{prefix}pooled_prompt_embeds must have the shape ({embeds.shape[0]}, channels), got {tuple(pooled.shape)}"
        )


def __getattr__(name: str) -> Value:
    """What the published package of this module's name exports besides."""
    return look_up(__name__, exported(__name__), name)
