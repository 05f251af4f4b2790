"""Schedulers (samplers): the arithmetic that turns model outputs into images, one file per method.

Each class is imported at first use (``registry`` says from where).
"""

from typing import TYPE_CHECKING, Any

from ..lazy import look_up
from .registry import LIBRARY, SHORT_NAMES, ShortName
from .short_names import by_name

if TYPE_CHECKING:
    from .arrays import draw_noise as draw_noise
    from .base import Scheduler as Scheduler, scheduler_class as scheduler_class, scheduler_classes as scheduler_classes
    from .calibrated import CalibratedMultistepScheduler as CalibratedMultistepScheduler
    from .ddim import DDIMScheduler as DDIMScheduler
    from .ddpm import DDPMScheduler as DDPMScheduler
    from .deis import DEISMultistepScheduler as DEISMultistepScheduler
    from .dpm_solver import DPMSolverMultistepScheduler as DPMSolverMultistepScheduler
    from .dpm_solver_singlestep import DPMSolverSinglestepScheduler as DPMSolverSinglestepScheduler
    from .edm_euler import EDMEulerScheduler as EDMEulerScheduler
    from .euler import EulerDiscreteScheduler as EulerDiscreteScheduler
    from .euler_ancestral import EulerAncestralDiscreteScheduler as EulerAncestralDiscreteScheduler
    from .flow_match_euler import FlowMatchEulerDiscreteScheduler as FlowMatchEulerDiscreteScheduler
    from .flow_match_heun import FlowMatchHeunDiscreteScheduler as FlowMatchHeunDiscreteScheduler
    from .heun import HeunDiscreteScheduler as HeunDiscreteScheduler
    from .kdpm2 import KDPM2DiscreteScheduler as KDPM2DiscreteScheduler
    from .kdpm2_ancestral import KDPM2AncestralDiscreteScheduler as KDPM2AncestralDiscreteScheduler
    from .lcm import LCMScheduler as LCMScheduler
    from .lms import LMSDiscreteScheduler as LMSDiscreteScheduler
    from .output import SchedulerOutput as SchedulerOutput
    from .pndm import PNDMScheduler as PNDMScheduler
    from .published import AysSchedules as AysSchedules, KarrasDiffusionSchedulers as KarrasDiffusionSchedulers
    from .scm import SCMScheduler as SCMScheduler
    from .tcd import TCDScheduler as TCDScheduler
    from .unipc import UniPCMultistepScheduler as UniPCMultistepScheduler

    SCHEDULERS: dict[str, type[Scheduler]]
    SchedulerMixin = Scheduler

_HOME = {
    **{name: f"{__name__}.{entry.file}" for name, entry in LIBRARY.items()},
    "AysSchedules": f"{__name__}.published",
    "KarrasDiffusionSchedulers": f"{__name__}.published",
    "Scheduler": f"{__name__}.base",
    "SchedulerMixin": f"{__name__}.base:Scheduler",
    "SchedulerOutput": f"{__name__}.output",
    "draw_noise": f"{__name__}.arrays",
    "scheduler_class": f"{__name__}.base",
    "scheduler_classes": f"{__name__}.base",
}

__all__ = [*sorted(_HOME), "SHORT_NAMES", "SCHEDULERS", "ShortName", "by_name"]


def __getattr__(name: str) -> Any:
    if name == "SCHEDULERS":
        return look_up(__name__, _HOME, "scheduler_classes")()
    return look_up(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
