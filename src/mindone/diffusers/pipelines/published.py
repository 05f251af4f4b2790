"""The published names of pipelines: each method and attribute that scripts use, forwarded to what does the work."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..acceleration.int8 import Int8Config
from ..acceleration.weights import WeightOnlyConfig
from ..adapters.image_prompts import IPAdapters
from ..adapters.loras import Loras
from ..adapters.words import Words
from ..engines import Array, Engine
from ..families import networks as networks  # this also lets networks read single files
from ..families.components import SkippingDenoiser
from ..families.files import open_single_file
from ..lazy import load
from ..loading.config import Config, read_generation_config
from ..loading.configurable import json_text, json_values, push_saved, save_values, split_config
from ..loading.dtypes import parse_dtype
from ..loading.hub import Source
from ..loading.hub_files import file_and_configs
from ..loading.save_weights import check_upload, require_safe
from ..loading.upload import upload_folder
from ..models.autoencoder import decode_images
from ..schedulers.arrays import Numbers
from ..schedulers.base import Generators, draw_noise
from ..utils.files import folder_to_write, write_json
from ..utils.images import to_pil
from ..utils.nearest import nearest
from ..utils.printable import shown
from .absent import METHODS, take_meaningless
from .components import INDEX_NAME, component_classes, published_names
from .folders import check_keywords, load_folder, save_folder
from .from_file import index_of, load_components
from .image_processor import VaeImageProcessor
from .image_starts import image_processor
from .inpainting import mask_processor
from .loop import guidance_scale_embedding, step_options
from .pipeline import Pipeline, engine_of
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
    """A pipeline's method that forwards to its attribute ``manager``, with that method's signature and docstring.

    Args:
        name: its name in the pipeline, for messages.
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
    """An attribute of a pipeline that reads a setting of its runs; see `loop.Runs` for which run.

    Args:
        name: its name in `loop.Settings`.
        about: its docstring.
        changes: whether it can be set in the middle of a run.
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
            raise AttributeError(f"{type(pipe).__name__}.{self.name} cannot be set: a run counts it")
        pipe.runs.write(self.name, value)


class PublishedPipeline(Pipeline):
    """A pipeline with its published names; the pipeline's parts and functions do the work."""

    config_name = INDEX_NAME
    ignore_for_config: ClassVar[list[str]] = []
    has_compatibles: ClassVar[bool] = False

    __call__: ClassVar[Callable[..., Any]]
    """Generates images; each class has its own arguments."""

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
            f"a {type(self).__name__} cannot be pickled or deep-copied: its compiled networks belong to this "
            f"process; load it again there, with from_pretrained({self.name_or_path!r}), or use threads, which may "
            "share it; from_pipe makes another with the same networks"
        )

    @property
    def _callback_tensor_inputs(self) -> list[str]:
        """The tensors of step callbacks, under the name that published scripts use."""
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
        quantization_config: Int8Config | WeightOnlyConfig | None = None,
        **components: object,
    ) -> Self:
        """Load a pipeline from a folder in the published layout, a bundled checkpoint's name, or a hub id.

        Args:
            path_or_id: a folder with ``model_index.json``, ``icons`` and the like, or ``owner/name`` on the hub.
            mindspore_dtype: float32 (the default), float16 or bfloat16, as a MindSpore type or a string.
            use_safetensors: must be true; pickled checkpoints can run code and are not read.
            variant: ``"fp16"`` reads ``….fp16.safetensors`` of every network that has such a file; one at least must.
            revision, cache_dir, local_files_only, token: as in huggingface_hub.
            engine: ``"auto"``, ``"openvino"`` or ``"mindspore"``; None reads the environment variable MINDONE_ENGINE.
            quantization_config: `Int8Config()` converts the denoising network, or the networks it names, to int8 while
                loading, which generates a few prompts; `WeightOnlyConfig()` rounds its weights and those of the text
                encoders to 4 bits and generates nothing. The folder of a quantised checkpoint needs none.
            components: components (``vae=…``, ``scheduler=…``) to use instead of the checkpoint's, which are then not
                loaded; ``safety_checker=None`` loads without one. Also the pipeline's own settings.

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
        """Load a pipeline from one ``.safetensors`` file in the original layout, as on model-sharing sites.

        The tensors' names and shapes give the architecture. There is no safety checker, because such files have none.

        Args:
            path_or_address: the file, or its address on the hub such as
                ``https://huggingface.co/owner/name/blob/main/file.safetensors``.
            mindspore_dtype, engine, use_safetensors, cache_dir, local_files_only, token: as in ``from_pretrained``.
            config: a folder, a bundled checkpoint's name, or a hub id, whose configs and tokenizers replace those
                derived from the file's tensors.
            original_config, prediction_type, scaling_factor, extract_ema: facts that the file does not give; see
                `loading.single_file.open_single_file`.
            variant: accepted for published scripts and ignored: the path names the file.
            revision: the branch, tag or commit of ``config`` on the hub; without one, that in the address.
            components: components to use instead of the file's, or that it lacks: some files hold only a denoiser, or
                no autoencoder. A given text encoder uses CLIP's tokenizer.

        Raises:
            ValueError: a wrong argument, a pickle, or an unknown architecture (the message names its tensors).
            FileNotFoundError: no such file.
        """
        _require_safetensors(use_safetensors)
        dtype = parse_dtype(mindspore_dtype)
        check_keywords(cls, components, "from_single_file")
        chosen_engine = engine_of(engine)
        file, folder = file_and_configs(path_or_address, config, revision, cache_dir, local_files_only, token)
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
            save_directory: the folder, created if missing.
            safe_serialization: must be true; pickle files are not written.
            variant: ``"fp16"`` names the networks' files ``….fp16.safetensors``; it converts nothing.
            max_shard_size: the most of a network to put into one file, such as ``"2GB"``.
            push_to_hub, upload: as in `save_config`.

        Raises:
            ValueError: an argument cannot be honoured, or a component cannot be saved.
        """
        require_safe(safe_serialization)
        check_upload(upload)
        root = folder_to_write(save_directory)
        save_folder(self, root, variant, max_shard_size)
        if push_to_hub:
            upload_folder(root, upload.pop("repo_id", root.name), **upload)

    # ---- what it is made of --------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """The content of ``model_index.json``: the pipeline's settings, and library and class of each component."""
        parts = {name: tuple(published_names(component)) for name, component in self.components.items()}
        entries = {"_class_name": type(self).__name__, **self.own_settings, **parts}
        return Config(entries, _name_or_path=self.name_or_path)

    def register_to_config(self, **values: object) -> None:
        """Change the pipeline's settings, such as ``requires_safety_checker``.

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
        """A pipeline of this class with the components and switches of another one; both then share the components.

        Args:
            pipeline: the other pipeline.
            components: components and settings that replace its own.
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
            raise ValueError(f"load_config takes no {', '.join(unused)}; return_unused_kwargs=True returns them")
        return (index, unused) if return_unused_kwargs else index

    get_config_dict = load_config

    def to_json_string(self) -> str:
        """The content of ``model_index.json`` as text."""
        return json_text(self.config)

    def to_json_file(self, json_file_path: str | os.PathLike[str]) -> None:
        """Write only ``model_index.json``, to a file."""
        write_json(json_file_path, json_values(self.config))

    def save_config(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **upload: Any) -> None:
        """Write only ``model_index.json``, into a folder; the arguments are those of `Configurable.save_config`."""
        save_values(json_values(self.config), save_directory, INDEX_NAME, push_to_hub, **upload)

    def push_to_hub(self, repo_id: str, **upload: Any) -> str:
        """Upload the files of `save_pretrained`; the arguments are those of `Configurable.push_to_hub`."""
        return push_saved(self.save_pretrained, repo_id, **upload)

    @classmethod
    def extract_init_dict(
        cls, config_dict: Mapping[str, Any], **overrides: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """The entries of ``model_index.json`` for the constructor, unknown overrides, and other entries."""
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
        """Download a checkpoint from the hub without loading it; returns the folder. Arguments: `from_pretrained`."""
        source = Source(pretrained_model_name, revision, cache_dir, local_files_only, token)
        classes = component_classes(source.index(), cls.required_components, cls.optional_components)
        return str(source.pipeline(classes, variant))

    # ---- device and dtype ----------------------------------------------------------------------------------------

    @property
    def device(self) -> str:
        """The device of the networks: "cpu" or "npu"."""
        return self.denoiser.device

    def to(self, *where: object, dtype: object = None, device: object = None, **others: object) -> Self:
        """Compute in another dtype from now on, ``pipe.to(ms.float16)``; see `PublishedModel.to`. Returns the pipeline.

        Raises:
            ValueError: a device other than this process's, or a dtype that no network supports.
        """
        for network in self.networks:
            network.to(*where, dtype=dtype, device=device, **others)
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
        """The names of the fused adapters."""
        return self.loras.fused

    @property
    def num_fused_loras(self) -> int:
        """The number of fused adapters."""
        return len(self.loras.fused)

    # ---- speed -----------------------------------------------------------------------------------------------------

    @property
    def profile(self) -> Any | None:
        """The applied profile."""
        return None if self.applied is None else self.applied.profile

    def apply_profile(self, profile: Any) -> None:
        """Apply a profile's settings from now on, replacing an earlier profile; None removes it.

        Removing it restores the components that it replaced. Calls may still set their own ``num_inference_steps`` and
        ``guidance_interval``. A profile measured for other weights, another machine or another size is applied with a
        one-line warning.

        Args:
            profile: the result of `Front.at`, a ``.json`` file, or the name of a profile saved for this checkpoint.

        Raises:
            ValueError, OSError: the profile cannot be read, or needs something that is missing; then none is applied.
        """
        load(".jobs.applied:apply_profile")(self, profile)

    def tune(self, prompts: list[str] | None = None, budget_seconds: float = 300.0, **options: Any) -> Any:
        """Measure this machine and this checkpoint, and find the Pareto front of speed and quality.

        Args:
            prompts: what to generate; by default some bundled prompts.
            budget_seconds: how long to search.
            options: ``height``, ``width``, ``tiny_vae``, ``distilled``, ``seed``, ``progress``; see
                `tune.pipeline.tune`.

        Returns:
            A `Front`; ``front.at(speed_up=4)`` is a profile for `apply_profile`.

        Raises:
            ValueError: an argument is wrong, or the budget is too small for the reference images.
        """
        return load(".tune.pipeline:tune")(self, prompts, budget_seconds, **options)

    def calibrated_scheduler(
        self, num_inference_steps: int, prompts: list[str] | None = None, **options: Any
    ) -> CalibratedMultistepScheduler:
        """A scheduler for a few steps of this pipeline, with weights fitted to a long run of it.

        Args:
            num_inference_steps: the scheduler's number of steps, at least 2.
            prompts: what to generate for it, once in many steps; by default two bundled prompts.
            options: ``last_timestep``, ``reference_steps``, ``seed``, and arguments of the pipeline's calls; see
                `acceleration.calibration.calibrated_scheduler`.

        Raises:
            ValueError: fewer than two steps, or an argument is wrong.
        """
        from ..acceleration.calibration import PROMPTS, calibrated_scheduler

        return calibrated_scheduler(self, num_inference_steps, prompts or PROMPTS, **options)

    # ---- attention -----------------------------------------------------------------------------------------------

    def enable_attention_slicing(self, slice_size: str | int | None = "auto") -> None:
        """Accepted for published scripts, without effect: attention here never holds all its weights at once.

        A CPU computes it piece by piece anyway, and an Ascend device uses its memory-efficient kernel.
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
        """Choose between the two, in every network."""
        for network in self.networks:
            network.set_use_memory_efficient_attention_xformers(valid, attention_op)

    def release(self) -> None:
        """Drop everything compiled and return its memory to the system; a later call compiles again."""
        for network in self.networks:
            network.release()

    def set_compiled_limit(self, limit: int) -> None:
        """Keep at most ``limit`` compiled graphs per network, the most recently used ones (4 by default).

        Each image size, number of images, and use of guidance has its own graph, with a packed copy of the network's
        weights.
        """
        for network in self.networks:
            network.graphs.limit = limit

    # ---- switches ------------------------------------------------------------------------------------------------

    def enable_model_cpu_offload(self, gpu_id: int | None = None, device: object = None) -> None:
        """Hold one network's compiled form at a time: less memory, but each image compiles all of them again.

        Concurrent runs in several threads would interfere with each other; use it with one thread.

        Raises:
            ValueError: ``gpu_id`` or ``device``, which the reference has, is given; see `device`.
        """
        for name, value in (("gpu_id", gpu_id), ("device", device)):
            if value is not None:
                raise ValueError(f"{name}={shown(value)}: all networks run on the process's device; leave {name} out")
        self.offloads = True

    def disable_model_cpu_offload(self) -> None:
        """Keep compiled networks for the next image."""
        self.offloads = False

    def set_progress_bar_config(self, **options: Any) -> None:
        """Options of a call's progress bar: ``disable=True``, ``desc="…"``, and tqdm's others."""
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
        """Weaken the denoiser's skip connections for more contrast and detail; see `FreeU`."""
        self._skipping.enable_freeu(s1, s2, b1, b2)

    def disable_freeu(self) -> None:
        """Disable FreeU."""
        self._skipping.disable_freeu()

    @property
    def _skipping(self) -> SkippingDenoiser:
        denoiser: SkippingDenoiser = self.components[self.family.denoiser]
        if not hasattr(denoiser, "enable_freeu"):
            raise ValueError(f"FreeU changes skip connections, and {type(denoiser).__name__} has none; leave FreeU off")
        return denoiser

    def enable_flash_sdp(self, enabled: bool = True) -> None:
        """Use an Ascend device's memory-efficient attention kernel in every network, or not. On by default."""
        for network in self.networks:
            network.enable_flash_sdp(enabled)

    def set_flash_attention_force_cast_dtype(self, force_cast_dtype: object) -> None:
        """The dtype for inputs that the memory-efficient attention kernel cannot take; None uses plain attention."""
        for network in self.networks:
            network.set_flash_attention_force_cast_dtype(force_cast_dtype)

    # ---- settings that callbacks read and change -----------------------------------------------------------------

    guidance_scale = OfRuns[float](
        "guidance_scale", "The weight of the prompt: w of Imagen (Saharia et al. 2022), eq. 2.", changes=True
    )
    guidance_rescale = OfRuns[float](
        "guidance_rescale", "φ of Common Diffusion Noise Schedules (Lin et al. 2023), eq. 16.", changes=True
    )
    image_guidance_scale = OfRuns[float | None](
        "image_guidance_scale", "The weight of the edited picture; None if there is none.", changes=True
    )
    interrupt = OfRuns[bool](
        "interrupt", "Setting it to True skips the remaining steps; the latents so far are decoded.", changes=True
    )
    num_timesteps = OfRuns[int]("num_timesteps", "The number of timesteps of the run, each with a call of the network.")
    num_inference_steps = OfRuns[int](
        "num_inference_steps", "The number of steps as the user counts them; some schedulers visit more timesteps."
    )
    steps_done = OfRuns[int]("steps_done", "The number of finished steps.")
    clip_skip = OfRuns[int | None]("clip_skip", "How many of the text encoder's last layers the run skips.")
    cross_attention_kwargs = OfRuns[Mapping[str, object] | None](
        "cross_attention_kwargs", "The run's options for adapters."
    )
    denoising_start = OfRuns[float | None](
        "denoising_start", "The fraction of the run that another pipeline has completed; None if this run does all."
    )
    denoising_end = OfRuns[float | None](
        "denoising_end", "The fraction of the run after which it stops, for another pipeline to go on."
    )
    pred_original_sample = OfRuns[Array](
        "pred_original_sample", "The scheduler's estimate of the clean latents after the last step, for previews."
    )
    # The names that published callbacks set.
    _guidance_scale = guidance_scale
    _guidance_rescale = guidance_rescale
    _image_guidance_scale = image_guidance_scale
    _interrupt = interrupt

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether steps use guidance, running the network without and with the prompt."""
        run = self.runs.own()
        return run is not None and run.do_classifier_free_guidance

    @property
    def image_processor(self) -> VaeImageProcessor:
        """Prepares pictures for the autoencoder."""
        return image_processor(self)

    @property
    def mask_processor(self) -> VaeImageProcessor:
        """Prepares masks: zeros and ones."""
        return mask_processor(self)

    # ---- the steps of a call, for scripts with their own loop ----------------------------------------------------

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
        """The initial noise of a run, for images of ``height`` × ``width`` pixels.

        ``dtype`` and ``device`` are accepted for published scripts and ignored: schedulers compute in float32, on the
        engine's device. Call ``scheduler.set_timesteps`` first.
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
        """The remaining steps of ``scheduler.set_timesteps``, for scripts with their own loop.

        The scheduler begins there. ``device`` is accepted for published scripts and ignored.

        Args:
            num_inference_steps: the number of steps laid out.
            strength: the fraction of them that remains, above 0 to 1.
            denoising_start: the completed fraction of the run instead, from 0 to 1.

        Returns:
            The timesteps, and the number of steps that they make.

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
        """The arguments among these that the scheduler's ``step`` takes."""
        return step_options(self.scheduler, eta, generator)

    def get_guidance_scale_embedding(
        self, w: Array | float, embedding_dim: int = 512, dtype: object = None
    ) -> NDArray[np.float32]:
        """Guidance scales as embeddings for guidance-distilled networks, (scales, embedding_dim).

        ``w`` is the scale minus one, a number or several. ``dtype`` is ignored: the result is float32.
        """
        scales = np.reshape(w.asnumpy() if hasattr(w, "asnumpy") else w, (-1,))
        return np.concatenate([guidance_scale_embedding(float(scale) + 1, embedding_dim, 1) for scale in scales])

    def decode_latents(self, latents: Array) -> NDArray[np.float32]:
        """Latents of unit variance to images in [0, 1], float32 (images, height, width, 3)."""
        return decode_images(self.engine, self.vae, latents)

    def run_safety_checker(
        self, image: NDArray[np.float32], device: object = None, dtype: object = None
    ) -> tuple[NDArray[np.float32], list[bool] | None]:
        """Images in [0, 1] with unsuitable ones black, and one verdict per image; None without a checker.

        ``device`` and ``dtype`` are accepted for published scripts and ignored.
        """
        checker = self.components.get("safety_checker")
        if checker is None:
            return image, None
        return blacken_unsafe(self.engine, checker, self.components["feature_extractor"], image)

    @staticmethod
    def numpy_to_pil(images: NDArray[np.float32]) -> list[Image.Image]:
        """PIL images from float arrays in [0, 1], (images, height, width, 3) or one (height, width, 3)."""
        return to_pil(images[None] if images.ndim == 3 else images)


def randn_tensor(
    shape: Sequence[int],
    generator: Generators = None,
    device: object = None,
    dtype: object = None,
    layout: object = None,
) -> NDArray[np.float16 | np.float32]:
    """Standard normal noise, by its published name, drawn the same way as latents and schedulers' noise.

    Args:
        shape: the array's shape; the first axis is the batch.
        generator: a NumPy generator, a list with one for each row, or None for fresh noise.
        device, layout: accepted for published scripts and ignored.
        dtype: "float16" makes the array float16; it is float32 otherwise.

    Raises:
        ValueError: the list and the batch differ in length.
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
