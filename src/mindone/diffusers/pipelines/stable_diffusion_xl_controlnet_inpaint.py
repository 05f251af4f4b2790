"""Inpainting with Stable Diffusion XL that follows pictures."""

from collections.abc import Mapping, Sequence

from ..engines import Array
from ..schedulers.base import Generators
from .arguments import GuidanceOptions, Report, Sampling, Texts
from .control import ControlPictures, Scales
from .drawing import draw
from .image_processor import ImageInput, Images
from .image_prompt import ImageEmbeds, ImagePrompt, ImagePrompts
from .inpainting import Inpainting, WithMaskProcessor
from .mask_fills import MaskFill
from .output import StableDiffusionXLPipelineOutput
from .run import Interval, StepCallback
from .stable_diffusion_xl_controlnet_img2img import StableDiffusionXLControlNetPicturePipeline
from .starts import image_processor
from .xl_prompts import Size, XLPicturePrompts


class StableDiffusionXLControlNetInpaintPipeline(WithMaskProcessor, StableDiffusionXLControlNetPicturePipeline):
    """A text, a picture, a mask and a picture to follow to pictures."""

    callback_tensors = (*StableDiffusionXLControlNetPicturePipeline.callback_tensors, "mask", "masked_image_latents")

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        prompt_2: Texts = None,
        image: ImageInput = None,
        mask_image: ImageInput = None,
        control_image: ImageInput = None,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        strength: float = 0.9999,
        num_inference_steps: int = 50,
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
        ip_adapter_image: ImagePrompts = None,
        ip_adapter_image_embeds: ImageEmbeds = None,
        pooled_prompt_embeds: Array = None,
        negative_pooled_prompt_embeds: Array = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, object] | None = None,
        controlnet_conditioning_scale: Scales = 1.0,
        guess_mode: bool = False,
        control_guidance_start: Scales = 0.0,
        control_guidance_end: Scales = 1.0,
        guidance_rescale: float = 0.0,
        original_size: Size | None = None,
        crops_coords_top_left: Size = (0, 0),
        target_size: Size | None = None,
        aesthetic_score: float = 6.0,
        negative_aesthetic_score: float = 2.5,
        clip_skip: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance_interval: Interval = (0.0, 1.0),
        mask_fill: MaskFill = "original",
    ) -> StableDiffusionXLPipelineOutput | tuple[Images]:
        """Draw images, with the arguments of `StableDiffusionXLInpaintPipeline` and, of the picture to follow,
        ``control_image``, those of `StableDiffusionControlNetInpaintPipeline`.

        Raises:
            ValueError: an argument is wrong; raised before any network runs.
        """
        conditions = XLPicturePrompts(
            (prompt, prompt_2),
            (negative_prompt, negative_prompt_2),
            (prompt_embeds, pooled_prompt_embeds),
            (negative_prompt_embeds, negative_pooled_prompt_embeds),
            (original_size, crops_coords_top_left, target_size),
            (None, (0, 0), None),
            clip_skip,
            num_images_per_prompt,
            cross_attention_kwargs,
            (aesthetic_score, negative_aesthetic_score),
        )
        if image is not None:
            height, width = image_processor(self).get_default_height_width(image, height, width)
        given = (latents, None, denoising_start, denoising_end)
        start = Inpainting(image, mask_image, height, width, strength, padding_mask_crop, *given, mask_fill=mask_fill)
        scale, begin, end = controlnet_conditioning_scale, control_guidance_start, control_guidance_end
        guide = ControlPictures(control_image, scale, guess_mode, begin, end, start)
        guides = (ImagePrompt(ip_adapter_image, ip_adapter_image_embeds), guide)
        sampling = Sampling(num_inference_steps, None, None, eta, generator)
        guidance = GuidanceOptions(guidance_scale, guidance_interval, guidance_rescale)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        start.check_output(output_type)
        images = self._decode(draw(self, conditions, start, sampling, guidance, report, guides), output_type)
        images = start.put_back(images)
        return StableDiffusionXLPipelineOutput(images) if return_dict else (images,)
