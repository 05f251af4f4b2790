"""Schedulers (samplers): the arithmetic that turns model outputs into images, one file per method.

The classes are imported when first used (``registry`` says from where).
"""

import importlib
from typing import TYPE_CHECKING

from .registry import FILES, scheduler_class, scheduler_classes
from .short_names import SHORT_NAMES, by_name

if TYPE_CHECKING:
    from .base import Scheduler as Scheduler
    from .base import SchedulerOutput as SchedulerOutput
    from .base import draw_noise as draw_noise
    from .ddim import DDIMScheduler as DDIMScheduler
    from .ddpm import DDPMScheduler as DDPMScheduler
    from .dpm_solver import DPMSolverMultistepScheduler as DPMSolverMultistepScheduler
    from .euler import EulerDiscreteScheduler as EulerDiscreteScheduler
    from .euler_ancestral import EulerAncestralDiscreteScheduler as EulerAncestralDiscreteScheduler
    from .heun import HeunDiscreteScheduler as HeunDiscreteScheduler
    from .lcm import LCMScheduler as LCMScheduler
    from .lms import LMSDiscreteScheduler as LMSDiscreteScheduler
    from .pndm import PNDMScheduler as PNDMScheduler
    from .tcd import TCDScheduler as TCDScheduler
    from .unipc import UniPCMultistepScheduler as UniPCMultistepScheduler

    SCHEDULERS: dict[str, type[Scheduler]]

_HOME = {**FILES, "Scheduler": "base", "SchedulerOutput": "base", "draw_noise": "base"}

__all__ = [*sorted(_HOME), "SHORT_NAMES", "SCHEDULERS", "by_name", "scheduler_class", "scheduler_classes"]


def __getattr__(name: str) -> object:
    if name == "SCHEDULERS":
        return scheduler_classes()
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
