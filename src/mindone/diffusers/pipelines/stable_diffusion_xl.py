"""Stable Diffusion XL and models distilled from it: SDXL (Podell et al. 2023)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from ..engines import Array
from ..families.clip_texts import TextTower, encode_text
from ..families.components import TextEncoder, Tokenizer
from ..families.stable_diffusion.unet import UNet2DConditionModel
from ..families.stable_diffusion_xl.family import STABLE_DIFFUSION_XL
from ..families.stable_diffusion_xl.prompts import time_ids
from ..lazy import look_up
from ..published_paths import exported
from . import checks
from .calls import Arguments, Texts
from .control import ControlledImage, ControlledInpainting, ControlledNoise
from .editing import BesideXLPicture
from .image_starts import FromImage
from .inpainting import Inpainting
from .joint_texts import Given, encode_texts, texts_of
from .loop import Run, embed_guidance
from .output import StableDiffusionXLPipelineOutput
from .pipeline import constructor
from .published import PublishedPipeline
from .stages import published
from .starts import FromNoise
from .xl_calls import (
    XLArguments,
    XLControlCall,
    XLControlImageCall,
    XLControlMaskCall,
    XLEditCall,
    XLImageCall,
    XLMaskCall,
    XLTextCall,
)


class StableDiffusionXL(PublishedPipeline):
    """Two CLIP text encoders, an autoencoder, and a denoiser that also reads sizes and crops (§2.2).

    The autoencoder of most checkpoints overflows in float16 (its config says ``force_upcast``): a float16 pipeline
    loads it in float32.
    """

    family = STABLE_DIFFUSION_XL
    required_components: ClassVar[tuple[str, ...]] = STABLE_DIFFUSION_XL.required
    optional_components: ClassVar[tuple[str, ...]] = STABLE_DIFFUSION_XL.optional
    config_defaults: ClassVar[Mapping[str, object]] = {"force_zeros_for_empty_prompt": True}
    arguments = XLArguments
    callback_tensors: ClassVar[tuple[str, ...]] = (
        "latents",
        "prompt_embeds",
        "negative_prompt_embeds",
        "add_text_embeds",
        "add_time_ids",
        "negative_pooled_prompt_embeds",
    )
    """The tensors that a step callback may get and replace."""

    unet: UNet2DConditionModel
    text_encoder: TextEncoder | None
    text_encoder_2: TextEncoder | None
    tokenizer: Tokenizer | None
    tokenizer_2: Tokenizer | None

    __init__ = constructor(required_components, optional_components, config_defaults)

    @classmethod
    def dtype_of(cls, class_name: str, config: Mapping[str, object], dtype: str) -> str:
        if class_name == "AutoencoderKL" and dtype == "float16" and config.get("force_upcast", True):
            return "float32"
        return dtype

    def encode_prompt(
        self,
        prompt: Texts = None,
        prompt_2: Texts = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: Texts = None,
        negative_prompt_2: Texts = None,
        prompt_embeds: Array | None = None,
        negative_prompt_embeds: Array | None = None,
        pooled_prompt_embeds: Array | None = None,
        negative_pooled_prompt_embeds: Array | None = None,
        clip_skip: int | None = None,
        device: object = None,
    ) -> tuple[Array, Array | None, Array, Array | None]:
        """Text embeddings of the prompts and of the negative prompts, then both pooled to one vector per prompt.

        All are the engine's arrays: (prompts · num_images_per_prompt, tokens, channels of both encoders) and (prompts ·
        num_images_per_prompt, channels of the second); the negative ones are None without guidance. A second prompt
        goes to the second encoder, which reads the first by default. Without a negative prompt the negative embeddings
        are zeros if the checkpoint was trained that way (``force_zeros_for_empty_prompt``). ``device`` is accepted for
        published scripts and ignored.
        """
        seconds = {"prompt_2": prompt_2, "negative_prompt_2": negative_prompt_2}
        count = checks.check_prompts(prompt, prompt_embeds, negative_prompt, negative_prompt_embeds, **seconds)
        checks.check_pooled("", prompt_embeds, pooled_prompt_embeds)
        checks.check_pooled("negative_", negative_prompt_embeds, negative_pooled_prompt_embeds)
        layers = [tower.network.config["num_hidden_layers"] for tower in self.text_towers if tower.network is not None]
        if layers:
            checks.check_clip_skip(clip_skip, min(layers) - 1)
        prompts = Given(texts_of(count, prompt, prompt_2), prompt_embeds, pooled_prompt_embeds)
        negative = None
        nothing_negative = negative_prompt is None and negative_prompt_2 is None and negative_prompt_embeds is None
        is_zero = nothing_negative and self.own_settings.force_zeros_for_empty_prompt
        if do_classifier_free_guidance and not is_zero:
            texts = texts_of(count, negative_prompt, negative_prompt_2)
            negative = Given(texts, negative_prompt_embeds, negative_pooled_prompt_embeds)
        embeds, pooled, negative_embeds, negative_pooled = encode_texts(
            self.engine, self._encode, prompts, negative, num_images_per_prompt, clip_skip or 0, at_once=False
        )
        if do_classifier_free_guidance and is_zero:
            return embeds, embeds * 0.0, pooled, pooled * 0.0
        return embeds, negative_embeds, pooled, negative_pooled

    @property
    def text_towers(self) -> list[TextTower]:
        """The text encoders that read prompts: both (§2.1), and the last one pools; a refiner has only the last."""
        pairs = [(self.text_encoder_2, self.tokenizer_2)]
        if self.text_encoder is not None:
            pairs.insert(0, (self.text_encoder, self.tokenizer))
        return [TextTower(*pair, skip=self.family.skipped_layers, apply_final_norm=False) for pair in pairs]

    def _encode(self, texts: Sequence[list[str]], clip_skip: int) -> tuple[Array, Array]:
        """The encoders' hidden states side by side, and the last one's pooled text. One alone reads the first text."""
        each = [encode_text(self.engine, tower, own, clip_skip) for tower, own in zip(self.text_towers, texts)]
        return self.engine.concat([hidden for hidden, _ in each], axis=-1), each[-1][1]

    def upcast_vae(self) -> None:
        """Decode in float32, as most checkpoints need; float16 pipelines do so already."""
        self.vae.to("float32")

    def condition(self, run: Run, call: Arguments, height: int, width: int) -> None:
        """Give the run its network's conditions: text, pooled text, sizes and, if built in, the guidance scale."""
        assert isinstance(call, XLArguments)
        ids, negative_ids = time_ids(self, call, (height, width))
        embeds, negative_embeds, pooled, negative_pooled = self.encode_prompt(
            call.prompt,
            call.prompt_2,
            call.num_images_per_prompt,
            run.do_classifier_free_guidance,
            call.negative_prompt,
            call.negative_prompt_2,
            call.prompt_embeds,
            call.negative_prompt_embeds,
            call.pooled_prompt_embeds,
            call.negative_pooled_prompt_embeds,
            call.clip_skip,
        )
        images = embeds.shape[0]
        rows = [ids] * images
        if run.do_classifier_free_guidance:
            rows = [negative_ids] * images * (run.guided_rows - 1) + rows
        run.condition_on(
            prompt_embeds=run.rows_of(embeds, negative_embeds),
            negative_prompt_embeds=negative_embeds,
            add_text_embeds=run.rows_of(pooled, negative_pooled),
            negative_pooled_prompt_embeds=negative_pooled,
            add_time_ids=np.array(rows, np.float32),
        )
        embed_guidance(run, images)


class StableDiffusionXLPipeline(StableDiffusionXL):
    """Text-to-image."""

    __call__ = published(XLTextCall, FromNoise, StableDiffusionXLPipelineOutput)


# A refiner, which starts from a picture, has only one text encoder.
_REFINER = tuple(name for name in STABLE_DIFFUSION_XL.required if name not in ("text_encoder", "tokenizer"))
_REFINER_OPTIONAL = ("text_encoder", "tokenizer", *StableDiffusionXL.optional_components)
_REFINER_SETTINGS: Mapping[str, object] = {
    "requires_aesthetics_score": False,
    "force_zeros_for_empty_prompt": True,
}
_REFINER_ORDER = (*StableDiffusionXL.required_components, *StableDiffusionXL.optional_components, *_REFINER_SETTINGS)
_CONTROLLED = (*STABLE_DIFFUSION_XL.required[:-1], "controlnet", "scheduler")
_CONTROLLED_ORDER = (*_CONTROLLED, "force_zeros_for_empty_prompt", "feature_extractor", "image_encoder")
_CONTROLLED_REFINER = (*_REFINER[:-1], "controlnet", "scheduler")
_CONTROLLED_REFINER_ORDER = (*_CONTROLLED, *_REFINER_SETTINGS, "feature_extractor", "image_encoder")


class StableDiffusionXLImg2ImgPipeline(StableDiffusionXL):
    """Image-to-image, or a refiner that finishes what the base network began."""

    required_components = _REFINER
    optional_components = _REFINER_OPTIONAL
    config_defaults = _REFINER_SETTINGS

    __init__ = constructor(_REFINER, _REFINER_OPTIONAL, _REFINER_SETTINGS, _REFINER_ORDER)
    __call__ = published(XLImageCall, FromImage, StableDiffusionXLPipelineOutput)


class StableDiffusionXLInpaintPipeline(StableDiffusionXL):
    """Inpainting; see `inpainting`."""

    required_components = _REFINER
    optional_components = _REFINER_OPTIONAL
    config_defaults = _REFINER_SETTINGS
    default_guidance_scale = 7.5
    callback_tensors = (*StableDiffusionXL.callback_tensors, "mask", "masked_image_latents")

    __init__ = constructor(_REFINER, _REFINER_OPTIONAL, _REFINER_SETTINGS, _REFINER_ORDER)
    __call__ = published(XLMaskCall, Inpainting, StableDiffusionXLPipelineOutput)


class StableDiffusionXLInstructPix2PixPipeline(StableDiffusionXL):
    """`StableDiffusionInstructPix2PixPipeline` for XL; ``is_cosxl_edit`` is a setting of ``model_index.json``."""

    config_defaults: ClassVar[Mapping[str, object]] = {"force_zeros_for_empty_prompt": True, "is_cosxl_edit": False}
    callback_tensors = (*StableDiffusionXL.callback_tensors, "image_latents")

    __init__ = constructor(
        StableDiffusionXL.required_components, StableDiffusionXL.optional_components, config_defaults
    )
    __call__ = published(XLEditCall, BesideXLPicture, StableDiffusionXLPipelineOutput)


class StableDiffusionXLControlNetPipeline(StableDiffusionXL):
    """Text-to-image with a ControlNet: ``pipe("a house", image=edges).images[0]``."""

    required_components = _CONTROLLED

    __init__ = constructor(
        _CONTROLLED, StableDiffusionXL.optional_components, StableDiffusionXL.config_defaults, _CONTROLLED_ORDER
    )
    __call__ = published(XLControlCall, ControlledNoise, StableDiffusionXLPipelineOutput)


class StableDiffusionXLControlNetImg2ImgPipeline(StableDiffusionXL):
    """Image-to-image with a ControlNet."""

    required_components = _CONTROLLED_REFINER
    optional_components = _REFINER_OPTIONAL
    config_defaults = _REFINER_SETTINGS

    __init__ = constructor(_CONTROLLED_REFINER, _REFINER_OPTIONAL, _REFINER_SETTINGS, _CONTROLLED_REFINER_ORDER)
    __call__ = published(XLControlImageCall, ControlledImage, StableDiffusionXLPipelineOutput)


class StableDiffusionXLControlNetInpaintPipeline(StableDiffusionXL):
    """Inpainting with a ControlNet."""

    required_components = _CONTROLLED_REFINER
    optional_components = _REFINER_OPTIONAL
    config_defaults = _REFINER_SETTINGS
    callback_tensors = (*StableDiffusionXL.callback_tensors, "mask", "masked_image_latents")

    __init__ = constructor(_CONTROLLED_REFINER, _REFINER_OPTIONAL, _REFINER_SETTINGS, _CONTROLLED_REFINER_ORDER)
    __call__ = published(XLControlMaskCall, ControlledInpainting, StableDiffusionXLPipelineOutput)


def __getattr__(name: str) -> object:
    """Further exports of the published package of this name."""
    return look_up(__name__, exported(__name__), name)
