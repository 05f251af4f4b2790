"""The config side of a scheduler: it checks options, reads any scheduler's config, and writes the file."""

from __future__ import annotations

import functools
import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

from ..loading.config import Config
from ..loading.configurable import Configurable
from ..loading.fields import naming
from ..utils.errors import one_line
from ..utils.printable import shown
from . import foreign, options
from .levels import DISCRETE, in_words_of, trained_levels
from .registry import LIBRARY, ShortName, declare, define
from .unsuited import UnsuitedScheduler

C = TypeVar("C", bound="ConfiguredScheduler")

CLASSES: dict[str, type[ConfiguredScheduler]] = {}
"""The classes imported so far, including those that a program defined."""


class ConfiguredScheduler(Configurable):
    """Options named as in the published ``scheduler_config.json``, exchangeable between the schedulers."""

    config_name = "scheduler_config.json"
    has_compatibles = True
    _config_kind = "scheduler"

    defaults: ClassVar[options.Options] = {}
    idle: ClassVar[options.Options] = {}
    """Published options that the method does not use: kept in the config, never read."""
    unpublished: ClassVar[options.Options] = options.EVERYWHERE
    """Options that a config may set, though the published class has no such option."""
    choices: ClassVar[Mapping[str, Sequence[object]]] = {}
    short_names: ClassVar[Sequence[ShortName]] = ()
    """Its names in jobs, on the command line and in the server. A class that a program defines lists them here and is
    known everywhere from then on; the library's own are in ``registry.LIBRARY``, where they cost no import."""
    # What other schedulers' names for an option mean here, so that from_config works between any two classes.
    aliases: ClassVar[Mapping[str, Mapping[str, str]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__name__.endswith("Scheduler"):
            CLASSES[cls.__name__] = cls
            if cls.__name__ in LIBRARY:
                cls.short_names = LIBRARY[cls.__name__].short_names
            else:
                cls.short_names = cls.__dict__.get("short_names", ())
                declare(cls.__name__, cls.short_names)
            parameters = [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
                for name, value in {**cls.defaults, **cls.idle}.items()
            ]
            cls.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]

    def __init__(self, **chosen: Any) -> None:
        known = {**self.idle, **self.defaults}
        unpublished = {name: value for name, value in self.unpublished.items() if name not in known}
        unknown = sorted(set(chosen) - set(known) - set(unpublished))
        if unknown:
            raise ValueError(
                f"{type(self).__name__} has no option {', '.join(unknown)}; its options are {', '.join(known)}"
            )
        values = {**known, **chosen}
        for name, meanings in self.aliases.items():
            if isinstance(values[name], str):
                values[name] = meanings.get(values[name], values[name])
        self.config = Config(values, _class_name=type(self).__name__)
        # Remember which options nobody chose: another scheduler made from this config then uses its own defaults.
        if unset := sorted(set(known) - set(chosen)):
            self.register_to_config(_use_default_values=unset)
        # Only this class's options; ``config`` may also hold those of other classes, which must change nothing here.
        self._options = {name: values[name] for name in self.defaults} | {
            name: values.get(name, value) for name, value in unpublished.items()
        }
        self._check()

    if not TYPE_CHECKING:  # a type checker shall know only the real attributes

        def __getattr__(self, name: str) -> object:
            """Read a config entry from the scheduler, as older scripts do: ``scheduler.beta_start``."""
            if name != "config" and name in self.config:
                say = f"read {name} from scheduler.config, not from the scheduler: scheduler.config.{name}"
                warnings.warn(say, FutureWarning, stacklevel=2)
                return self.config[name]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @classmethod
    def named(cls: type[C], name: object) -> type[C]:
        """The scheduler class of that name: one of ``registry.LIBRARY``, or a subclass that a program defined.

        Raises:
            ValueError: there is none; the known ones are listed.
        """
        define(str(name))
        found = CLASSES.get(str(name))
        if found is None or not issubclass(found, cls):
            known = ", ".join({**LIBRARY, **CLASSES})
            raise ValueError(one_line(f"unknown scheduler class {shown(name)}; the known ones are {known}"))
        return found

    @classmethod
    def library(cls: type[C]) -> dict[str, type[C]]:
        """Every scheduler class of the library by name, and a program's own classes that have a short name."""
        own = [name for name, each in CLASSES.items() if each.short_names and name not in LIBRARY]
        return {name: cls.named(name) for name in (*LIBRARY, *own)}

    @classmethod
    def extract_init_dict(
        cls, config_dict: Mapping[str, Any], **overrides: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Split a config for ``from_config``: the options for this class, the overrides it does not know, and the
        entries to keep for other classes."""
        writer = CLASSES.get(str(config_dict.get("_class_name")), cls)
        untouched = config_dict.get("_use_default_values")
        unset = {
            name
            for name in (untouched if isinstance(untouched, (list, tuple)) else ())
            # A default that somebody changed later, as in {**config, "steps_offset": 1}, is a choice.
            if isinstance(name, str) and config_dict.get(name) == {**writer.idle, **writer.defaults}.get(name)
        }
        chosen = {name: value for name, value in config_dict.items() if name not in {*unset, "_use_default_values"}}
        known = {**cls.defaults, **cls.idle, **cls.unpublished}.keys()
        init = {name: value for name, value in {**chosen, **overrides}.items() if name in known}
        unused = {name: value for name, value in overrides.items() if name not in known}
        hidden = {name: value for name, value in chosen.items() if name not in known}
        return init, unused, hidden

    @classmethod
    def samples(cls, levels: str, config: Mapping[str, Any]) -> bool:
        """Whether this class samples networks trained on these noise levels (`levels.trained_levels`)."""
        return levels == DISCRETE

    @classmethod
    def walks(cls, config: Mapping[str, Any]) -> bool:
        """Whether this class samples the network that a config describes; a config that does not say passes."""
        levels = trained_levels(config)
        return levels is None or cls.samples(levels, config)

    @classmethod
    def _check_trained_levels(cls, config: Mapping[str, Any]) -> None:
        """Raise ValueError if the network was trained on noise levels that this class does not sample."""
        if cls.walks(config):
            return
        levels = trained_levels(config)
        suited = [name for name, other in ConfiguredScheduler.library().items() if other.walks(config)]
        raise _not_sampled(cls.__name__, f"this checkpoint, which was trained on {levels} noise levels", suited)

    @overload
    @classmethod
    def from_config(
        cls: type[C], config: Mapping[str, Any], return_unused_kwargs: Literal[False] = False, **overrides: Any
    ) -> C: ...
    @overload
    @classmethod
    def from_config(
        cls: type[C], config: Mapping[str, Any], return_unused_kwargs: Literal[True], **overrides: Any
    ) -> tuple[C, dict[str, Any]]: ...
    @classmethod
    def from_config(
        cls: type[C], config: Mapping[str, Any], return_unused_kwargs: bool = False, **overrides: Any
    ) -> C | tuple[C, dict[str, Any]]:
        """A scheduler of this class from any scheduler's config.

        Keys that this class does not know stay in ``config`` and are otherwise ignored, so you can swap a scheduler for
        another and back; a warning names those that would have changed the samples (`schedulers.foreign`). If called on
        ``Scheduler`` itself, the config's ``_class_name`` picks the class.

        Args:
            config: such as ``pipe.scheduler.config``, or what ``load_config`` returns.
            return_unused_kwargs: return ``(scheduler, unused)``, where ``unused`` holds the overrides that this class
                does not know; otherwise they are refused.
            overrides: options that replace the config's.

        Raises:
            ValueError: a value that this class cannot honour, an override that it does not know, or a network trained
                on noise levels that this class does not sample.
        """
        if not isinstance(config, Mapping):
            raise ValueError(
                f"from_config takes a config such as scheduler.config, got {type(config).__name__}; "
                "use from_pretrained for a folder or a model's name"
            )
        named = config.get("_class_name")
        if not (named is None or isinstance(named, str)):
            raise ValueError(f"_class_name must be the name of a scheduler's class, got {shown(named)}")
        if not cls.defaults:
            return ConfiguredScheduler.named(named).from_config(  # type: ignore[call-overload,no-any-return]
                config, return_unused_kwargs, **overrides
            )
        config = in_words_of(cls.defaults, config)
        init, unused, hidden = cls.extract_init_dict(config, **overrides)
        cls._check_trained_levels({**config, **overrides})
        foreign.report_lost(cls.__name__, hidden, _method_options)
        scheduler = cls(**init, **({} if return_unused_kwargs else unused))
        scheduler.config = Config(hidden, scheduler.config)
        return (scheduler, unused) if return_unused_kwargs else scheduler

    @overload
    @classmethod
    def from_pretrained(
        cls: type[C],
        pretrained_model_name_or_path: str | os.PathLike[str],
        subfolder: str | None = None,
        return_unused_kwargs: Literal[False] = False,
        **options: Any,
    ) -> C: ...
    @overload
    @classmethod
    def from_pretrained(
        cls: type[C],
        pretrained_model_name_or_path: str | os.PathLike[str],
        subfolder: str | None = None,
        *,
        return_unused_kwargs: Literal[True],
        **options: Any,
    ) -> tuple[C, dict[str, Any]]: ...
    @classmethod
    def from_pretrained(
        cls: type[C],
        pretrained_model_name_or_path: str | os.PathLike[str],
        subfolder: str | None = None,
        return_unused_kwargs: bool = False,
        **options: Any,
    ) -> C | tuple[C, dict[str, Any]]:
        """The scheduler that ``scheduler_config.json`` describes.

        Args:
            pretrained_model_name_or_path: a folder, a bundled checkpoint's name, or a hub id.
            subfolder: the folder inside it that holds the file; ``"scheduler"`` for a whole checkpoint.
            return_unused_kwargs: as in ``from_config``.
            options: ``revision``, ``cache_dir``, ``local_files_only``, ``token``, and options that replace the file's.

        Raises:
            FileNotFoundError: no such folder or file.
            ValueError: the file is not a scheduler's config, or asks for what this class cannot do.
        """
        config, overrides = cls.load_config(
            pretrained_model_name_or_path, return_unused_kwargs=True, subfolder=subfolder, **options
        )
        with naming(Path(pretrained_model_name_or_path, subfolder or "", cls.config_name)):
            scheduler, unused = cls.from_config(config, return_unused_kwargs=True, **overrides)
        if return_unused_kwargs:
            return scheduler, unused
        if unused:
            raise ValueError(f"from_pretrained takes no {', '.join(unused)}; {cls.__name__} has no such option")
        return scheduler

    @property
    def compatibles(self) -> list[type[ConfiguredScheduler]]:
        """The classes that ``from_config`` can make from this scheduler's config."""
        levels = trained_levels(self.config) or DISCRETE
        return [cls for cls in ConfiguredScheduler.library().values() if cls.samples(levels, self.config)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config.items() if k[0] != '_')})"

    def __len__(self) -> int:
        return int(self._options["num_train_timesteps"])

    def _check(self) -> None:
        """Refuse option values that this scheduler cannot honour."""
        options.check(type(self).__name__, self._options, {**self.unpublished, **self.defaults}, self.choices)


def check_levels(name: str, config: Mapping[str, Any], networks: str, kinds: Sequence[str]) -> None:
    """Check that a scheduler handles the noise levels that networks were trained on; one that does not say passes.

    Args:
        name, config: the scheduler's.
        networks: what to call them in the message.
        kinds: their noise levels (`levels`).

    Raises:
        ValueError: the scheduler is for other noise levels.
    """
    if trained_levels(config) not in (None, *kinds):
        library = ConfiguredScheduler.library().items()
        suited = [each for each, cls in library if any(cls.samples(kind, {"_class_name": each}) for kind in kinds)]
        raise _not_sampled(name, f"{networks}, trained on {' or '.join(kinds)} noise levels", suited)


def _not_sampled(name: str, networks: str, suited: Sequence[str]) -> ValueError:
    own = f"make it with {name}.from_config(pipe.scheduler.config), from the checkpoint's own scheduler"
    return UnsuitedScheduler(name, f"cannot sample {networks}", suited, own if name in suited else None)


@functools.cache
def _method_options() -> frozenset[str]:
    """Every option of the library's classes."""
    return frozenset(name for cls in ConfiguredScheduler.library().values() for name in {**cls.defaults, **cls.idle})
