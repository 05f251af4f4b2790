"""One run from its arguments to clean latents, for every pipeline that starts from a picture or follows one."""

from collections.abc import Sequence
from typing import Protocol

from ..engines import Array
from ..models.autoencoder import Autoencoder
from ..models.base import Model
from ..schedulers.base import Generators
from . import checks
from .arguments import Conditions, GuidanceOptions, Report, Sampling
from .base import Pipeline
from .caching import check_caches
from .denoising import denoise
from .run import Run
from .starts import latents_shape


class Start(Protocol):
    """What a run starts from: noise, or a picture with noise on it."""

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """Check the arguments before any network runs. Returns the height and width of the images in pixels."""

    def choose_timesteps(self, run: Run) -> None:
        """Leave out the steps that the start has behind it. The scheduler has laid all of them out."""

    def begin(self, run: Run, images: int, generator: Generators) -> None:
        """Put the first latents into ``run.tensors``, and whatever else the run needs of the pictures."""


class Guide(Protocol):
    """What a run follows besides the text: the pictures of ControlNets, and those of IP-Adapters."""

    def check(self, run: Run, images: int, height: int, width: int) -> None:
        """Check the arguments before any network runs."""

    def begin(self, run: Run) -> None:
        """Add to the run's ``controls``."""


def draw(
    pipe: Pipeline,
    conditions: Conditions,
    start: Start,
    sampling: Sampling,
    guidance: GuidanceOptions,
    report: Report,
    guides: Sequence[Guide] = (),
) -> Array:
    """Check, lay out the steps, encode, begin, denoise. Returns latents (images, channels, height, width).

    Raises:
        ValueError: an argument is wrong; raised before any network runs.
    """
    images = conditions.count_images()
    callback_tensors, generator = report.callback_tensors, sampling.generator
    kwargs = conditions.cross_attention_kwargs
    checks.check_drawing(pipe, images, generator, report.output_type, kwargs, callback_tensors, guidance.interval)
    height, width = start.check(pipe, images)
    scaled = pipe.loras.scaled(kwargs)
    with scaled, pipe.begin(guidance.scale, guidance.rescale, guidance.interval, guidance.image_scale) as run:
        for guide in guides:
            guide.check(run, images, height, width)
        run.settings.cross_attention_kwargs = kwargs
        run.set_timesteps(
            sampling.num_inference_steps, sampling.timesteps, sampling.sigmas, sampling.original_inference_steps
        )
        start.choose_timesteps(run)
        check_caches(run)
        run.set_step_options(sampling.eta, generator)
        if report.output_type != "latent":
            _compile_decoder_ahead(run, latents_shape(pipe, images, height, width))
        conditions.apply(run, height, width)
        start.begin(run, images, generator)
        for guide in guides:
            guide.begin(run)
        pipe.stage_over(keep=("unet", "controlnet"))
        latents = denoise(run, pipe.progress_bar, report.callback_on_step_end, callback_tensors)
    pipe.stage_over(keep=("vae",))
    return latents


def _compile_decoder_ahead(run: Run, shape: Sequence[int]) -> None:
    """Have the decoder compiled beside the text encoder and the denoiser, where memory for all of them is little."""
    networks = [each for each in run.pipe.components.values() if isinstance(each, Model)]
    if isinstance(run.pipe.vae, Autoencoder) and not run.pipe._offloads and not any(each.is_big for each in networks):
        run.pipe.vae.compile_decoder_ahead(run.engine, shape)
