"""What every scheduler is: a config, a list of timesteps, and a step from one noise level to the next."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from ..utils.arrays import Array
from ..utils.finite import is_whole
from ..utils.printable import shown
from .arrays import Generators, Numbers, as_numbers, check_alike, coefficients, draw_noise, dynamic_threshold
from .configured import ConfiguredScheduler
from .output import SchedulerOutput, Stepped
from .schedules import DiscreteSchedule, Schedule, schedule_of
from .spacing import closing_in, sigma_spacing
from .unsuited import UnsuitedScheduler

__all__ = [
    "Array",
    "Generators",
    "Scheduler",
    "SchedulerOutput",
    "Stepped",
    "draw_noise",
    "scheduler_class",
    "scheduler_classes",
]

S = TypeVar("S", bound="Scheduler")


class Timestep(Protocol):
    """A timestep: a number, or a scalar NumPy or MindSpore array."""

    def __float__(self) -> float: ...

    def __int__(self) -> int: ...


class Scheduler(ConfiguredScheduler):
    """Base of the schedulers: configs, timesteps, and what the steps share.

    Make one from keyword options named as in the published ``scheduler_config.json``, by ``from_config`` from another
    scheduler's config, or by ``from_pretrained`` from a folder. Then ``set_timesteps`` lays out the sampling run; call
    ``step`` once for each of ``timesteps``, in order.

    Samples are ``(batch, channels, height, width)`` arrays, NumPy or MindSpore, and come back as the type they came in.
    ``timesteps`` and the tables (``betas``, ``alphas``, ``alphas_cumprod``, ``sigmas``) are NumPy arrays.
    """

    order: int = 1
    """How many timesteps (model calls) one step of the method takes."""
    takes: ClassVar[Sequence[str]] = ()  # which of "timesteps" and "sigmas" set_timesteps accepts
    last_timestep: int | None = None
    """The timestep of a run's last step; None leaves it where the config's spacing puts it.

    A run of few steps is spaced so widely that its last step comes from far away: with 5 leading ones it starts at
    timestep 167 of 1,000. Schedules that were optimised for few steps end near the image instead, at 24 or below (Align
    Your Steps, Sabour et al. 2024). With a ``last_timestep`` the steps lie between the first, which stays where it is,
    and this one, closer to each other the nearer they are to the image (`spacing.closing_in`).
    """
    distilled: ClassVar[bool] = False
    """Whether it is for networks distilled to jump in this scheduler's steps, and in no other's."""
    divides_by_signal: ClassVar[bool] = False
    """Whether the method divides by ᾱ, which zero terminal SNR would make 0 at the last timestep."""
    schedule: Schedule
    """What the network was trained on."""
    needs_set_timesteps: ClassVar[bool] = True
    """Whether ``step`` refuses to go through all training timesteps, which ``timesteps`` holds at first."""

    step: Callable[..., Any]
    """``step(model_output, timestep, sample, …, return_dict=True)``: from one timestep's sample to the next.

    Call it for each of ``timesteps``, in order. A class may have further arguments, in the published order; one without
    any uses `drawing_step` or `deterministic_step` and defines only ``_step``. All share:

    Args:
        model_output: what the model predicts, ``(batch, channels, height, width)``.
        timestep: the next element of ``timesteps``.
        sample: what came out of the last step (not the scaled model input), of the same shape.
        generator: the source of noise: one generator, or a list with one per image. Deterministic schedulers accept it
            too, by keyword, so that one loop serves all; they draw nothing from it.
        return_dict: false for a plain tuple of the output's entries.

    Returns:
        A ``SchedulerOutput``, or with ``return_dict=False`` the tuple of its entries.

    Raises:
        ValueError: ``set_timesteps`` was not called, the timestep is not in this run, or the run is over.
    """
    _step: Callable[..., SchedulerOutput]
    """``_step(i, model_output, sample, *own)``: the step from ``timesteps[i]``, with what `_advance` was given."""

    def __init__(self, **chosen: Any) -> None:
        super().__init__(**chosen)
        self.num_inference_steps: int | None = None
        self.custom_timesteps = False
        self.schedule = schedule_of(self._options, self.divides_by_signal)
        self._prepare()
        self._begin(self._trained_timesteps())

    # The schedule's tables, under their published names.

    @property
    def betas(self) -> Numbers:
        """β of every training timestep."""
        return self._discrete.betas

    @property
    def alphas(self) -> Numbers:
        """1 - β of every training timestep."""
        return self._discrete.alphas

    @property
    def alphas_cumprod(self) -> Numbers:
        """ᾱ of every training timestep."""
        return self._discrete.alphas_cumprod

    @property
    def _discrete(self) -> DiscreteSchedule:
        if not isinstance(self.schedule, DiscreteSchedule):
            raise AttributeError(f"{type(self).__name__} walks {self.schedule.kind} noise levels, which have no β")
        return self.schedule

    def _prepare(self) -> None:
        """Build the tables that depend only on the config."""

    def _trained_timesteps(self) -> Numbers:
        """The ``timesteps`` before there is a run."""
        return np.arange(len(self))[::-1]

    # Runs

    def for_run(self: S) -> S:
        """A scheduler with the same options and its own run, for use in another thread.

        It is a shallow copy: nothing changes the tables, so they are shared, and a step replaces what it remembers
        rather than change it.
        """
        run = copy.copy(self)
        run._begin(run.timesteps)
        return run

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: object = None,
        timesteps: Sequence[float] | Numbers | None = None,
        sigmas: Sequence[float] | Numbers | None = None,
        mu: float | None = None,
    ) -> None:
        """Lay out a sampling run and forget the last one. Give exactly one of steps, timesteps and sigmas.

        Args:
            num_inference_steps: how many steps, spaced as the config says.
            device: accepted for published scripts and ignored: ``timesteps`` are NumPy arrays.
            timesteps: the timesteps themselves, descending, in [0, num_train_timesteps).
            sigmas: the noise levels themselves, descending; the run ends at the last (usually 0).
            mu: the run's shift, for a flow matching schedule with ``use_dynamic_shifting``.

        Raises:
            ValueError: none or several given, fewer than one step or more than training had, values out of order, or a
                kind of schedule that this class does not take.
        """
        if mu is not None and not self._options.get("use_dynamic_shifting"):
            raise ValueError(f"mu is for flow matching with use_dynamic_shifting=True; got mu={mu!r} without")
        self._mu = mu
        given = {"num_inference_steps": num_inference_steps, "timesteps": timesteps, "sigmas": sigmas}
        named = [name for name, value in given.items() if value is not None]
        if len(named) != 1:
            takes = " or ".join(["num_inference_steps", *self.takes])
            raise ValueError(f"set_timesteps takes exactly one of {takes}; got {' and '.join(named) or 'none'}")
        if num_inference_steps is not None:
            steps = self._checked_steps(num_inference_steps)
            self._begin(self._layout(steps))
            if self.last_timestep is not None and steps > 1:
                self._begin(self._layout_at(self._stretched(self.timesteps, self.last_timestep)))
        elif named[0] not in self.takes:
            raise UnsuitedScheduler(type(self).__name__, f"takes no custom {named[0]}", self._takers(named[0]))
        else:
            values = self._checked_custom(named[0], given[named[0]])
            steps = len(values) - (named[0] == "sigmas")
            self._begin(self._layout_at(values) if named[0] == "timesteps" else self._layout_sigmas(values))
        self.num_inference_steps = steps
        self.custom_timesteps = timesteps is not None

    def _checked_steps(self, steps: object) -> int:
        if not is_whole(steps) or not 1 <= steps <= len(self):
            raise ValueError(
                f"num_inference_steps must be a whole number from 1 to num_train_timesteps={len(self)}, got {steps!r}"
            )
        return int(steps)

    def _stretched(self, timesteps: Numbers, last: int) -> Numbers:
        """The same number of whole timesteps, from the first of these down to ``last``."""
        if "timesteps" not in self.takes:
            raise UnsuitedScheduler(type(self).__name__, "takes no last_timestep", self._takers("timesteps"))
        if spacing := sigma_spacing(self._options):
            raise ValueError(
                f"last_timestep cannot be used with {spacing}, which spaces the steps; use only one of them"
            )
        if not 0 <= last <= timesteps[0] - len(timesteps) + 1:
            most = int(timesteps[0]) - len(timesteps) + 1
            raise ValueError(f"last_timestep must be from 0 to {most} for {len(timesteps)} steps, got {last!r}")
        return self._checked_custom("timesteps", closing_in(float(timesteps[0]), last, len(timesteps)))

    def _takers(self, argument: str) -> list[str]:
        """The schedulers for the same networks whose ``set_timesteps`` takes this argument."""
        return [name for name, cls in Scheduler.library().items() if argument in cls.takes and cls.walks(self.config)]

    def _checked_custom(self, name: str, given: Any) -> Numbers:
        values = as_numbers(given)
        if sigma_spacing(self._options) and name == "timesteps":
            raise ValueError(f"custom timesteps cannot be used with {sigma_spacing(self._options)}; turn it off")
        least = 1 if name == "timesteps" else 2
        if values is None or len(values) < least or not _falls(values, name == "sigmas") or values[-1] < 0:
            raise ValueError(f"{name} must be at least {least} descending numbers, none below 0, got {shown(given)}")
        if name == "timesteps" and values[0] >= len(self):
            raise ValueError(f"timesteps must be below num_train_timesteps={len(self)}, got {values[0]:g}")
        return values

    def _layout(self, steps: int) -> Numbers:
        """The timesteps of a run of ``steps`` steps."""
        raise NotImplementedError

    def _layout_at(self, timesteps: Numbers) -> Numbers:
        """The timesteps of a run through given timesteps."""
        raise NotImplementedError

    def _layout_sigmas(self, sigmas: Numbers) -> Numbers:
        """The timesteps of a run through given noise levels."""
        raise NotImplementedError

    def _begin(self, timesteps: Numbers) -> None:
        self.timesteps = timesteps
        self._step_index: int | None = None
        self._begin_index: int | None = None
        self._visits: dict[float, int] | None = None
        self._reset()

    @property
    def _index_of(self) -> dict[float, int]:
        """Where in the run each timestep is. Computed at first use: training has many timesteps."""
        if self._visits is None:
            # Methods of second order visit a timestep twice. A run that begins in the middle begins at the second
            # visit, where the first-order half starts; the very first timestep is the beginning however often it comes.
            visits: dict[float, list[int]] = {}
            for index, timestep in enumerate(self.timesteps.tolist()):
                visits.setdefault(timestep, []).append(index)
            self._visits = {t: at[1] if len(at) > 1 and at[0] > 0 else at[0] for t, at in visits.items()}
        return self._visits

    def _reset(self) -> None:
        """Forget what a multistep method remembers of the last run."""

    @property
    def init_noise_sigma(self) -> float:
        """The factor that turns standard normal noise into the first sample."""
        return 1.0

    @property
    def draws_noise(self) -> bool:
        """Whether steps draw new noise, so that two runs differ by more than the change under test."""
        return False

    @property
    def step_index(self) -> int | None:
        """Which of ``timesteps`` the next step is at, or None before the first."""
        return self._step_index

    @property
    def begin_index(self) -> int | None:
        """Which of ``timesteps`` the run begins at, or None if the first step's timestep decides."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at ``timesteps[begin_index]``, for runs that start from a partly noised image."""
        self._begin_index = begin_index

    def index_for_timestep(self, timestep: Timestep, schedule_timesteps: Numbers | None = None) -> int:
        """The index of a timestep in ``timesteps``, or in ``schedule_timesteps``.

        Raises:
            ValueError: it is not one of them.
        """
        if schedule_timesteps is not None:
            given = copy.copy(self)
            given._begin(schedule_timesteps)
            return given.index_for_timestep(timestep)
        try:
            return self._index_of[float(timestep)]
        except KeyError:
            first, last = self.timesteps[0], self.timesteps[-1]
            raise ValueError(
                f"{timestep} is not one of the {len(self.timesteps)} timesteps of this run ({first:g} to {last:g}); "
                "pass an element of scheduler.timesteps"
            ) from None

    def _current_index(self, timestep: Timestep) -> int:
        """Where in the run a timestep is: at the next step if that has this timestep, else found by its value."""
        following = self._begin_index if self._step_index is None else self._step_index
        if following is not None and following < len(self.timesteps) and self.timesteps[following] == timestep:
            return following
        return self.index_for_timestep(timestep)

    def _index(self, timestep: Timestep | None) -> int:
        """Where in the run we are: found from the timestep once, then counted."""
        if self._step_index is None:
            self._step_index = self._begin_index
        if self._step_index is None:
            if timestep is None:
                raise TypeError("the first step of a run needs its timestep; got None")
            self._step_index = self.index_for_timestep(timestep)
        if self._step_index >= len(self.timesteps):
            raise ValueError(f"all {len(self.timesteps)} steps of this run are done; call set_timesteps for another")
        return self._step_index

    def _advance(
        self,
        model_output: Array,
        timestep: Timestep,
        sample: Array,
        return_dict: bool,
        *own: object,
    ) -> Stepped:
        """Take the step, with a method's own arguments, and count it.

        A method that does not compute x₀ on its way reports the x₀ that the model's output implies.
        """
        self._require_run(model_output, sample)
        i = self._index(timestep)
        output = self._step(i, model_output, sample, *own)
        if output.pred_original_sample is None:
            output.pred_original_sample = self.predict_original(model_output, timestep, sample)
        self._step_index = i + 1
        return output if return_dict else output.to_tuple()

    def _require_run(self, model_output: Array, sample: Array) -> None:
        """Check that a step can be taken: the run's timesteps are chosen, and the arrays are all of one kind."""
        check_alike(model_output=model_output, sample=sample)
        if self.num_inference_steps is None and self.needs_set_timesteps:
            raise ValueError(f"call {type(self).__name__}.set_timesteps before step")

    # Samples

    def add_noise(self, original_samples: Array, noise: Array, timesteps: Sequence[float] | Numbers) -> Array:
        """α x₀ + σ ε: samples with the noise of ``timesteps`` (one, or one per image)."""
        check_alike(original_samples=original_samples, noise=noise)
        alpha, sigma = coefficients([self._alpha_sigma(each) for each in self._given(timesteps)], noise)
        return alpha * original_samples + sigma * noise

    def _given(self, timesteps: object) -> Numbers:
        """The timesteps that a caller gave, one or several; raises ValueError for what are none."""
        values = as_numbers(np.atleast_1d(timesteps))  # type: ignore[call-overload]
        if values is None or not len(values):
            raise ValueError(f"timesteps must be finite numbers, one or one per image, got {shown(timesteps)}")
        return values

    def _alpha_sigma(self, timestep: Timestep) -> tuple[float, float]:
        """α and σ of samples x = α x₀ + σ ε at a timestep."""
        raise NotImplementedError

    def scale_model_input(self, sample: Array, timestep: Timestep | None = None) -> Array:
        """The sample as the model expects it at this timestep."""
        return sample

    def predict_original(self, model_output: Array, timestep: Timestep, sample: Array) -> Array:
        """The clean sample x₀ as the model sees it at a timestep, clipped if the config says so. Takes no step.

        Args:
            model_output: what the model predicts, ``(batch, channels, height, width)``.
            timestep: an element of ``timesteps``.
            sample: the sample at that timestep (not the scaled model input), of the same shape.

        Raises:
            ValueError: the timestep is not in this run, or the model's output says nothing about x₀ there.
        """
        raise NotImplementedError

    def _clip(self, sample: Array) -> Array:
        """Keep a predicted x₀ in range, as ``thresholding`` or ``clip_sample`` says."""
        if self._options.get("thresholding"):
            ratio, limit = self._options["dynamic_thresholding_ratio"], self._options["sample_max_value"]
            return dynamic_threshold(sample, ratio, limit)
        if self._options.get("clip_sample"):
            limit = self._options["clip_sample_range"]
            return sample.clip(-limit, limit)
        return sample


def drawing_step(
    self: Scheduler,
    model_output: Array,
    timestep: Timestep,
    sample: Array,
    generator: Generators = None,
    return_dict: bool = True,
) -> Stepped:
    """The ``step`` of methods that draw noise; the arguments are those of ``Scheduler.step``."""
    return self._advance(model_output, timestep, sample, return_dict, generator)


def deterministic_step(
    self: Scheduler,
    model_output: Array,
    timestep: Timestep,
    sample: Array,
    return_dict: bool = True,
    *,
    generator: Generators = None,
) -> Stepped:
    """The ``step`` of methods that draw no noise; the arguments are those of ``Scheduler.step``."""
    return self._advance(model_output, timestep, sample, return_dict)


scheduler_class, scheduler_classes = Scheduler.named, Scheduler.library


def _falls(values: Numbers, may_repeat: bool) -> bool:
    """Whether numbers descend; with ``may_repeat`` the lowest may come twice at the end.

    It does in the sigmas of a run with final_sigmas_type sigma_min.
    """
    steps = np.diff(values[:-1] if may_repeat and values[-2:-1] == values[-1:] else values)
    return bool((steps < 0).all())
