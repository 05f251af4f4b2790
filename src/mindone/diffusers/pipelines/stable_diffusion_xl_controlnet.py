"""Stable Diffusion XL that follows pictures: edges, depths, poses (Zhang et al. 2023)."""

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
from .stable_diffusion_xl import StableDiffusionXLPipeline
from .starts import FromNoise, WithImageProcessor
from .xl_prompts import Size, XLPrompts


class StableDiffusionXLControlNetPipeline(WithControlNet, WithImageProcessor, StableDiffusionXLPipeline):
    """A text and a picture to follow to pictures: ``pipe("a house", image=edges).images[0]``."""

    optional_components = ("controlnet", *StableDiffusionXLPipeline.optional_components)

    def __init__(
        self,
        vae: Component,
        text_encoder: Component,
        text_encoder_2: Component,
        tokenizer: Component,
        tokenizer_2: Component,
        unet: Component,
        controlnet: Component = None,
        scheduler: Component = None,
        force_zeros_for_empty_prompt: bool = True,
        feature_extractor: Component = None,
        image_encoder: Component = None,
        engine: Engine | str | None = None,
    ):
        parts = (vae, text_encoder, text_encoder_2, tokenizer, tokenizer_2, unet, scheduler)
        super().__init__(*parts, image_encoder, feature_extractor, force_zeros_for_empty_prompt, engine)
        self.controlnet = controlnet

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        prompt_2: Texts = None,
        image: ImageInput = None,
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
        controlnet_conditioning_scale: Scales = 1.0,
        guess_mode: bool = False,
        control_guidance_start: Scales = 0.0,
        control_guidance_end: Scales = 1.0,
        original_size: Size | None = None,
        crops_coords_top_left: Size = (0, 0),
        target_size: Size | None = None,
        negative_original_size: Size | None = None,
        negative_crops_coords_top_left: Size = (0, 0),
        negative_target_size: Size | None = None,
        clip_skip: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance_interval: Interval = (0.0, 1.0),
    ) -> StableDiffusionXLPipelineOutput | tuple[Images]:
        """Draw images. The arguments are those of `StableDiffusionXLPipeline` and, of the picture to follow, those of
        `StableDiffusionControlNetPipeline`.

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
        scale, begin, end = controlnet_conditioning_scale, control_guidance_start, control_guidance_end
        guide = ControlPictures(image, scale, guess_mode, begin, end)
        start = FromNoise(*guide.size(self, height, width), latents, denoising_end)
        sampling = Sampling(num_inference_steps, timesteps, sigmas, eta, generator)
        guidance = GuidanceOptions(guidance_scale, guidance_interval)
        pictures = ImagePrompt(ip_adapter_image, ip_adapter_image_embeds)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        images = self._decode(draw(self, conditions, start, sampling, guidance, report, [pictures, guide]), output_type)
        return StableDiffusionXLPipelineOutput(images) if return_dict else (images,)
