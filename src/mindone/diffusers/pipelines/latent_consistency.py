"""Latent Consistency Models (Luo et al. 2023): networks distilled to draw in 1 to 8 steps, guidance built in."""

from collections.abc import Mapping, Sequence

from ..engines import Array
from ..schedulers.base import Generators
from .arguments import GuidanceOptions, Prompts, Report, Sampling, Texts
from .drawing import draw
from .image_processor import Images
from .image_prompt import ImageEmbeds, ImagePrompt, ImagePrompts
from .output import StableDiffusionPipelineOutput
from .run import Interval, StepCallback
from .stable_diffusion import StableDiffusionPipeline
from .starts import FromNoise


class LatentConsistencyModelPipeline(StableDiffusionPipeline):
    """`StableDiffusionPipeline` with the arguments and defaults that latent consistency models are published with."""

    default_guidance_scale = 8.5

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 4,
        original_inference_steps: int | None = None,
        timesteps: list[int] | None = None,
        guidance_scale: float | None = None,
        num_images_per_prompt: int = 1,
        generator: Generators = None,
        latents: Array = None,
        prompt_embeds: Array = None,
        ip_adapter_image: ImagePrompts = None,
        ip_adapter_image_embeds: ImageEmbeds = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, object] | None = None,
        clip_skip: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        sigmas: list[float] | None = None,
        eta: float = 0.0,
        negative_prompt: Texts = None,
        negative_prompt_embeds: Array = None,
        guidance_interval: Interval = (0.0, 1.0),
    ) -> StableDiffusionPipelineOutput | tuple[Images, list[bool] | None]:
        """Draw images. Arguments that are not listed here are those of `StableDiffusionPipeline`.

        Args:
            original_inference_steps: the distillation's steps, from which the run chooses; by default the
                scheduler's own, 50.
            negative_prompt, negative_prompt_embeds: must be None: the network was distilled with guidance against the
                empty text.

        Raises:
            ValueError: an argument is wrong; raised before any network runs.
        """
        if negative_prompt is not None or negative_prompt_embeds is not None:
            raise ValueError("negative_prompt means nothing to a latent consistency model; leave it out")
        conditions = Prompts(
            prompt, None, prompt_embeds, None, clip_skip, num_images_per_prompt, cross_attention_kwargs
        )
        sampling = Sampling(num_inference_steps, timesteps, sigmas, eta, generator, original_inference_steps)
        guidance = GuidanceOptions(guidance_scale, guidance_interval)
        pictures = ImagePrompt(ip_adapter_image, ip_adapter_image_embeds)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        drawn = draw(self, conditions, FromNoise(height, width, latents), sampling, guidance, report, [pictures])
        images, unsafe = self._decode(drawn, output_type)
        return StableDiffusionPipelineOutput(images, unsafe) if return_dict else (images, unsafe)
