"""The denoising loop with classifier-free guidance."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..loading.config import Config
from ..utils import logging

logger = logging.get_logger(__name__)

StepCallback = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any] | None]

_UNET_INPUTS = {
    "prompt_embeds": "encoder_hidden_states",
    "timestep_cond": "timestep_cond",
    "add_text_embeds": "text_embeds",
    "add_time_ids": "time_ids",
}
"""What callbacks call a tensor, and what the network calls it."""


class GuidedDenoising:
    """What a pipeline with ``unet``, ``scheduler`` and ``engine`` needs to turn noise into clean latents."""

    unet: Any
    scheduler: Any
    engine: Any
    progress_bar: Callable[..., Any]
    generation_config: Config

    default_guidance_scale: ClassVar[float]
    """For checkpoints that suggest none of their own."""

    _guidance_scale: float = 1.0
    _guidance_rescale: float = 0.0
    _interrupt: bool = False

    @property
    def guidance_scale(self) -> float:
        """The weight of the prompt in the run in progress: w of Imagen (Saharia et al. 2022), eq. 2.

        A step callback may change it (``pipe.guidance_scale = ...``) for the steps that follow.
        """
        return self._guidance_scale

    @guidance_scale.setter
    def guidance_scale(self, value: float) -> None:
        self._guidance_scale = value

    def choose_guidance_scale(self, given: float | None) -> float:
        """What the user gave, else what the checkpoint suggests, else the pipeline's default."""
        if given is not None:
            return given
        return self.generation_config.get("guidance_scale", self.default_guidance_scale)

    @property
    def guidance_rescale(self) -> float:
        """φ of the run in progress: Common Diffusion Noise Schedules (Lin et al. 2023), eq. 16."""
        return self._guidance_rescale

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether each step runs the network on two batches, without and with the prompt."""
        return self._guidance_scale > 1 and self.unet.config.get("time_cond_proj_dim") is None

    @property
    def interrupt(self) -> bool:
        """Set to True, by a step callback say, it skips the steps that remain; the latents so far are decoded."""
        return self._interrupt

    @interrupt.setter
    def interrupt(self, value: bool) -> None:
        self._interrupt = value

    def denoise(
        self,
        tensors: dict[str, Any],
        timesteps: np.ndarray,
        num_inference_steps: int,
        step_options: dict[str, Any],
        callback_on_step_end: StepCallback | None,
        callback_on_step_end_tensor_inputs: Sequence[str],
    ) -> Any:
        """Run the loop from ``tensors["latents"]`` and return the clean latents.

        ``tensors`` holds, besides the latents, what the network is conditioned on. A callback sees those of its entries
        that it asked for, and puts those that it returns in their place.
        """
        warmup = max(len(timesteps) - num_inference_steps * self.scheduler.order, 0)
        with self.progress_bar(total=num_inference_steps) as bar:
            for i, timestep in enumerate(timesteps):
                if self.interrupt:
                    continue
                noise = self.predict_noise(tensors, timestep)
                tensors["latents"] = self.scheduler.step(noise, timestep, tensors["latents"], **step_options)[0]
                if callback_on_step_end is not None:
                    seen = {name: tensors[name] for name in callback_on_step_end_tensor_inputs}
                    changed = callback_on_step_end(self, i, timestep, seen) or {}
                    tensors.update({name: self.engine.asarray(value) for name, value in changed.items()})
                # A step of a scheduler of second order is two calls of the network, and PNDM starts with extra ones.
                if i == len(timesteps) - 1 or (i + 1 > warmup and (i + 1) % self.scheduler.order == 0):
                    bar.update()
        return tensors["latents"]

    def predict_noise(self, tensors: dict[str, Any], timestep: Any) -> Any:
        """The network's prediction for ``tensors["latents"]``, with guidance (Ho & Salimans 2022, eq. 6) applied."""
        sample = self.scheduler.scale_model_input(tensors["latents"], timestep)
        rows = sample.shape[0] * (2 if self.do_classifier_free_guidance else 1)
        if tensors["prompt_embeds"].shape[0] != rows:
            raise ValueError(
                f"prompt_embeds has {tensors['prompt_embeds'].shape[0]} rows, but {rows} are needed: one an image, "
                "twice as many with guidance; a callback that switches guidance off keeps their second half"
            )
        inputs = {theirs: tensors[ours] for ours, theirs in _UNET_INPUTS.items() if ours in tensors}
        noise = self.engine.run(self.unet, sample, np.full(1, timestep, np.float32), **inputs)
        if not self.do_classifier_free_guidance:
            return noise
        unconditional, text = noise[: sample.shape[0]], noise[sample.shape[0] :]
        noise = unconditional + self._guidance_scale * (text - unconditional)
        if self._guidance_rescale > 0:
            noise = rescale_noise_cfg(self.engine, noise, text, self._guidance_rescale)
        return noise


def rescale_noise_cfg(engine: Any, noise: Any, text: Any, guidance_rescale: float) -> Any:
    """Give guided noise the standard deviation of the text-conditioned one, by the part ``guidance_rescale``.

    Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", eq. 15 and 16; all arrays
    (batch, channels, height, width), the deviations over all but the batch.
    """
    deviation, wanted = (engine.numpy(x).std(axis=(1, 2, 3), ddof=1, keepdims=True) for x in (noise, text))
    factor = guidance_rescale * (wanted / deviation) + (1 - guidance_rescale)
    return noise * engine.asarray(factor.astype(np.float32))


def guidance_scale_embedding(guidance_scale: float, channels: int, rows: int) -> np.ndarray:
    """How guidance-distilled networks are told the guidance scale: float32 (rows, channels).

    Sinusoids of 1000·(w - 1): Latent Consistency Models (Luo et al. 2023), §4.2, where 1 stands for no guidance.
    """
    half = channels // 2
    frequencies = np.exp(np.arange(half) * (-np.log(10000.0) / (half - 1)))
    angles = 1000.0 * (guidance_scale - 1.0) * frequencies
    row = np.concatenate([np.sin(angles), np.cos(angles), np.zeros(channels % 2)])
    return np.tile(row.astype(np.float32), (rows, 1))


def step_options(scheduler: Any, eta: float, generator: Any) -> dict[str, Any]:
    """Which of these a scheduler's ``step`` takes. ``eta`` means something to DDIM and TCD only."""
    accepted = inspect.signature(scheduler.step).parameters
    if eta and "eta" not in accepted:
        logger.warning(f"{type(scheduler).__name__} has no use for eta={eta}; DDIMScheduler and TCDScheduler have")
    given = {"eta": eta, "generator": generator}
    return {name: value for name, value in given.items() if name in accepted}


def set_timesteps(
    scheduler: Any, num_inference_steps: int, timesteps: Sequence[int] | None, sigmas: Sequence[float] | None
) -> int:
    """Give the scheduler its timesteps: a number of them, or the user's own. Returns how many steps a user counts.

    Raises:
        ValueError: fewer than one step, timesteps and sigmas both, or a kind that this scheduler does not take.
    """
    if timesteps is not None and sigmas is not None:
        raise ValueError("timesteps and sigmas were both given; pass one of them")
    if timesteps is None and sigmas is None:
        scheduler.set_timesteps(num_inference_steps)
        return num_inference_steps
    if timesteps is not None:
        scheduler.set_timesteps(timesteps=timesteps)
    else:
        scheduler.set_timesteps(sigmas=sigmas)
    return len(scheduler.timesteps)
