"""The denoising loop: a generator of steps. Progress bars, previews, callbacks and cancelling are its consumers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..acceleration.steps import Forward, Predictor, Step
from ..engines import Array
from .callbacks import OlderCallback, call_back
from .predictors import Guidance, NetworkCall, PictureGuidance
from .run import Run, StepCallback


class Bar(Protocol):
    """A progress bar, as `utils.progress` makes it."""

    def __enter__(self) -> "Bar": ...
    def __exit__(self, *exception: object) -> object: ...
    def update(self) -> object: ...


@dataclass(frozen=True)
class DenoisingStep:
    """What a step came to: the less noisy ``latents``, and the scheduler's estimate of the clean ones.

    ``pred_original_sample`` is None where a scheduler of the user's own does not say.
    """

    index: int
    timestep: float
    latents: Array
    pred_original_sample: Array | None


def predictor_for(run: Run) -> Predictor:
    """What predicts the noise of a run: the network, with the run's caches and with guidance."""
    forward: Forward = run.call_network
    for cache in run.caches:
        forward = cache.forward(forward, run.denoiser.cuts)
    predictor: Predictor = NetworkCall(run, forward)
    for cache in run.caches:
        predictor = cache.predictor(predictor, run)
    return Guidance(run, predictor) if run.settings.image_guidance_scale is None else PictureGuidance(run, predictor)


def denoising_steps(run: Run, predictor: Predictor) -> Iterator[DenoisingStep]:
    """Go through the run's timesteps, from ``run.tensors["latents"]`` on, until the last or until it is interrupted.

    Between two steps whoever consumes may change the run's tensors and settings.
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
        run.settings.pred_original_sample = output.pred_original_sample
        # Some schedulers call the network twice a step, or several times in the first ones.
        run.settings.steps_done = (index + 1) * run.num_inference_steps // count
        yield DenoisingStep(index, timestep, run.tensors["latents"], output.pred_original_sample)


def denoise(
    run: Run,
    progress_bar: Callable[..., Bar],
    callback: StepCallback | None = None,
    callback_tensor_inputs: Sequence[str] = ("latents",),
) -> Array:
    """Run the loop with a progress bar and a user's callback, and return the clean latents."""
    # A step of a scheduler of second order is two calls of the network, and PNDM starts with extra ones.
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
                    older.after(run, step.index, step.timestep)
    return run.tensors["latents"]
