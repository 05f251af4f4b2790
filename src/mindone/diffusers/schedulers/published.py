"""Other names that the published package has next to its scheduler classes."""

from enum import Enum

KarrasDiffusionSchedulers = Enum(
    "KarrasDiffusionSchedulers",
    [
        "DDIMScheduler",
        "DDPMScheduler",
        "PNDMScheduler",
        "LMSDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "KDPM2DiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "DEISMultistepScheduler",
        "UniPCMultistepScheduler",
        "DPMSolverSDEScheduler",
        "EDMEulerScheduler",
    ],
)
"""Schedulers that published scripts treat as interchangeable, numbered from 1. ``DPMSolverSDEScheduler`` is not
here; ``scheduler.compatibles`` are the classes that a config fits."""

AysSchedules: dict[str, list[int] | list[float]] = {
    "StableDiffusionTimesteps": [999, 850, 736, 645, 545, 455, 343, 233, 124, 24],
    "StableDiffusionSigmas": [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.0],
    "StableDiffusionXLTimesteps": [999, 845, 730, 587, 443, 310, 193, 116, 53, 13],
    "StableDiffusionXLSigmas": [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.0],
}
"""Ten steps each, optimised for a family: Align Your Steps (Sabour et al. 2024, arXiv 2404.14507). Pass them to a
pipeline as ``timesteps`` or ``sigmas``."""
