"""The library's schedulers: one line for each class, with everything needed before it is imported.

Nothing is imported until a class is asked for, so that listing names costs nothing. A program's own scheduler needs no
line: its class lists the same in ``short_names`` (`Scheduler.short_names`).
"""

import importlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

SIGMA_SPACINGS = ("karras", "exponential", "beta")


class ShortName(NamedTuple):
    """A name that the command line and jobs use for a class with given options."""

    name: str
    sampler: str = ""
    """AUTOMATIC1111's name for it; empty if it has none, and then the name is the same as here."""
    automatic: str | None = None
    """For a class with the ``use_…_sigmas`` options: the spacing (as in ``euler-karras``) that AUTOMATIC1111 means by
    the schedule ``Automatic``; empty for no spacing. None for the other classes."""
    options: Mapping[str, object] = {}
    """Options it sets on top of the checkpoint's own."""


class Entry(NamedTuple):
    """A class of the library."""

    file: str
    """Its file in this folder."""
    published: str = ""
    """Its module in the published package; empty if only this package has it."""
    short_names: tuple[ShortName, ...] = ()
    exports: tuple[str, ...] = ()
    """Other names in that module."""


_RAW = {"clip_sample": False}  # it predicts latents, which are not in [-1, 1]
_SDE = {"algorithm_type": "sde-dpmsolver++"}

LIBRARY: Mapping[str, Entry] = {
    "DDIMScheduler": Entry("ddim", "scheduling_ddim", (ShortName("ddim", "DDIM", options=_RAW),)),
    "DDPMScheduler": Entry("ddpm", "scheduling_ddpm", (ShortName("ddpm", "DDPM", options=_RAW),)),
    "DPMSolverMultistepScheduler": Entry(
        "dpm_solver",
        "scheduling_dpmsolver_multistep",
        (ShortName("dpm++", "DPM++ 2M", "karras"), ShortName("dpm++-sde", "DPM++ 2M SDE", "exponential", _SDE)),
    ),
    "DPMSolverSinglestepScheduler": Entry(
        "dpm_solver_singlestep",
        "scheduling_dpmsolver_singlestep",
        (ShortName("dpm++-singlestep", "DPM++ 2S", "karras"),),
    ),
    "DEISMultistepScheduler": Entry("deis", "scheduling_deis_multistep", (ShortName("deis", "DEIS", ""),)),
    "KDPM2DiscreteScheduler": Entry("kdpm2", "scheduling_k_dpm_2_discrete", (ShortName("dpm2", "DPM2", "karras"),)),
    "KDPM2AncestralDiscreteScheduler": Entry(
        "kdpm2_ancestral",
        "scheduling_k_dpm_2_ancestral_discrete",
        (ShortName("dpm2-ancestral", "DPM2 a", "karras"),),
    ),
    "EulerDiscreteScheduler": Entry("euler", "scheduling_euler_discrete", (ShortName("euler", "Euler", ""),)),
    "EulerAncestralDiscreteScheduler": Entry(
        "euler_ancestral", "scheduling_euler_ancestral_discrete", (ShortName("euler-ancestral", "Euler a"),)
    ),
    "FlowMatchEulerDiscreteScheduler": Entry(
        "flow_match_euler", "scheduling_flow_match_euler_discrete", (ShortName("flow-euler", automatic=""),)
    ),
    "FlowMatchHeunDiscreteScheduler": Entry(
        "flow_match_heun", "scheduling_flow_match_heun_discrete", (ShortName("flow-heun"),)
    ),
    "HeunDiscreteScheduler": Entry("heun", "scheduling_heun_discrete", (ShortName("heun", "Heun", ""),)),
    "LCMScheduler": Entry("lcm", "scheduling_lcm", (ShortName("lcm", "LCM"),), ("LCMSchedulerOutput",)),
    "LMSDiscreteScheduler": Entry("lms", "scheduling_lms_discrete", (ShortName("lms", "LMS", ""),)),
    "PNDMScheduler": Entry("pndm", "scheduling_pndm", (ShortName("pndm", "PLMS"),)),
    "SCMScheduler": Entry("scm", "scheduling_scm", (ShortName("scm"),), ("SCMSchedulerOutput",)),
    "TCDScheduler": Entry("tcd", "scheduling_tcd", (ShortName("tcd", "TCD"),), ("TCDSchedulerOutput",)),
    "UniPCMultistepScheduler": Entry("unipc", "scheduling_unipc_multistep", (ShortName("unipc", "UniPC", ""),)),
    "EDMEulerScheduler": Entry("edm_euler", "scheduling_edm_euler"),
    "CalibratedMultistepScheduler": Entry("calibrated"),
}
"""The classes by their names in ``_class_name`` and ``model_index.json``."""


class Setup(NamedTuple):
    """What a short name stands for."""

    class_name: str
    options: Mapping[str, object]
    """Options it sets on top of the checkpoint's own. A name without a spacing of σ keeps the checkpoint's spacing."""
    sampler: str
    """AUTOMATIC1111's name for the sampler."""
    schedule: str
    """AUTOMATIC1111's schedule type, if one must be given."""
    is_automatic: bool
    """Whether AUTOMATIC1111's schedule type ``Automatic`` means this one."""


def _setups(class_name: str, method: ShortName) -> dict[str, Setup]:
    """The setups of a method: plain, and with each spacing of σ that it has."""
    sampler, schedule = method.sampler or method.name, "Uniform" if method.automatic else ""
    setups = {method.name: Setup(class_name, method.options, sampler, schedule, not method.automatic)}
    for spacing in () if method.automatic is None else SIGMA_SPACINGS:
        options = {**method.options, **{f"use_{each}_sigmas": each == spacing for each in SIGMA_SPACINGS}}
        setups[f"{method.name}-{spacing}"] = Setup(
            class_name, options, sampler, spacing.capitalize(), method.automatic == spacing
        )
    return setups


SHORT_NAMES: dict[str, Setup] = {}
"""Every short name."""


def declare(class_name: str, short_names: Iterable[ShortName]) -> None:
    """Make short names known everywhere: to jobs, the command line and the server."""
    for method in short_names:
        SHORT_NAMES.update(_setups(class_name, method))


for _class_name, _entry in LIBRARY.items():
    declare(_class_name, _entry.short_names)


def define(name: str) -> None:
    """Import the file that defines the class of that name, if ``LIBRARY`` has it."""
    if name in LIBRARY:
        importlib.import_module(f"{__package__}.{LIBRARY[name].file}")
