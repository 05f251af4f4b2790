"""Image-to-image with Stable Diffusion XL, and its refiner: the last part of the way by a network made for it."""

from collections.abc import Mapping
from typing import ClassVar

from ..engines import Array, Engine
from ..loading.config import Config
from ..schedulers.base import Generators
from ..utils.types import Value
from .arguments import GuidanceOptions, Report, Sampling, Texts
from .components import Component
from .drawing import draw
from .image_processor import ImageInput, Images
from .image_prompt import ImageEmbeds, ImagePrompt, ImagePrompts
from .output import StableDiffusionXLPipelineOutput
from .run import Interval, StepCallback
from .stable_diffusion_xl import StableDiffusionXLPipeline
from .starts import FromImage, WithImageProcessor
from .xl_prompts import Size, XLPicturePrompts


class StableDiffusionXLPicturePipeline(WithImageProcessor, StableDiffusionXLPipeline):
    """What the pipelines that start from pictures are made of: a refiner has one text encoder alone."""

    required_components = ("vae", "text_encoder_2", "tokenizer_2", "unet", "scheduler")
    optional_components = ("text_encoder", "tokenizer", *StableDiffusionXLPipeline.optional_components)
    config_defaults: ClassVar[Mapping[str, Value]] = {
        "force_zeros_for_empty_prompt": True,
        "requires_aesthetics_score": False,
    }

    def __init__(
        self,
        vae: Component,
        text_encoder: Component = None,
        text_encoder_2: Component = None,
        tokenizer: Component = None,
        tokenizer_2: Component = None,
        unet: Component = None,
        scheduler: Component = None,
        image_encoder: Component = None,
        feature_extractor: Component = None,
        requires_aesthetics_score: bool = False,
        force_zeros_for_empty_prompt: bool = True,
        engine: Engine | str | None = None,
    ):
        super().__init__(
            vae,
            text_encoder,
            text_encoder_2,
            tokenizer,
            tokenizer_2,
            unet,
            scheduler,
            image_encoder,
            feature_extractor,
            force_zeros_for_empty_prompt,
            engine,
        )
        self.own_settings = Config(self.own_settings, requires_aesthetics_score=requires_aesthetics_score)


class StableDiffusionXLImg2ImgPipeline(StableDiffusionXLPicturePipeline):
    """A text and a picture to pictures, or what the base network has begun to the finished picture."""

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        prompt_2: Texts = None,
        image: ImageInput = None,
        strength: float = 0.3,
        num_inference_steps: int = 50,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        denoising_start: float | None = None,
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
        aesthetic_score: float = 6.0,
        negative_aesthetic_score: float = 2.5,
        clip_skip: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: list[str] | tuple[str, ...] = ("latents",),
        guidance_interval: Interval = (0.0, 1.0),
    ) -> StableDiffusionXLPipelineOutput | tuple[Images]:
        """Draw images. Arguments that are not listed here are those of `StableDiffusionXLPipeline`.

        Args:
            image: what to start from: a PIL image, an array, a list of them, or latents (see `ImageInput`).
            strength: how much of it is drawn anew, above 0 to 1: the last part ``strength`` of the steps is run.
            denoising_start: the part of the way, between 0 and 1, that ``image`` (latents) has behind it, as the base
                network left it at its ``denoising_end``; no noise is added then, and ``strength`` is not heeded.
            latents: noisy latents to go on from, instead of ``image``.
            aesthetic_score, negative_aesthetic_score: how beautiful the picture is to be, and what to stay away from,
                for refiners (``requires_aesthetics_score``).

        Raises:
            ValueError: an argument is wrong; raised before any network runs.
        """
        conditions = XLPicturePrompts(
            (prompt, prompt_2),
            (negative_prompt, negative_prompt_2),
            (prompt_embeds, pooled_prompt_embeds),
            (negative_prompt_embeds, negative_pooled_prompt_embeds),
            (original_size, crops_coords_top_left, target_size),
            (negative_original_size, negative_crops_coords_top_left, negative_target_size),
            clip_skip,
            num_images_per_prompt,
            cross_attention_kwargs,
            (aesthetic_score, negative_aesthetic_score),
        )
        sampling = Sampling(num_inference_steps, timesteps, sigmas, eta, generator)
        guidance = GuidanceOptions(guidance_scale, guidance_interval, guidance_rescale)
        pictures = ImagePrompt(ip_adapter_image, ip_adapter_image_embeds)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        start = FromImage(image, strength, latents, denoising_start, denoising_end)
        images = self._decode(draw(self, conditions, start, sampling, guidance, report, [pictures]), output_type)
        return StableDiffusionXLPipelineOutput(images) if return_dict else (images,)
