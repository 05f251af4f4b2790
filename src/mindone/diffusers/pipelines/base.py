"""A pipeline: named components that are loaded, replaced and saved together."""

import inspect
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, TypeVar

from .. import engines
from ..acceleration.int8 import Int8Config, check_engine, quantize_pipeline, require_int8
from ..adapters.ip_adapter import NetworkIPAdapters
from ..engines import Engine
from ..families.family import Family
from ..loading.config import CONFIG_NAME, GENERATION_CONFIG_NAME, Config, read_config, read_generation_config
from ..loading.dtypes import parse_dtype
from ..loading.fields import Flag, read_fields
from ..loading.hub import Source, component_folder
from ..loading.save_weights import check_upload, require_safe, saving_options
from ..loading.upload import upload_folder
from ..utils.files import write_json
from ..utils.nearest import nearest
from ..utils.progress import progress_bar
from ..utils.types import Value
from .absent import LOADING, take_meaningless
from .calls import Arguments
from .capabilities import check_component
from .components import INDEX_NAME, Component, component_classes, load_component, published_names
from .from_file import SingleFilePipeline
from .offload import Offloading
from .published import PublishedPipeline
from .run import Interval, Run, RunsOfPipeline, Settings
from .tuning import Tuning

P = TypeVar("P", bound="Pipeline")


class Pipeline(
    PublishedPipeline,
    SingleFilePipeline,
    Offloading,
    Tuning,
    RunsOfPipeline,
):
    """Components are plain attributes (``pipe.vae``, ``pipe.scheduler``) and can be replaced at any time.

    What an engine compiled for a network is kept on that network, so it goes with the one that is replaced. Any number
    of threads may call a pipeline: what changes while it draws belongs to the run (`run.Run`).
    """

    family: ClassVar[Family]
    """What kind of model it is: the denoiser's name, what conditions it, its latents and defaults."""
    required_components: ClassVar[tuple[str, ...]] = ()
    optional_components: ClassVar[tuple[str, ...]] = ()
    components_to_pass: ClassVar[tuple[str, ...]] = ()
    """Optional components that are not loaded from a checkpoint, as no class for them is here."""
    config_defaults: ClassVar[Mapping[str, object]] = {}
    """The pipeline's own entries of ``model_index.json``."""
    default_guidance_scale: ClassVar[float] = 7.5
    """For checkpoints that suggest none of their own."""
    takes_negative_prompts: ClassVar[bool] = True
    """Whether a call may have one."""
    arguments: ClassVar[type[Arguments]] = Arguments
    """What a call may be asked, whatever its task."""

    def __init__(
        self, components: Mapping[str, Component], config: Mapping[str, object], engine: Engine | str | None = None
    ):
        super().__init__()
        # Who passes embeddings needs nobody to read texts.
        readers = ("text_encoder", "tokenizer")
        required = [name for name in self.required_components if not name.startswith(readers)]
        missing = [name for name in required if components[name] is None]
        if missing:
            raise ValueError(f"{type(self).__name__} needs {' and '.join(missing)}, got None")
        for name, component in components.items():
            setattr(self, name, component)
        self.own_settings = Config(config)
        self.engine = engine
        self.generation_config = Config()
        self._progress_bar_options: dict[str, Value] = {}

    def __setattr__(self, name: str, value: Value) -> None:
        """Set an attribute; a component must be of the right kind (`capabilities.check_component`)."""
        if name in self.required_components or name in self.optional_components:
            value = self._accept(name, value)
        super().__setattr__(name, value)

    def _accept(self, name: str, component: Component) -> Component:
        """The component as the pipeline keeps it. Raises ValueError where it is of a wrong kind."""
        check_component(type(self).__name__, self.family, name, component)
        return component

    # ---- loading and saving ------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls: type[P],
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
        **components: Component,
    ) -> P:
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
        if not use_safetensors:
            raise ValueError("use_safetensors must be True: pickle files are not read; convert them to safetensors")
        dtype = parse_dtype(mindspore_dtype)
        components = take_meaningless(components)
        cls._check_keywords(components)
        chosen_engine = engines.get(engine) if isinstance(engine, str) else engine
        if quantization_config is not None:
            require_int8(engines.get() if chosen_engine is None else chosen_engine)  # before anything is fetched
        source = Source(path_or_id, revision, cache_dir, local_files_only, token)
        index = source.index()
        pipeline, classes = cls._plan(index, components)
        root = source.pipeline(classes, variant)
        generation_config = read_generation_config(root)
        folders = {name: component_folder(root, name) for name in classes}

        loaded = {}
        for name, class_name in classes.items():
            folder = folders[name]
            config = read_config(folder) if (folder / CONFIG_NAME).is_file() else {}
            loaded[name] = load_component(class_name, folder, pipeline._dtype_of(class_name, config, dtype), variant)
        settings = {name: index.get(name, default) for name, default in pipeline.config_defaults.items()}
        read_fields(dict[str, Flag | None], settings, str(root / INDEX_NAME))
        pipe = pipeline(**{**settings, **loaded, **components}, engine=chosen_engine)
        pipe.generation_config = generation_config
        pipe.name_or_path = os.fspath(path_or_id)
        if quantization_config is not None:
            quantize_pipeline(pipe, quantization_config)
        return pipe

    @classmethod
    def _plan(cls: type[P], index: Mapping[str, object], given: Mapping[str, object]) -> tuple[type[P], dict[str, str]]:
        """What to make of a checkpoint: a pipeline's class, and the classes of the components that are not given."""
        pipeline = cls._class_for(index)
        pipeline._check_keywords(given)
        required, optional = (
            [name for name in names if name not in given and name not in pipeline.components_to_pass]
            for names in (pipeline.required_components, pipeline.optional_components)
        )
        return pipeline, component_classes(index, required, optional)

    @classmethod
    def _class_for(cls: type[P], index: Mapping[str, object]) -> type[P]:
        """The pipeline's class for a checkpoint."""
        return cls

    @classmethod
    def _keywords(cls) -> tuple[str, ...]:
        """What ``from_pretrained`` takes besides the loading options."""
        return (*cls.required_components, *cls.optional_components, *cls.config_defaults)

    @classmethod
    def _check_keywords(cls, keywords: Mapping[str, object], loader: str = "from_pretrained") -> None:
        known, parameters = cls._keywords(), inspect.signature(getattr(cls, loader)).parameters
        for name in keywords:
            if name in LOADING:
                raise ValueError(f"{name} is not an argument here; {LOADING[name]}")
            if name not in known:
                options = [each.name for each in parameters.values() if each.kind is each.KEYWORD_ONLY]
                meant = nearest(name, [*options, *known])
                raise ValueError(
                    f"{cls.__name__}.{loader} has no argument {name!r}; {meant}{'; ' * bool(meant)}besides the loading "
                    f"options it takes {', '.join(known)}"
                )

    @classmethod
    def _dtype_of(cls, class_name: str, config: Mapping[str, object], dtype: str) -> str:
        """The type that a component is loaded in when the pipeline is asked for in ``dtype``."""
        return dtype

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike[str],
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
        **upload: Value,
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
        for name, component in self.components.items():
            if component is not None and not hasattr(component, "save_pretrained"):
                raise ValueError(
                    f"{name} is a {type(component).__name__}, which cannot be saved; set pipe.{name} = None"
                )
        index: dict[str, Value] = {"_class_name": type(self).__name__, **self.own_settings}
        for name, component in self.components.items():
            index[name] = published_names(component)
            if component is not None:
                options = saving_options(component.save_pretrained, variant=variant, max_shard_size=max_shard_size)
                component.save_pretrained(root / name, **options)
        write_json(root / INDEX_NAME, index)
        suggestions = root / GENERATION_CONFIG_NAME
        if self.generation_config:
            write_json(suggestions, dict(self.generation_config))
        else:
            suggestions.unlink(missing_ok=True)  # those of an earlier checkpoint in the same folder
        if push_to_hub:
            upload_folder(root, upload.pop("repo_id", root.name), **upload)

    # ---- what it is made of ------------------------------------------------------------------------------------------

    @property
    def components(self) -> dict[str, Component]:
        """The components by name; ``StableDiffusionPipeline(**pipe.components)`` shares them with another pipeline."""
        return {name: getattr(self, name) for name in (*self.required_components, *self.optional_components)}

    @property
    def dtype(self) -> str:
        """What the denoising network computes in: "float32", "float16" or "bfloat16"."""
        return self.denoiser.dtype

    @property
    def denoiser(self) -> Component:
        """The network that predicts, whatever the family calls it."""
        return getattr(self, self.family.denoiser)

    vae: Component
    scheduler: Component
    generation_config: Config
    """What the checkpoint suggests for a call: its ``generation_config.json``."""

    @property
    def engine(self) -> Engine:
        """Who runs the networks. Can be set by name: "auto", "openvino", "mindspore"."""
        return self._engine

    @engine.setter
    def engine(self, engine: Engine | str | None) -> None:
        self._engine = engines.get(engine) if engine is None or isinstance(engine, str) else engine

    @property
    def vae_scale_factor(self) -> int:
        """How many pixels one latent stands for, along each side."""
        return self.vae.scale

    def __repr__(self) -> str:
        parts = [f"  {name}: {type(component).__name__}" for name, component in self.components.items() if component]
        return "\n".join([f"{type(self).__name__} ({self.dtype}, engine {self.engine.name})", *parts])

    # ---- drawing -----------------------------------------------------------------------------------------------------

    def condition(self, run: Run, call: Arguments, height: int, width: int) -> None:
        """Encode the prompts of a call, and put into ``run.tensors`` what the network is conditioned on.

        Args:
            run: a run whose steps are laid out.
            call: what was asked.
            height, width: the size of the images in pixels.

        Raises:
            ValueError: the network cannot be conditioned on it; raised before any other network runs.
        """
        raise NotImplementedError(f"{type(self).__name__} must define condition")

    def choose_guidance_scale(self, given: float | None) -> float:
        """What the user gave, else what the checkpoint suggests, else the pipeline's default."""
        if given is not None:
            return given
        return float(self.generation_config.get("guidance_scale", self.default_guidance_scale))

    def begin(
        self,
        guidance_scale: float | None,
        guidance_rescale: float = 0.0,
        guidance_interval: Interval = (0.0, 1.0),
        image_guidance_scale: float | None = None,
    ) -> AbstractContextManager[Run]:
        """A run of the pipeline as it is now; see `choose_guidance_scale` for None.

        Raises:
            ValueError: a network is in int8, which this engine does not compute in.
        """
        for network in (self.denoiser, self.vae):
            check_engine(network, self.engine)
        scale = self.choose_guidance_scale(guidance_scale)
        settings = Settings(scale, guidance_rescale, image_guidance_scale, guidance_interval)
        return self._begin(self.denoiser, self.engine, self.scheduler, settings)

    def release(self) -> None:
        """Drop everything that was compiled, and give its memory back to the system; a later call compiles again."""
        for network in self._networks():
            network.release()

    def set_compiled_limit(self, limit: int) -> None:
        """Keep at most so many compiled graphs per network, the last used ones (at first 4).

        Each size of image, number of images, and use of guidance is a graph of its own, with a packed copy of the
        network's weights.
        """
        for network in self._networks():
            network.graphs.limit = limit

    # ---- switches ----------------------------------------------------------------------------------------------------

    def progress_bar(self, total: int) -> Value:
        """A progress bar over ``total`` steps."""
        return progress_bar(total=total, **self._progress_bar_options)

    def set_progress_bar_config(self, **options: Value) -> None:
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
        self.denoiser.enable_freeu(s1, s2, b1, b2)

    def disable_freeu(self) -> None:
        """Go without FreeU again."""
        self.denoiser.disable_freeu()

    def enable_flash_sdp(self, enabled: bool = True) -> None:
        """Use an Ascend device's memory-efficient attention kernel in every network, or not. On at first."""
        for network in self._networks():
            network.enable_flash_sdp(enabled)

    def set_flash_attention_force_cast_dtype(self, force_cast_dtype: object) -> None:
        """What inputs that the memory-efficient attention kernel does not take are cast to; None: plain attention."""
        for network in self._networks():
            network.set_flash_attention_force_cast_dtype(force_cast_dtype)

    def _networks(self) -> list[Component]:
        networks = [component for component in self.components.values() if hasattr(component, "enable_flash_sdp")]
        return [*networks, *self.denoiser.put_on.of(NetworkIPAdapters).projections]
