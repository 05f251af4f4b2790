"""Stable Diffusion 1 and 2, and models distilled from them: High-Resolution Image Synthesis (Rombach et al. 2022)."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ..engines import Array
from ..families.clip_texts import TextTower, encode_text
from ..families.components import FunctionOrNetwork, TextEncoder, Tokenizer
from ..families.stable_diffusion.family import LATENT_CONSISTENCY, STABLE_DIFFUSION
from ..families.stable_diffusion.unet import UNet2DConditionModel
from ..lazy import look_up
from ..published_paths import exported
from ..utils import logging
from . import checks
from .calls import Arguments, LatentConsistencyCall, TextCall
from .control import ControlledImage, ControlledInpainting, ControlledNoise
from .editing import BesidePicture, FromImageWithDepth
from .image_starts import FromImage
from .inpainting import Inpainting
from .loop import Run, embed_guidance, repeat_each
from .output import ImagePipelineOutput, StableDiffusionPipelineOutput
from .picture_calls import (
    ControlCall,
    ControlImageCall,
    ControlMaskCall,
    DepthCall,
    EditCall,
    ImageCall,
    MaskCall,
    PictureArguments,
)
from .pipeline import constructor
from .published import PublishedPipeline
from .stages import published
from .starts import FromNoise

logger = logging.get_logger(__name__)


class StableDiffusion(PublishedPipeline):
    """A CLIP text encoder, a denoiser and an autoencoder. Each task with them is a published class."""

    family = STABLE_DIFFUSION
    required_components = STABLE_DIFFUSION.required
    optional_components: ClassVar[tuple[str, ...]] = STABLE_DIFFUSION.optional
    config_defaults: ClassVar[Mapping[str, object]] = {"requires_safety_checker": True}
    callback_tensors: ClassVar[tuple[str, ...]] = ("latents", "prompt_embeds", "negative_prompt_embeds")
    """The tensors that a step callback may get and replace."""
    arguments = PictureArguments

    unet: UNet2DConditionModel
    text_encoder: TextEncoder | None
    tokenizer: Tokenizer | None
    safety_checker: FunctionOrNetwork | None
    feature_extractor: Callable[..., object] | None

    __init__ = constructor(required_components, optional_components, config_defaults)

    @classmethod
    def adjusted(cls, components: Mapping[str, object]) -> Mapping[str, object]:
        """See `Pipeline`: the scheduler as `_modernized` makes it."""
        if checks.is_network(components.get("safety_checker")) and components["feature_extractor"] is None:
            raise ValueError("a safety_checker needs a feature_extractor; pass one, or safety_checker=None")
        return {**components, "scheduler": _modernized(components["scheduler"])}

    def encode_prompt(
        self,
        prompt: str | list[str] | None = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: str | list[str] | None = None,
        prompt_embeds: Array | None = None,
        negative_prompt_embeds: Array | None = None,
        clip_skip: int | None = None,
        device: object = None,
    ) -> tuple[Array, Array | None]:
        """Text embeddings of the prompts and, with guidance, of the negative prompts (else None).

        Both are the engine's arrays, (prompts · num_images_per_prompt, tokens, channels), one prompt's images adjacent.
        ``clip_skip`` is how many last layers to skip for the prompts; ``device`` is for published scripts and ignored.
        """
        count = checks.check_prompts(prompt, prompt_embeds, negative_prompt, negative_prompt_embeds)
        if self.text_encoder is not None:
            checks.check_clip_skip(clip_skip, self.text_encoder.config["num_hidden_layers"])
        if do_classifier_free_guidance and prompt_embeds is None and negative_prompt_embeds is None and not clip_skip:
            both = self._encode(checks.as_list(prompt, count) + checks.as_list(negative_prompt, count))
            prompt_embeds, negative_prompt_embeds = both[:count], both[count:]
        if prompt_embeds is None:
            prompt_embeds = self._encode(checks.as_list(prompt, count), clip_skip or 0)
            if do_classifier_free_guidance and negative_prompt_embeds is not None:
                checks.check_lengths(prompt_embeds, negative_prompt_embeds, is_negative_given=True)
        if do_classifier_free_guidance and negative_prompt_embeds is None:
            negative_prompt_embeds = self._encode(checks.as_list(negative_prompt, count))
            checks.check_lengths(prompt_embeds, negative_prompt_embeds, is_negative_given=False)
        embeds = repeat_each(self.engine, self.engine.asarray(prompt_embeds), num_images_per_prompt)
        if not do_classifier_free_guidance or negative_prompt_embeds is None:
            return embeds, None
        return embeds, repeat_each(self.engine, self.engine.asarray(negative_prompt_embeds), num_images_per_prompt)

    @property
    def text_towers(self) -> list[TextTower]:
        """The text encoder that reads prompts."""
        return [TextTower(self.text_encoder, self.tokenizer, skip=self.family.skipped_layers, apply_final_norm=True)]

    def _encode(self, texts: list[str], clip_skip: int = 0) -> Array:
        return encode_text(self.engine, self.text_towers[0], texts, clip_skip)[0]

    def condition(self, run: Run, call: Arguments, height: int, width: int) -> None:
        """Give the run its network's conditions: the text, and the guidance scale if guidance is built in."""
        guided = run.do_classifier_free_guidance
        embeds, negative_embeds = self.encode_prompt(
            call.prompt,
            call.num_images_per_prompt,
            guided,
            call.negative_prompt,
            call.prompt_embeds,
            call.negative_prompt_embeds,
            call.clip_skip,
        )
        run.condition_on(prompt_embeds=run.rows_of(embeds, negative_embeds), negative_prompt_embeds=negative_embeds)
        embed_guidance(run, embeds.shape[0])


class StableDiffusionPipeline(StableDiffusion):
    """Text-to-image: ``pipe("an astronaut riding a horse on mars").images[0]`` is a ``PIL.Image.Image``."""

    __call__ = published(TextCall, FromNoise, StableDiffusionPipelineOutput)


class LatentConsistencyModelPipeline(StableDiffusion):
    """The same with networks distilled to generate in 1 to 8 steps, with built-in guidance (Luo et al. 2023)."""

    family = LATENT_CONSISTENCY
    takes_negative_prompts = False

    __call__ = published(LatentConsistencyCall, FromNoise, StableDiffusionPipelineOutput)


class StableDiffusionImg2ImgPipeline(StableDiffusion):
    """Image-to-image: ``pipe("a watercolour", image=photo, strength=0.6).images[0]``."""

    __call__ = published(ImageCall, FromImage, StableDiffusionPipelineOutput)


class StableDiffusionInpaintPipeline(StableDiffusion):
    """Inpainting: ``pipe("a red hat", image=photo, mask_image=mask).images[0]``.

    It works with an inpainting network (nine input channels) or any other; see `inpainting`.
    """

    callback_tensors = (*StableDiffusion.callback_tensors, "mask", "masked_image_latents")

    __call__ = published(MaskCall, Inpainting, StableDiffusionPipelineOutput)


class StableDiffusionInstructPix2PixPipeline(StableDiffusion):
    """Editing by instruction: ``pipe("turn him into a cyborg", image=photo).images[0]``.

    InstructPix2Pix (Brooks et al. 2023). The network takes eight channels: the latents and the picture's, which may be
    given as latents as encoded, without ``scaling_factor``.
    """

    callback_tensors = (*StableDiffusion.callback_tensors, "image_latents")

    __call__ = published(EditCall, BesidePicture, StableDiffusionPipelineOutput)


class StableDiffusionDepth2ImgPipeline(StableDiffusion):
    """Image-to-image that keeps depths: ``pipe("two tigers", image=photo, depth_map=depths).images[0]``.

    For Stable Diffusion 2's *depth* checkpoint, whose network takes five channels: the latents and the depths. No depth
    estimator is included; ``depth_estimator`` may be your own function, called with ``feature_extractor``'s output.
    """

    optional_components = ("depth_estimator", "feature_extractor")
    components_to_pass = ("depth_estimator", "feature_extractor")
    config_defaults: ClassVar[Mapping[str, object]] = {}
    callback_tensors = (*StableDiffusion.callback_tensors, "depth_mask")

    __init__ = constructor(StableDiffusion.required_components, optional_components, config_defaults)

    __call__ = published(DepthCall, FromImageWithDepth, ImagePipelineOutput)


_CONTROLLED = (*STABLE_DIFFUSION.required[:-1], "controlnet", "scheduler")


class StableDiffusionControlNetPipeline(StableDiffusion):
    """Text-to-image with a ControlNet: ``pipe("a house", image=edges).images[0]``."""

    required_components = _CONTROLLED

    __init__ = constructor(required_components, StableDiffusion.optional_components, StableDiffusion.config_defaults)
    __call__ = published(ControlCall, ControlledNoise, StableDiffusionPipelineOutput)


class StableDiffusionControlNetImg2ImgPipeline(StableDiffusion):
    """Image-to-image with a ControlNet."""

    required_components = _CONTROLLED

    __init__ = constructor(required_components, StableDiffusion.optional_components, StableDiffusion.config_defaults)
    __call__ = published(ControlImageCall, ControlledImage, StableDiffusionPipelineOutput)


class StableDiffusionControlNetInpaintPipeline(StableDiffusion):
    """Inpainting with a ControlNet."""

    required_components = _CONTROLLED
    callback_tensors = (*StableDiffusion.callback_tensors, "mask", "masked_image_latents")

    __init__ = constructor(required_components, StableDiffusion.optional_components, StableDiffusion.config_defaults)
    __call__ = published(ControlMaskCall, ControlledInpainting, StableDiffusionPipelineOutput)


def _modernized(scheduler: object) -> object:
    """The scheduler with Stable Diffusion's training settings, if its config file is older than these fields.

    ``steps_offset`` counts timesteps from 1, and predicted samples are not clipped: latents are not pixels.
    """
    trained = {"steps_offset": 1, "clip_sample": False}
    config = getattr(scheduler, "config", {})
    outdated = {name: value for name, value in trained.items() if config.get(name, value) != value}
    if not outdated:
        return scheduler
    changes = " and ".join(f"{name}={value}" for name, value in outdated.items())
    logger.info(
        f"{type(scheduler).__name__}: using {changes}, as Stable Diffusion was trained, instead of its config's"
    )
    kind: Any = type(scheduler)
    return kind.from_config({**config, **outdated})


def __getattr__(name: str) -> object:
    """Further exports of the published package of this name."""
    return look_up(__name__, exported(__name__), name)
