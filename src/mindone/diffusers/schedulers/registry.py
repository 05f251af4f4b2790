"""Where each scheduler class lies. A new scheduler is one file in this folder and one line here.

Nothing is imported until a class is asked for, so that listing names costs nothing.
"""

import importlib

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


def define(name: str) -> None:
    """Import the file that defines the class of that name, if it is one of ``FILES``."""
    if name in FILES:
        importlib.import_module(f"{__package__}.{FILES[name]}")
