"""What every scheduler is: a config, a list of timesteps, and a step from one noise level to the next."""

import inspect
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from ..loading.config import Config, read_config, write_config
from ..loading.hub import resolve
from . import betas, spacing
from .arrays import Array, as_array_like, dynamic_threshold
from .registry import FILES, scheduler_class, scheduler_classes

Generators = np.random.Generator | Sequence[np.random.Generator] | None
SchedulerType = TypeVar("SchedulerType", bound="Scheduler")

CONFIG_NAME = "scheduler_config.json"
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
CLASSES: dict[str, type["Scheduler"]] = {}

# Groups of config fields that several schedulers share, with their published defaults.
NOISE_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
}
SPACING: dict[str, Any] = {"timestep_spacing": "linspace", "steps_offset": 0}
SIGMA_SPACING: dict[str, Any] = dict.fromkeys(spacing.SIGMA_SPACINGS, False)
THRESHOLDING: dict[str, Any] = {"thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0}
CLIPPING: dict[str, Any] = {"clip_sample_range": 1.0, **THRESHOLDING}


def fields(*groups: Mapping[str, Any], **own: Any) -> Mapping[str, Any]:
    """Config fields with their defaults: shared groups, and a class's own, which come last and win."""
    merged: dict[str, Any] = {}
    for group in (*groups, own):
        merged |= group
    return MappingProxyType(merged)


class SchedulerOutput(NamedTuple):
    """What a step returns; a tuple, so `output[0]` is `output.prev_sample`."""

    prev_sample: Array
    """The sample at the next, less noisy timestep, in the shape and type of the sample given."""
    pred_original_sample: Array | None = None
    """The clean sample x₀ as the model sees it now (for previews), or None where the solver never forms it."""


class Scheduler:
    """Base of the schedulers: configs, timesteps and noise.

    A scheduler is made from keyword options named as in the published `scheduler_config.json`, by `from_config` from
    another scheduler's config, or by `from_pretrained` from a folder. `set_timesteps` then lays out the sampling run,
    and `step` is called once for each of `timesteps`, in order.

    Samples are `(batch, channels, height, width)` arrays, NumPy or MindSpore, and come back as the type they came in.
    """

    order: int = 1
    """How many timesteps (model calls) one step of the method takes."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    choices: ClassVar[Mapping[str, Sequence[Any]]] = {}
    # What other schedulers' names for an option mean here, so that from_config works between any two.
    aliases: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    takes: ClassVar[Sequence[str]] = ()  # which of "timesteps" and "sigmas" set_timesteps accepts

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__name__.endswith("Scheduler"):
            CLASSES[cls.__name__] = cls
            parameters = [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
                for name, value in cls.defaults.items()
            ]
            cls.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]

    def __init__(self, **options: Any) -> None:
        unknown = sorted(set(options) - set(self.defaults))
        if unknown:
            raise ValueError(
                f"{type(self).__name__} has no option {', '.join(unknown)}; its options are {', '.join(self.defaults)}"
            )
        values = {**self.defaults, **options}
        for name, meanings in self.aliases.items():
            values[name] = meanings.get(values[name], values[name])
        # Options nobody chose are remembered as such: another scheduler made from this config uses its own defaults.
        unset = sorted(set(self.defaults) - set(options))
        self.config = Config(values, _class_name=type(self).__name__, _use_default_values=unset)
        # The options of this class alone; `config` may also hold those of others, which must change nothing here.
        self._options = values
        self._check()
        self.num_inference_steps: int | None = None
        self.alphas_cumprod = betas.alphas_cumprod(values)
        self._prepare()
        train_timesteps = np.arange(self.config["num_train_timesteps"])[::-1]
        self._begin(train_timesteps)

    # Configs

    @classmethod
    def from_config(cls: type[SchedulerType], config: Mapping[str, Any], **overrides: Any) -> SchedulerType:
        """A scheduler of this class from any scheduler's config.

        Keys that this class does not know are kept in `config` and otherwise ignored, so a scheduler can be exchanged
        for another and back. Called on `Scheduler` itself, the config's `_class_name` picks the class.

        Raises:
            ValueError: a value that this class cannot honour, or an override that it does not know.
        """
        if not isinstance(config, Mapping):
            raise ValueError(
                f"from_config takes a config such as scheduler.config, got {type(config).__name__}; "
                "use from_pretrained for a folder or a model's name"
            )
        if cls is Scheduler:
            return scheduler_class(config.get("_class_name")).from_config(config, **overrides)  # type: ignore[return-value]
        writer = scheduler_class(config["_class_name"]) if config.get("_class_name") in FILES else cls
        # A default that somebody has changed since, as in {**config, "steps_offset": 1}, is a choice.
        unset = {key for key in config.get("_use_default_values", ()) if config.get(key) == writer.defaults.get(key)}
        chosen = {key: value for key, value in config.items() if key not in (*unset, "_use_default_values")}
        known = {key: value for key, value in chosen.items() if key in cls.defaults}
        scheduler = cls(**{**known, **overrides})
        scheduler.config = Config(chosen, scheduler.config)
        return scheduler

    @classmethod
    def from_pretrained(
        cls: type[SchedulerType],
        pretrained_model_name_or_path: str | os.PathLike[str],
        subfolder: str | None = None,
        **hub_options: Any,
    ) -> SchedulerType:
        """The scheduler that `scheduler_config.json` describes.

        Args:
            pretrained_model_name_or_path: a folder, a bundled checkpoint's name, or a hub id.
            subfolder: where in it the file lies; `"scheduler"` for a whole checkpoint.
            hub_options: `revision`, `cache_dir`, `local_files_only`, `token`.

        Raises:
            FileNotFoundError: no such folder or file.
            ValueError: the file is not a scheduler's config, or asks for what this class cannot do.
        """
        folder = resolve(pretrained_model_name_or_path, needed="scheduler", subfolder=subfolder, **hub_options)
        return cls.from_config(read_config(folder, CONFIG_NAME))

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write `scheduler_config.json` into the folder, which is made when missing."""
        from .. import __version__

        values = {key: value for key, value in self.config.items() if key != "_use_default_values"}
        if isinstance(values["trained_betas"], np.ndarray):
            values["trained_betas"] = values["trained_betas"].tolist()
        values |= {"_class_name": type(self).__name__, "_mindone_diffusers_version": __version__}
        write_config(save_directory, values, CONFIG_NAME)

    @property
    def compatibles(self) -> list[type["Scheduler"]]:
        """The classes that `from_config` can make from this scheduler's config: all of them."""
        return list(scheduler_classes().values())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config.items() if k[0] != '_')})"

    def __len__(self) -> int:
        return self._options["num_train_timesteps"]

    def _check(self) -> None:
        """Refuse option values that this scheduler cannot honour."""
        name, train_steps = type(self).__name__, self._options["num_train_timesteps"]
        for option, default in self.defaults.items():
            value = self._options[option]
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if isinstance(default, bool) and not (value is None or isinstance(value, bool)):
                raise ValueError(f"{name} takes {option} true or false; got {value!r}")
            if isinstance(default, int | float) and not isinstance(default, bool) and not number:
                raise ValueError(f"{name} takes a number as {option}; got {value!r}")
        shared = {"prediction_type": PREDICTION_TYPES, "timestep_spacing": spacing.SPACINGS}
        for option, allowed in {**shared, **self.choices}.items():
            if option in self.defaults and self._options[option] not in allowed:
                listed = ", ".join(map(repr, allowed))
                raise ValueError(f"{name} takes {option} {listed}; got {self._options[option]!r}")
        if not isinstance(train_steps, int) or train_steps < 1:
            raise ValueError(f"num_train_timesteps must be a whole number of at least 1, got {train_steps!r}")
        spacing.sigma_spacing(self._options)

    def _prepare(self) -> None:
        """Build the tables that depend on the config alone."""

    # Timesteps

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        timesteps: Sequence[float] | np.ndarray | None = None,
        sigmas: Sequence[float] | np.ndarray | None = None,
    ) -> None:
        """Lay out a sampling run and forget the last one. Exactly one argument is given.

        Args:
            num_inference_steps: how many steps, spaced as the config says.
            timesteps: the timesteps themselves, descending, in [0, num_train_timesteps).
            sigmas: the noise levels themselves, descending, the last of them (usually 0) where the run ends.

        Raises:
            ValueError: none or several given, fewer than one step or more than were trained, values out of order, or
                a kind of schedule that this class does not take.
        """
        given = {"num_inference_steps": num_inference_steps, "timesteps": timesteps, "sigmas": sigmas}
        named = [name for name, value in given.items() if value is not None]
        if len(named) != 1:
            takes = " or ".join(["num_inference_steps", *self.takes])
            raise ValueError(f"set_timesteps takes exactly one of {takes}; got {' and '.join(named) or 'none'}")
        if num_inference_steps is not None:
            steps = self._checked_steps(num_inference_steps)
            self._begin(self._layout(steps))
        elif named[0] not in self.takes:
            others = ", ".join(other for other, cls in scheduler_classes().items() if named[0] in cls.takes)
            raise ValueError(f"{type(self).__name__} takes no custom {named[0]}; {others} do")
        else:
            values = self._checked_custom(named[0], given[named[0]])
            steps = len(values) - (named[0] == "sigmas")
            self._begin(self._layout_at(values) if named[0] == "timesteps" else self._layout_sigmas(values))
        self.num_inference_steps = steps

    def _checked_steps(self, steps: int) -> int:
        train_steps = self._options["num_train_timesteps"]
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or not 1 <= steps <= train_steps:
            raise ValueError(
                f"num_inference_steps must be a whole number from 1 to num_train_timesteps={train_steps}, got {steps!r}"
            )
        return int(steps)

    def _checked_custom(self, name: str, given: Any) -> np.ndarray:
        values, limit = np.asarray(given, np.float64), self._options["num_train_timesteps"]
        if spacing.sigma_spacing(self._options) and name == "timesteps":
            raise ValueError(
                f"custom timesteps cannot be used with {spacing.sigma_spacing(self._options)}; turn it off"
            )
        least = 1 if name == "timesteps" else 2
        if values.ndim != 1 or len(values) < least or not (np.diff(values) < 0).all() or values[-1] < 0:
            raise ValueError(f"{name} must be at least {least} descending numbers, none below 0, got {given}")
        if name == "timesteps" and values[0] >= limit:
            raise ValueError(f"timesteps must be below num_train_timesteps={limit}, got {values[0]:g}")
        return values

    def _layout(self, steps: int) -> np.ndarray:
        """The timesteps of a run of `steps` steps."""
        raise NotImplementedError

    def _layout_at(self, timesteps: np.ndarray) -> np.ndarray:
        """The timesteps of a run through given timesteps."""
        raise NotImplementedError

    def _layout_sigmas(self, sigmas: np.ndarray) -> np.ndarray:
        """The timesteps of a run through given noise levels."""
        raise NotImplementedError

    def _begin(self, timesteps: np.ndarray) -> None:
        self.timesteps = timesteps
        self._step_index: int | None = None
        self._begin_index: int | None = None
        # Methods of second order visit a timestep twice. A run that begins in the middle begins at the second visit,
        # where the first-order half starts; the very first timestep is the beginning however often it comes.
        visits: dict[float, list[int]] = {}
        for index, timestep in enumerate(timesteps.tolist()):
            visits.setdefault(timestep, []).append(index)
        self._index_of = {t: at[1] if len(at) > 1 and at[0] > 0 else at[0] for t, at in visits.items()}
        self._reset()

    def _reset(self) -> None:
        """Forget what a multistep method remembers of the last run."""

    @property
    def init_noise_sigma(self) -> float:
        """What standard normal noise is multiplied by to become the first sample."""
        return 1.0

    @property
    def step_index(self) -> int | None:
        """Which of `timesteps` the next step is at, or None before the first."""
        return self._step_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at `timesteps[begin_index]`, for runs that start from a partly noised image."""
        self._begin_index = begin_index

    def index_for_timestep(self, timestep: Any) -> int:
        """The index of a timestep in `timesteps`.

        Raises:
            ValueError: it is not one of them.
        """
        try:
            return self._index_of[float(timestep)]
        except KeyError:
            first, last = self.timesteps[0], self.timesteps[-1]
            raise ValueError(
                f"{timestep} is not one of the {len(self.timesteps)} timesteps of this run ({first:g} to {last:g}); "
                "pass an element of scheduler.timesteps"
            ) from None

    def _index(self, timestep: Any) -> int:
        """Where in the run we are: found from the timestep once, then counted."""
        if self.num_inference_steps is None:
            raise ValueError(f"call {type(self).__name__}.set_timesteps before step")
        if self._step_index is None:
            self._step_index = self.index_for_timestep(timestep) if self._begin_index is None else self._begin_index
        if self._step_index >= len(self.timesteps):
            raise ValueError(f"all {len(self.timesteps)} steps of this run are done; call set_timesteps for another")
        return self._step_index

    # Samples

    def step(
        self,
        model_output: Array,
        timestep: Any,
        sample: Array,
        *,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """From the sample at one timestep to that at the next. Call it for each of `timesteps`, in order.

        Args:
            model_output: what the model predicts, `(batch, channels, height, width)`.
            timestep: the next element of `timesteps`.
            sample: what came out of the last step (not the scaled model input), of the same shape.
            generator: where noise comes from: one generator, or a list with one an image. Deterministic schedulers
                take it too, so that one loop serves all, and draw nothing.
            return_dict: accepted for scripts; the output is a tuple in any case.

        Raises:
            ValueError: `set_timesteps` was not called, the timestep is not of this run, or the run is over.
        """
        return self._advance(model_output, timestep, sample, generator=generator)

    def _advance(self, model_output: Array, timestep: Any, sample: Array, **options: Any) -> SchedulerOutput:
        i = self._index(timestep)
        output = self._step(i, model_output, sample, **options)
        self._step_index = i + 1
        return output

    def _step(self, i: int, model_output: Array, sample: Array, *args: Any, **options: Any) -> SchedulerOutput:
        """The step from `timesteps[i]`. A class whose `step` has more options hands them on to its `_step`."""
        raise NotImplementedError

    def scale_model_input(self, sample: Array, timestep: Any = None) -> Array:
        """The sample as the model wants to see it at this timestep."""
        return sample

    def _predict_original(self, model_output: Array, sample: Array, alpha: float, sigma: float) -> Array:
        """x₀ from what the model predicts of x_t = α x₀ + σ ε, where v = α ε - σ x₀.

        v: Salimans & Ho 2022 (arXiv 2202.00512), appendix D.
        """
        kind = self._options["prediction_type"]
        if kind == "sample":
            return model_output
        if kind == "v_prediction":
            return alpha * sample - sigma * model_output
        if alpha == 0:
            raise ValueError(
                "epsilon prediction says nothing where the sample is pure noise (rescale_betas_zero_snr at the last "
                "training timestep); use v_prediction, or timestep_spacing leading"
            )
        return (sample - sigma * model_output) / alpha

    def _predict_epsilon(self, model_output: Array, sample: Array, alpha: float, sigma: float) -> Array:
        """ε from what the model predicts of x_t = α x₀ + σ ε."""
        kind = self._options["prediction_type"]
        if kind == "epsilon":
            return model_output
        if kind == "v_prediction":
            return alpha * model_output + sigma * sample
        return (sample - alpha * model_output) / sigma

    def _clip(self, sample: Array) -> Array:
        """Keep a predicted x₀ in range, as `thresholding` or `clip_sample` says."""
        if self._options.get("thresholding"):
            ratio, limit = self._options["dynamic_thresholding_ratio"], self._options["sample_max_value"]
            return dynamic_threshold(sample, ratio, limit)
        if self._options.get("clip_sample"):
            limit = self._options["clip_sample_range"]
            return sample.clip(-limit, limit)
        return sample


def given_or_drawn(variance_noise: Array | None, sample: Array, generator: Generators) -> Array:
    """The noise that the caller gave, or fresh noise from the generator.

    Raises:
        ValueError: both were given.
    """
    if variance_noise is None:
        return draw_noise(sample, generator)
    if generator is not None:
        raise ValueError("give generator or variance_noise, not both")
    return variance_noise


def draw_noise(sample: Array, generator: Generators = None) -> Array:
    """Standard normal noise of the sample's shape and type, drawn in float64.

    Args:
        generator: one generator for the whole batch, a list with one an image, or None for fresh randomness.

    Raises:
        ValueError: a list of another length than the batch.
    """
    shape = tuple(sample.shape)
    if generator is None:
        generator = np.random.default_rng()
    if isinstance(generator, np.random.Generator):
        return as_array_like(generator.standard_normal(shape), sample)
    if len(generator) != shape[0]:
        raise ValueError(f"a list of generators needs one an image: got {len(generator)} for a batch of {shape[0]}")
    return as_array_like(np.stack([one.standard_normal(shape[1:]) for one in generator]), sample)
