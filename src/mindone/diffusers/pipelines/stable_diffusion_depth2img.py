"""Image-to-image that keeps the depths of a picture, with Stable Diffusion 2's *depth* checkpoint."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ..engines import Array, Engine
from ..loading.config import Config
from ..schedulers.base import Generators
from .arguments import GuidanceOptions, Prompts, Report, Sampling, Texts
from .components import Component
from .drawing import draw
from .editing import FromImageWithDepth
from .image_processor import ImageInput, Images
from .output import ImagePipelineOutput
from .run import Interval, StepCallback
from .stable_diffusion import StableDiffusionPipeline
from .starts import WithImageProcessor


class StableDiffusionDepth2ImgPipeline(WithImageProcessor, StableDiffusionPipeline):
    """A text, a picture and its depths to pictures: ``pipe("two tigers", image=photo, depth_map=depths).images[0]``.

    The network takes five channels: the latents, and the depths. No depth estimator is here; ``depth_estimator`` may be
    a function of yours that is given what ``feature_extractor`` makes of the pictures.
    """

    optional_components = ("depth_estimator", "feature_extractor")
    components_to_pass = ("depth_estimator", "feature_extractor")
    config_defaults: ClassVar[Mapping[str, object]] = {}
    callback_tensors = (*StableDiffusionPipeline.callback_tensors, "depth_mask")

    safety_checker: Component = None
    image_encoder: Component = None
    depth_estimator: Component

    def __init__(
        self,
        vae: Component,
        text_encoder: Component,
        tokenizer: Component,
        unet: Component,
        scheduler: Component,
        depth_estimator: Component = None,
        feature_extractor: Component = None,
        engine: Engine | str | None = None,
    ):
        super().__init__(vae, text_encoder, tokenizer, unet, scheduler, None, feature_extractor, engine=engine)
        self.own_settings = Config()
        self.depth_estimator = depth_estimator

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        image: ImageInput = None,
        depth_map: Array = None,
        strength: float = 0.8,
        num_inference_steps: int = 50,
        guidance_scale: float | None = None,
        negative_prompt: Texts = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generators = None,
        prompt_embeds: Array = None,
        negative_prompt_embeds: Array = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, object] | None = None,
        clip_skip: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance_interval: Interval = (0.0, 1.0),
    ) -> ImagePipelineOutput | tuple[Images]:
        """Draw images. Arguments that are not listed here are those of `StableDiffusionImg2ImgPipeline`.

        Args:
            depth_map: how near things are, (pictures, height, width), of any size and scale; more is nearer. It is
                brought to the size of the latents and to [-1, 1].

        Raises:
            ValueError: an argument is wrong, or there is neither ``depth_map`` nor an estimator; raised before any
                network runs.
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
        sampling = Sampling(num_inference_steps, None, None, eta, generator)
        guidance = GuidanceOptions(guidance_scale, guidance_interval)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        start = FromImageWithDepth(image, strength, depth_map=depth_map)
        images, _ = self._decode(draw(self, prompts, start, sampling, guidance, report), output_type)
        return ImagePipelineOutput(images) if return_dict else (images,)
