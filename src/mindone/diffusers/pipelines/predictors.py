"""What the loop calls each step, ``predict(latents, step) -> noise``: the network, and what is wrapped around it.

A predictor may wrap another one: guidance wraps the network's call; a forecast wraps either and calls it only at some
steps. The loop does not know which it has.
"""

import numpy as np
from numpy.typing import NDArray

from ..acceleration.steps import Forward, Predictor, Step
from ..engines import Array, Engine
from .run import Run


class NetworkCall:
    """The network's own prediction, with two rows per image at guided steps: without the prompt, then with it."""

    def __init__(self, run: Run, forward: Forward | None = None):
        self.run = run
        self.forward: Forward = forward or run.call_network

    def predict(self, latents: Array, step: Step) -> Array:
        """One call for all images. Guidance's two halves start from the same latents, which go in once."""
        sample = self.run.scheduler.scale_model_input(latents, step.timestep)
        conditions = self.run.conditions(step)
        if self.run.extra_channels:
            sample = self._with_channels(sample, next(iter(conditions.values())).shape[0])
        timestep = np.full(1, step.timestep, np.float32)
        return self.forward(step, sample, timestep, **conditions)

    def _with_channels(self, sample: Array, rows: int) -> Array:
        """The latents with the further channels, which have one row per image, or as many as there are conditions."""
        images, concat = sample.shape[0], self.run.engine.concat
        extra = [self.run.tensors[name] for name in self.run.extra_channels]
        if any(x.shape[0] > images for x in extra):
            extra = [x[-rows:] for x in extra]
            sample = concat([sample] * (rows // images))
        return concat([sample, *extra], axis=1)


class Guidance:
    """Classifier-free guidance (Ho & Salimans 2022, eq. 6): away from the prediction without the prompt."""

    def __init__(self, run: Run, inner: Predictor):
        self.run, self.inner = run, inner
        forecasts = (cache.differences() for cache in run.caches)
        self.differences = next((each for each in forecasts if each is not None), None)

    def predict(self, latents: Array, step: Step) -> Array:
        """One row per image, whether the step is guided or not."""
        noise = self.inner.predict(latents, step)
        if not self.run.is_guided(step):
            return noise
        settings = self.run.settings
        unconditional, text = self._both(noise, latents.shape[0], step)
        noise = unconditional + settings.guidance_scale * (text - unconditional)
        if settings.guidance_rescale > 0:
            noise = rescale_noise_cfg(self.run.engine, noise, text, settings.guidance_rescale)
        return noise

    def _both(self, noise: Array, images: int, step: Step) -> tuple[Array, Array]:
        """The predictions without and with the prompt; the former is forecast where the step does not compute it."""
        if self.differences is None or self.run.guides(step):
            unconditional, text = noise[:images], noise[images:]
            if self.differences is not None:
                self.differences.keep(step, text - unconditional)
            return unconditional, text
        return noise - self.differences.forecast(step), noise


class PictureGuidance:
    """Guidance of networks that edit pictures: away from neither picture nor prompt, then from the picture alone.

    InstructPix2Pix (Brooks et al. 2023), eq. 3; of each image the rows are without both, with the picture, with both.
    """

    def __init__(self, run: Run, inner: Predictor):
        self.run, self.inner = run, inner

    def predict(self, latents: Array, step: Step) -> Array:
        """One row per image."""
        noise, settings = self.inner.predict(latents, step), self.run.settings
        if not self.run.is_guided(step):
            return noise
        images = latents.shape[0]
        neither, picture, both = noise[:images], noise[images : 2 * images], noise[2 * images :]
        guided = neither + settings.guidance_scale * (both - picture)
        guided = guided + (settings.image_guidance_scale or 0.0) * (picture - neither)
        if settings.guidance_rescale > 0:
            guided = rescale_noise_cfg(self.run.engine, guided, both, settings.guidance_rescale)
        return guided


def rescale_noise_cfg(engine: Engine, noise: Array, text: Array, guidance_rescale: float) -> Array:
    """Give guided noise the standard deviation of the text-conditioned one, by the part ``guidance_rescale``.

    Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", eq. 15 and 16; all arrays
    (batch, channels, height, width), the deviations over all but the batch.
    """
    deviation, wanted = (engine.numpy(x).std(axis=(1, 2, 3), ddof=1, keepdims=True) for x in (noise, text))
    factor = guidance_rescale * (wanted / deviation) + (1 - guidance_rescale)
    return noise * engine.asarray(factor.astype(np.float32))


def embed_guidance(run: Run, images: int) -> None:
    """Tell a network that has guidance built in its scale; nothing for others."""
    if (channels := run.denoiser.config.get("time_cond_proj_dim")) is not None:
        embedding = guidance_scale_embedding(run.settings.guidance_scale, channels, images)
        run.tensors["timestep_cond"] = run.engine.asarray(embedding)


def guidance_scale_embedding(guidance_scale: float, channels: int, rows: int) -> NDArray[np.float32]:
    """How guidance-distilled networks are told the guidance scale: float32 (rows, channels).

    Sinusoids of 1000·(w - 1): Latent Consistency Models (Luo et al. 2023), §4.2, where 1 stands for no guidance.
    """
    half = channels // 2
    frequencies = np.exp(np.arange(half) * (-np.log(10000.0) / (half - 1)))
    angles = 1000.0 * (guidance_scale - 1.0) * frequencies
    row = np.concatenate([np.sin(angles), np.cos(angles), np.zeros(channels % 2)])
    return np.tile(row.astype(np.float32), (rows, 1))
