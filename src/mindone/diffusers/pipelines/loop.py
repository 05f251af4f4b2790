"""Denoising: the run of a call, its predictor, and the loop over its steps.

A **run** owns everything that changes while a pipeline generates; any number of threads can run one pipeline. A
**predictor**, ``predict(latents, step) -> noise``, is the network and its wrappers: guidance wraps the network, a
forecast wraps either and calls it only at some steps. The **loop** is a generator of steps and does not know its
predictor; progress bars, previews, callbacks and cancelling consume it.
"""

import copy
import inspect
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..acceleration.enabled_caches import enabled_on
from ..acceleration.guidance_interval import check_interval
from ..acceleration.speedup import Cache, RunFacts
from ..acceleration.steps import Forward, Predictor, Step as Step
from ..engines import Array, Engine, Input, Outputs, single
from ..families.components import Denoiser
from ..families.registry import load
from ..schedulers.arrays import Numbers
from ..schedulers.base import Generators, Scheduler
from ..schedulers.parameterization import Parameterization
from ..schedulers.schedules import even_levels, shift_for
from ..utils import logging
from .callbacks import OlderCallback, StepCallback, shown
from .checks import check_array
from .packing import as_in_runs, as_published
from .padding import without_padding, without_repeats
from .parts import Parts
from .read_once import ReadOnce

logger = logging.get_logger(__name__)

Interval = tuple[float, float]
PICTURES = ("latents", "mask", "masked_image_latents")
"""The tensors with a value for each latent."""


@dataclass
class Settings:
    """What a step callback may read and change in the middle of a run."""

    guidance_scale: float = 1.0
    guidance_rescale: float = 0.0
    image_guidance_scale: float | None = None
    """The weight of the picture to edit, for networks that see one next to the latents."""
    guidance_interval: Interval = (0.0, 1.0)
    interrupt: bool = False
    num_timesteps: int = 0
    num_inference_steps: int = 0
    steps_done: int = 0
    built_in_guidance_scale: float = 1.0
    """What a network with guidance built in reads, where a run can be guided besides (`Family.true_guidance`)."""
    clip_skip: int | None = None
    cross_attention_kwargs: Mapping[str, object] | None = None
    denoising_start: float | None = None
    denoising_end: float | None = None
    skip_guidance_layers: Sequence[int] | None = None
    """The layers that an extra prediction skips; steps are guided away from that prediction."""
    pred_original_sample: Array | None = None
    """The scheduler's estimate of the clean latents after the last step."""


class Control(Protocol):
    """Adds inputs to calls of the network: a ControlNet's residuals, an image prompt's tokens."""

    def __call__(
        self, step: Step, sample: Array, timestep: NDArray[np.float32], inputs: Mapping[str, Input]
    ) -> Mapping[str, Input]:
        """The inputs to add to a call of the network with ``inputs``, which name its ``method`` if there is one."""


@dataclass
class Run:
    """The components at the beginning of the call, its own scheduler, and the tensors of the loop.

    ``tensors`` holds the ``latents`` and the network's conditions, under the names that callbacks use. With guidance
    the conditions have two rows per image: all negative ones, then all positive ones.
    """

    pipe: Parts
    engine: Engine
    denoiser: Denoiser
    scheduler: Scheduler
    shown_scheduler: Scheduler
    """The pipeline's own scheduler, which scripts read for the timesteps; no run steps with it."""
    settings: Settings
    tensors: dict[str, Array] = field(default_factory=dict)
    timesteps: Numbers = field(default_factory=lambda: np.empty(0))
    num_inference_steps: int = 0
    step_options: Mapping[str, Any] = field(default_factory=dict)
    extra_channels: Sequence[str] = ()
    """The tensors that the network gets as extra channels after the latents, as inpainting networks do."""
    controls: list[Control] = field(default_factory=list)
    """Each sees the network's conditions without the inputs that the others add."""
    caches: Sequence[Cache] = ()
    """They skip parts of the network, whole steps, or the unconditional half of steps."""
    around: list[Callable[[Predictor], Predictor]] = field(default_factory=list)
    """Each wraps the network with its caches, inside guidance."""
    after_step: Callable[[int, Array], Array] = lambda index, latents: latents
    """Each maps the number of a step and its latents to the latents to go on with."""

    @cached_property
    def terms(self) -> Parameterization:
        """Translates between the scheduler and the network."""
        path = self.pipe.family.parameterization
        kind: type[Parameterization] = Parameterization if path is None else load(path)
        return kind(self.scheduler, self.denoiser.config)

    def call_network(self, step: Step, sample: Array, timestep: NDArray[np.float32], **inputs: Input) -> Outputs:
        """Run the network, or its given ``method``, with the inputs that the run's controls add.

        Every call of the network passes through here, including a feature cache's.
        """
        for each in [control(step, sample, timestep, inputs) for control in self.controls]:
            inputs |= each
        return self.engine.run(self.denoiser, sample, timestep, **self._shortened(inputs))

    def _shortened(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of a call without padding and repeats; those that can be read once are replaced by the result."""
        short = dict(inputs)
        for text, mask in self.pipe.family.padded.items():
            if text in short and mask in short:
                short[text], short[mask] = without_padding(self.engine, short[text], short[mask])
        for text, option in self.pipe.family.repeated.items():
            short[text], times = without_repeats(self.engine, short[text])
            if times > 1:
                short[option] = times
        return short | {name: read(short[name]) for name, read in self.reads_once.items() if name in short}

    @cached_property
    def reads_once(self) -> dict[str, ReadOnce]:
        """The inputs that the network can read once for all steps, and the reader of each."""
        methods = self.pipe.family.read_once
        return {name: ReadOnce(self.engine, self.denoiser, method) for name, method in methods.items()}

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether there is guidance: a scale above 1, a picture's own at least 1, and none built into the network."""
        picture = self.settings.image_guidance_scale
        strong = self.settings.guidance_scale > 1 and (picture is None or picture >= 1)
        family = self.pipe.family
        return strong and (family.true_guidance or not family.has_built_in_guidance(self.denoiser.config))

    @property
    def guided_rows(self) -> int:
        """The number of rows per image at guided steps: without and with the prompt, and for edits one without both."""
        return 2 if self.settings.image_guidance_scale is None else 3

    def condition_on(self, **tensors: Array | None) -> None:
        """Keep tensors under these names, skipping None."""
        self.tensors |= {name: x for name, x in tensors.items() if x is not None}

    def rows_of(self, text: Array, negative: Array | None) -> Array:
        """The conditions at guided steps: the rows without the prompt, then those with it.

        Without guidance ``negative`` may be None, and only the text remains.
        """
        if negative is None or not self.do_classifier_free_guidance:
            return text
        return self.engine.concat([negative] * (self.guided_rows - 1) + [text])

    def is_guided(self, step: Step) -> bool:
        """Whether this step is guided: inside the interval (Kynkäänniemi et al. 2024, §3), by fraction of steps."""
        start, stop = self.settings.guidance_interval
        inside = start * step.count <= step.index < stop * step.count
        return inside and self.do_classifier_free_guidance

    def guides(self, step: Step) -> bool:
        """Whether this step computes its guidance, running the network with two rows per image."""
        number = step.index - math.ceil(self.settings.guidance_interval[0] * step.count)
        return self.is_guided(step) and all(cache.computes_guidance(number) for cache in self.caches)

    def check_speedups(self) -> None:
        """Raise ``ValueError``, before any network runs, for speed-ups that would skip nothing or cannot work."""
        check_interval(self.settings.guidance_interval, self.do_classifier_free_guidance)
        for cache in self.caches:
            cache.check(self.facts)

    @property
    def facts(self) -> RunFacts:
        """The run as caches see it."""
        return RunFacts(
            steps=len(self.timesteps),
            branches=len(self.denoiser.cuts),
            blocks=len(self.denoiser.blocks),
            is_guided=self.do_classifier_free_guidance,
            differences=self.guided_rows - 1,
            new_noise=type(self.scheduler).__name__ if getattr(self.scheduler, "distilled", False) else "",
        )

    def conditions(self, step: Step) -> dict[str, Array]:
        """The network's conditions at this step, by its own names; only the positive half without guidance.

        Raises:
            ValueError: a callback left a number of rows that does not fit the step.
        """
        names = self.pipe.family.inputs
        inputs = {theirs: self.tensors[ours] for ours, theirs in names.items() if ours in self.tensors}
        guided = self.guides(step)
        if self.do_classifier_free_guidance and not guided:
            inputs = {name: x[-(x.shape[0] // self.guided_rows) :] for name, x in inputs.items()}
        counted, images = next(iter(names)), self.tensors["latents"].shape[0]
        rows = inputs[names[counted]].shape[0]
        needed = images * (self.guided_rows if guided else 1)
        if rows != needed:
            raise ValueError(
                f"{counted} has {rows} rows, but {needed} are needed: one per image, {self.guided_rows} with "
                "guidance; a callback that switches guidance off keeps the last ones"
            )
        return inputs

    def set_timesteps(
        self,
        num_inference_steps: int,
        timesteps: Sequence[float] | None,
        sigmas: Sequence[float] | None,
        options: Mapping[str, object] = MappingProxyType({}),
        tokens: int | None = None,
    ) -> None:
        """Lay out the steps: a number of them, or the user's own; a dynamic shift is for an image of ``tokens``.

        ``options`` (`Arguments.layout_options`) also go to the scheduler.

        Raises:
            ValueError: there is no step, timesteps and sigmas are both given, or this scheduler does not take them.
        """
        if timesteps is not None and sigmas is not None:
            raise ValueError("timesteps and sigmas were both given; pass one of them")
        given = {"timesteps": timesteps, "sigmas": sigmas}
        custom = {name: value for name, value in given.items() if value is not None}
        layout: dict[str, Any] = {**(custom or {"num_inference_steps": num_inference_steps}), **options}
        known = inspect.signature(self.scheduler.set_timesteps).parameters
        if strange := next((name for name in options if name not in known), None):
            raise ValueError(f"{type(self.scheduler).__name__} takes no {strange}; {_takers(strange)}")
        if self.pipe.family.even_levels and not custom:
            layout |= even_levels(self.scheduler, num_inference_steps)
        if tokens is not None and getattr(getattr(self.scheduler, "schedule", None), "is_dynamic", False):
            layout.setdefault("mu", shift_for(self.scheduler.config, tokens))
        self.scheduler.set_timesteps(**layout)
        self.shown_scheduler.set_timesteps(**layout)
        self.use_timesteps(self.scheduler.timesteps, len(self.scheduler.timesteps) if custom else num_inference_steps)

    def use_timesteps(self, timesteps: Numbers, num_inference_steps: int) -> None:
        """Visit these of the scheduler's timesteps; a user counts them as ``num_inference_steps``.

        Two timesteps of a second-order scheduler are one step.
        """
        self.timesteps = timesteps
        self.num_inference_steps = num_inference_steps = min(
            num_inference_steps, math.ceil(len(timesteps) / self.scheduler.order)
        )
        self.settings.num_timesteps, self.settings.num_inference_steps = len(timesteps), num_inference_steps


def _takers(argument: str) -> str:
    """The schedulers that take this argument for laying out steps, in words."""
    library = Scheduler.library().items()
    names = [name for name, cls in library if argument in inspect.signature(cls.set_timesteps).parameters]
    return f"{' and '.join(names)} {'does' if len(names) == 1 else 'do'}"


def step_options(scheduler: Scheduler, eta: float, generator: Generators) -> dict[str, object]:
    """The arguments among these that the scheduler's ``step`` takes. Only DDIM and TCD use ``eta``."""
    accepted = inspect.signature(scheduler.step).parameters
    if eta and "eta" not in accepted:
        logger.warning(f"{type(scheduler).__name__} ignores eta={eta}; DDIMScheduler and TCDScheduler use it")
    given = {"eta": eta, "generator": generator}
    return {name: value for name, value in given.items() if name in accepted}


def repeat_each(engine: Engine, x: Array, times: int) -> Array:
    """Rows ``a, b`` of ``x`` as ``a, a, b, b`` (for two times)."""
    if times == 1:
        return x
    return engine.concat([x[row : row + 1] for row in range(x.shape[0]) for _ in range(times)])


_current: ContextVar[tuple[Run, ...]] = ContextVar("mindone.diffusers.runs", default=())


class Runs:
    """A pipeline's runs in progress, and the settings of the latest one.

    Inside a run (for example in a callback) settings are that run's. Elsewhere (for example in a Stop button's thread),
    setting one sets it for all runs in progress, and reading one returns the latest run's.
    """

    def __init__(self) -> None:
        self._running: list[Run] = []
        self._latest = Settings()
        self._lock = threading.Lock()

    @contextmanager
    def begin(self, pipe: Parts, settings: Settings) -> Iterator[Run]:
        """A run of the pipeline with its current components."""
        scheduler, caches = pipe.scheduler, enabled_on(pipe.denoiser) if pipe.caches is None else pipe.caches
        run = Run(pipe, pipe.engine, pipe.denoiser, copy.copy(scheduler), scheduler, settings, caches=caches)
        token = _current.set((*_current.get(), run))
        with self._lock:
            self._running.append(run)
            self._latest = settings
        try:
            yield run
        finally:
            with self._lock:
                self._running.remove(run)
            _current.reset(token)

    def own(self) -> Run | None:
        """The run that calls this."""
        return next((run for run in reversed(_current.get()) if run.pipe.runs is self), None)

    def read(self, name: str) -> Any:
        """A setting by its name in `Settings`."""
        run = self.own()
        return getattr(run.settings if run else self._latest, name)

    def write(self, name: str, value: object) -> None:
        """Change a setting for the remaining steps."""
        run = self.own()
        with self._lock:
            for each in [run] if run else self._running:
                setattr(each.settings, name, value)


# ---- predictors ------------------------------------------------------------------------------------------------------


class NetworkCall:
    """The network's own prediction, with two rows per image at guided steps: without the prompt, then with it."""

    def __init__(self, run: Run, forward: Forward | None = None):
        self.run = run
        self.forward: Forward = forward or run.call_network

    def predict(self, latents: Array, step: Step) -> Array:
        """One call for all images. Guidance's two halves start from the same latents, passed once."""
        terms, conditions = self.run.terms, self.run.conditions(step)
        sample, time = terms.enter(latents, step.timestep)
        given = sample
        if self.run.extra_channels:
            given = self._with_channels(sample, next(iter(conditions.values())).shape[0])
        said = single(self.forward(step, given, np.full(1, time, np.float32), **conditions))
        return terms.leave(said, sample, step.timestep)

    def _with_channels(self, sample: Array, rows: int) -> Array:
        """The latents with the extra channels, which have one row per image or one per condition."""
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
        """The predictions without and with the prompt; the former is forecast if the step does not compute it."""
        if self.differences is None or self.run.guides(step):
            unconditional, text = noise[:images], noise[images:]
            if self.differences is not None:
                self.differences.keep(step, text - unconditional)
            return unconditional, text
        return noise - self.differences.forecast(step), noise


class PictureGuidance:
    """Guidance for editing networks: away from the prediction without both, then from the one with only the picture.

    InstructPix2Pix (Brooks et al. 2023), eq. 3; each image's rows are without both, with the picture, with both.
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
    """Move guided noise towards the standard deviation of the text-conditioned one, by ``guidance_rescale``.

    Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", eq. 15 and 16; all arrays
    (batch, channels, height, width), the deviations over all but the batch.
    """
    deviation, wanted = (engine.numpy(x).std(axis=(1, 2, 3), ddof=1, keepdims=True) for x in (noise, text))
    factor = guidance_rescale * (wanted / deviation) + (1 - guidance_rescale)
    return noise * engine.asarray(factor.astype(np.float32))


def embed_guidance(run: Run, images: int) -> None:
    """Give a network with built-in guidance its scale; does nothing for others."""
    if (channels := run.denoiser.config.get("time_cond_proj_dim")) is not None:
        embedding = guidance_scale_embedding(run.settings.guidance_scale, channels, images)
        run.tensors["timestep_cond"] = run.engine.asarray(embedding)


def guidance_scale_embedding(guidance_scale: float, channels: int, rows: int) -> NDArray[np.float32]:
    """The guidance scale in the form of guidance-distilled networks: float32 (rows, channels).

    Sinusoids of 1000·(w - 1): Latent Consistency Models (Luo et al. 2023), §4.2, where 1 means no guidance.
    """
    half = channels // 2
    frequencies = np.exp(np.arange(half) * (-np.log(10000.0) / (half - 1)))
    angles = 1000.0 * (guidance_scale - 1.0) * frequencies
    row = np.concatenate([np.sin(angles), np.cos(angles), np.zeros(channels % 2)])
    return np.tile(row.astype(np.float32), (rows, 1))


# ---- the loop --------------------------------------------------------------------------------------------------------


class Bar(Protocol):
    """A progress bar, as from `utils.progress`."""

    def __enter__(self) -> "Bar": ...
    def __exit__(self, *exception: object) -> object: ...
    def update(self) -> object: ...


@dataclass(frozen=True)
class DenoisingStep:
    """A step's result: the less noisy ``latents``, and the scheduler's estimate of the clean ones.

    ``pred_original_sample`` is None if a user's own scheduler does not give it.
    """

    index: int
    timestep: float
    latents: Array
    pred_original_sample: Array | None


def predictor_for(run: Run) -> Predictor:
    """The predictor of a run: the network with the run's caches and guidance."""
    forward: Forward = run.call_network
    for cache in run.caches:
        forward = cache.forward(forward, run)
    predictor: Predictor = NetworkCall(run, forward)
    for cache in run.caches:
        predictor = cache.predictor(predictor, run)
    for wrap in run.around:
        predictor = wrap(predictor)
    return Guidance(run, predictor) if run.settings.image_guidance_scale is None else PictureGuidance(run, predictor)


def denoising_steps(run: Run, predictor: Predictor) -> Iterator[DenoisingStep]:
    """Go through the run's timesteps, from ``run.tensors["latents"]`` to the last, or until interrupted.

    Between two steps the consumer may change the run's tensors and settings.
    """
    count = len(run.timesteps)
    run.settings.steps_done = 0
    for index, timestep in enumerate(run.timesteps):
        if run.settings.interrupt:
            return
        latents = run.tensors["latents"]
        noise = predictor.predict(latents, Step(index, count, float(timestep)))
        output = run.scheduler.step(noise, timestep, latents, **run.step_options)
        run.tensors["latents"] = run.after_step(index, output.prev_sample)
        estimate = output.pred_original_sample
        run.settings.pred_original_sample = estimate = None if estimate is None else run.terms.clean(estimate)
        # Some schedulers call the network twice per step, or several times in the first steps.
        run.settings.steps_done = (index + 1) * run.num_inference_steps // count
        yield DenoisingStep(index, timestep, run.tensors["latents"], estimate)


def denoise(
    run: Run,
    progress_bar: Callable[..., Bar],
    callback: StepCallback | None = None,
    callback_tensor_inputs: Sequence[str] = ("latents",),
) -> Array:
    """Run the loop with a progress bar and a user's callback, and return the clean latents."""
    # A second-order scheduler calls the network twice per step, and PNDM starts with extra calls.
    order, count = run.scheduler.order, len(run.timesteps)
    older = callback if isinstance(callback, OlderCallback) else None
    newer = callback if older is None else older.newer
    warmup = max(count - run.num_inference_steps * order, 0)
    with progress_bar(total=run.num_inference_steps) as bar:
        for step in denoising_steps(run, predictor_for(run)):
            if newer is not None:
                call_back(newer, run, step.index, step.timestep, callback_tensor_inputs)
            done = step.index + 1
            if done == count or (done > warmup and done % order == 0):
                bar.update()
                if older is not None:
                    older.after(step.index, order, step.timestep, step.latents)
    return run.terms.finished(run.tensors["latents"], run.settings.pred_original_sample)


def call_back(callback: StepCallback, run: Run, index: int, timestep: float, names: Sequence[str]) -> None:
    """Call a callback with a run's tensors after a step, and store the ones it returns.

    Raises:
        ValueError: it returned something other than a dict of the pipeline's ``callback_tensors``.
    """
    tensors = {name: run.tensors.get(name) for name in names}
    if not getattr(callback, "reads_runs", False):
        tensors = {name: None if x is None else as_published(run.pipe, x) for name, x in tensors.items()}
    changed = callback(run.pipe, index, timestep, {name: shown(x) for name, x in tensors.items()})
    if changed is None:
        return
    if not isinstance(changed, Mapping):
        raise ValueError(f"callback_on_step_end must return a dict of tensors or None, got {type(changed).__name__}")
    if unknown := [str(name) for name in changed if name not in run.pipe.callback_tensors]:
        raise ValueError(
            f"callback_on_step_end returned {', '.join(unknown)}, which no run has; choose from "
            f"{', '.join(run.pipe.callback_tensors)}"
        )
    own = tuple(run.tensors["latents"].shape)
    height, width = (side * run.pipe.vae_scale_factor for side in own[2:])
    for name, value in changed.items():
        check_array(f"{name} that callback_on_step_end returns", value)
    given = {name: run.engine.asarray(value) for name, value in changed.items() if value is not None}
    given = {name: as_in_runs(run.pipe, x, height, width) if name in PICTURES else x for name, x in given.items()}
    if (shape := tuple(given.get("latents", run.tensors["latents"]).shape)) != own:
        raise ValueError(f"callback_on_step_end returned latents of the shape {shape}, and those of the run have {own}")
    run.tensors |= given
