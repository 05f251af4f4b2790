"""Stable Diffusion 1 and 2, and what is distilled from them: High-Resolution Image Synthesis (Rombach et al. 2022)."""

from collections.abc import Mapping
from typing import ClassVar

from ..engines import Array, Engine
from ..lazy import look_up
from ..published_paths import exported
from ..schedulers.base import Generators
from ..utils import logging
from ..utils.types import Value
from . import checks
from .arguments import GuidanceOptions, Prompts, Report, Sampling
from .base import Pipeline
from .capabilities import is_network
from .components import Component
from .drawing import draw
from .image_processor import Images, decode_latents, to_pil
from .image_prompt import ImageEmbeds, ImagePrompt, ImagePrompts
from .output import StableDiffusionPipelineOutput
from .predictors import guidance_scale_embedding
from .prompts import TextTower, as_list, encode_text, repeat_each
from .run import Interval, Run, StepCallback
from .safety import blacken_unsafe
from .starts import FromNoise

logger = logging.get_logger(__name__)


class StableDiffusionPipeline(Pipeline):
    """Text to images with a CLIP text encoder, a UNet and an autoencoder.

    ``pipe("a photo of an astronaut riding a horse on mars").images[0]`` is a ``PIL.Image.Image``.
    """

    required_components = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
    optional_components: ClassVar[tuple[str, ...]] = ("safety_checker", "feature_extractor", "image_encoder")
    config_defaults: ClassVar[Mapping[str, object]] = {"requires_safety_checker": True}
    callback_tensors: ClassVar[tuple[str, ...]] = ("latents", "prompt_embeds", "negative_prompt_embeds")
    """What a step callback may ask for and replace."""

    text_encoder: Component
    tokenizer: Component
    safety_checker: Component
    feature_extractor: Component

    def __init__(
        self,
        vae: Component,
        text_encoder: Component,
        tokenizer: Component,
        unet: Component,
        scheduler: Component,
        safety_checker: Component = None,
        feature_extractor: Component = None,
        image_encoder: Component = None,
        requires_safety_checker: bool = True,
        engine: Engine | str | None = None,
    ):
        if is_network(safety_checker) and feature_extractor is None:
            raise ValueError("a safety_checker needs a feature_extractor; pass one, or safety_checker=None")
        components = {
            "vae": vae,
            "text_encoder": text_encoder,
            "tokenizer": tokenizer,
            "unet": unet,
            "scheduler": _modernized(scheduler),
            "safety_checker": safety_checker,
            "feature_extractor": feature_extractor,
            "image_encoder": image_encoder,
        }
        super().__init__(components, {"requires_safety_checker": requires_safety_checker}, engine)

    def encode_prompt(
        self,
        prompt: str | list[str] | None = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: str | list[str] | None = None,
        prompt_embeds: Array = None,
        negative_prompt_embeds: Array = None,
        clip_skip: int | None = None,
        device: object = None,
    ) -> tuple[Array, Array]:
        """Text embeddings of the prompts and, under guidance, of the negative ones (else None).

        Both are native arrays of the engine, (prompts · num_images_per_prompt, tokens, channels), images of one prompt
        side by side. Embeddings that are given are only repeated. ``clip_skip`` leaves out as many of the last layers
        of the text encoder, for the prompts alone. ``device`` is taken for published scripts, and not needed.
        """
        count = checks.check_prompts(prompt, prompt_embeds, negative_prompt, negative_prompt_embeds)
        if self.text_encoder is not None:
            checks.check_clip_skip(clip_skip, self.text_encoder.config["num_hidden_layers"])
        if do_classifier_free_guidance and prompt_embeds is None and negative_prompt_embeds is None and not clip_skip:
            both = self._encode(as_list(prompt, count) + as_list(negative_prompt, count))
            prompt_embeds, negative_prompt_embeds = both[:count], both[count:]
        if prompt_embeds is None:
            prompt_embeds = self._encode(as_list(prompt, count), clip_skip or 0)
        if do_classifier_free_guidance and negative_prompt_embeds is None:
            negative_prompt_embeds = self._encode(as_list(negative_prompt, count))
            checks.check_lengths(prompt_embeds, negative_prompt_embeds)
        embeds = repeat_each(self.engine, self.engine.asarray(prompt_embeds), num_images_per_prompt)
        if not do_classifier_free_guidance:
            return embeds, None
        negative_embeds = repeat_each(self.engine, self.engine.asarray(negative_prompt_embeds), num_images_per_prompt)
        return embeds, negative_embeds

    @property
    def text_towers(self) -> list[TextTower]:
        """What reads prompts."""
        return [TextTower(self.text_encoder, self.tokenizer, skip=0, apply_final_norm=True)]

    def _encode(self, texts: list[str], clip_skip: int = 0) -> Array:
        return encode_text(self.engine, self.text_towers[0], texts, clip_skip)[0]

    def __call__(
        self,
        prompt: str | list[str] | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str | list[str] | None = None,
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
        guidance_rescale: float = 0.0,
        clip_skip: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: list[str] | tuple[str, ...] = ("latents",),
        guidance_interval: Interval = (0.0, 1.0),
    ) -> StableDiffusionPipelineOutput | tuple[Images, list[bool] | None]:
        """Draw images.

        Args:
            prompt: what to draw: a text, or a list of them.
            height, width: pixels; by default what the network was trained on.
            num_inference_steps: denoising steps; more is slower and, up to a point, better. By default what the
                checkpoint's ``generation_config.json`` says, and 50 where there is none.
            timesteps, sigmas: steps of your own instead of ``num_inference_steps``, for schedulers that take them.
            guidance_scale: how closely to follow the prompt; at 1 or less there is no guidance, in half the time. By
                default what the checkpoint's ``generation_config.json`` says, and 7.5 where there is none.
            negative_prompt: what to stay away from, under guidance. A single text serves all prompts.
            num_images_per_prompt: images of each prompt.
            eta: η of DDIM (Song et al. 2021, eq. 16), or γ of TCD. Other schedulers have no use for it.
            generator: where noise comes from: one ``np.random.Generator``, or a list of one per image.
            latents: noise of your own, standard normal, (images, channels, height / 8, width / 8).
            prompt_embeds, negative_prompt_embeds: text embeddings instead of texts, (prompts, tokens, channels).
            ip_adapter_image: a PIL image to follow, for pipelines with an IP-Adapter; a list with one for each of
                several adapters, where a list in the list is several images for one.
            ip_adapter_image_embeds: what `prepare_ip_adapter_image_embeds` made of such images, instead of them.
            output_type: "pil", "np" (float32 in [0, 1], (images, height, width, 3)) or "latent".
            return_dict: False gives a plain tuple.
            cross_attention_kwargs: ``{"scale": 0.5}`` for this call has LoRAs that are not fused count half as much.
            guidance_rescale: φ of Lin et al. 2023, eq. 16; 0.7 suits v-prediction with zero terminal signal.
            clip_skip: how many of the text encoder's last layers to leave out.
            callback_on_step_end: called as ``callback(pipe, step, timestep, tensors)`` after every step; the dict that
                it returns replaces these tensors. It may set ``pipe.interrupt`` or ``pipe.guidance_scale``.
            callback_on_step_end_tensor_inputs: what ``tensors`` holds, of ``pipe.callback_tensors``. Under guidance,
                ``prompt_embeds`` is the batch that the network gets: the negative rows, then the others.
            guidance_interval: the part of the steps, from 0 to 1, that is guided (Kynkäänniemi et al. 2024); the others
                run the prompt alone, in half the time.

        Returns:
            Images, and the safety checker's verdicts (None without one).

        Raises:
            ValueError: an argument is wrong; raised before any network runs.
        """
        conditions = Prompts(
            prompt,
            negative_prompt,
            prompt_embeds,
            negative_prompt_embeds,
            clip_skip,
            num_images_per_prompt,
            cross_attention_kwargs,
        )
        sampling = Sampling(num_inference_steps, timesteps, sigmas, eta, generator)
        guidance = GuidanceOptions(guidance_scale, guidance_interval, guidance_rescale)
        pictures = ImagePrompt(ip_adapter_image, ip_adapter_image_embeds)
        report = Report(output_type, callback_on_step_end, callback_on_step_end_tensor_inputs)
        latents = draw(self, conditions, FromNoise(height, width, latents), sampling, guidance, report, [pictures])
        images, unsafe = self._decode(latents, output_type)
        return StableDiffusionPipelineOutput(images, unsafe) if return_dict else (images, unsafe)

    def _condition(self, run: Run, embeds: Array, negative_embeds: Array) -> None:
        """Tell the run what its network is conditioned on: the text, and the guidance scale where that is built in."""
        negative = run.guided_rows - 1 if run.do_classifier_free_guidance else 0
        run.tensors["prompt_embeds"] = run.engine.concat([negative_embeds] * negative + [embeds])
        run.tensors["negative_prompt_embeds"] = negative_embeds
        if (channels := run.unet.config.get("time_cond_proj_dim")) is not None:
            embedding = guidance_scale_embedding(run.settings.guidance_scale, channels, embeds.shape[0])
            run.tensors["timestep_cond"] = run.engine.asarray(embedding)

    def _decode(self, latents: Array, output_type: str) -> tuple[Images, list[bool] | None]:
        """Latents as the user wants them, and what the safety checker, if there is one, says of the pictures."""
        if output_type == "latent":
            return latents, None
        unsafe = None
        images = decode_latents(self.engine, self.vae, latents)
        self.stage_over()
        if self.safety_checker is not None:
            images, unsafe = blacken_unsafe(self.engine, self.safety_checker, self.feature_extractor, images)
            self.stage_over()
        return (to_pil(images) if output_type == "pil" else images), unsafe


def _modernized(scheduler: Component) -> Component:
    """The scheduler with what Stable Diffusion was trained with, where its config file is older than these fields.

    ``steps_offset`` counts timesteps from 1, and predicted samples are not clipped: latents are no pixels.
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
    return type(scheduler).from_config({**config, **outdated})


def __getattr__(name: str) -> Value:
    """What the published package of this module's name exports besides."""
    return look_up(__name__, exported(__name__), name)
