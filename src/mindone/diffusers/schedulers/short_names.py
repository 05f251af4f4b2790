"""Short names of schedulers, as the command line and jobs spell them: a class, and how it is set up.

To add one, add a line to ``SHORT_NAMES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from .registry import scheduler_class

if TYPE_CHECKING:
    from .base import Scheduler


class ShortName(NamedTuple):
    """What a short name stands for."""

    class_name: str
    options: Mapping[str, object] = {}
    """What it sets besides the checkpoint's own options."""


SHORT_NAMES: dict[str, ShortName] = {
    "ddim": ShortName("DDIMScheduler", {"clip_sample": False}),  # predicted are latents, which are not in [-1, 1]
    "ddpm": ShortName("DDPMScheduler", {"clip_sample": False}),
    "dpm++": ShortName("DPMSolverMultistepScheduler"),
    "dpm++-karras": ShortName("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpm++-sde": ShortName("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "euler": ShortName("EulerDiscreteScheduler"),
    "euler-ancestral": ShortName("EulerAncestralDiscreteScheduler"),
    "heun": ShortName("HeunDiscreteScheduler"),
    "lcm": ShortName("LCMScheduler"),
    "lms": ShortName("LMSDiscreteScheduler"),
    "pndm": ShortName("PNDMScheduler"),
    "tcd": ShortName("TCDScheduler"),
    "unipc": ShortName("UniPCMultistepScheduler"),
}


def by_name(short_name: str, config: Mapping[str, object]) -> Scheduler:
    """The scheduler that a short name stands for, on a checkpoint's noise schedule.

    Args:
        short_name: a key of ``SHORT_NAMES``, such as ``"dpm++-karras"``.
        config: the config of the checkpoint's own scheduler, ``pipe.scheduler.config``.

    Raises:
        ValueError: no such short name, or a config that the scheduler cannot honour.
    """
    if short_name not in SHORT_NAMES:
        raise ValueError(f"unknown scheduler {short_name!r}; choose one of {', '.join(SHORT_NAMES)}")
    class_name, options = SHORT_NAMES[short_name]
    return scheduler_class(class_name).from_config(config, **options)
