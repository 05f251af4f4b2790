"""How close candidates' images are to the reference's; each is generated once, from the same noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ..acceleration.calibration import REFERENCE_STEPS, ReferencePath, fitted, recorded
from ..jobs.profile import Settings
from ..models.autoencoder import decode_images
from ..pipelines.packing import as_in_runs
from ..schedulers.calibration_rows import row_texts
from ..utils.quality import compare
from .candidates import Candidate, Space
from .costs import Costs
from .stacks import Stacks

Pixels: TypeAlias = NDArray[np.uint8]
Latents: TypeAlias = NDArray[np.float32]

PROMPTS = (
    "a rocket on a blue background",
    "a red apple on a white background",
    "a cat on a green background",
    "a small house under a tree",
    "a bicycle on a yellow background",
    "a fish in the sea",
)
"""Simple subjects that every model knows."""
_CALIBRATING = 4
"""Prompts from which calibrated steps are found. On six others, in dB of latents: 28.7, 28.8, 29.0, 29.0 and 28.9 for 5
steps found from 1, 2, 3, 4 and 6 prompts; 35.4, 35.0, 35.6, 35.7 and 35.7 for 8."""
_IDENTICAL = 99.0
"""The decibels used for identical images."""


@dataclass(frozen=True)
class Likeness:
    """The likeness of several images, each to its reference."""

    psnr: float
    """Decibels, the mean of the images' own."""
    psnr_error: float | None
    """Its standard error; None for a single image."""
    ssim: float


class Drawings:
    """Images of the first prompts with any candidate; results are kept, latents and decoded images separately.

    Args:
        stacks: makes the pipelines.
        space: gives the settings of candidates.
        costs: makes room for the networks.
        prompts: what to generate; prompt ``i`` has the noise of ``seed + i``.
        size: height and width in pixels.
        seed: the first prompt's.
    """

    def __init__(
        self, stacks: Stacks, space: Space, costs: Costs, prompts: Sequence[str], size: tuple[int, int], seed: int
    ):
        self.stacks, self.space, self.costs = stacks, space, costs
        self.prompts, self.size, self.seed = prompts, size, seed
        self._latents: dict[tuple[Candidate, int], Latents] = {}
        self._images: dict[tuple[Candidate, int], Pixels] = {}
        self._calibrations: dict[Candidate, tuple[str, ...]] = {}
        self._paths: list[ReferencePath] = []
        self.reference_latents: list[Latents] = []
        self.reference_images: list[Pixels] = []

    @property
    def reference(self) -> Settings:
        """No lossy speed-up, full precision, and many steps of DPM++ on the checkpoint's noise schedule.

        All solvers converge to one curve, but the checkpoints' own (PNDM, DDIM) do so slowly: on the bundled model 100
        of PNDM's steps are further from 100 of DPM++ (35 dB) than 25 of DPM++ are (39 dB).
        """
        dtype = "float32" if self.stacks.are_free else self.stacks.pipe.dtype
        return Settings(steps=REFERENCE_STEPS, dtype=cast(Any, dtype))

    def draw_reference(self) -> None:
        """Generate the next prompt's reference image."""
        i = len(self.reference_images)
        view = self.stacks.view(self.reference)
        prompt, options = self._call([i])
        output, path = recorded(view, prompt, **options)
        latents = np.array(view.engine.numpy(output.images))
        self._paths.append(path)
        self.reference_latents.append(latents)
        self.reference_images.append(_decoded(view, latents, self.size))

    def latent_psnr(self, candidate: Candidate, count: int) -> float:
        """PSNR in decibels of the latents of the first ``count`` prompts against the reference's deviation.

        Without the decoder this shows which of two candidates is closer, but not how close it is.
        """
        found = []
        for i, theirs in enumerate(self.reference_latents[:count]):
            square = np.mean((self.latents(candidate, i) - theirs) ** 2)
            found.append(10 * math.log10(np.ptp(theirs) ** 2 / square) if square > 0 else _IDENTICAL)
        return float(np.mean(found))

    def likeness(self, candidate: Candidate, count: int) -> Likeness:
        """The likeness of the decoded images of the first ``count`` prompts.

        This averages decibels over the images, not errors. Now and then a run drifts to another picture, even with 25
        plain steps, and the error of that one image would drown the others'.
        """
        each = [compare(self.image(candidate, i)[None], self.reference_images[i][None]) for i in range(count)]
        single = [_IDENTICAL if one.psnr is None else one.psnr for one in each]
        error = float(np.std(single, ddof=1) / math.sqrt(count)) if count > 1 else None
        return Likeness(float(np.mean(single)), error, float(np.mean([one.ssim for one in each])))

    def latents(self, candidate: Candidate, i: int) -> Latents:
        """The candidate's latents of prompt ``i``; its decoder does not matter."""
        candidate = candidate._replace(decoder="")
        settings = self.settings(candidate)  # this may calibrate it, which also generates these latents
        if (candidate, i) not in self._latents:
            view = self.stacks.view(settings)
            self.costs.make_room(view.denoiser)
            self._latents[candidate, i] = self._draw(view, i)
        return self._latents[candidate, i]

    def image(self, candidate: Candidate, i: int) -> Pixels:
        """The candidate's image of prompt ``i``, (height, width, 3)."""
        if (candidate, i) not in self._images:
            latents = self.latents(candidate, i)
            self._images[candidate, i] = _decoded(self.stacks.view(self.settings(candidate)), latents, self.size)
        return self._images[candidate, i]

    def settings(self, candidate: Candidate) -> Settings:
        """The candidate as a profile's settings; calibrated steps are calibrated now if they were not yet."""
        settings = self.space.settings(candidate)
        if not candidate.calibrated:
            return settings
        key = candidate._replace(decoder="")
        if key not in self._calibrations:
            self._calibrations[key] = self._calibrate(key, self.space.settings(key))
        return settings.changed(calibration=self._calibrations[key], last_timestep=None)

    def _calibrate(self, candidate: Candidate, settings: Settings) -> tuple[str, ...]:
        """Weights for the candidate's steps. The run that finds them also generates the first prompts' latents."""
        view = self.stacks.view(settings)
        self.costs.make_room(view.denoiser)
        # A second image in a call needs its own graphs, which take long to compile for big networks.
        count = 1 if view.denoiser.is_big else min(_CALIBRATING, len(self._paths))
        path = ReferencePath.joined(self._paths[:count])
        prompts, options = self._call(range(count))
        timesteps = path.timesteps(settings.steps, cast(int, settings.last_timestep))
        scheduler, latents = fitted(view, path, timesteps, prompts, **options)
        for i, each in enumerate(view.engine.numpy(latents)):
            self._latents[candidate, i] = np.array(each[None])
        return row_texts(scheduler.calibration)

    def _draw(self, view: Any, i: int) -> Latents:
        prompt, options = self._call([i])
        return np.array(view.engine.numpy(view(prompt, **options).images))

    def _call(self, numbers: Sequence[int]) -> tuple[list[str], dict[str, object]]:
        """The arguments of a pipeline's call that generates the latents of some prompts."""
        generators = [np.random.Generator(np.random.PCG64(self.seed + i)) for i in numbers]
        size = {"height": self.size[0], "width": self.size[1]}
        return [self.prompts[i] for i in numbers], {**size, "generator": generators, "output_type": "latent"}


def _decoded(view: Any, latents: Latents, size: tuple[int, int]) -> Pixels:
    floats = decode_images(view.engine, view.vae, as_in_runs(view, view.engine.asarray(latents), *size))
    return np.asarray((floats[0] * 255).round().astype(np.uint8))
