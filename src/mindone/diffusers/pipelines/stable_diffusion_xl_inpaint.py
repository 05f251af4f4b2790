"""Inpainting with Stable Diffusion XL: a part of a picture is drawn anew."""

from collections.abc import Mapping

from ..engines import Array
from ..schedulers.base import Generators
from .arguments import GuidanceOptions, Report, Sampling, Texts
from .drawing import draw
from .image_processor import ImageInput, Images
from .image_prompt import ImageEmbeds, ImagePrompt, ImagePrompts
from .inpainting import Inpainting, WithMaskProcessor
from .mask_fills import MaskFill
from .output import StableDiffusionXLPipelineOutput
from .run import Interval, StepCallback
from .stable_diffusion_xl_img2img import StableDiffusionXLPicturePipeline
from .xl_prompts import Size, XLPicturePrompts


class StableDiffusionXLInpaintPipeline(WithMaskProcessor, StableDiffusionXLPicturePipeline):
    """A text, a picture and a mask to pictures; see `inpainting`."""

    default_guidance_scale = 7.5
    callback_tensors = (*StableDiffusionXLPicturePipeline.callback_tensors, "mask", "masked_image_latents")

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        prompt_2: Texts = None,
        image: ImageInput = None,
        mask_image: ImageInput = None,
        masked_image_latents: Array = None,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        strength: float = 0.9999,
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
        mask_fill: MaskFill = "original",
    ) -> StableDiffusionXLPipelineOutput | tuple[Images]:
        """Draw images, with the arguments of `StableDiffusionXLImg2ImgPipeline` and `StableDiffusionInpaintPipeline`.

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
        given = (latents, masked_image_latents, denoising_start, denoising_end)
        start = Inpainting(image, mask_image, height, width, strength, padding_mask_crop, *given, mask_fill=mask_fill)
        sampling = Sampling(num_inference_steps, timesteps, sigmas, eta, generator)
        guidance = GuidanceOptions(guidance_scale, guidance_interval, guidance_rescale)
        pictures = ImagePrompt(ip_adapter_image, ip_adapter_image_embeds)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        start.check_output(output_type)
        drawn = draw(self, conditions, start, sampling, guidance, report, [pictures])
        images = start.put_back(self._decode(drawn, output_type))
        return StableDiffusionXLPipelineOutput(images) if return_dict else (images,)
