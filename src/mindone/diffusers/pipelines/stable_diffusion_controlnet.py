"""Stable Diffusion that follows pictures: edges, depths, poses (Zhang et al. 2023)."""

from collections.abc import Mapping, Sequence

from ..engines import Array, Engine
from ..schedulers.base import Generators
from .arguments import GuidanceOptions, Prompts, Report, Sampling, Texts
from .components import Component
from .control import ControlPictures, Scales, WithControlNet
from .drawing import draw
from .image_processor import ImageInput, Images
from .image_prompt import ImageEmbeds, ImagePrompt, ImagePrompts
from .output import StableDiffusionPipelineOutput
from .run import Interval, StepCallback
from .stable_diffusion import StableDiffusionPipeline
from .starts import FromImage, FromNoise, WithImageProcessor


class StableDiffusionWithControlNet(WithControlNet, WithImageProcessor, StableDiffusionPipeline):
    """What Stable Diffusion's ControlNet pipelines are made of."""

    optional_components = ("controlnet", *StableDiffusionPipeline.optional_components)

    def __init__(
        self,
        vae: Component,
        text_encoder: Component,
        tokenizer: Component,
        unet: Component,
        controlnet: Component = None,
        scheduler: Component = None,
        safety_checker: Component = None,
        feature_extractor: Component = None,
        image_encoder: Component = None,
        requires_safety_checker: bool = True,
        engine: Engine | str | None = None,
    ):
        parts = (vae, text_encoder, tokenizer, unet, scheduler, safety_checker, feature_extractor, image_encoder)
        super().__init__(*parts, requires_safety_checker, engine)
        self.controlnet = controlnet


class StableDiffusionControlNetPipeline(StableDiffusionWithControlNet):
    """A text and a picture to follow to pictures: ``pipe("a house", image=edges).images[0]``."""

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        image: ImageInput = None,
        height: int | None = None,
        width: int | None = None,
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
        controlnet_conditioning_scale: Scales = 1.0,
        guess_mode: bool = False,
        control_guidance_start: Scales = 0.0,
        control_guidance_end: Scales = 1.0,
        clip_skip: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance_interval: Interval = (0.0, 1.0),
    ) -> StableDiffusionPipelineOutput | tuple[Images, list[bool] | None]:
        """Draw images. Arguments that are not listed here are those of `StableDiffusionPipeline`.

        Args:
            image: the picture to follow, as the ControlNet was trained on: a PIL image, an array, or one per prompt.
                For several ControlNets a list with one each.
            height, width: by default those of the picture.
            controlnet_conditioning_scale: how much the picture counts; for several a list with one each.
            guess_mode: let the ControlNet see the text's half of guidance alone, and its upper stages count less: it
                then recognises what is in the picture even without a text; a guidance scale of 3 to 5 suits it.
            control_guidance_start, control_guidance_end: the part of the steps, from 0 to 1, that follows the picture;
                the others cost nothing more than a step without a ControlNet.

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
        guide = ControlPictures(
            image, controlnet_conditioning_scale, guess_mode, control_guidance_start, control_guidance_end
        )
        start = FromNoise(*guide.size(self, height, width), latents)
        sampling = Sampling(num_inference_steps, timesteps, sigmas, eta, generator)
        pictures = ImagePrompt(ip_adapter_image, ip_adapter_image_embeds)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        guidance = GuidanceOptions(guidance_scale, guidance_interval)
        drawn = draw(self, prompts, start, sampling, guidance, report, [pictures, guide])
        images, unsafe = self._decode(drawn, output_type)
        return StableDiffusionPipelineOutput(images, unsafe) if return_dict else (images, unsafe)


class StableDiffusionControlNetImg2ImgPipeline(StableDiffusionWithControlNet):
    """A text, a picture to start from and one to follow to pictures."""

    def __call__(  # type: ignore[override]
        self,
        prompt: Texts = None,
        image: ImageInput = None,
        control_image: ImageInput = None,
        height: int | None = None,
        width: int | None = None,
        strength: float = 0.8,
        num_inference_steps: int = 50,
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
        controlnet_conditioning_scale: Scales = 0.8,
        guess_mode: bool = False,
        control_guidance_start: Scales = 0.0,
        control_guidance_end: Scales = 1.0,
        clip_skip: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        guidance_interval: Interval = (0.0, 1.0),
    ) -> StableDiffusionPipelineOutput | tuple[Images, list[bool] | None]:
        """Draw images. Arguments that are not listed here are those of `StableDiffusionControlNetPipeline`.

        Args:
            image: what to start from, as in `StableDiffusionImg2ImgPipeline`.
            control_image: the picture to follow; for several ControlNets a list with one each.
            height, width: the size to bring ``image`` to; by default its own.
            strength: how much of ``image`` is drawn anew, above 0 to 1.

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
        guide = ControlPictures(
            control_image, controlnet_conditioning_scale, guess_mode, control_guidance_start, control_guidance_end
        )
        start = FromImage(image, strength, height=height, width=width)
        sampling = Sampling(num_inference_steps, None, None, eta, generator)
        pictures = ImagePrompt(ip_adapter_image, ip_adapter_image_embeds)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        guidance = GuidanceOptions(guidance_scale, guidance_interval)
        drawn = draw(self, prompts, start, sampling, guidance, report, [pictures, guide])
        images, unsafe = self._decode(drawn, output_type)
        return StableDiffusionPipelineOutput(images, unsafe) if return_dict else (images, unsafe)
