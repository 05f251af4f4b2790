"""Step callbacks: ready-made ones, the older form, and the arrays that they get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..engines import Array, single
from ..loading.config import Config
from ..loading.configurable import Configurable

Tensors = dict[str, Array | None]
"""A run's tensors by name; None for one that the run does without, such as a negative prompt without guidance."""

StepCallback = Callable[[Any, int, float, Tensors], Tensors | None]
"""Called as ``callback(pipe, step, timestep, tensors)``; the tensors that it returns replace the run's."""


class Running(Protocol):
    """A pipeline in the middle of a run."""

    guidance_scale: float

    @property
    def num_timesteps(self) -> int:
        """How many timesteps the run has."""

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the run is guided."""

    def set_ip_adapter_scale(self, scale: float) -> None:
        """How much the pictures count."""


class StepArray(np.ndarray):  # type: ignore[type-arg]
    """A NumPy array with the methods of tensors that published callbacks use."""

    def chunk(self, chunks: int, dim: int = 0) -> tuple[StepArray, ...]:
        """At most ``chunks`` pieces along an axis, all but the last of one size."""
        size = -(-self.shape[dim] // chunks)
        pieces: Any = np.split(self, range(size, self.shape[dim], size), axis=dim)
        return tuple(pieces)

    def clone(self) -> StepArray:
        """A copy of the array."""
        return self.copy()

    def unsqueeze(self, dim: int) -> StepArray:
        """The array with an axis of length 1 at ``dim``."""
        return np.expand_dims(self, dim).view(StepArray)

    def to(self, *where: object, **options: object) -> StepArray:
        """The array itself: it is float32 in host memory."""
        return self

    cpu = detach = float = to

    def numpy(self) -> NDArray[np.float32]:
        """The same as a plain array."""
        return np.asarray(self)


A = TypeVar("A", bound=Array | None)


def shown(x: A) -> A | StepArray:
    """An array as callbacks get it: a NumPy array gains a tensor's methods, a tensor stays as it is."""
    return x.view(StepArray) if isinstance(x, np.ndarray) else x


class PipelineCallback(Configurable):
    """A callback for ``callback_on_step_end`` that acts once: at a step, or after a fraction of the steps.

    A subclass names the tensors it needs in ``tensor_inputs`` and defines `callback_fn`.

    Args:
        cutoff_step_ratio: the fraction of the steps, from 0.0 to 1.0, after which it acts.
        cutoff_step_index: the step at which it acts instead; give one of the two.

    Raises:
        ValueError: both or neither are given, or the ratio is no float from 0.0 to 1.0.
    """

    tensor_inputs: Sequence[str]
    """The names, from the pipeline's ``callback_tensors``, that `callback_fn` gets."""

    def __init__(self, cutoff_step_ratio: float | None = 1.0, cutoff_step_index: int | None = None):
        if (cutoff_step_ratio is None) == (cutoff_step_index is None):
            raise ValueError(
                "give cutoff_step_ratio or cutoff_step_index and None for the other, got "
                f"{cutoff_step_ratio!r} and {cutoff_step_index!r}"
            )
        if cutoff_step_ratio is not None and not (isinstance(cutoff_step_ratio, float) and 0 <= cutoff_step_ratio <= 1):
            raise ValueError(f"cutoff_step_ratio must be a float from 0.0 to 1.0, got {cutoff_step_ratio!r}")
        self.config = Config(cutoff_step_ratio=cutoff_step_ratio, cutoff_step_index=cutoff_step_index)

    def is_cutoff(self, pipeline: Running, step_index: int) -> bool:
        """Whether this is the step at which it acts."""
        index = self.config.cutoff_step_index
        return bool(
            step_index == (int(pipeline.num_timesteps * self.config.cutoff_step_ratio) if index is None else index)
        )

    def callback_fn(self, pipeline: Running, step_index: int, timestep: float, callback_kwargs: Tensors) -> Tensors:
        """The action after a step; returns the tensors to go on with."""
        raise NotImplementedError(f"{type(self).__name__} must define callback_fn")

    def __call__(self, pipeline: Running, step_index: int, timestep: float, callback_kwargs: Tensors) -> Tensors:
        """Call `callback_fn`."""
        return self.callback_fn(pipeline, step_index, timestep, callback_kwargs)


class MultiPipelineCallbacks:
    """Several callbacks, called one after the other."""

    def __init__(self, callbacks: Sequence[PipelineCallback]):
        self.callbacks = callbacks

    @property
    def tensor_inputs(self) -> list[str]:
        """The names that any of them needs."""
        return list(dict.fromkeys(name for callback in self.callbacks for name in callback.tensor_inputs))

    def __call__(self, pipeline: Running, step_index: int, timestep: float, callback_kwargs: Tensors) -> Tensors:
        """Each gets the tensors that the previous one returned."""
        for callback in self.callbacks:
            callback_kwargs = callback(pipeline, step_index, timestep, callback_kwargs)
        return callback_kwargs


class SDCFGCutoffCallback(PipelineCallback):
    """Switches guidance off: later steps run only the prompt, in half the time."""

    tensor_inputs: Sequence[str] = ("prompt_embeds",)

    def callback_fn(self, pipeline: Running, step_index: int, timestep: float, callback_kwargs: Tensors) -> Tensors:
        """At the step, keep the second half of each tensor and stop guidance."""
        if not self.is_cutoff(pipeline, step_index) or not pipeline.do_classifier_free_guidance:
            return callback_kwargs
        pipeline.guidance_scale = 0.0
        both = {name: single(callback_kwargs[name]) for name in self.tensor_inputs}
        return {**callback_kwargs, **{name: x[x.shape[0] // 2 :] for name, x in both.items()}}


class SDXLCFGCutoffCallback(SDCFGCutoffCallback):
    """The same for Stable Diffusion XL."""

    tensor_inputs: Sequence[str] = ("prompt_embeds", "add_text_embeds", "add_time_ids")


class SDXLControlnetCFGCutoffCallback(SDXLCFGCutoffCallback):
    """The same; ControlNets' pictures are one per image here, with guidance and without."""


class IPAdapterScaleCutoffCallback(PipelineCallback):
    """Sets the scale of the pipeline's IP-Adapters to 0, for all its runs, until you set it again."""

    tensor_inputs: Sequence[str] = ()

    def callback_fn(self, pipeline: Running, step_index: int, timestep: float, callback_kwargs: Tensors) -> Tensors:
        """At the step, stop following the picture."""
        if self.is_cutoff(pipeline, step_index):
            pipeline.set_ip_adapter_scale(0.0)
        return callback_kwargs


class OwnCallback:
    """A callback of this library: it is shown tensors as runs have them, where published callbacks see other forms."""

    reads_runs = True

    def __init__(self, function: StepCallback):
        self.function = function

    def __call__(self, pipeline: Any, step_index: int, timestep: float, callback_kwargs: Tensors) -> Tensors | None:
        """Call the function."""
        return self.function(pipeline, step_index, timestep, callback_kwargs)


class OlderCallback:
    """``callback`` and ``callback_steps`` of calls: ``callback(step, timestep, latents)`` at some of the steps.

    As published, a step of a second-order solver counts once, and PNDM's extra first steps do not count.

    Args:
        callback: a function.
        callback_steps: the number of steps between calls, at least 1.
        newer: a ``callback_on_step_end`` to call before it, at every step.

    Raises:
        ValueError: ``callback`` is not callable, or ``callback_steps`` is no whole number of at least 1.
    """

    def __init__(
        self, callback: Callable[[int, float, Array], object], callback_steps: int, newer: StepCallback | None
    ):
        if not callable(callback):
            raise ValueError(f"callback must be a function, got {type(callback).__name__}")
        if isinstance(callback_steps, bool) or not isinstance(callback_steps, int) or callback_steps < 1:
            raise ValueError(f"callback_steps must be a whole number of at least 1, got {callback_steps!r}")
        self.callback, self.callback_steps, self.newer = callback, callback_steps, newer

    def after(self, index: int, order: int, timestep: float, latents: Array) -> None:
        """Call it if a step of a scheduler of that order counts."""
        if index % self.callback_steps == 0:
            self.callback(index // order, timestep, shown(latents))


def inputs_of(callback: StepCallback | None, named: Sequence[str]) -> Sequence[str]:
    """The names of a callback's tensors: its own, or those that the call names; ValueError if it is no callback."""
    if isinstance(callback, OlderCallback):
        return inputs_of(callback.newer, named) if callback.newer is not None else ()
    if isinstance(callback, (PipelineCallback, MultiPipelineCallbacks)):
        return tuple(callback.tensor_inputs)
    if not callable(callback):
        raise ValueError(f"callback_on_step_end must be a function or None, got {callback!r:.80}")
    return tuple(named)
