"""``pipe.tune()``: from a pipeline to its front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from ..acceleration.calibration import REFERENCE_STEPS
from ..acceleration.int8.quantize import computes_in_int8
from ..engines.precision import computes_in
from ..jobs.applied import fingerprint
from ..jobs.job import Precision
from ..jobs.profile import Profile, Settings
from ..loading.int8 import QUANTIZATION
from ..models.base import Model
from ..pipelines import checks
from ..schedulers.calibrated import CalibratedMultistepScheduler
from ..utils.machine import instruction_sets, machine, versions
from .candidates import Candidate, Decoder, Space
from .clock import Clock
from .costs import Costs
from .front import Dot, Front, Row
from .likeness import PROMPTS, Drawings
from .prior import expected_psnr
from .search import LocalSearch, Point, estimated, halve, on_front
from .seeds import few_steps, first_seeds
from .stacks import Stacks
from .verify import Target, verify

if TYPE_CHECKING:
    from ..pipelines.published import PublishedPipeline as Pipeline

BASELINE = Settings(steps=25, scheduler="dpm++", dtype="float16")
"""The baseline of speed-ups."""
_GAIN = 0.9
"""Skip lossy networks whose run takes more than this fraction of the plain one's time: not worth compiling."""
_GRAPHS = 16
"""Compiled graphs per network while many settings take turns, if networks are small."""
_EXPLORE, _EXPECT, _REFERENCE, _SEARCH, _HALVING, _VERIFY = 0.3, 0.1, 0.25, 0.6, 0.9, 0.95
"""The fraction of the remaining time that each phase may take."""
_EXPECT_ALONE = 0.7
"""The same if only the verification follows."""
_RESERVE = 0.25
"""The fraction of the budget that is kept for running what the search recommends."""
_LEAST_REFERENCE = 0.6
"""The fraction of the remaining time that one reference image may take."""
SMALL_SECONDS = 5.0
"""Seconds of a baseline's image: if faster, a search uses two prompts, then all; if slower, one, then three."""


def tune(
    pipe: Pipeline,
    prompts: Sequence[str] | None = None,
    budget_seconds: float = 300.0,
    *,
    height: int | None = None,
    width: int | None = None,
    tiny_vae: str | None = None,
    distilled: str | None = None,
    seed: int = 0,
    quality: bool = True,
    targets: Sequence[Target] = (),
    progress: bool = True,
) -> Front:
    """Measure the cost of a run's parts, and search for the Pareto front: the settings closest to the reference at each
    speed.

    The pipeline stays unchanged. Ctrl-C ends the search and returns the front found so far.

    Args:
        pipe: a text-to-image pipeline without a profile.
        prompts: what to generate; image ``i`` has the noise of ``seed + i``.
        budget_seconds: how long to search, including the time to compile and measure all networks.
        height, width: pixels; the model's by default.
        tiny_vae, distilled: checkpoints that may replace the decoder and the whole model.
        seed: the noise's.
        quality: False for random weights: then only cost is measured, and known losses of each method decide between
            settings of the same cost.
        targets: what `Front.at` will be asked for, so that these settings are run and measured before all others:
            speed-ups, or arguments of `Front.at`.
        progress: show a bar with the time left.

    Raises:
        ValueError: an argument is invalid.

    Too short a budget gives less: only cost if there is no time for a reference image, and only the baseline if there
    is no time for other candidates. The front's notes say so and name a sufficient budget.
    """
    texts = _checked(pipe, prompts, budget_seconds)
    size = checks.default_size(pipe, height, width, None)
    checks.check_size(pipe, *size)
    clock = Clock(budget_seconds, progress, _RESERVE)
    networks = [each for each in pipe.components.values() if isinstance(each, Model)]
    limits = [each.graphs.limit for each in networks]
    try:
        return Tuner(pipe, texts, size, clock, seed).front(tiny_vae, distilled, quality, targets)
    finally:
        clock.close()
        for network, limit in zip(networks, limits):
            network.graphs.limit = limit


def _checked(pipe: Pipeline, prompts: Sequence[str] | None, budget_seconds: float) -> tuple[str, ...]:
    """Check the arguments; returns the prompts."""
    if isinstance(prompts, str) or (prompts is not None and not all(isinstance(each, str) for each in prompts)):
        raise ValueError(f"prompts must be a list of texts, got {prompts!r}")
    if not budget_seconds > 0:
        raise ValueError(f"budget_seconds must be above 0, got {budget_seconds!r}")
    if pipe.profile is not None:
        raise ValueError("the pipeline has a profile; call apply_profile(None) before tune()")
    if pipe.scheduler.draws_noise:
        raise ValueError(
            f"{type(pipe.scheduler).__name__} draws new noise at every step, so images of different settings "
            "cannot be compared; give the pipeline a scheduler without noise, if one suits the network"
        )
    if getattr(pipe, "controlnet", None) is not None:
        raise ValueError("tune is only for text-to-image; remove the ControlNet")
    return tuple(prompts or PROMPTS)


class Tuner:
    """A running search: the measurements, and what is known about each candidate."""

    def __init__(self, pipe: Pipeline, prompts: tuple[str, ...], size: tuple[int, int], clock: Clock, seed: int):
        view = _without_checker(pipe)
        self.stacks, self.prompts, self.size, self.clock, self.seed = Stacks(view), prompts, size, clock, seed
        # If adapters prevent second networks, everything computes in the adapters' dtype.
        half = "float16" if self.stacks.are_free and pipe.dtype == "float32" else pipe.dtype
        self.half = cast(Precision, half)
        self.start = BASELINE.changed(dtype=self.half)
        for network in self.stacks.networks():
            if not network.is_big:
                network.graphs.limit = max(network.graphs.limit, _GRAPHS)
        self.costs = Costs(self.stacks, {"prompt": prompts[0], "height": size[0], "width": size[1]})
        self.points: dict[Candidate, Point] = {}
        """The results so far, with as many prompts as possible."""
        self.counted = 0
        """The number of these prompts; with 0 the points are expectations."""
        self.tried: dict[Candidate, Point] = {}
        self.space = Space(branches=len(view.denoiser.cuts), dtypes=(self.half,))
        """The plain network, until explored."""
        self.drawings = Drawings(self.stacks, self.space, self.costs, prompts, size, seed)
        self.too_short: str | None = None
        """Why the budget was too short for something."""

    def front(self, tiny_vae: str | None, distilled: str | None, quality: bool, targets: Sequence[Target]) -> Front:
        """Run all phases in turn, as far as time allows."""
        was_interrupted = False
        self.clock.begin(_EXPLORE)
        self.clock.show("measuring the parts")
        self.baseline = self.costs.seconds(self.start)
        try:
            self.space = self.drawings.space = self.explore(tiny_vae, distilled, quality)
            self.costs.has_time = self.clock.has
            self.expect(_EXPECT if quality else _EXPECT_ALONE)
            if quality and self.draw_references():
                self.search()
                self.refine()
        except KeyboardInterrupt:
            was_interrupted = True
        if not self.points:
            self.only_the_baseline(was_interrupted)
        front = self.made(quality)
        if not was_interrupted:
            try:
                self.clock.begin_last(_VERIFY)
                verify(front, self.stacks, self.costs, self.clock, targets)
            except KeyboardInterrupt:
                was_interrupted = True
        is_short = quality and self.counted < len(self.drawings.reference_images)
        front.was_interrupted = was_interrupted
        front.is_complete = not (was_interrupted or is_short or self.too_short)
        front.seconds = self.clock.gone
        return front

    def only_the_baseline(self, was_interrupted: bool) -> None:
        """Fall back to the baseline: a front is never empty."""
        plain = Candidate(dtype=self.half)
        self.points = {plain: Point(self.baseline, expected_psnr(plain))}
        if not was_interrupted:
            self.too_short = (
                f"The budget of {self.clock.budget / 60:.2g} minutes is too short: measuring the baseline alone took "
                f"{self.clock.gone / 60:.2g}; give {2 * self.clock.gone / 60:.2g} minutes or more (--budget)."
            )

    def explore(self, tiny_vae: str | None, distilled: str | None, quality: bool) -> Space:
        """Find the knobs that gain something here; lossy networks no faster than the plain one are skipped."""
        pipe, plain = self.stacks.pipe, self.baseline
        free, openvino = self.stacks.are_free, pipe.engine.name == "openvino"

        def gains(part: float = _GAIN, **changes: object) -> bool:
            self.clock.show("measuring " + ", ".join(changes))
            return self.seconds(self.start.changed(**changes)) < part * plain

        may_calibrate = CalibratedMultistepScheduler.walks(pipe.scheduler.config)
        may_int8 = free and openvino and QUANTIZATION not in pipe.denoiser.config
        decoders: list[Decoder] = [""]
        if tiny_vae and gains(1.0, tiny_vae=tiny_vae):
            decoders.append("tiny")
        if free and openvino and not computes_in_int8(pipe.vae) and self.clock.has() and gains(1.0, int8_vae=True):
            decoders.append("int8")
        factors = [n for n in (2, 3) if free and pipe.denoiser.self_attentions and self.clock.has()]
        return Space(
            branches=len(pipe.denoiser.cuts),
            calibrated=(False, True) if quality and may_calibrate else (False,),
            is_guided=pipe.choose_guidance_scale(None) > 1
            and not pipe.family.has_built_in_guidance(pipe.denoiser.config),
            dtypes=(self.half, "float32") if free and self._is_as_fast_in_float32(plain) else (self.half,),
            int8=(False, True) if may_int8 and self.clock.has() and gains(int8=True) else (False,),
            downsampling=(1, *(n for n in factors if gains(token_downsampling=n))),
            distilled=distilled if distilled and gains(distilled=distilled) else None,
            tiny_vae=tiny_vae,
            decoders=tuple(decoders),
        )

    def _is_as_fast_in_float32(self, plain: float) -> bool:
        """Whether full precision differs and costs less than a step or two: small networks have a chance."""
        name = self.stacks.pipe.engine.name
        if plain > SMALL_SECONDS or computes_in(name, self.half) == computes_in(name, "float32"):
            return False
        self.clock.show("measuring float32")
        return self.seconds(self.start.changed(dtype="float32")) < 1.15 * plain

    def seconds(self, settings: Settings) -> float:
        """Seconds of a run; infinite if the pipeline refuses it, or no time is left to measure its parts."""
        try:
            return self.costs.seconds(settings)
        except ValueError:
            return np.inf

    def cost(self, candidate: Candidate) -> float | None:
        """Seconds of a candidate; None if it cannot run."""
        seconds = self.seconds(self.space.settings(candidate))
        return seconds if np.isfinite(seconds) else None

    def expect(self, part: float) -> None:
        """The expected front before any image is generated, where the search starts; takes a fraction of the time
        left."""
        space = replace(self.space, calibrated=(False,))  # calibrating takes images
        search = LocalSearch(space, self.cost, expected_psnr, 1.1 * self.baseline)
        search.front.add(Point(np.inf, -np.inf))

        def goes_on() -> bool:
            self.clock.show(f"costs of {len(search.known)} settings")
            return self.clock.has()

        self.points = search.known
        self.clock.begin(part)
        search.run(first_seeds(self.half), goes_on)
        for candidate in list(self.points):
            for other in self.space.decoded_otherwise(candidate):
                if (seconds := self.cost(other)) is not None:
                    self.points[other] = Point(seconds, expected_psnr(other))

    def draw_references(self) -> bool:
        """Generate as many as fit into their time; False if not even one does."""
        self.clock.begin(1.0)
        seconds = self.seconds(self.drawings.reference)
        if not np.isfinite(seconds):  # no time is left to measure it
            seconds = REFERENCE_STEPS / BASELINE.steps * self.baseline
        left = self.clock.budget - self.clock.gone
        most = len(self.prompts) if self.baseline < SMALL_SECONDS else min(3, len(self.prompts))
        count = min(most, max(int(_REFERENCE * left / seconds), int(seconds < _LEAST_REFERENCE * left)))
        if count < 1:
            needed = (self.clock.gone + seconds / _LEAST_REFERENCE) / 60
            self.too_short = (
                f"The budget of {self.clock.budget / 60:.2g} minutes is too short to measure quality: one reference "
                f"image of {REFERENCE_STEPS} steps takes {seconds:.3g} s here; give {1.2 * needed:.1f} minutes or more."
            )
            return False
        for i in range(count):
            self.clock.show(f"reference image {i + 1} of {count}")
            self.drawings.draw_reference()
        return True

    def search(self) -> None:
        """Try candidates on the first prompts, comparing latents."""
        first = 1 if self.baseline >= SMALL_SECONDS else min(2, len(self.drawings.reference_images))
        seeds = on_front({each: point for each, point in self.points.items() if not each.decoder})
        search = LocalSearch(
            *(self.space, self.cost, lambda each: self.drawings.latent_psnr(each, first), 1.1 * self.baseline),
            slack=0.5,
        )

        def goes_on() -> bool:
            self.clock.show(f"tried {len(search.known)} settings")
            return self.clock.has()

        self.clock.begin(_SEARCH)
        try:
            search.run(seeds, goes_on, few_steps(self.space, self.half))
        finally:
            self.tried = search.known
            if search.known:
                self.decode(first)

    def decode(self, count: int) -> None:
        """Decode candidates near the front, with each decoder that there was time to measure."""
        near = on_front(self.tried, within=1.5)
        near += [other for candidate in near for other in self.space.decoded_otherwise(candidate)]
        known = [candidate for candidate in near if self.cost(candidate) is not None]
        self.points, self.counted = {candidate: self.drawn(candidate, count) for candidate in known}, count

    def drawn(self, candidate: Candidate, count: int) -> Point:
        """A candidate's result on the first ``count`` prompts, decoded."""
        self.clock.show(f"generating {count} prompts")
        return Point(self.seconds(self.space.settings(candidate)), self.drawings.likeness(candidate, count).psnr)

    def refine(self) -> None:
        """Successive halving over the prompts."""
        self.clock.begin(_HALVING)
        every = len(self.drawings.reference_images)
        middle = (self.counted + every + 1) // 2
        rungs = [(count, within) for count, within in ((middle, 1.0), (every, 0.5)) if count > self.counted]
        self.points, self.counted = halve(*(self.points, self.counted, self.drawn, rungs), lambda: self.clock.has())

    def made(self, quality: bool) -> Front:
        """The front of the results so far."""
        rows = [self.row(candidate) for candidate in on_front(self.points)]
        described = f"{REFERENCE_STEPS} DPM++ steps in {self.drawings.reference.dtype}"
        front = Front(rows, self.origin(), self.baseline, prompts=self.prompts[: self.counted])
        if self.counted:
            front.reference, front.reference_picture = described, self.drawings.reference_images[0]
            dots = {**self.points, **estimated(self.tried, self.points)}
            front.dots = [Dot(self.drawings.settings(c), *point, c not in self.points) for c, point in dots.items()]
        elif self.too_short:
            front.notes.append(self.too_short)
        elif quality:
            front.notes.append("The search ended before any image was generated: only cost is known.")
        return front

    def row(self, candidate: Candidate) -> Row:
        """A candidate as a row of the front."""
        seconds = self.points[candidate].seconds
        row = Row(self.drawings.settings(candidate), seconds, self.baseline / seconds)
        if self.counted:
            likeness = self.drawings.likeness(candidate, self.counted)
            row.psnr, row.psnr_error, row.ssim = likeness.psnr, likeness.psnr_error, likeness.ssim
            row.picture = self.drawings.image(candidate, 0)
        return row

    def origin(self) -> Profile:
        """The baseline as a profile."""
        pipe = self.stacks.pipe
        where: Mapping[str, object] = machine()
        return Profile(
            checkpoint=pipe.name_or_path or type(pipe).__name__,
            fingerprint=fingerprint(pipe),
            height=self.size[0],
            width=self.size[1],
            settings=self.start,
            machine={name: where[name] for name in ("cpu", "cores", "memory", "system")},
            instruction_sets=instruction_sets(),
            versions=versions(["mindspore", "openvino", "numpy"]),
        )


def _without_checker(pipe: Pipeline) -> Pipeline:
    """The pipeline without its safety checker, which blackens images and has no bearing on settings."""
    view = pipe.view()
    view.set_progress_bar_config(disable=True)
    if getattr(view, "safety_checker", None) is not None:
        view.safety_checker = None
    return view
