"""Image-to-image with Stable Diffusion XL that follows pictures."""

from collections.abc import Mapping, Sequence

from ..engines import Array, Engine
from ..schedulers.base import Generators
from .arguments import GuidanceOptions, Report, Sampling, Texts
from .components import Component
from .control import ControlPictures, Scales, WithControlNet
from .drawing import draw
from .image_processor import ImageInput, Images
from .image_prompt import ImageEmbeds, ImagePrompt, ImagePrompts
from .output import StableDiffusionXLPipelineOutput
from .run import Interval, StepCallback
from .stable_diffusion_xl_img2img import StableDiffusionXLPicturePipeline
from .starts import FromImage
from .xl_prompts import Size, XLPicturePrompts


class StableDiffusionXLControlNetPicturePipeline(WithControlNet, StableDiffusionXLPicturePipeline):
    """What the pipelines are made of that start from one picture and follow another."""

    optional_components = ("controlnet", *StableDiffusionXLPicturePipeline.optional_components)

    def __init__(
        self,
        vae: Component,
        text_encoder: Component = None,
        text_encoder_2: Component = None,
        tokenizer: Component = None,
        tokenizer_2: Component = None,
        unet: Component = None,
        controlnet: Component = None,
        scheduler: Component = None,
        requires_aesthetics_score: bool = False,
        force_zeros_for_empty_prompt: bool = True,
        feature_extractor: Component = None,
        image_encoder: Component = None,
        engine: Engine | str | None = None,
    ):
        parts = (vae, text_encoder, text_encoder_2, tokenizer, tokenizer_2, unet, scheduler)
        settings = (requires_aesthetics_score, force_zeros_for_empty_prompt)
        super().__init__(*parts, image_encoder, feature_extractor, *settings, engine)
        self.controlnet = controlnet


class StableDiffusionXLControlNetImg2ImgPipeline(StableDiffusionXLControlNetPicturePipeline):
    """A text, a picture to start from and one to follow to pictures."""

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        prompt_2: Texts = None,
        image: ImageInput = None,
        control_image: ImageInput = None,
        height: int | None = None,
        width: int | None = None,
        strength: float = 0.8,
        num_inference_steps: int = 50,
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
        controlnet_conditioning_scale: Scales = 0.8,
        guess_mode: bool = False,
        control_guidance_start: Scales = 0.0,
        control_guidance_end: Scales = 1.0,
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
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance_interval: Interval = (0.0, 1.0),
    ) -> StableDiffusionXLPipelineOutput | tuple[Images]:
        """Draw images, with the arguments of `StableDiffusionXLImg2ImgPipeline` and, of the picture to follow,
        ``control_image``, those of `StableDiffusionControlNetImg2ImgPipeline`.

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
        scale, begin, end = controlnet_conditioning_scale, control_guidance_start, control_guidance_end
        guides = (
            ImagePrompt(ip_adapter_image, ip_adapter_image_embeds),
            ControlPictures(control_image, scale, guess_mode, begin, end),
        )
        start = FromImage(image, strength, latents, height=height, width=width)
        sampling = Sampling(num_inference_steps, None, None, eta, generator)
        guidance = GuidanceOptions(guidance_scale, guidance_interval)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        images = self._decode(draw(self, conditions, start, sampling, guidance, report, guides), output_type)
        return StableDiffusionXLPipelineOutput(images) if return_dict else (images,)
