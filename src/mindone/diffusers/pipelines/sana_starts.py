"""The starts of SANA-Sprint's runs."""

import math

import numpy as np

from ..models.autoencoder import Floats
from ..schedulers.base import draw_noise
from .binning import BinnedNoise
from .image_starts import encoded, pictures_of_size, repeat_rows
from .loop import Run
from .pipeline import Pipeline
from .spans import keep_last_rounded_up
from .starts import Shape


class ArcNoise(BinnedNoise):
    """Noise at the beginning of an arc, whose last timestep is its end and not a step."""

    def choose_timesteps(self, run: Run) -> None:
        """All timesteps but the last."""
        steps = len(run.scheduler.timesteps) - 1
        run.use_timesteps(run.scheduler.timesteps[:-1], steps)

    def begin(self, run: Run, shape: Shape) -> None:
        """See `Start`: noise with the data's standard deviation."""
        super().begin(run, shape)
        run.tensors["latents"] = run.tensors["latents"] * float(run.scheduler.config["sigma_data"])


class ArcImage(ArcNoise):
    """A picture with noise, as far along the arc as ``strength`` says: cos(t)·x₀ + sin(t)·σ_d·ε."""

    pixels: Floats

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `Start`."""
        height, width = super().check(pipe, images)
        advice = ", and use_resolution_binning=False for a size other than the trained ones"
        self.pixels = pictures_of_size(pipe, self.call.image, images, height, width, advice)
        return height, width

    def choose_timesteps(self, run: Run) -> None:
        """The last fraction ``strength`` of them, rounded up, without the end of the arc."""
        super().choose_timesteps(run)
        keep_last_rounded_up(run, self.call.strength)

    def begin(self, run: Run, shape: Shape) -> None:
        """See `Start`."""
        call, images = self.call, shape[0]
        if call.latents is not None:
            run.tensors["latents"] = run.engine.asarray(call.latents)
            return
        sigma, angle = float(run.scheduler.config["sigma_data"]), float(run.timesteps[0])
        picture = repeat_rows(run, encoded(run, self.pixels, call.generator, images), images)
        if self.pixels.shape[1] == 3:
            picture = picture * sigma
        noise = run.engine.asarray(draw_noise(np.empty(shape, np.float32), call.generator))
        run.tensors["latents"] = picture * math.cos(angle) + noise * (math.sin(angle) * sigma)
