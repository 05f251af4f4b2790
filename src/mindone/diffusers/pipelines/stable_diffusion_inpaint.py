"""Inpainting with Stable Diffusion: a part of a picture is drawn anew."""

from collections.abc import Mapping

from ..engines import Array
from ..schedulers.base import Generators
from .arguments import GuidanceOptions, Prompts, Report, Sampling, Texts
from .drawing import draw
from .image_processor import ImageInput, Images
from .image_prompt import ImageEmbeds, ImagePrompt, ImagePrompts
from .inpainting import Inpainting, WithMaskProcessor
from .mask_fills import MaskFill
from .output import StableDiffusionPipelineOutput
from .run import Interval, StepCallback
from .stable_diffusion import StableDiffusionPipeline


class StableDiffusionInpaintPipeline(WithMaskProcessor, StableDiffusionPipeline):
    """A text, a picture and a mask to pictures: ``pipe("a red hat", image=photo, mask_image=mask).images[0]``.

    With a network that was made for it (nine input channels) or any other; see `inpainting`.
    """

    callback_tensors = (*StableDiffusionPipeline.callback_tensors, "mask", "masked_image_latents")

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        image: ImageInput = None,
        mask_image: ImageInput = None,
        masked_image_latents: Array = None,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        strength: float = 1.0,
        num_inference_steps: int = 50,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
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
        clip_skip: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: list[str] | tuple[str, ...] = ("latents",),
        guidance_interval: Interval = (0.0, 1.0),
        mask_fill: MaskFill = "original",
    ) -> StableDiffusionPipelineOutput | tuple[Images, list[bool] | None]:
        """Draw images. Arguments that are not listed here are those of `StableDiffusionPipeline`.

        Args:
            image: the picture: a PIL image, an array, a list of them, or latents (see `ImageInput`).
            mask_image: white (above 0.5) is drawn anew, black is kept. It is stretched to the picture's size.
            masked_image_latents: the encoded picture without the masked part, for networks of nine channels, if it is
                not to be computed.
            height, width: the size to draw at, in pixels; picture and mask are brought to it.
            padding_mask_crop: draw only the rectangle around the mask, so many pixels larger on each side, at the full
                size, and put it back into the picture: small parts get more detail. Takes and gives PIL images.
            strength: how much of the masked part is drawn anew, above 0 to 1; below 1 it shows through.
            mask_fill: what shows through: the "original"; "blur", blurred colours of what is around the mask (takes PIL
                images); "noise" or "nothing" (zeros) in the latents.

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
        given = (latents, masked_image_latents)
        start = Inpainting(image, mask_image, height, width, strength, padding_mask_crop, *given, mask_fill=mask_fill)
        sampling = Sampling(num_inference_steps, timesteps, sigmas, eta, generator)
        pictures = ImagePrompt(ip_adapter_image, ip_adapter_image_embeds)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        guidance = GuidanceOptions(guidance_scale, guidance_interval)
        start.check_output(output_type)
        latents = draw(self, prompts, start, sampling, guidance, report, [pictures])
        images, unsafe = self._decode(latents, output_type)
        images = start.put_back(images)
        return StableDiffusionPipelineOutput(images, unsafe) if return_dict else (images, unsafe)
