"""Image-to-image with Stable Diffusion: SDEdit (Meng et al. 2022), a picture with noise added and taken away again."""

from collections.abc import Mapping

from ..engines import Array
from ..schedulers.base import Generators
from .arguments import GuidanceOptions, Prompts, Report, Sampling, Texts
from .drawing import draw
from .image_processor import ImageInput, Images
from .image_prompt import ImageEmbeds, ImagePrompt, ImagePrompts
from .output import StableDiffusionPipelineOutput
from .run import Interval, StepCallback
from .stable_diffusion import StableDiffusionPipeline
from .starts import FromImage, WithImageProcessor


class StableDiffusionImg2ImgPipeline(WithImageProcessor, StableDiffusionPipeline):
    """A text and a picture to pictures: ``pipe("a watercolour", image=photo, strength=0.6).images[0]``."""

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        image: ImageInput = None,
        strength: float = 0.8,
        num_inference_steps: int = 50,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        guidance_scale: float | None = None,
        negative_prompt: Texts = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generators = None,
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
    ) -> StableDiffusionPipelineOutput | tuple[Images, list[bool] | None]:
        """Draw images. Arguments that are not listed here are those of `StableDiffusionPipeline`.

        Args:
            image: what to start from: a PIL image, an array, a list of them, or latents (see `ImageInput`). The images
                get its size, rounded down to a multiple of what a latent stands for.
            strength: how much of it is drawn anew, above 0 to 1: the last part ``strength`` of the steps is run.

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
        sampling = Sampling(num_inference_steps, timesteps, sigmas, eta, generator)
        pictures = ImagePrompt(ip_adapter_image, ip_adapter_image_embeds)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        guidance = GuidanceOptions(guidance_scale, guidance_interval)
        latents = draw(self, prompts, FromImage(image, strength), sampling, guidance, report, [pictures])
        images, unsafe = self._decode(latents, output_type)
        return StableDiffusionPipelineOutput(images, unsafe) if return_dict else (images, unsafe)
