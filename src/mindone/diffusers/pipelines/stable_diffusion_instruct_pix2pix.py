"""Editing a picture by an instruction with Stable Diffusion: InstructPix2Pix (Brooks et al. 2023)."""

from collections.abc import Mapping, Sequence

from ..engines import Array
from ..schedulers.base import Generators
from .arguments import GuidanceOptions, Prompts, Report, Sampling, Texts
from .drawing import draw
from .editing import BesidePicture
from .image_processor import ImageInput, Images
from .output import StableDiffusionPipelineOutput
from .run import StepCallback
from .stable_diffusion import StableDiffusionPipeline
from .starts import WithImageProcessor


class StableDiffusionInstructPix2PixPipeline(WithImageProcessor, StableDiffusionPipeline):
    """An instruction and a picture to pictures: ``pipe("turn him into a cyborg", image=photo).images[0]``.

    The network takes eight channels: the latents, and those of the picture.
    """

    callback_tensors = (*StableDiffusionPipeline.callback_tensors, "image_latents")

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        image: ImageInput = None,
        num_inference_steps: int = 100,
        guidance_scale: float | None = None,
        image_guidance_scale: float = 1.5,
        negative_prompt: Texts = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generators = None,
        latents: Array = None,
        prompt_embeds: Array = None,
        negative_prompt_embeds: Array = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        cross_attention_kwargs: Mapping[str, object] | None = None,
    ) -> StableDiffusionPipelineOutput | tuple[Images, list[bool] | None]:
        """Draw images. Arguments that are not listed here are those of `StableDiffusionPipeline`.

        Args:
            prompt: what is to be done with the picture.
            image: the picture: a PIL image, an array, a list of them, or latents as they are encoded, without
                ``scaling_factor``. The images get its size, rounded down to a multiple of what a latent stands for.
            guidance_scale: how closely to follow the instruction; above 1, or there is no guidance.
            image_guidance_scale: how closely to follow the picture, from 1; below 1 there is no guidance.

        Raises:
            ValueError: an argument is wrong; raised before any network runs.
        """
        prompts = Prompts(
            prompt,
            negative_prompt,
            prompt_embeds,
            negative_prompt_embeds,
            None,
            num_images_per_prompt,
            cross_attention_kwargs,
        )
        sampling = Sampling(num_inference_steps, None, None, eta, generator)
        guidance = GuidanceOptions(guidance_scale, (0.0, 1.0), 0.0, image_guidance_scale)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        drawn = draw(self, prompts, BesidePicture(image, latents), sampling, guidance, report)
        images, unsafe = self._decode(drawn, output_type)
        return StableDiffusionPipelineOutput(images, unsafe) if return_dict else (images, unsafe)
