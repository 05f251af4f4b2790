"""What a speed-up declares, once: options and their help, profiles, rows and `tune`'s candidates derive from it.

Nothing here, and nothing in a file that declares a speed-up, imports NumPy before it computes: help reads them.
"""

from __future__ import annotations

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
    """What is put on before what: each finds the networks as those before it have left them."""

    CHECKPOINT = 0
    NETWORK = 1
    INT8_DECODER = 2
    """Before the denoiser's: it is calibrated on what the plain denoiser draws."""
    INT8 = 3
    """Before the type: one network then serves every precision of what is not in int8."""
    TYPE = 4
    CELLS = 5
    LOOP = 6


class View(Protocol):
    """A pipeline, as far as speed-ups see and change it: `Pipeline.view`."""

    scheduler: Scheduler
    vae: Autoencoder
    caches: Sequence[Cache] | None
    call_defaults: Mapping[str, object]
    generation_config: Config
    name_or_path: str

    @property
    def family(self) -> Family:
        """What kind of model it is."""

    @property
    def components(self) -> Mapping[str, Any]:
        """The components by name."""

    @property
    def denoiser(self) -> Denoiser:
        """The network that predicts."""

    @property
    def dtype(self) -> str:
        """What the denoiser computes in."""

    @property
    def engine(self) -> Engine:
        """Who runs the networks."""

    def dtype_of(self, class_name: str, config: Mapping[str, object], dtype: str, /) -> str:
        """The type that a component is in where the pipeline is in ``dtype``."""

    def view(self) -> Self:
        """Another pipeline with the same components."""


V = TypeVar("V", bound=View)


class SpeedUp(Protocol):
    """What makes a pipeline faster; a `stack.Stack` is a tuple of them."""

    @property
    def stage(self) -> Stage:
        """When it is put on, among others."""

    @property
    def words(self) -> str:
        """What it is, in a word or two; empty for what changes nothing."""

    def put_on(self, view: View, networks: Networks) -> None:
        """Put it on a view of a pipeline, which it may change as it likes; the networks in it belong to others as well.

        Args:
            view: what `Pipeline.view` gave, with the speed-ups before this one on it.
            networks: makes what a network is replaced by.

        Raises:
            ValueError, OSError: it needs what is not there, or a second one of a network that has an adapter.
        """


class Networks:
    """What stacks on one pipeline need beside its own networks; each is made once."""

    def __init__(self) -> None:
        self.made: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What was made under the key, or is made now."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]


@dataclass(frozen=True)
class RunFacts:
    """What a speed-up may ask of a run before it begins."""

    steps: int
    branches: int = 10**6
    """Where the network can be cut; the default is for those who do not know the network."""
    blocks: int = 10**6
    """Of how many blocks in a row the network is; likewise."""
    is_guided: bool = True
    differences: int = 1
    """How many differences guidance adds up: two where a picture is edited."""
    new_noise: str = ""
    """The scheduler, where each of its steps starts from new noise; else empty."""


@dataclass(frozen=True)
class Number:
    """A number of a cache: its range, and what else is known of it."""

    least: float
    most: float
    word: str
    tried: tuple[float, ...]

    def check(self, name: str, value: object, is_whole: bool) -> None:
        """Raise ValueError for what is no number of the range."""
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
    """A number of a cache; whole where its type says ``int``.

    Args:
        default: what holds when it is not given; a None may be given, too.
        least, most: its range.
        word: what help calls it, for numbers of the text form.
        tried: values that `tune` may try, in order.
    """
    return field(default=default, metadata={"number": Number(least, most, word, tried)})


class Differences(Protocol):
    """What a run remembers of its guidance: the predictions with the prompt less those without."""

    def keep(self, step: Step, difference: Array) -> None:
        """Remember what was computed at a step: (images, channels, height, width)."""

    def forecast(self, step: Step) -> Array:
        """The difference to expect at a step."""


@dataclass(frozen=True)
class Cache:
    """A speed-up of the denoising loop, which ``--cache NAME:NUMBER…`` asks for.

    A subclass is a frozen dataclass whose numbers are declared with `number`, and which `declare` makes known. It
    overrides what it does: `forward`, `predictor`, or `computes_guidance` and `differences`.

    Raises:
        ValueError: a number out of its range.
    """

    name: ClassVar[str]
    """On the command line, in jobs and in profiles."""
    kind: ClassVar[str]
    """What it keeps: "features", "steps", "guidance". A run has at most one cache of a kind."""
    form: ClassVar[tuple[str, ...]] = ()
    """The numbers that the text form gives after the name, in this order."""
    usual: ClassVar[str | None] = None
    """The numbers that `tune` begins with, "2:0:0". None for a cache that nobody is advised to use: `tune` does not try
    it, and help leaves it out."""

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
        """From the numbers of the text form, ``3:0``; those that are left out keep their defaults.

        Raises:
            ValueError: too many of them, or one that is refused.
        """
        given = numbers.split(":") if numbers else []
        if len(given) > len(cls.form):
            raise ValueError(f"it takes {len(cls.form)} numbers at most; write {cls.words()}")
        return cls(**{name: _number(text) for name, text in zip(cls.form, given)})

    @property
    def text(self) -> str:
        """The text form, without numbers at the end that are the defaults.

        Raises:
            ValueError: something differs from its default that the text form does not say.
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
            ValueError: as said.
        """

    def forward(self, inner: Forward, run: Run) -> Forward:
        """What stands in for ``inner``, the call of the run's denoiser, during one run."""
        return inner

    def predictor(self, inner: Predictor, run: Run) -> Predictor:
        """What stands in for the predictor ``inner`` during one run."""
        return inner

    def computes_guidance(self, number: int) -> bool:
        """Whether guidance is computed at the guided step of this number, counted from 0."""
        return True

    def differences(self) -> Differences | None:
        """What forecasts guidance at the other steps of one run; None for a cache that leaves guidance alone."""
        return None

    # ---- for tune ----------------------------------------------------------------------------------------------------

    @classmethod
    def candidates(cls) -> list[Self]:
        """What `tune` may try."""
        if cls.usual is None:
            return []
        tried = {each.name: number.tried for each, number in cls._numbers() if number.tried}
        return [cls(**dict(zip(tried, values))) for values in product(*tried.values())] or [cls()]

    def near(self) -> Iterator[Self]:
        """The candidates that differ in one number, by one place in what is tried."""
        for each, known in self._numbers():
            own = getattr(self, each.name)
            at = known.tried.index(own) if own in known.tried else -2
            beside = (known.tried[i] for i in (at - 1, at + 1) if 0 <= i < len(known.tried))
            yield from (replace(self, **{each.name: value}) for value in beside)

    def is_lossier(self, other: Cache | None) -> bool:
        """Whether no better image is expected than with the other one; None is no cache of this kind."""
        return self == other

    def expected_psnr(self, steps: int) -> float:
        """Decibels that images of ``steps`` steps are expected to keep, against those without the cache."""
        return 40.0


def refuse_new_noise(cache: Cache, run: RunFacts) -> None:
    """Refuse a forecast of steps that have nothing to do with one another.

    Raises:
        ValueError: as said.
    """
    if run.new_noise:
        raise ValueError(
            f"{type(cache).__name__} cannot forecast the steps of {run.new_noise}, each of which starts from new "
            "noise; go without it, or with another scheduler where one suits the network"
        )


C = TypeVar("C", bound=type[Cache])

CACHES: dict[str, type[Cache]] = {}
"""The caches by name."""


def declare(cache: C) -> C:
    """Decorates a cache's class: makes it known everywhere by its name."""
    CACHES[cache.name] = cache
    return cache


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
