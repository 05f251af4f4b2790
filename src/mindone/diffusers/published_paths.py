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

HOMES: Mapping[str, str] = {
    **{name: f"schedulers.{entry.file}" for name, entry in LIBRARY.items()},
    "AutoModel": "pipelines.auto_model",
    "AutoPipelineForImage2Image": "pipelines.auto",
    "AutoPipelineForInpainting": "pipelines.auto",
    "AutoPipelineForText2Image": "pipelines.auto",
    "AutoencoderDC": "families.networks",
    "AutoencoderKL": "families.networks",
    "AutoencoderTiny": "families.networks",
    "CLIPTextModel": "families.networks",
    "CLIPTextModelWithProjection": "families.networks",
    "CLIPTokenizer": "loading.tokenizer",
    "CLIPVisionModelWithProjection": "families.networks",
    "ControlNetModel": "families.stable_diffusion.controlnet",
    "DeepCacheConfig": "acceleration.deep_cache",
    "DiffusionPipeline": "pipelines.auto",
    "EasyCacheConfig": "acceleration.easycache",
    "FirstBlockCacheConfig": "acceleration.first_block_cache",
    "FluxImg2ImgPipeline": "pipelines.flux",
    "FluxInpaintPipeline": "pipelines.flux",
    "FluxPipeline": "pipelines.flux",
    "FluxTransformer2DModel": "pipelines.published_denoiser",
    "GGUFQuantizationConfig": "loading.gguf_config",
    "GuidanceCacheConfig": "acceleration.guidance_cache",
    "Int8Config": "acceleration.int8.config",
    "LatentConsistencyModelPipeline": "pipelines.stable_diffusion",
    "MultiControlNetModel": "families.stable_diffusion.multi_controlnet",
    "PixArtAlphaPipeline": "pipelines.pixart",
    "PixArtSigmaPipeline": "pipelines.pixart",
    "PixArtTransformer2DModel": "pipelines.published_denoiser",
    "SD3Transformer2DModel": "pipelines.published_denoiser",
    "SanaPipeline": "pipelines.sana",
    "SanaSprintImg2ImgPipeline": "pipelines.sana",
    "SanaSprintPipeline": "pipelines.sana",
    "SanaTransformer2DModel": "pipelines.published_denoiser",
    "SpectrumConfig": "acceleration.spectrum",
    "StableDiffusion3Img2ImgPipeline": "pipelines.stable_diffusion_3",
    "StableDiffusion3InpaintPipeline": "pipelines.stable_diffusion_3",
    "StableDiffusion3Pipeline": "pipelines.stable_diffusion_3",
    "StableDiffusionControlNetImg2ImgPipeline": "pipelines.stable_diffusion",
    "StableDiffusionControlNetInpaintPipeline": "pipelines.stable_diffusion",
    "StableDiffusionControlNetPipeline": "pipelines.stable_diffusion",
    "StableDiffusionDepth2ImgPipeline": "pipelines.stable_diffusion",
    "StableDiffusionImg2ImgPipeline": "pipelines.stable_diffusion",
    "StableDiffusionInpaintPipeline": "pipelines.stable_diffusion",
    "StableDiffusionInstructPix2PixPipeline": "pipelines.stable_diffusion",
    "StableDiffusionPipeline": "pipelines.stable_diffusion",
    "StableDiffusionSafetyChecker": "families.networks",
    "StableDiffusionXLControlNetImg2ImgPipeline": "pipelines.stable_diffusion_xl",
    "StableDiffusionXLControlNetInpaintPipeline": "pipelines.stable_diffusion_xl",
    "StableDiffusionXLControlNetPipeline": "pipelines.stable_diffusion_xl",
    "StableDiffusionXLImg2ImgPipeline": "pipelines.stable_diffusion_xl",
    "StableDiffusionXLInpaintPipeline": "pipelines.stable_diffusion_xl",
    "StableDiffusionXLInstructPix2PixPipeline": "pipelines.stable_diffusion_xl",
    "StableDiffusionXLPipeline": "pipelines.stable_diffusion_xl",
    "TaylorSeerCacheConfig": "acceleration.taylorseer",
    "Transformer2DModel": "pipelines.published_denoiser:PixArtTransformer2DModel",
    "UNet2DConditionModel": "pipelines.published_denoiser",
    "WeightOnlyConfig": "acceleration.weights.config",
}
"""The names of the package itself, and the module here that defines each."""


def _homes(*names: str) -> dict[str, str]:
    return {name: HOMES[name] for name in names}


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
    "hooks": _homes("FirstBlockCacheConfig"),
    "hooks.first_block_cache": _homes("FirstBlockCacheConfig"),
    "image_processor": {
        "PipelineImageInput": "pipelines.image_processor:ImageInput",
        "VaeImageProcessor": "pipelines.image_processor",
    },
    "loaders.ip_adapter": {"IPAdapterMixin": "pipelines.published:PublishedPipeline"},
    "loaders.lora_pipeline": dict.fromkeys(
        (
            "FluxLoraLoaderMixin",
            "LoraLoaderMixin",
            "SD3LoraLoaderMixin",
            "StableDiffusionLoraLoaderMixin",
            "StableDiffusionXLLoraLoaderMixin",
        ),
        "pipelines.published:PublishedPipeline",
    ),
    "loaders.single_file": {"FromSingleFileMixin": "pipelines.published:PublishedPipeline"},
    "loading.convert": dict.fromkeys(("file_to_folder", "folder_to_file"), "families.convert"),
    "loaders.textual_inversion": {"TextualInversionLoaderMixin": "pipelines.published:PublishedPipeline"},
    "models.auto_model": _homes("AutoModel"),
    "models.autoencoders.autoencoder_dc": _homes("AutoencoderDC"),
    "models.autoencoders.autoencoder_kl": {**_homes("AutoencoderKL"), "AutoencoderKLOutput": "models.outputs"},
    "models.autoencoders.autoencoder_tiny": {**_homes("AutoencoderTiny"), "AutoencoderTinyOutput": "models.outputs"},
    "models.autoencoders.vae": dict.fromkeys(
        ("DecoderOutput", "DiagonalGaussianDistribution", "EncoderOutput"), "models.outputs"
    ),
    "models.controlnet": _homes("ControlNetModel"),
    "models.controlnets.controlnet": _homes("ControlNetModel"),
    "models.controlnets.multicontrolnet": _homes("MultiControlNetModel"),
    "models.modeling_outputs": dict.fromkeys(("AutoencoderKLOutput", "Transformer2DModelOutput"), "models.outputs"),
    "models.modeling_utils": {"ModelMixin": "families.networks:Model"},
    "models.transformers.pixart_transformer_2d": _homes("PixArtTransformer2DModel"),
    "models.transformers.sana_transformer": _homes("SanaTransformer2DModel"),
    "models.transformers.transformer_2d": _homes("Transformer2DModel"),
    "models.transformers.transformer_flux": _homes("FluxTransformer2DModel"),
    "models.transformers.transformer_sd3": _homes("SD3Transformer2DModel"),
    "models.unet_2d_condition": {**_homes("UNet2DConditionModel"), "UNet2DConditionOutput": "models.outputs"},
    "models.unets.unet_2d_condition": {**_homes("UNet2DConditionModel"), "UNet2DConditionOutput": "models.outputs"},
    "pipelines.auto_pipeline": _homes(
        "AutoPipelineForImage2Image", "AutoPipelineForInpainting", "AutoPipelineForText2Image"
    ),
    "pipelines.controlnet.multicontrolnet": _homes("MultiControlNetModel"),
    "pipelines.controlnet.pipeline_controlnet": _homes("StableDiffusionControlNetPipeline"),
    "pipelines.controlnet.pipeline_controlnet_img2img": _homes("StableDiffusionControlNetImg2ImgPipeline"),
    "pipelines.controlnet.pipeline_controlnet_inpaint": _homes("StableDiffusionControlNetInpaintPipeline"),
    "pipelines.controlnet.pipeline_controlnet_inpaint_sd_xl": _homes("StableDiffusionXLControlNetInpaintPipeline"),
    "pipelines.controlnet.pipeline_controlnet_sd_xl": _homes("StableDiffusionXLControlNetPipeline"),
    "pipelines.controlnet.pipeline_controlnet_sd_xl_img2img": _homes("StableDiffusionXLControlNetImg2ImgPipeline"),
    "pipelines.flux.pipeline_flux": _homes("FluxPipeline"),
    "pipelines.flux.pipeline_flux_img2img": _homes("FluxImg2ImgPipeline"),
    "pipelines.flux.pipeline_flux_inpaint": _homes("FluxInpaintPipeline"),
    "pipelines.flux.pipeline_output": {"FluxPipelineOutput": "pipelines.output:ImagePipelineOutput"},
    "pipelines.latent_consistency_models.pipeline_latent_consistency_text2img": _homes(
        "LatentConsistencyModelPipeline"
    ),
    "pipelines.pixart_alpha.pipeline_pixart_alpha": _homes("PixArtAlphaPipeline"),
    "pipelines.pixart_alpha.pipeline_pixart_sigma": _homes("PixArtSigmaPipeline"),
    "pipelines.sana.pipeline_output": {"SanaPipelineOutput": "pipelines.output:ImagePipelineOutput"},
    "pipelines.sana.pipeline_sana": _homes("SanaPipeline"),
    "pipelines.sana.pipeline_sana_sprint": _homes("SanaSprintPipeline"),
    "pipelines.sana.pipeline_sana_sprint_img2img": _homes("SanaSprintImg2ImgPipeline"),
    "pipelines.pipeline_utils": {**_homes("DiffusionPipeline"), "ImagePipelineOutput": "pipelines.output"},
    "pipelines.stable_diffusion.pipeline_output": {"StableDiffusionPipelineOutput": "pipelines.output"},
    "pipelines.stable_diffusion.pipeline_stable_diffusion": {
        **_homes("StableDiffusionPipeline"),
        "rescale_noise_cfg": "pipelines.loop",
    },
    "pipelines.stable_diffusion.pipeline_stable_diffusion_depth2img": _homes("StableDiffusionDepth2ImgPipeline"),
    "pipelines.stable_diffusion.pipeline_stable_diffusion_img2img": _homes("StableDiffusionImg2ImgPipeline"),
    "pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint": _homes("StableDiffusionInpaintPipeline"),
    "pipelines.stable_diffusion.pipeline_stable_diffusion_instruct_pix2pix": _homes(
        "StableDiffusionInstructPix2PixPipeline"
    ),
    "pipelines.stable_diffusion.safety_checker": _homes("StableDiffusionSafetyChecker"),
    "pipelines.stable_diffusion_3.pipeline_output": {
        "StableDiffusion3PipelineOutput": "pipelines.output:ImagePipelineOutput"
    },
    "pipelines.stable_diffusion_3.pipeline_stable_diffusion_3": _homes("StableDiffusion3Pipeline"),
    "pipelines.stable_diffusion_3.pipeline_stable_diffusion_3_img2img": _homes("StableDiffusion3Img2ImgPipeline"),
    "pipelines.stable_diffusion_3.pipeline_stable_diffusion_3_inpaint": _homes("StableDiffusion3InpaintPipeline"),
    "pipelines.stable_diffusion_xl.pipeline_output": {"StableDiffusionXLPipelineOutput": "pipelines.output"},
    "pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl": {
        **_homes("StableDiffusionXLPipeline"),
        "rescale_noise_cfg": "pipelines.loop",
    },
    "pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_img2img": _homes("StableDiffusionXLImg2ImgPipeline"),
    "pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_inpaint": _homes("StableDiffusionXLInpaintPipeline"),
    "pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_instruct_pix2pix": _homes(
        "StableDiffusionXLInstructPix2PixPipeline"
    ),
    "quantizers.quantization_config": _homes("GGUFQuantizationConfig"),
    "schedulers.scheduling_utils": {
        "AysSchedules": "schedulers.published",
        "KarrasDiffusionSchedulers": "schedulers.published",
        "SchedulerMixin": "schedulers.base:Scheduler",
        "SchedulerOutput": "schedulers.output",
    },
    "utils.loading_utils": {"load_image": "utils.images"},
    "utils.mindspore_utils": {"randn_tensor": "pipelines.published"},
    "utils.pil_utils": {"make_image_grid": "utils.images"},
    "utils.torch_utils": {"randn_tensor": "pipelines.published"},
    **{
        f"schedulers.{entry.published}": dict.fromkeys((name, *entry.exports), f"schedulers.{entry.file}")
        for name, entry in LIBRARY.items()
        if entry.published
    },
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
