"""Short names of schedulers, as the command line and jobs spell them: a class, and how it is set up.

To add one, add a line to ``SHORT_NAMES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .base import Scheduler


class ShortName(NamedTuple):
    """What a short name stands for."""

    class_name: str
    options: Mapping[str, object] = {}
    """What it sets besides the checkpoint's own options."""
    spaces_sigmas: bool = False
    """Whether the class has the ``use_…_sigmas``, each of which is a short name of its own: ``euler-karras``."""


SHORT_NAMES: dict[str, ShortName] = {
    "ddim": ShortName("DDIMScheduler", {"clip_sample": False}),  # predicted are latents, which are not in [-1, 1]
    "ddpm": ShortName("DDPMScheduler", {"clip_sample": False}),
    "dpm++": ShortName("DPMSolverMultistepScheduler", spaces_sigmas=True),
    "dpm++-sde": ShortName("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, spaces_sigmas=True),
    "dpm++-singlestep": ShortName("DPMSolverSinglestepScheduler", spaces_sigmas=True),
    "deis": ShortName("DEISMultistepScheduler", spaces_sigmas=True),
    "dpm2": ShortName("KDPM2DiscreteScheduler", spaces_sigmas=True),
    "dpm2-ancestral": ShortName("KDPM2AncestralDiscreteScheduler", spaces_sigmas=True),
    "euler": ShortName("EulerDiscreteScheduler", spaces_sigmas=True),
    "euler-ancestral": ShortName("EulerAncestralDiscreteScheduler"),
    "heun": ShortName("HeunDiscreteScheduler", spaces_sigmas=True),
    "lcm": ShortName("LCMScheduler"),
    "lms": ShortName("LMSDiscreteScheduler", spaces_sigmas=True),
    "pndm": ShortName("PNDMScheduler"),
    "tcd": ShortName("TCDScheduler"),
    "unipc": ShortName("UniPCMultistepScheduler", spaces_sigmas=True),
}
"""The methods, and with `spaced` their names for each spacing of σ. Without one in its name, a method keeps the
checkpoint's."""

SIGMA_SPACINGS = ("karras", "exponential", "beta")


def spaced(method: ShortName, spacing: str) -> ShortName:
    """A method whose noise levels are spaced like this, whatever the checkpoint's are."""
    chosen = {f"use_{each}_sigmas": each == spacing for each in SIGMA_SPACINGS}
    return method._replace(options={**method.options, **chosen})


LISTED = f"{', '.join(SHORT_NAMES)}; most also with -{', -'.join(SIGMA_SPACINGS)}, as in euler-karras"
"""What can be chosen, in words."""

SHORT_NAMES |= {
    f"{name}-{spacing}": spaced(method, spacing)
    for name, method in SHORT_NAMES.items()
    if method.spaces_sigmas
    for spacing in SIGMA_SPACINGS
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
        raise ValueError(f"unknown scheduler {short_name!r}; choose one of {LISTED}")
    from .base import scheduler_class  # with it comes NumPy, which a list of names needs not

    method = SHORT_NAMES[short_name]
    return scheduler_class(method.class_name).from_config(config, False, **method.options)
