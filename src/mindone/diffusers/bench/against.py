"""A row of the reference library, Hugging Face diffusers: the only file that imports PyTorch."""

import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from ..families.registry import family_of
from ..jobs import Job
from ..models.packed_latents import packed
from ..schedulers import SHORT_NAMES, by_name, draw_noise
from ..utils import logging
from .clock import StageClock
from .ours import Shaped
from .setups import Setup

if TYPE_CHECKING:
    from PIL.Image import Image

PACKAGES = ("torch", "diffusers", "transformers")
logger = logging.get_logger(__name__)


def check(scheduler: str | None) -> None:
    """Check that the reference library is installed and that the scheduler draws no noise of its own."""
    absent = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if absent:
        raise ValueError(f"--against diffusers needs {', '.join(absent)}: pip install {' '.join(absent)}")
    if scheduler and by_name(scheduler, {}).draws_noise:
        raise ValueError(
            f"--against diffusers compares images, but {scheduler} draws noise at every step and the two libraries "
            "draw it differently; choose a scheduler without noise, such as ddim, pndm, euler or dpm++"
        )


class Runner:
    """The same checkpoint in the reference's pipeline, given the same noise as ours.

    float32 runs as the library loads it. bfloat16 uses channels last, which gains most on a CPU.
    """

    def __init__(self, setup: Setup, clock: StageClock):
        import torch
        import transformers

        import diffusers

        for chatter in (diffusers.utils.logging, transformers.utils.logging):
            chatter.set_verbosity_error()
            chatter.disable_progress_bar()
        if importlib.util.find_spec("accelerate") is None:
            logger.warning("accelerate is not installed; without it diffusers needs more memory to load")
        pipe = diffusers.AutoPipelineForText2Image.from_pretrained(
            setup.model.folder,
            torch_dtype=getattr(torch, setup.job.dtype),
            use_safetensors=True,
            **dict.fromkeys(setup.model.without),
        )
        family = family_of(type(pipe).__name__)
        assert family is not None  # ours has generated with the same checkpoint
        denoiser = getattr(pipe, family.denoiser)
        named = SHORT_NAMES[str(setup.job.scheduler)]
        pipe.scheduler = getattr(diffusers, named.class_name).from_config(pipe.scheduler.config, **named.options)
        pipe.set_progress_bar_config(disable=True)
        self.engine = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
        if setup.job.dtype == "bfloat16":
            for network in (denoiser, pipe.vae):
                network.to(memory_format=torch.channels_last)
            self.engine += ", channels last"

        def enter(network: object, inputs: tuple[Shaped, ...], named: dict[str, Shaped]) -> None:
            clock.enter("denoising")
            latents = inputs[0] if inputs else named["hidden_states"]
            clock.calls.add(single=latents.shape[0] == setup.job.num_images)

        denoiser.register_forward_pre_hook(enter, with_kwargs=True)
        pipe.vae.decoder.register_forward_pre_hook(lambda *_: clock.enter("decode"))
        (height, width), factor = setup.model.image_size(setup.job.height, setup.job.width), pipe.vae_scale_factor
        channels = family.latents.channels_read(denoiser.config)
        self.shape = (setup.job.num_images, channels, height // factor, width // factor)
        self.form = family.latents
        self.pipe, self.denoiser, self.torch = pipe, denoiser, torch

    def draw(self, job: Job) -> "list[Image]":
        """The job's images, one per seed: the set-up's job, or one with as many images of the same size."""
        generators = [np.random.Generator(np.random.PCG64(seed)) for seed in job.seeds]
        noise = np.asarray(draw_noise(np.empty(self.shape, np.float32), generators))
        latents = self.torch.from_numpy(packed(noise, self.form.patch) if self.form.packed else noise)
        return list(self.pipe(**job.arguments, latents=latents.to(self.denoiser.dtype)).images)
