"""A row of the reference library, Hugging Face diffusers: the only place where PyTorch is imported."""

import importlib.util
from typing import Any

import numpy as np

from ..loading.config import read_config
from ..loading.hub import MODEL_INDEX
from ..schedulers import draw_noise
from ..utils import logging
from .clock import StageClock
from .plan import Setup, Table

logger = logging.get_logger(__name__)


class Runner:
    """The same checkpoint in the reference's pipeline, given the noise that ours draws.

    float32 runs as the library loads it. bfloat16 has channels last, which is what gains most on a CPU.
    """

    def __init__(self, setup: Setup, table: Table, clock: StageClock):
        import torch
        import transformers

        import diffusers

        for chatter in (diffusers.utils.logging, transformers.utils.logging):
            chatter.set_verbosity_error()
            chatter.disable_progress_bar()
        if importlib.util.find_spec("accelerate") is None:
            logger.warning("accelerate is not installed, without which diffusers takes more memory while it loads")
        index = read_config(setup.model.folder, MODEL_INDEX)
        without = {} if index.get("safety_checker", [None, None]) == [None, None] else {"safety_checker": None}
        pipe: Any = diffusers.AutoPipelineForText2Image.from_pretrained(
            setup.model.folder, torch_dtype=getattr(torch, setup.dtype), use_safetensors=True, **without
        )
        scheduler = getattr(diffusers, table.sampler.class_name)
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **table.sampler.settings)
        pipe.set_progress_bar_config(disable=True)
        self.engine = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
        if setup.dtype == "bfloat16":
            for network in (pipe.unet, pipe.vae):
                network.to(memory_format=torch.channels_last)
            self.engine += ", channels last"
        pipe.unet.register_forward_pre_hook(lambda *_: clock.enter("denoising"))
        pipe.vae.decoder.register_forward_pre_hook(lambda *_: clock.enter("decode"))
        self.pipe, self.table, self.torch = pipe, table, torch

    def draw(self) -> list[Any]:
        """The table's images, one a seed."""
        table, factor = self.table, self.pipe.vae_scale_factor
        shape = (table.num_images, self.pipe.unet.config.in_channels, table.height // factor, table.width // factor)
        noise = draw_noise(
            np.empty(shape, np.float32), [np.random.Generator(np.random.PCG64(seed)) for seed in table.seeds]
        )
        return self.pipe(
            table.prompt,
            height=table.height,
            width=table.width,
            num_inference_steps=table.steps,
            num_images_per_prompt=table.num_images,
            **table.chosen_guidance,
            latents=self.torch.from_numpy(noise).to(self.pipe.unet.dtype),
        ).images
