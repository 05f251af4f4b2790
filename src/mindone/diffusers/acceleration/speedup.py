"""The single declaration of a speed-up: options and their help, profiles, rows and `tune`'s candidates derive from it.

This file, and files that declare a speed-up, import NumPy only to compute, because help reads them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from enum import IntEnum
from itertools import product
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from ..utils.printable import shown

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..engines import Array, Engine
    from ..families.components import Autoencoder, Denoiser
    from ..families.family import Family
    from ..loading.config import Config
    from ..schedulers.base import Scheduler
    from .steps import Forward, Predictor, Run, Step


class Stage(IntEnum):
    """The order of speed-ups: each works on the networks as the previous ones left them."""

    CHECKPOINT = 0
    NETWORK = 1
    INT8_DECODER = 2
    """Before the denoiser's int8: it is calibrated on images of the plain denoiser."""
    INT8 = 3
    """Before the precision: one network then serves every precision of the parts not in int8."""
    TYPE = 4
    CELLS = 5
    LOOP = 6


class View(Protocol):
    """A pipeline as speed-ups see and change it: `Pipeline.view`."""

    scheduler: Scheduler
    vae: Autoencoder
    caches: Sequence[Cache] | None
    call_defaults: Mapping[str, object]
    generation_config: Config
    name_or_path: str

    @property
    def family(self) -> Family:
        """The family of the model."""

    @property
    def components(self) -> Mapping[str, Any]:
        """The components by name."""

    @property
    def denoiser(self) -> Denoiser:
        """The denoising network."""

    @property
    def dtype(self) -> str:
        """The denoiser's compute dtype."""

    @property
    def engine(self) -> Engine:
        """The engine that runs the networks."""

    def dtype_of(self, class_name: str, config: Mapping[str, object], dtype: str, /) -> str:
        """The dtype of a component in a pipeline in ``dtype``."""

    def view(self) -> Self:
        """Another pipeline with the same components."""


V = TypeVar("V", bound=View)


class SpeedUp(Protocol):
    """A speed-up of a pipeline; a `stack.Stack` is a tuple of them."""

    @property
    def stage(self) -> Stage:
        """Its place in the order of speed-ups."""

    @property
    def words(self) -> str:
        """A word or two for it; empty if it changes nothing."""

    def put_on(self, view: View, networks: Networks) -> None:
        """Put it on a view of a pipeline. It may change the view freely, but its networks are shared.

        Args:
            view: from `Pipeline.view`, with earlier speed-ups already on it.
            networks: makes replacements of networks.

        Raises:
            ValueError, OSError: something it needs is missing, or it needs a second copy of a network with an adapter.
        """


class Networks:
    """Further networks for stacks on one pipeline; each is made once."""

    def __init__(self) -> None:
        self.made: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The network of the key, made now if needed."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]


@dataclass(frozen=True)
class RunFacts:
    """Facts about a run that a speed-up may check before it begins."""

    steps: int
    branches: int = 10**6
    """Where the network can be cut; the default is for callers who do not know the network."""
    blocks: int = 10**6
    """The number of blocks in sequence; likewise."""
    is_guided: bool = True
    differences: int = 1
    """The number of differences in guidance: two when editing a picture."""
    new_noise: str = ""
    """The scheduler's name if each of its steps starts from new noise; else empty."""


GUIDANCE = "a guidance_scale above 1 (for FLUX.1 a negative_prompt and a true_cfg_scale above 1)"
"""What gives a run guidance, for messages."""


@dataclass(frozen=True)
class Number:
    """A numeric setting of a cache: its range and other facts."""

    least: float
    most: float
    word: str
    tried: tuple[float, ...]

    def check(self, name: str, value: object, is_whole: bool) -> None:
        """Raise ValueError unless the value is a number in the range."""
        kind = Integral if is_whole else (int, float)
        least, upper = f"{self.least:g}", "" if self.most == math.inf else f" and at most {self.most:g}"
        is_number = isinstance(value, kind) and not isinstance(value, bool)
        if not is_number or not self.least <= value <= self.most:  # type: ignore[operator]
            what = f"a whole number of at least {least}" if is_whole else f"at least {least}"
            raise ValueError(f"{name} must be {what}{upper}, got {shown(value)}")


def number(
    default: float | None,
    least: float = 0,
    most: float = math.inf,
    *,
    word: str = "",
    tried: tuple[float, ...] = (),
) -> Any:
    """Declare a numeric setting of a cache; it is whole if its type is ``int``.

    Args:
        default: its value if not given; if this is None, None is allowed.
        least, most: its range.
        word: its name in help, for numbers of the text form.
        tried: values that `tune` may try, in order.
    """
    return field(default=default, metadata={"number": Number(least, most, word, tried)})


class Differences(Protocol):
    """A run's guidance differences: predictions with the prompt minus those without."""

    def keep(self, step: Step, difference: Array) -> None:
        """Store a step's computed difference: (images, channels, height, width)."""

    def forecast(self, step: Step) -> Array:
        """The expected difference at a step."""


@dataclass(frozen=True)
class Cache:
    """A speed-up of the denoising loop, selected by ``--cache NAME:NUMBER…``.

    A subclass is a frozen dataclass with numbers declared by `number`; `declare` registers it. It overrides what it
    changes: `forward`, `predictor`, or `computes_guidance` and `differences`.

    Raises:
        ValueError: a number is out of its range.
    """

    name: ClassVar[str]
    """Its name on the command line, in jobs and in profiles."""
    kind: ClassVar[str]
    """What it caches: "features", "steps", "guidance". A run has at most one cache of each kind."""
    form: ClassVar[tuple[str, ...]] = ()
    """The numbers after the name in the text form, in this order."""
    usual: ClassVar[str | None] = None
    """The numbers that `tune` starts with, "2:0:0". None for a cache that we do not recommend: `tune` does not try it,
    and help omits it."""

    def __post_init__(self) -> None:
        for each, known in self._numbers():
            value = getattr(self, each.name)
            if value is not None or each.default is not None:
                known.check(each.name, value, "int" in str(each.type))

    @classmethod
    def _numbers(cls) -> Iterator[tuple[Field[object], Number]]:
        return ((each, each.metadata["number"]) for each in fields(cls) if "number" in each.metadata)

    # ---- its text form -----------------------------------------------------------------------------------------------

    @classmethod
    def words(cls) -> str:
        """The text form for help: ``deepcache:INTERVAL:BRANCH:ORDER``."""
        known = {each.name: number.word for each, number in cls._numbers()}
        return ":".join([cls.name, *(known[each] for each in cls.form)])

    @classmethod
    def of_numbers(cls, numbers: str) -> Self:
        """From the numbers of the text form, ``3:0``; omitted ones keep their defaults.

        Raises:
            ValueError: there are too many, or one is refused.
        """
        given = numbers.split(":") if numbers else []
        if len(given) > len(cls.form):
            raise ValueError(f"it takes at most {len(cls.form)} numbers; write {cls.words()}")
        return cls(**{name: _number(text) for name, text in zip(cls.form, given)})

    @property
    def text(self) -> str:
        """The text form, without trailing default numbers.

        Raises:
            ValueError: a setting outside the text form differs from its default.
        """
        defaults = {each.name: each.default for each in fields(self)}
        differing = [name for name, default in defaults.items() if getattr(self, name) != default]
        if silent := [name for name in differing if name not in self.form]:
            raise ValueError(f"{type(self).__name__} with {', '.join(silent)} has no text form; it is {self.words()}")
        said = max((self.form.index(name) + 1 for name in differing), default=min(len(self.form), 1))
        return ":".join([self.name, *(f"{getattr(self, name):g}" for name in self.form[:said])])

    # ---- what it does ------------------------------------------------------------------------------------------------

    def check(self, run: RunFacts) -> None:
        """Refuse a run that contradicts the cache, or in which it would skip nothing.

        Raises:
            ValueError: names the cache and what would work.
        """

    def forward(self, inner: Forward, run: Run) -> Forward:
        """The replacement of ``inner``, the call of the run's denoiser, for one run."""
        return inner

    def predictor(self, inner: Predictor, run: Run) -> Predictor:
        """The replacement of the predictor ``inner`` for one run."""
        return inner

    def computes_guidance(self, number: int) -> bool:
        """Whether to compute guidance at the guided step with this number, counted from 0."""
        return True

    def differences(self) -> Differences | None:
        """The forecast of guidance at one run's other steps; None for a cache that does not affect guidance."""
        return None

    # ---- for tune ----------------------------------------------------------------------------------------------------

    @classmethod
    def candidates(cls) -> list[Self]:
        """The candidates for `tune`."""
        if cls.usual is None:
            return []
        tried = {each.name: number.tried for each, number in cls._numbers() if number.tried}
        return [cls(**dict(zip(tried, values))) for values in product(*tried.values())] or [cls()]

    def near(self) -> Iterator[Self]:
        """The candidates that differ in one number, by one place in its ``tried`` values."""
        for each, known in self._numbers():
            own = getattr(self, each.name)
            at = known.tried.index(own) if own in known.tried else -2
            beside = (known.tried[i] for i in (at - 1, at + 1) if 0 <= i < len(known.tried))
            yield from (replace(self, **{each.name: value}) for value in beside)

    def is_lossier(self, other: Cache | None) -> bool:
        """Whether no better image is expected than with the other cache; None means no cache of this kind."""
        return self == other

    def expected_psnr(self, steps: int) -> float:
        """The expected PSNR in decibels of images of ``steps`` steps, against those without the cache."""
        return 40.0


def refuse_new_noise(cache: Cache, run: RunFacts) -> None:
    """Refuse a forecast of independent steps.

    Raises:
        ValueError: names the cache and what would work.
    """
    if run.new_noise:
        raise ValueError(
            f"{type(cache).__name__} cannot forecast the steps of {run.new_noise}, because each starts from new "
            "noise; leave it out, or use another scheduler if one suits the network"
        )


C = TypeVar("C", bound=type[Cache])

CACHES: dict[str, type[Cache]] = {}
"""The caches by name."""


def declare(cache: C) -> C:
    """A decorator that registers a cache's class by name."""
    CACHES[cache.name] = cache
    return cache


def _number(text: str) -> int | float:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    raise ValueError(f"{shown(text)} is not a number")
