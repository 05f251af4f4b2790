"""The published names of pipelines: each method and attribute that scripts know, forwarded to what does the work."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..acceleration.int8 import Int8Config
from ..adapters.image_prompts import IPAdapters
from ..adapters.loras import Loras
from ..adapters.words import Words
from ..engines import Array, Engine
from ..families import networks as networks  # which lets networks read single files, too
from ..families.components import SkippingDenoiser
from ..lazy import load
from ..loading.config import Config, read_generation_config
from ..loading.configurable import json_text, json_values, push_saved, save_values, split_config
from ..loading.dtypes import parse_dtype
from ..loading.hub import Source
from ..loading.hub_files import FileSource
from ..loading.save_weights import check_upload, require_safe
from ..loading.single_file import open_single_file
from ..loading.upload import upload_folder
from ..models.autoencoder import decode_images
from ..schedulers.arrays import Numbers
from ..schedulers.base import Generators, draw_noise
from ..utils.files import write_json
from ..utils.images import to_pil
from ..utils.nearest import nearest
from .absent import METHODS, take_meaningless
from .components import INDEX_NAME, component_classes, published_names
from .folders import check_keywords, load_folder, save_folder
from .from_file import index_of, load_components
from .image_processor import VaeImageProcessor
from .image_starts import image_processor
from .inpainting import mask_processor
from .loop import guidance_scale_embedding, step_options
from .pipeline import Pipeline, engine_of
from .published_unet import UNet2DConditionModel as UNet2DConditionModel  # with its published methods
from .safety import blacken_unsafe
from .spans import keep_from, keep_last

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..schedulers.calibrated import CalibratedMultistepScheduler


M = TypeVar("M")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def forwarded(
    name: str, manager: str, method: Callable[Concatenate[M, P], R]
) -> Callable[Concatenate[PublishedPipeline, P], R]:
    """The method of a pipeline that is a method of its attribute ``manager``, with its signature and docstring.

    Args:
        name: the pipeline's for it, for messages.
        manager: the attribute.
        method: the method there.
    """
    signature = inspect.signature(method)

    @wraps(method)
    def call(self: PublishedPipeline, /, *args: P.args, **options: P.kwargs) -> R:
        try:
            signature.bind(self, *args, **options)
        except TypeError as error:
            known = signature.parameters
            meant = next((nearest(each, known) for each in options if each not in known), "")
            raise TypeError(f"{type(self).__name__}.{name}: {error}{meant and f'; {meant}'}") from None
        return method(getattr(self, manager), *args, **options)

    return call


class OfRuns(Generic[T]):
    """An attribute of a pipeline that is a setting of its runs; see `loop.Runs` for which run.

    Args:
        name: its name in `loop.Settings`.
        about: what it is.
        changes: whether it may be set in the middle of a run.
    """

    def __init__(self, name: str, about: str, changes: bool = False):
        self.name, self.__doc__, self.changes = name, about, changes

    @overload
    def __get__(self, pipe: None, owner: type[Pipeline]) -> OfRuns[T]: ...
    @overload
    def __get__(self, pipe: Pipeline, owner: type[Pipeline]) -> T: ...
    def __get__(self, pipe: Pipeline | None, owner: type[Pipeline]) -> OfRuns[T] | T:
        if pipe is None:
            return self
        value: T = pipe.runs.read(self.name)
        return value

    def __set__(self, pipe: Pipeline, value: T) -> None:
        if not self.changes:
            raise AttributeError(f"{type(pipe).__name__}.{self.name} cannot be set: a run counts it itself")
        pipe.runs.write(self.name, value)


class PublishedPipeline(Pipeline):
    """A pipeline with its published names. What they do is done by the pipeline's parts and by functions."""

    config_name = INDEX_NAME
    ignore_for_config: ClassVar[list[str]] = []
    has_compatibles: ClassVar[bool] = False

    __call__: ClassVar[Callable[..., Any]]
    """What each class draws, with its own arguments."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            reason = f": {METHODS[name]}" if name in METHODS else ""
            raise AttributeError(f"{type(self).__name__} has no {name}{reason}", name=name, obj=self)

    def __repr__(self) -> str:
        parts = [f"  {name}: {type(component).__name__}" for name, component in self.components.items() if component]
        return "\n".join([f"{type(self).__name__} ({self.dtype}, engine {self.engine.name})", *parts])

    def __copy__(self) -> Self:
        return self.view()

    def __reduce__(self) -> str:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled or deep-copied: what is compiled for its networks belongs to "
            f"this process; load it anew there, with from_pretrained({self.name_or_path!r}), or use threads, which may "
            "share it; from_pipe makes another with the same networks"
        )

    @property
    def _callback_tensor_inputs(self) -> list[str]:
        """What a step callback may ask for, under the name that published scripts look it up by."""
        return list(self.callback_tensors)

    # ---- loading and saving ------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | os.PathLike[str],
        *,
        mindspore_dtype: object = None,
        use_safetensors: bool = True,
        variant: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        engine: Engine | str | None = None,
        quantization_config: Int8Config | None = None,
        **components: object,
    ) -> Self:
        """Load a pipeline from a folder in the published layout, a bundled checkpoint's name, or a hub id.

        Args:
            path_or_id: a folder with ``model_index.json``, ``icons`` and the like, or ``owner/name`` on the hub.
            mindspore_dtype: float32 (the default), float16 or bfloat16, as a MindSpore type or a string.
            use_safetensors: must be true; pickled checkpoints can run code and are not read.
            variant: ``"fp16"`` reads ``….fp16.safetensors``.
            revision, cache_dir, local_files_only, token: as in huggingface_hub.
            engine: ``"auto"``, ``"openvino"`` or ``"mindspore"``; None asks the environment variable MINDONE_ENGINE.
            quantization_config: `Int8Config()` brings the denoising network, or what else it names, to int8 while
                loading, which draws a few prompts; an int8 checkpoint's folder needs none.
            components: components (``vae=…``, ``scheduler=…``) to use instead of the checkpoint's, which are then not
                loaded; ``safety_checker=None`` goes without. Also the pipeline's own settings.

        Raises:
            ValueError: a wrong argument, an unknown class, or a broken file.
            FileNotFoundError: no such checkpoint, or a part of it is missing.
        """
        _require_safetensors(use_safetensors)
        dtype = parse_dtype(mindspore_dtype)
        components = take_meaningless(components)
        check_keywords(cls, components)
        source = Source(path_or_id, revision, cache_dir, local_files_only, token)
        pipe = load_folder(cls, source, dtype, variant, engine_of(engine), quantization_config, components)
        pipe.name_or_path = os.fspath(path_or_id)
        return pipe

    @classmethod
    def from_single_file(
        cls,
        path_or_address: str | os.PathLike[str],
        *,
        mindspore_dtype: object = None,
        config: str | os.PathLike[str] | None = None,
        original_config: str | os.PathLike[str] | None = None,
        prediction_type: str | None = None,
        scaling_factor: float | None = None,
        extract_ema: bool = False,
        use_safetensors: bool = True,
        variant: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        engine: Engine | str | None = None,
        **components: object,
    ) -> Self:
        """Load a pipeline from one ``.safetensors`` file in the original layout, as model-sharing sites have them.

        The architecture is read off the tensors' names and shapes; without a safety checker, which no such file has.

        Args:
            path_or_address: the file, or its address on the hub such as
                ``https://huggingface.co/owner/name/blob/main/file.safetensors``.
            mindspore_dtype, engine, use_safetensors, cache_dir, local_files_only, token: as in ``from_pretrained``.
            config: a folder, a bundled checkpoint's name, or a hub id, whose configs and tokenizers replace what the
                file's tensors tell.
            original_config, prediction_type, scaling_factor, extract_ema: what the file leaves open; see
                `loading.single_file.open_single_file`.
            variant: taken for published scripts, and without meaning: the path says which file it is.
            revision: which branch, tag or commit of ``config`` on the hub.
            components: components to use instead of the file's, or because it has none: files of a denoiser alone, or
                without an autoencoder, are published, too. The tokenizer of a text encoder that is given is CLIP's.

        Raises:
            ValueError: a wrong argument, a pickle, or an architecture that is not known (its tensors are named).
            FileNotFoundError: no such file.
        """
        _require_safetensors(use_safetensors)
        dtype = parse_dtype(mindspore_dtype)
        check_keywords(cls, components, "from_single_file")
        chosen_engine = engine_of(engine)
        file = FileSource(path_or_address, None, cache_dir, local_files_only, token).only_file()
        folder = None if config is None else Source(config, revision, cache_dir, local_files_only, token).configs()
        single = open_single_file(
            file,
            config=folder,
            original_config=original_config,
            prediction_type=prediction_type,
            scaling_factor=scaling_factor,
            extract_ema=extract_ema,
        )
        index = index_of(single, components)
        pipeline, classes = cls.plan(index, components)
        check_keywords(pipeline, components, "from_single_file")
        loaded = load_components(single, pipeline, classes, dtype, components)
        settings = {name: index.get(name, default) for name, default in pipeline.config_defaults.items()}
        pipe = pipeline(**{**settings, **loaded, **components}, engine=chosen_engine)
        if single.config_folder is not None:
            pipe.generation_config = read_generation_config(single.config_folder)
        return pipe

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
        **upload: Any,
    ) -> None:
        """Write the pipeline to a folder in the published layout, which diffusers loads as well.

        Args:
            save_directory: the folder, which is made when missing.
            safe_serialization: must be true; pickle files are not written.
            variant: ``"fp16"`` names the networks' files ``….fp16.safetensors``; it converts nothing.
            max_shard_size: how much of a network goes into one file, such as ``"2GB"``.
            push_to_hub, upload: as in `save_config`.

        Raises:
            ValueError: an argument that cannot be honoured, or a component that cannot be saved.
        """
        require_safe(safe_serialization)
        check_upload(upload)
        root = Path(save_directory)
        save_folder(self, root, variant, max_shard_size)
        if push_to_hub:
            upload_folder(root, upload.pop("repo_id", root.name), **upload)

    # ---- what it is made of --------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """The content of ``model_index.json``: the pipeline's own settings, and library and class of each component."""
        parts = {name: tuple(published_names(component)) for name, component in self.components.items()}
        entries = {"_class_name": type(self).__name__, **self.own_settings, **parts}
        return Config(entries, _name_or_path=self.name_or_path)

    def register_to_config(self, **values: object) -> None:
        """Change settings of the pipeline's own, such as ``requires_safety_checker``.

        Raises:
            ValueError: it has no such setting.
        """
        if unknown := [name for name in values if name not in self.own_settings]:
            known = ", ".join(self.own_settings)
            raise ValueError(f"{type(self).__name__} has no setting {', '.join(unknown)}; it has {known}")
        self.own_settings = Config(self.own_settings, values)

    def register_modules(self, **components: object) -> None:
        """Replace components: ``pipe.register_modules(vae=vae)`` is ``pipe.vae = vae``.

        Raises:
            ValueError: it has no such component.
        """
        if unknown := [name for name in components if name not in self.components]:
            known = ", ".join(self.components)
            raise ValueError(f"{type(self).__name__} has no component {', '.join(unknown)}; it has {known}")
        for name, component in components.items():
            setattr(self, name, component)

    @classmethod
    def from_pipe(cls, pipeline: PublishedPipeline, **components: object) -> Self:
        """A pipeline of this class with the components of another one, which both then share, and with its switches.

        Args:
            pipeline: the other one.
            components: components, and settings, that replace its own.
        """
        mine: Mapping[str, Any] = {**pipeline.components, **pipeline.own_settings}
        taken = {name: value for name, value in mine.items() if name in cls.keywords()}
        made = cls(**{**taken, **components}, engine=pipeline.engine)
        made.generation_config, made.caches = pipeline.generation_config, pipeline.caches
        made.offloads, made._progress_bar_options = pipeline.offloads, pipeline._progress_bar_options
        return made

    @classmethod
    def load_config(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        return_unused_kwargs: bool = False,
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **unused: object,
    ) -> object:
        """The content of ``model_index.json``; the arguments are those of `Configurable.load_config`."""
        index = Source(pretrained_model_name_or_path, revision, cache_dir, local_files_only, token).index()
        if unused and not return_unused_kwargs:
            raise ValueError(f"load_config takes no {', '.join(unused)}; return_unused_kwargs=True gives them back")
        return (index, unused) if return_unused_kwargs else index

    get_config_dict = load_config

    def to_json_string(self) -> str:
        """The content of ``model_index.json`` as text."""
        return json_text(self.config)

    def to_json_file(self, json_file_path: str | os.PathLike[str]) -> None:
        """Write ``model_index.json`` alone to a file."""
        write_json(json_file_path, json_values(self.config))

    def save_config(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **upload: Any) -> None:
        """Write ``model_index.json`` alone into a folder; the arguments are those of `Configurable.save_config`."""
        save_values(json_values(self.config), Path(save_directory) / INDEX_NAME, push_to_hub, **upload)

    def push_to_hub(self, repo_id: str, **upload: Any) -> str:
        """Upload what `save_pretrained` writes; the arguments are those of `Configurable.push_to_hub`."""
        return push_saved(self.save_pretrained, repo_id, **upload)

    @classmethod
    def extract_init_dict(
        cls, config_dict: Mapping[str, Any], **overrides: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """What of ``model_index.json`` the constructor takes, overrides that it does not, and the other entries."""
        return split_config(cls.keywords(), config_dict, overrides)

    @classmethod
    def download(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        *,
        variant: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> str:
        """Fetch a checkpoint from the hub without loading it; returns the folder. Arguments as in `from_pretrained`."""
        source = Source(pretrained_model_name, revision, cache_dir, local_files_only, token)
        classes = component_classes(source.index(), cls.required_components, cls.optional_components)
        return str(source.pipeline(classes, variant))

    # ---- where and in what it computes ---------------------------------------------------------------------------

    @property
    def device(self) -> str:
        """Where the networks run: "cpu" or "npu"."""
        return self.denoiser.device

    def to(self, *where: object, dtype: object = None, device: object = None) -> Self:
        """Compute in another type from now on, ``pipe.to(ms.float16)``; see `PublishedModel.to`. Returns the pipeline.

        Raises:
            ValueError: a device other than the one that this process runs on, or a type that no network computes in.
        """
        for network in self.networks:
            network.to(*where, dtype=dtype, device=device)
        return self

    # ---- adapters ------------------------------------------------------------------------------------------------

    load_lora_weights = forwarded("load_lora_weights", "loras", Loras.load)
    unload_lora_weights = forwarded("unload_lora_weights", "loras", Loras.unload)
    set_adapters = forwarded("set_adapters", "loras", Loras.set_active)
    get_active_adapters = forwarded("get_active_adapters", "loras", Loras.get_active)
    get_list_adapters = forwarded("get_list_adapters", "loras", Loras.get_list)
    delete_adapters = forwarded("delete_adapters", "loras", Loras.delete)
    enable_lora = forwarded("enable_lora", "loras", Loras.enable)
    disable_lora = forwarded("disable_lora", "loras", Loras.disable)
    fuse_lora = forwarded("fuse_lora", "loras", Loras.fuse)
    unfuse_lora = forwarded("unfuse_lora", "loras", Loras.unfuse)
    lora_weights = forwarded("lora_weights", "loras", Loras.weighted)

    load_textual_inversion = forwarded("load_textual_inversion", "words", Words.load)
    unload_textual_inversion = forwarded("unload_textual_inversion", "words", Words.unload)
    maybe_convert_prompt = forwarded("maybe_convert_prompt", "words", Words.spelled_out)

    load_ip_adapter = forwarded("load_ip_adapter", "image_prompts", IPAdapters.load)
    unload_ip_adapter = forwarded("unload_ip_adapter", "image_prompts", IPAdapters.unload)
    set_ip_adapter_scale = forwarded("set_ip_adapter_scale", "image_prompts", IPAdapters.set_scale)
    encode_image = forwarded("encode_image", "image_prompts", IPAdapters.encode_image)
    prepare_ip_adapter_image_embeds = forwarded("prepare_ip_adapter_image_embeds", "image_prompts", IPAdapters.embeds)

    @property
    def fused_loras(self) -> set[str]:
        """The names of the adapters that are fused."""
        return self.loras.fused

    @property
    def num_fused_loras(self) -> int:
        """How many adapters are fused."""
        return len(self.loras.fused)

    # ---- speed -----------------------------------------------------------------------------------------------------

    @property
    def profile(self) -> Any | None:
        """The profile that is on."""
        return None if self.applied is None else self.applied.profile

    def apply_profile(self, profile: Any) -> None:
        """Use the settings of a profile from now on, in place of those of an earlier one; None goes back to none.

        Components that the profile replaces come back as they were before it. Calls may still name their own
        ``num_inference_steps`` and ``guidance_interval``. A profile that was measured for other weights, another
        machine or another size is used with a line of warning.

        Args:
            profile: what `Front.at` gives, a ``.json`` file, or the name of one that was saved for this checkpoint.

        Raises:
            ValueError, OSError: the profile cannot be read, or needs what is not there; then none is on.
        """
        load(".jobs.wear:apply_profile")(self, profile)

    def tune(self, prompts: list[str] | None = None, budget_seconds: float = 300.0, **options: Any) -> Any:
        """Measure this machine and this checkpoint, and find what each speed costs in likeness.

        Args:
            prompts: what to draw; some that come with the package by default.
            budget_seconds: how long to search.
            options: ``height``, ``width``, ``tiny_vae``, ``distilled``, ``seed``, ``progress``; see
                `tune.pipeline.tune`.

        Returns:
            A `Front`; ``front.at(speed_up=4)`` is a profile for `apply_profile`.

        Raises:
            ValueError: an argument that cannot be, or a budget that is too small for the reference images.
        """
        return load(".tune.pipeline:tune")(self, prompts, budget_seconds, **options)

    def calibrated_scheduler(
        self, num_inference_steps: int, prompts: list[str] | None = None, **options: Any
    ) -> CalibratedMultistepScheduler:
        """A scheduler for so few steps of this pipeline, with weights that were fitted to a long run of it.

        Args:
            num_inference_steps: how many steps the scheduler is for, from 2.
            prompts: what to draw for it, once in many steps; two that come with the package by default.
            options: ``last_timestep``, ``reference_steps``, ``seed``, and arguments of the pipeline's calls; see
                `acceleration.calibration.calibrated_scheduler`.

        Raises:
            ValueError: fewer than two steps, or an argument that cannot be.
        """
        from ..acceleration.calibration import PROMPTS, calibrated_scheduler

        return calibrated_scheduler(self, num_inference_steps, prompts or PROMPTS, **options)

    # ---- attention -----------------------------------------------------------------------------------------------

    def enable_attention_slicing(self, slice_size: str | int | None = "auto") -> None:
        """Taken for published scripts, and without effect: attention never holds all its weights at once here.

        A CPU computes it piece by piece anyway, an Ascend device with its memory-efficient kernel.
        """

    def disable_attention_slicing(self) -> None:
        """Without effect; see `enable_attention_slicing`."""

    def set_attention_slice(self, slice_size: str | int | None) -> None:
        """Without effect; see `enable_attention_slicing`."""

    def enable_xformers_memory_efficient_attention(self, attention_op: object = None) -> None:
        """Use an Ascend device's memory-efficient attention kernel in every network, as `enable_flash_sdp`."""
        self.set_use_memory_efficient_attention_xformers(True, attention_op)

    def disable_xformers_memory_efficient_attention(self) -> None:
        """Use plain attention, as ``enable_flash_sdp(False)``."""
        self.set_use_memory_efficient_attention_xformers(False)

    def set_use_memory_efficient_attention_xformers(self, valid: bool, attention_op: object = None) -> None:
        """One of the two above, in every network."""
        for network in self.networks:
            network.set_use_memory_efficient_attention_xformers(valid, attention_op)

    def release(self) -> None:
        """Drop everything that was compiled, and give its memory back to the system; a later call compiles again."""
        for network in self.networks:
            network.release()

    def set_compiled_limit(self, limit: int) -> None:
        """Keep at most ``limit`` compiled graphs per network, the last used ones (at first 4).

        Each size of image, number of images, and use of guidance is a graph of its own, with a packed copy of the
        network's weights.
        """
        for network in self.networks:
            network.graphs.limit = limit

    # ---- switches ------------------------------------------------------------------------------------------------

    def enable_model_cpu_offload(self) -> None:
        """Hold one network's compiled form at a time: less memory, but each image compiles all of them again.

        What runs side by side in several threads disturbs each other; use it with one.
        """
        self.offloads = True

    def disable_model_cpu_offload(self) -> None:
        """Keep what was compiled for the next image."""
        self.offloads = False

    def set_progress_bar_config(self, **options: Any) -> None:
        """Options of the bar that a call draws: ``disable=True``, ``desc="…"``, and tqdm's others."""
        self._progress_bar_options = options

    def enable_vae_slicing(self) -> None:
        """Decode a batch one image at a time: less memory."""
        self.vae.enable_slicing()

    def disable_vae_slicing(self) -> None:
        """Decode a batch in one go."""
        self.vae.disable_slicing()

    def enable_vae_tiling(self) -> None:
        """Decode big images in overlapping tiles: much less memory."""
        self.vae.enable_tiling()

    def disable_vae_tiling(self) -> None:
        """Decode images in one piece."""
        self.vae.disable_tiling()

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """Let the denoiser listen less to its skip connections: more contrast and detail; see `FreeU`."""
        self._skipping.enable_freeu(s1, s2, b1, b2)

    def disable_freeu(self) -> None:
        """Go without FreeU again."""
        self._skipping.disable_freeu()

    @property
    def _skipping(self) -> SkippingDenoiser:
        denoiser: SkippingDenoiser = self.components[self.family.denoiser]
        if not hasattr(denoiser, "enable_freeu"):
            raise ValueError(f"FreeU changes skip connections, and {type(denoiser).__name__} has none; go without it")
        return denoiser

    def enable_flash_sdp(self, enabled: bool = True) -> None:
        """Use an Ascend device's memory-efficient attention kernel in every network, or not. On at first."""
        for network in self.networks:
            network.enable_flash_sdp(enabled)

    def set_flash_attention_force_cast_dtype(self, force_cast_dtype: object) -> None:
        """What inputs that the memory-efficient attention kernel does not take are cast to; None: plain attention."""
        for network in self.networks:
            network.set_flash_attention_force_cast_dtype(force_cast_dtype)

    # ---- what callbacks look at and change -----------------------------------------------------------------------

    guidance_scale = OfRuns[float](
        "guidance_scale", "The weight of the prompt: w of Imagen (Saharia et al. 2022), eq. 2.", changes=True
    )
    guidance_rescale = OfRuns[float](
        "guidance_rescale", "φ of Common Diffusion Noise Schedules (Lin et al. 2023), eq. 16.", changes=True
    )
    image_guidance_scale = OfRuns[float | None](
        "image_guidance_scale", "The weight of the picture that is edited; None where none is.", changes=True
    )
    interrupt = OfRuns[bool](
        "interrupt", "Set to True it skips the steps that remain; the latents so far are decoded.", changes=True
    )
    num_timesteps = OfRuns[int]("num_timesteps", "How many timesteps the run visits, each with a call of the network.")
    num_inference_steps = OfRuns[int](
        "num_inference_steps", "How many steps the run has as its user counts them: some schedulers visit more."
    )
    steps_done = OfRuns[int]("steps_done", "How many of them are done.")
    clip_skip = OfRuns[int | None]("clip_skip", "How many of the text encoder's last layers the run leaves out.")
    cross_attention_kwargs = OfRuns[Mapping[str, object] | None](
        "cross_attention_kwargs", "What the run passes to adapters."
    )
    denoising_start = OfRuns[float | None](
        "denoising_start", "The part of the way that another pipeline has behind it; None where the run begins anew."
    )
    denoising_end = OfRuns[float | None](
        "denoising_end", "The part of the way after which the run stops, for another pipeline to go on."
    )
    pred_original_sample = OfRuns[Array](
        "pred_original_sample", "The scheduler's estimate of the clean latents after the last step, for previews."
    )
    # The spellings that published callbacks set.
    _guidance_scale = guidance_scale
    _guidance_rescale = guidance_rescale
    _image_guidance_scale = image_guidance_scale
    _interrupt = interrupt

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether steps are guided, by running the network without and with the prompt."""
        run = self.runs.own()
        return run is not None and run.do_classifier_free_guidance

    @property
    def image_processor(self) -> VaeImageProcessor:
        """What turns pictures into what the autoencoder takes."""
        return image_processor(self)

    @property
    def mask_processor(self) -> VaeImageProcessor:
        """What turns masks into zeros and ones."""
        return mask_processor(self)

    # ---- the steps of a call, for scripts with a loop of their own -----------------------------------------------

    def prepare_latents(
        self,
        batch_size: int,
        num_channels_latents: int,
        height: int,
        width: int,
        dtype: object = None,
        device: object = None,
        generator: Generators = None,
        latents: Array | None = None,
    ) -> Array:
        """The noise that a run begins with, for images of ``height`` × ``width`` pixels.

        ``dtype`` and ``device`` are taken for published scripts: what schedulers compute with is float32, where the
        engine has it. Call ``scheduler.set_timesteps`` first.
        """
        factor = self.vae_scale_factor
        shape = (batch_size, num_channels_latents, height // factor, width // factor)
        noise = draw_noise(np.empty(shape, np.float32), generator) if latents is None else latents
        return self.engine.asarray(noise) * float(self.scheduler.init_noise_sigma)

    def get_timesteps(
        self,
        num_inference_steps: int,
        strength: float,
        device: object = None,
        denoising_start: float | None = None,
    ) -> tuple[Numbers, int]:
        """The steps that remain of those of ``scheduler.set_timesteps``, for scripts with a loop of their own.

        The scheduler begins there. ``device`` is taken for published scripts, and not needed.

        Args:
            num_inference_steps: how many steps were laid out.
            strength: the part of them that remains, above 0 to 1.
            denoising_start: the part of the way that lies behind instead, from 0 to 1.

        Returns:
            The timesteps, and how many steps they are.

        Raises:
            ValueError: none remains.
        """
        with self.begin(None) as run:
            every = run.scheduler.timesteps
            run.use_timesteps(every, num_inference_steps)
            if denoising_start is None:
                keep_last(run, strength)
            else:
                keep_from(run, denoising_start)
            self.scheduler.set_begin_index(len(every) - len(run.timesteps))
            return run.timesteps, run.num_inference_steps

    def prepare_extra_step_kwargs(self, generator: Generators, eta: float) -> dict[str, Any]:
        """What the scheduler's ``step`` takes of these."""
        return step_options(self.scheduler, eta, generator)

    def get_guidance_scale_embedding(
        self, w: Array | float, embedding_dim: int = 512, dtype: object = None
    ) -> NDArray[np.float32]:
        """How guidance-distilled networks are told guidance scales, (scales, embedding_dim).

        ``w`` is the scale less one, a number or several; ``dtype`` is taken for published scripts, the result float32.
        """
        scales = np.reshape(w.asnumpy() if hasattr(w, "asnumpy") else w, (-1,))
        return np.concatenate([guidance_scale_embedding(float(scale) + 1, embedding_dim, 1) for scale in scales])

    def decode_latents(self, latents: Array) -> NDArray[np.float32]:
        """Latents of unit variance to images in [0, 1], float32 (images, height, width, 3)."""
        return decode_images(self.engine, self.vae, latents)

    def run_safety_checker(
        self, image: NDArray[np.float32], device: object = None, dtype: object = None
    ) -> tuple[NDArray[np.float32], list[bool] | None]:
        """Images in [0, 1] with the unsuitable ones black, and one verdict per image; None without a checker.

        ``device`` and ``dtype`` are taken for published scripts, and not needed.
        """
        checker = self.components.get("safety_checker")
        if checker is None:
            return image, None
        return blacken_unsafe(self.engine, checker, self.components["feature_extractor"], image)

    @staticmethod
    def numpy_to_pil(images: NDArray[np.float32]) -> list[Image.Image]:
        """PIL images of float arrays in [0, 1], (images, height, width, 3) or one (height, width, 3)."""
        return to_pil(images[None] if images.ndim == 3 else images)


def randn_tensor(
    shape: Sequence[int],
    generator: Generators = None,
    device: object = None,
    dtype: object = None,
    layout: object = None,
) -> NDArray[np.float16 | np.float32]:
    """Standard normal noise under its published name, as latents or a scheduler's noise are drawn here.

    Args:
        shape: of the array, the first axis the batch.
        generator: a NumPy generator, a list with one for each row, or None for fresh noise.
        device, layout: taken for published scripts, and not needed.
        dtype: "float16" makes the array float16; it is float32 otherwise.

    Raises:
        ValueError: a list of another length than the batch.
    """
    narrow = dtype is not None and parse_dtype(dtype) == "float16"
    like = np.empty(tuple(shape), np.float16 if narrow else np.float32)
    return np.asarray(draw_noise(like, generator))


def _require_safetensors(use_safetensors: bool) -> None:
    if not use_safetensors:
        raise ValueError("use_safetensors must be True: pickle files are not read; convert them to safetensors")


for _name, _method in vars(PublishedPipeline).items():
    if hasattr(_method, "__wrapped__"):
        _method.__name__, _method.__qualname__ = _name, f"{PublishedPipeline.__name__}.{_name}"
