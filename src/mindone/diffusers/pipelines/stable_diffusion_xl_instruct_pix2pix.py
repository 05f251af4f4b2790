"""Editing a picture by an instruction with Stable Diffusion XL, and with CosXL's editing checkpoint."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ..engines import Array, Engine
from ..loading.config import Config
from ..schedulers.base import Generators
from .arguments import GuidanceOptions, Report, Sampling, Texts
from .checks import default_size
from .components import Component
from .drawing import draw
from .editing import BesidePicture
from .image_processor import ImageInput, Images
from .output import StableDiffusionXLPipelineOutput
from .run import StepCallback
from .stable_diffusion_xl import StableDiffusionXLPipeline
from .starts import WithImageProcessor
from .xl_prompts import Size, XLPrompts


class StableDiffusionXLInstructPix2PixPipeline(WithImageProcessor, StableDiffusionXLPipeline):
    """`StableDiffusionInstructPix2PixPipeline` for XL; ``is_cosxl_edit`` is a setting of ``model_index.json``."""

    config_defaults: ClassVar[Mapping[str, object]] = {"force_zeros_for_empty_prompt": True, "is_cosxl_edit": False}
    callback_tensors = (*StableDiffusionXLPipeline.callback_tensors, "image_latents")

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
        is_cosxl_edit: bool = False,
        engine: Engine | str | None = None,
    ):
        parts = (vae, text_encoder, text_encoder_2, tokenizer, tokenizer_2, unet, scheduler)
        super().__init__(*parts, image_encoder, feature_extractor, force_zeros_for_empty_prompt, engine)
        self.own_settings = Config(self.own_settings, is_cosxl_edit=is_cosxl_edit)

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        prompt_2: Texts = None,
        image: ImageInput = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 100,
        denoising_end: float | None = None,
        guidance_scale: float | None = None,
        image_guidance_scale: float = 1.5,
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
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        cross_attention_kwargs: Mapping[str, object] | None = None,
        guidance_rescale: float = 0.0,
        original_size: Size | None = None,
        crops_coords_top_left: Size = (0, 0),
        target_size: Size | None = None,
    ) -> StableDiffusionXLPipelineOutput | tuple[Images]:
        """Draw images. Arguments that are not listed here are those of `StableDiffusionXLPipeline`.

        Args:
            image, guidance_scale, image_guidance_scale: as in `StableDiffusionInstructPix2PixPipeline`.
            height, width: the size to bring the picture to; by default what the network was trained on.

        Raises:
            ValueError: an argument is wrong; raised before any network runs.
        """
        conditions = XLPrompts(
            (prompt, prompt_2),
            (negative_prompt, negative_prompt_2),
            (prompt_embeds, pooled_prompt_embeds),
            (negative_prompt_embeds, negative_pooled_prompt_embeds),
            (original_size, crops_coords_top_left, target_size),
            (None, None, None),
            None,
            num_images_per_prompt,
            cross_attention_kwargs,
        )
        sampling = Sampling(num_inference_steps, None, None, eta, generator)
        guidance = GuidanceOptions(guidance_scale, (0.0, 1.0), guidance_rescale, image_guidance_scale)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        size = default_size(self, height, width, latents)
        start = BesidePicture(image, latents, *size, bool(self.own_settings.is_cosxl_edit), denoising_end)
        images = self._decode(draw(self, conditions, start, sampling, guidance, report), output_type)
        return StableDiffusionXLPipelineOutput(images) if return_dict else (images,)
