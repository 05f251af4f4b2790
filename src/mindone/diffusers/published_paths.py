"""The module paths of the published API, for scripts that import from them instead of from the package.

``from mindone.diffusers.schedulers.scheduling_ddim import DDIMScheduler`` works although the class lies in
``schedulers/ddim.py``: ``publish`` puts a module of that name, without a file, among those that Python knows. It holds
nothing; what is asked of it is looked up at home, which is imported then and not before.
"""

import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from .lazy import look_up

_AUTOENCODER_KL = {"AutoencoderKL": "models.autoencoder_kl"}
_AUTOENCODER_TINY = {"AutoencoderTiny": "models.autoencoder_tiny"}
_UNET = {"UNet2DConditionModel": "models.unet"}
_SD_OUTPUT = {"StableDiffusionPipelineOutput": "pipelines.output"}
_SDXL_OUTPUT = {"StableDiffusionXLPipelineOutput": "pipelines.output"}
_SAFETY = {"StableDiffusionSafetyChecker": "models.safety_checker"}
_LCM = {"LatentConsistencyModelPipeline": "pipelines.latent_consistency"}
_SCHEDULER = {"SchedulerMixin": "schedulers.base:Scheduler", "SchedulerOutput": "schedulers.output"}

PATHS: Mapping[str, Mapping[str, str]] = {
    "configuration_utils": {"ConfigMixin": "loading.configurable:Configurable", "FrozenDict": "loading.config:Config"},
    "models.autoencoders": {**_AUTOENCODER_KL, **_AUTOENCODER_TINY},
    "models.autoencoders.autoencoder_kl": _AUTOENCODER_KL,
    "models.autoencoders.autoencoder_tiny": _AUTOENCODER_TINY,
    "models.modeling_utils": {"ModelMixin": "models.base:Model"},
    "models.unet_2d_condition": _UNET,
    "models.unets": _UNET,
    "models.unets.unet_2d_condition": _UNET,
    "pipelines.auto_pipeline": {"AutoPipelineForText2Image": "pipelines.auto"},
    "pipelines.latent_consistency_models": _LCM,
    "pipelines.latent_consistency_models.pipeline_latent_consistency_text2img": _LCM,
    "pipelines.pipeline_utils": {"DiffusionPipeline": "pipelines.auto"},
    "pipelines.stable_diffusion.pipeline_output": _SD_OUTPUT,
    "pipelines.stable_diffusion.pipeline_stable_diffusion": {
        "StableDiffusionPipeline": "pipelines.stable_diffusion",
        "rescale_noise_cfg": "pipelines.predictors",
    },
    "pipelines.stable_diffusion.safety_checker": _SAFETY,
    "pipelines.stable_diffusion_xl.pipeline_output": _SDXL_OUTPUT,
    "pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl": {
        "StableDiffusionXLPipeline": "pipelines.stable_diffusion_xl"
    },
    "schedulers.scheduling_ddim": {"DDIMScheduler": "schedulers.ddim"},
    "schedulers.scheduling_ddpm": {"DDPMScheduler": "schedulers.ddpm"},
    "schedulers.scheduling_dpmsolver_multistep": {"DPMSolverMultistepScheduler": "schedulers.dpm_solver"},
    "schedulers.scheduling_euler_ancestral_discrete": {"EulerAncestralDiscreteScheduler": "schedulers.euler_ancestral"},
    "schedulers.scheduling_euler_discrete": {"EulerDiscreteScheduler": "schedulers.euler"},
    "schedulers.scheduling_heun_discrete": {"HeunDiscreteScheduler": "schedulers.heun"},
    "schedulers.scheduling_lcm": {"LCMScheduler": "schedulers.lcm", "LCMSchedulerOutput": "schedulers.lcm"},
    "schedulers.scheduling_lms_discrete": {"LMSDiscreteScheduler": "schedulers.lms"},
    "schedulers.scheduling_pndm": {"PNDMScheduler": "schedulers.pndm"},
    "schedulers.scheduling_tcd": {"TCDScheduler": "schedulers.tcd", "TCDSchedulerOutput": "schedulers.tcd"},
    "schedulers.scheduling_unipc_multistep": {"UniPCMultistepScheduler": "schedulers.unipc"},
    "schedulers.scheduling_utils": _SCHEDULER,
    "utils.loading_utils": {"load_image": "utils.images"},
    "utils.pil_utils": {"make_image_grid": "utils.images"},
}
"""The published path of a module, and for each name in it the module here (``module:Name`` where the name differs)."""


class _Published(ModuleType):
    """A module without a file, whose names are looked up where they are defined."""

    def __init__(self, path: str, homes: Mapping[str, str]):
        super().__init__(path, f"The published path of {', '.join(homes)}.")
        self.__spec__ = ModuleSpec(path, loader=None, is_package=True)
        self.__path__: list[str] = []
        self._homes = homes

    def __getattr__(self, name: str) -> Any:
        return look_up(self.__name__, self._homes, name)

    def __dir__(self) -> list[str]:
        return sorted(self._homes)


def publish(package: str) -> None:
    """Make the paths importable; ``package`` is what they are in."""
    for path, names in PATHS.items():
        homes = {name: f"{package}.{home}" for name, home in names.items()}
        sys.modules.setdefault(f"{package}.{path}", _Published(f"{package}.{path}", homes))
