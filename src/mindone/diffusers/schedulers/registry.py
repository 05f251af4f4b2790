"""Where each scheduler class lies. A new scheduler is one file in this folder and one line here.

Nothing is imported until a class is asked for, so that listing names costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Scheduler

FILES = {
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "DEISMultistepScheduler": "deis",
    "DPMSolverMultistepScheduler": "dpm_solver",
    "DPMSolverSinglestepScheduler": "dpm_solver_singlestep",
    "EDMEulerScheduler": "edm_euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "EulerDiscreteScheduler": "euler",
    "HeunDiscreteScheduler": "heun",
    "KDPM2AncestralDiscreteScheduler": "kdpm2_ancestral",
    "KDPM2DiscreteScheduler": "kdpm2",
    "LCMScheduler": "lcm",
    "LMSDiscreteScheduler": "lms",
    "PNDMScheduler": "pndm",
    "TCDScheduler": "tcd",
    "UniPCMultistepScheduler": "unipc",
    "CalibratedMultistepScheduler": "calibrated",
}
"""The file that defines each class, by the class's name in ``_class_name`` and ``model_index.json``."""

CLASSES: dict[str, type[Scheduler]] = {}
"""The classes that are imported so far, those that a program defined for itself included."""


def scheduler_class(name: object) -> type[Scheduler]:
    """The scheduler class of that name: one of ``FILES``, or a subclass of ``Scheduler`` that a program defined.

    Raises:
        ValueError: there is none; the known ones are listed.
    """
    if str(name) in FILES:
        importlib.import_module(f"{__package__}.{FILES[str(name)]}")
    if str(name) not in CLASSES:
        raise ValueError(f"unknown scheduler class {name!r}; the known ones are {', '.join({**FILES, **CLASSES})}")
    return CLASSES[str(name)]


def scheduler_classes() -> dict[str, type[Scheduler]]:
    """Every scheduler class of the library by its name."""
    return {name: scheduler_class(name) for name in FILES}
