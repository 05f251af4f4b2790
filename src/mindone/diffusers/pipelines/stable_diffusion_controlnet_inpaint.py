"""Inpainting with Stable Diffusion that follows pictures."""

from collections.abc import Mapping, Sequence

from ..engines import Array
from ..schedulers.base import Generators
from .arguments import GuidanceOptions, Prompts, Report, Sampling, Texts
from .control import ControlPictures, Scales
from .drawing import draw
from .image_processor import ImageInput, Images
from .image_prompt import ImageEmbeds, ImagePrompt, ImagePrompts
from .inpainting import Inpainting, WithMaskProcessor
from .mask_fills import MaskFill
from .output import StableDiffusionPipelineOutput
from .run import Interval, StepCallback
from .stable_diffusion_controlnet import StableDiffusionWithControlNet
from .starts import image_processor


class StableDiffusionControlNetInpaintPipeline(WithMaskProcessor, StableDiffusionWithControlNet):
    """A text, a picture, a mask and a picture to follow to pictures."""

    callback_tensors = (*StableDiffusionWithControlNet.callback_tensors, "mask", "masked_image_latents")

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        image: ImageInput = None,
        mask_image: ImageInput = None,
        control_image: ImageInput = None,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        strength: float = 1.0,
        num_inference_steps: int = 50,
        guidance_scale: float | None = None,
        negative_prompt: Texts = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generators = None,
        latents: Array = None,
        prompt_embeds: Array = None,
        negative_prompt_embeds: Array = None,
        ip_adapter_image: ImagePrompts = None,
        ip_adapter_image_embeds: ImageEmbeds = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, object] | None = None,
        controlnet_conditioning_scale: Scales = 0.5,
        guess_mode: bool = False,
        control_guidance_start: Scales = 0.0,
        control_guidance_end: Scales = 1.0,
        clip_skip: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance_interval: Interval = (0.0, 1.0),
        mask_fill: MaskFill = "original",
    ) -> StableDiffusionPipelineOutput | tuple[Images, list[bool] | None]:
        """Draw images. The arguments are those of `StableDiffusionInpaintPipeline` and, of the picture to follow,
        those of `StableDiffusionControlNetPipeline`; the size is by default that of ``image``.

        Raises:
            ValueError: an argument is wrong; raised before any network runs.
        """
        prompts = Prompts(
            prompt,
            negative_prompt,
            prompt_embeds,
            negative_prompt_embeds,
            clip_skip,
            num_images_per_prompt,
            cross_attention_kwargs,
        )
        if image is not None:
            height, width = image_processor(self).get_default_height_width(image, height, width)
        start = Inpainting(image, mask_image, height, width, strength, padding_mask_crop, latents, mask_fill=mask_fill)
        scale, begin, end = controlnet_conditioning_scale, control_guidance_start, control_guidance_end
        guide = ControlPictures(control_image, scale, guess_mode, begin, end, start)
        sampling = Sampling(num_inference_steps, None, None, eta, generator)
        pictures = ImagePrompt(ip_adapter_image, ip_adapter_image_embeds)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        guidance = GuidanceOptions(guidance_scale, guidance_interval)
        start.check_output(output_type)
        drawn = draw(self, prompts, start, sampling, guidance, report, [pictures, guide])
        images, unsafe = self._decode(drawn, output_type)
        images = start.put_back(images)
        return StableDiffusionPipelineOutput(images, unsafe) if return_dict else (images, unsafe)
