"""Short names of schedulers, as the command line and jobs spell them, and AUTOMATIC1111's names for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..utils.printable import shown
from .levels import DISCRETE, trained_levels
from .registry import SHORT_NAMES, SIGMA_SPACINGS

if TYPE_CHECKING:
    from .base import Scheduler


def listed(config: Mapping[str, object] | None = None) -> str:
    """The choices in words; with the config of a checkpoint's own scheduler, those that sample it."""
    names = [*SHORT_NAMES] if config is None else suited(config)
    methods = [name for name in names if SHORT_NAMES[name].schedule in ("", "Uniform")]
    example = next((name for name in names if name.endswith(SIGMA_SPACINGS[0])), None)
    spaced = f"; most also with -{', -'.join(SIGMA_SPACINGS)}, as in {example}"
    return f"{', '.join(methods)}{spaced if example else ''}"


def suited(config: Mapping[str, object], otherwise: Sequence[str] = (DISCRETE,)) -> list[str]:
    """The short names of the schedulers that sample a checkpoint.

    Args:
        config: that of the checkpoint's own scheduler.
        otherwise: the kinds of its noise levels (`levels`) if the config does not say.
    """
    from .base import scheduler_class  # this imports NumPy

    levels = trained_levels(config)
    kinds = otherwise if levels is None else (levels,)
    classes = {name: scheduler_class(setup.class_name) for name, setup in SHORT_NAMES.items()}
    return [name for name, cls in classes.items() if any(cls.samples(kind, config) for kind in kinds)]


def by_name(short_name: str, config: Mapping[str, object]) -> Scheduler:
    """The scheduler that a short name stands for, on a checkpoint's noise schedule.

    Args:
        short_name: a key of ``registry.SHORT_NAMES``, such as ``"dpm++-karras"``.
        config: the config of the checkpoint's own scheduler, ``pipe.scheduler.config``.

    Raises:
        ValueError: the short name is unknown, or the scheduler cannot honour the config.
    """
    if short_name not in SHORT_NAMES:
        raise ValueError(f"unknown scheduler {shown(short_name)}; choose one of {listed(config)}")
    from .base import scheduler_class  # this imports NumPy, which a list of names does not need

    setup = SHORT_NAMES[short_name]
    return scheduler_class(setup.class_name).from_config(config, False, **setup.options)


def deterministic(own: Scheduler) -> Scheduler:
    """``dpm++``, which calls the network once a step and draws no noise, on a checkpoint's noise schedule.

    The checkpoint's own scheduler if ``dpm++`` cannot walk that schedule or the network was distilled for its own.
    """
    from .base import scheduler_class

    solver = scheduler_class(SHORT_NAMES["dpm++"].class_name)
    walks = solver.walks(own.config) and not getattr(own, "distilled", False)
    return by_name("dpm++", own.config) if walks else own


def name_of_sampler(sampler: str, schedule_type: str = "") -> str | None:
    """The short name of an AUTOMATIC1111 sampler; None if this package has no equivalent.

    Case does not matter.

    Args:
        sampler: AUTOMATIC1111's name; its older versions put the schedule at the end: ``DPM++ 2M Karras``.
        schedule_type: the separate field of newer versions. ``Uniform`` and ``Normal`` are evenly spaced timesteps,
            ``Automatic`` is what AUTOMATIC1111 recommends for the sampler, and ``Beta`` is the published
            ``use_beta_sigmas``.
    """
    sampler, schedule = sampler.casefold(), schedule_type.replace("_", " ").casefold()
    for each in SIGMA_SPACINGS:
        if sampler.endswith(f" {each}"):
            sampler, schedule = sampler.removesuffix(f" {each}"), each
    wanted = "uniform" if schedule in ("", "normal") else schedule
    for name, setup in SHORT_NAMES.items():
        fits = setup.is_automatic if wanted == "automatic" else (setup.schedule or "Uniform").casefold() == wanted
        if setup.sampler.casefold() == sampler and fits:
            return name
    return None


def flow_sampler(sampler: str) -> str | None:
    """The short name of a sampler of AUTOMATIC1111's interface for networks that are trained on flow matching.

    They have an Euler and a Heun of their own, and the others keep the checkpoint's schedule. None for one that is not
    here.
    """
    plain = name_of_sampler(sampler, "uniform")
    return f"flow-{plain}" if f"flow-{plain}" in SHORT_NAMES else plain


def schedules_of(sampler: str) -> list[str]:
    """The schedule types that `name_of_sampler` takes for a sampler; none if this package has no such sampler."""
    setups = [setup for setup in SHORT_NAMES.values() if setup.sampler.casefold() == sampler.casefold()]
    return list(dict.fromkeys(setup.schedule or "Uniform" for setup in setups))
