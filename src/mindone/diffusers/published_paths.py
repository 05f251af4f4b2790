"""The module paths of the published API, for scripts that import from them instead of from the package.

``from mindone.diffusers.schedulers.scheduling_ddim import DDIMScheduler`` works although the class is in
``schedulers/ddim.py``: ``publish`` registers a module of that name, without a file. It holds nothing; names are looked
up in their home module, which is imported only then.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from .lazy import SCOPE, look_up
from .schedulers.registry import LIBRARY

_CONTROLNET = {"ControlNetModel": "families.stable_diffusion.controlnet"}
_FLUX = {"FluxTransformer2DModel": "pipelines.published_flux"}
_MULTI_CONTROLNET = {"MultiControlNetModel": "families.stable_diffusion.multi_controlnet"}
_PIXART = {"PixArtTransformer2DModel": "pipelines.published_pixart"}
_SANA = {"SanaTransformer2DModel": "pipelines.published_sana"}
_SD3 = {"SD3Transformer2DModel": "pipelines.published_stable_diffusion_3"}
_SD_OUTPUT = {"StableDiffusionPipelineOutput": "pipelines.output"}
_SDXL_OUTPUT = {"StableDiffusionXLPipelineOutput": "pipelines.output"}
_UNET = {"UNet2DConditionModel": "pipelines.published_unet", "UNet2DConditionOutput": "models.outputs"}
_RANDN = {"randn_tensor": "pipelines.published"}
_RESCALE = {"rescale_noise_cfg": "pipelines.loop"}

_MODULES: Mapping[str, Mapping[str, str]] = {
    "callbacks": dict.fromkeys(
        (
            "IPAdapterScaleCutoffCallback",
            "MultiPipelineCallbacks",
            "PipelineCallback",
            "SDCFGCutoffCallback",
            "SDXLCFGCutoffCallback",
            "SDXLControlnetCFGCutoffCallback",
        ),
        "pipelines.callbacks",
    ),
    "configuration_utils": {"ConfigMixin": "loading.configurable:Configurable", "FrozenDict": "loading.config:Config"},
    "hooks": {"FirstBlockCacheConfig": "acceleration.first_block_cache"},
    "hooks.first_block_cache": {"FirstBlockCacheConfig": "acceleration.first_block_cache"},
    "image_processor": {
        "PipelineImageInput": "pipelines.image_processor:ImageInput",
        "VaeImageProcessor": "pipelines.image_processor",
    },
    "loaders.ip_adapter": {"IPAdapterMixin": "pipelines.published:PublishedPipeline"},
    "loaders.lora_pipeline": {
        "FluxLoraLoaderMixin": "pipelines.published:PublishedPipeline",
        "LoraLoaderMixin": "pipelines.published:PublishedPipeline",
        "SD3LoraLoaderMixin": "pipelines.published:PublishedPipeline",
        "StableDiffusionLoraLoaderMixin": "pipelines.published:PublishedPipeline",
        "StableDiffusionXLLoraLoaderMixin": "pipelines.published:PublishedPipeline",
    },
    "loaders.single_file": {"FromSingleFileMixin": "pipelines.published:PublishedPipeline"},
    "loading.convert": dict.fromkeys(("file_to_folder", "folder_to_file"), "families.convert"),
    "loaders.textual_inversion": {"TextualInversionLoaderMixin": "pipelines.published:PublishedPipeline"},
    "models.auto_model": {"AutoModel": "pipelines.auto_model"},
    "models.autoencoders.autoencoder_dc": {"AutoencoderDC": "families.networks"},
    "models.autoencoders.autoencoder_kl": {
        "AutoencoderKL": "families.networks",
        "AutoencoderKLOutput": "models.outputs",
    },
    "models.autoencoders.autoencoder_tiny": {
        "AutoencoderTiny": "families.networks",
        "AutoencoderTinyOutput": "models.outputs",
    },
    "models.autoencoders.vae": dict.fromkeys(
        ("DecoderOutput", "DiagonalGaussianDistribution", "EncoderOutput"), "models.outputs"
    ),
    "models.controlnet": _CONTROLNET,
    "models.controlnets.controlnet": _CONTROLNET,
    "models.controlnets.multicontrolnet": _MULTI_CONTROLNET,
    "models.modeling_outputs": dict.fromkeys(("AutoencoderKLOutput", "Transformer2DModelOutput"), "models.outputs"),
    "models.modeling_utils": {"ModelMixin": "families.networks:Model"},
    "models.transformers.pixart_transformer_2d": _PIXART,
    "models.transformers.sana_transformer": _SANA,
    "models.transformers.transformer_2d": {"Transformer2DModel": "pipelines.published_pixart"},
    "models.transformers.transformer_flux": _FLUX,
    "models.transformers.transformer_sd3": _SD3,
    "models.unet_2d_condition": _UNET,
    "models.unets.unet_2d_condition": _UNET,
    "pipelines.auto_pipeline": dict.fromkeys(
        ("AutoPipelineForImage2Image", "AutoPipelineForInpainting", "AutoPipelineForText2Image"), "pipelines.auto"
    ),
    "pipelines.controlnet.multicontrolnet": _MULTI_CONTROLNET,
    "pipelines.controlnet.pipeline_controlnet": {"StableDiffusionControlNetPipeline": "pipelines.stable_diffusion"},
    "pipelines.controlnet.pipeline_controlnet_img2img": {
        "StableDiffusionControlNetImg2ImgPipeline": "pipelines.stable_diffusion"
    },
    "pipelines.controlnet.pipeline_controlnet_inpaint": {
        "StableDiffusionControlNetInpaintPipeline": "pipelines.stable_diffusion"
    },
    "pipelines.controlnet.pipeline_controlnet_inpaint_sd_xl": {
        "StableDiffusionXLControlNetInpaintPipeline": "pipelines.stable_diffusion_xl"
    },
    "pipelines.controlnet.pipeline_controlnet_sd_xl": {
        "StableDiffusionXLControlNetPipeline": "pipelines.stable_diffusion_xl"
    },
    "pipelines.controlnet.pipeline_controlnet_sd_xl_img2img": {
        "StableDiffusionXLControlNetImg2ImgPipeline": "pipelines.stable_diffusion_xl"
    },
    "pipelines.flux.pipeline_flux": {"FluxPipeline": "pipelines.flux"},
    "pipelines.flux.pipeline_flux_img2img": {"FluxImg2ImgPipeline": "pipelines.flux"},
    "pipelines.flux.pipeline_flux_inpaint": {"FluxInpaintPipeline": "pipelines.flux"},
    "pipelines.flux.pipeline_output": {"FluxPipelineOutput": "pipelines.output:ImagePipelineOutput"},
    "pipelines.latent_consistency_models.pipeline_latent_consistency_text2img": {
        "LatentConsistencyModelPipeline": "pipelines.stable_diffusion"
    },
    "pipelines.pixart_alpha.pipeline_pixart_alpha": {"PixArtAlphaPipeline": "pipelines.pixart"},
    "pipelines.pixart_alpha.pipeline_pixart_sigma": {"PixArtSigmaPipeline": "pipelines.pixart"},
    "pipelines.sana.pipeline_output": {"SanaPipelineOutput": "pipelines.output:ImagePipelineOutput"},
    "pipelines.sana.pipeline_sana": {"SanaPipeline": "pipelines.sana"},
    "pipelines.sana.pipeline_sana_sprint": {"SanaSprintPipeline": "pipelines.sana"},
    "pipelines.sana.pipeline_sana_sprint_img2img": {"SanaSprintImg2ImgPipeline": "pipelines.sana"},
    "pipelines.pipeline_utils": {"DiffusionPipeline": "pipelines.auto", "ImagePipelineOutput": "pipelines.output"},
    "pipelines.stable_diffusion.pipeline_output": _SD_OUTPUT,
    "pipelines.stable_diffusion.pipeline_stable_diffusion": {
        "StableDiffusionPipeline": "pipelines.stable_diffusion",
        **_RESCALE,
    },
    "pipelines.stable_diffusion.pipeline_stable_diffusion_depth2img": {
        "StableDiffusionDepth2ImgPipeline": "pipelines.stable_diffusion"
    },
    "pipelines.stable_diffusion.pipeline_stable_diffusion_img2img": {
        "StableDiffusionImg2ImgPipeline": "pipelines.stable_diffusion"
    },
    "pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint": {
        "StableDiffusionInpaintPipeline": "pipelines.stable_diffusion"
    },
    "pipelines.stable_diffusion.pipeline_stable_diffusion_instruct_pix2pix": {
        "StableDiffusionInstructPix2PixPipeline": "pipelines.stable_diffusion"
    },
    "pipelines.stable_diffusion.safety_checker": {"StableDiffusionSafetyChecker": "families.networks"},
    "pipelines.stable_diffusion_3.pipeline_output": {
        "StableDiffusion3PipelineOutput": "pipelines.output:ImagePipelineOutput"
    },
    "pipelines.stable_diffusion_3.pipeline_stable_diffusion_3": {
        "StableDiffusion3Pipeline": "pipelines.stable_diffusion_3"
    },
    "pipelines.stable_diffusion_3.pipeline_stable_diffusion_3_img2img": {
        "StableDiffusion3Img2ImgPipeline": "pipelines.stable_diffusion_3"
    },
    "pipelines.stable_diffusion_3.pipeline_stable_diffusion_3_inpaint": {
        "StableDiffusion3InpaintPipeline": "pipelines.stable_diffusion_3"
    },
    "pipelines.stable_diffusion_xl.pipeline_output": _SDXL_OUTPUT,
    "pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl": {
        "StableDiffusionXLPipeline": "pipelines.stable_diffusion_xl",
        **_RESCALE,
    },
    "pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_img2img": {
        "StableDiffusionXLImg2ImgPipeline": "pipelines.stable_diffusion_xl"
    },
    "pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_inpaint": {
        "StableDiffusionXLInpaintPipeline": "pipelines.stable_diffusion_xl"
    },
    "pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_instruct_pix2pix": {
        "StableDiffusionXLInstructPix2PixPipeline": "pipelines.stable_diffusion_xl"
    },
    **{
        f"schedulers.{entry.published}": dict.fromkeys((name, *entry.exports), f"schedulers.{entry.file}")
        for name, entry in LIBRARY.items()
        if entry.published
    },
    "quantizers.quantization_config": {"GGUFQuantizationConfig": "loading.gguf_config"},
    "schedulers.scheduling_utils": {
        "AysSchedules": "schedulers.published",
        "KarrasDiffusionSchedulers": "schedulers.published",
        "SchedulerMixin": "schedulers.base:Scheduler",
        "SchedulerOutput": "schedulers.output",
    },
    "utils.loading_utils": {"load_image": "utils.images"},
    "utils.mindspore_utils": _RANDN,
    "utils.pil_utils": {"make_image_grid": "utils.images"},
    "utils.torch_utils": _RANDN,
}
"""Published module paths, and for each name in them the module here (``module:Name`` if the name differs)."""

_FILES = frozenset(
    {"loading", "models", "pipelines", "pipelines.flux", "pipelines.sana", "pipelines.stable_diffusion"}
    | {"pipelines.stable_diffusion_3", "pipelines.stable_diffusion_xl", "schedulers", "utils"}
)
"""The published paths that are also modules of this library; they look up further names with `exported`."""


def _with_packages(modules: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The same, plus the packages around the modules, which export their names."""
    paths: dict[str, dict[str, str]] = {}
    for module, names in modules.items():
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            paths.setdefault(".".join(parts[:count]), {}).update(names)
    return paths


PATHS: Mapping[str, Mapping[str, str]] = _with_packages(_MODULES)


def exported(module: str) -> dict[str, str]:
    """The exports of the published module or package of that name: names, and where each is defined here.

    Args:
        module: its full name, such as ``mindone.diffusers.pipelines``.
    """
    package = __name__.rpartition(".")[0]
    return {name: f"{package}.{home}" for name, home in PATHS[module.removeprefix(f"{package}.")].items()}


class _Published(ModuleType):
    """A module without a file; its names are looked up where they are defined."""

    def __init__(self, path: str, homes: Mapping[str, str]):
        super().__init__(path, f"The published path of {', '.join(homes)}.")
        self.__spec__ = ModuleSpec(path, loader=None, is_package=True)
        self.__path__: list[str] = []
        self._homes = homes

    def __getattr__(self, name: str) -> Any:
        return look_up(self.__name__, self._homes, name)

    def __dir__(self) -> list[str]:
        return sorted(self._homes)


_ABSENT = {
    "models.attention_processor": "attention processors are PyTorch's; MindSpore or OpenVINO fuse attention",
    "models.adapter": "T2I-Adapters are not here; ControlNetModel is",
}
"""Published modules without a counterpart, and what to use instead; for others it is the classes of their kind."""
_KINDS = {"pipelines": "Pipeline", "models": "Model", "schedulers": "Scheduler"}


class _Absent(MetaPathFinder):
    """Consulted last, for modules of published families that are not here: the error says what is."""

    def __init__(self, package: str):
        self._package = package

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Never finds a module.

        Raises:
            ModuleNotFoundError: the module would be one of the pipelines, models or schedulers.
        """
        module = fullname.removeprefix(f"{self._package}.")
        part, _, rest = module.partition(".")
        if module == fullname or part not in _KINDS or not rest:
            return
        here = ", ".join(sorted(name for name in PATHS[part] if name.endswith(_KINDS[part])))
        instead = _ABSENT.get(module, f"{SCOPE}; it has {here}")
        raise ModuleNotFoundError(f"No module named {fullname!r}: {instead}", name=fullname)


def publish(package: str) -> None:
    """Make the paths without files importable in ``package``."""
    sys.meta_path.append(_Absent(package))
    for path in PATHS.keys() - _FILES:
        module = f"{package}.{path}"
        sys.modules.setdefault(module, _Published(module, exported(module)))


_TRANSFORMERS = {
    "models.clip.image_processing_clip": ("CLIPImageProcessor",),
    "models.clip.modeling_clip": ("CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModelWithProjection"),
    "models.clip.tokenization_clip": ("CLIPTokenizer",),
    "models.gemma.tokenization_gemma": ("GemmaTokenizer",),
    "models.gemma.tokenization_gemma_fast": ("GemmaTokenizerFast",),
    "models.gemma2.modeling_gemma2": ("Gemma2Model",),
    "models.t5.modeling_t5": ("T5EncoderModel",),
    "models.t5.tokenization_t5": ("T5Tokenizer",),
    "models.t5.tokenization_t5_fast": ("T5TokenizerFast",),
}
"""The modules of transformers, and the names available here."""


def publish_transformers(package: str, homes: Mapping[str, str]) -> None:
    """Make the paths of transformers importable in ``package``, whose names have these homes."""
    for path, names in _with_packages(
        {path: {name: homes[name] for name in names} for path, names in _TRANSFORMERS.items()}
    ).items():
        sys.modules.setdefault(f"{package}.{path}", _Published(f"{package}.{path}", names))
