"""A pipeline: named components that generate together, and nothing else. Its published names are in `published`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from .. import engines
from ..acceleration.int8 import check_engine
from ..acceleration.speedup import Cache
from ..adapters.image_prompts import IPAdapters
from ..adapters.ip_adapter import NetworkIPAdapters
from ..adapters.loras import Loras
from ..adapters.words import Words
from ..engines import Engine
from ..families.clip_texts import TextTower
from ..families.components import Autoencoder, Denoiser
from ..families.family import Family
from ..families.registry import load
from ..loading.config import Config
from ..loading.tokenizer import CLIPTokenizer
from ..models.base import Model
from ..models.clip_text import CLIPTextModel
from ..schedulers.base import Scheduler
from ..utils.printable import shown
from ..utils.progress import progress_bar
from .calls import Arguments
from .capabilities import accepted
from .components import component_classes
from .loop import Interval, Run, Runs, Settings

if TYPE_CHECKING:
    from typing_extensions import Self


_SUGGESTED = ("num_inference_steps",)
"""Arguments that a checkpoint's ``generation_config.json`` may suggest, in addition to the guidance scale."""


class AppliedProfile(Protocol):
    """An applied profile."""

    profile: Any

    def at_size(self, height: int, width: int) -> None:
        """Warn if a call generates a size other than the profile's."""

    def take_off(self, pipe: Any) -> None:
        """Restore the pipeline's earlier components and settings."""


class Pipeline:
    """Components are plain attributes (``pipe.vae``, ``pipe.scheduler``); you can replace them at any time.

    An engine keeps its compiled graphs on the network, so they go with a replaced one. Any number of threads may call a
    pipeline: everything that changes while it generates belongs to the run (`loop.Run`).
    """

    family: ClassVar[Family]
    """The family of the model: the denoiser's name, its conditions, latents and defaults."""
    required_components: ClassVar[tuple[str, ...]] = ()
    optional_components: ClassVar[tuple[str, ...]] = ()
    components_to_pass: ClassVar[tuple[str, ...]] = ()
    """Optional components that are not loaded from a checkpoint, because they have no class here."""
    config_defaults: ClassVar[Mapping[str, object]] = {}
    """The pipeline's own entries of ``model_index.json``."""
    takes_negative_prompts: ClassVar[bool] = True
    """Whether a call may have a ControlNet."""
    arguments: ClassVar[type[Arguments]] = Arguments
    """The dataclass of arguments, for any task."""
    callback_tensors: ClassVar[tuple[str, ...]] = ("latents",)
    """The tensors that a step callback may get and replace."""

    name_or_path: str = ""
    """The folder, name or file that it was loaded from."""
    generation_config: Config
    """The checkpoint's suggestions for calls: its ``generation_config.json``."""
    caches: Sequence[Cache] | None = None
    """Its runs' caches, unless None, in place of those of the denoiser's ``enable_cache``: so a copy of a pipeline,
    which shares its networks, can use other caches."""
    call_defaults: Mapping[str, object] = {}
    """Default arguments of calls, from the active speed-ups."""
    applied: AppliedProfile | None = None
    """The applied profile, with the pipeline's earlier state."""
    offloads: bool = False
    """Whether to hold only one network's compiled form at a time."""
    spends_pictures: bool = False
    """Whether a call may write its result into the given picture, because the owner no longer needs that."""

    vae: Autoencoder
    scheduler: Scheduler

    def __init__(
        self, components: Mapping[str, object], config: Mapping[str, object], engine: Engine | str | None = None
    ):
        # A caller who passes embeddings needs no text encoder.
        readers = ("text_encoder", "tokenizer")
        required = [name for name in self.required_components if not name.startswith(readers)]
        missing = [name for name in required if components[name] is None]
        if missing:
            raise ValueError(f"{type(self).__name__} needs {' and '.join(missing)}, got None")
        for name, component in self.adjusted(components).items():
            setattr(self, name, component)
        self.own_settings = Config(config)
        self.engine = engine
        self.generation_config = Config()
        self.runs = Runs()
        self._progress_bar_options: dict[str, Any] = {}

    def view(self) -> Self:
        """Another pipeline with the same components and switches, and its own runs."""
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__, runs=Runs())
        return made

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute; a component must be of the right kind (`capabilities.accepted`)."""
        if name in self.required_components or name in self.optional_components:
            value = accepted(type(self).__name__, self.family, name, value)
        super().__setattr__(name, value)

    @classmethod
    def adjusted(cls, components: Mapping[str, object]) -> Mapping[str, object]:
        """The components, adapted for a new pipeline.

        Raises:
            ValueError: they do not match.
        """
        return components

    # ---- loading -----------------------------------------------------------------------------------------------------

    @classmethod
    def plan(cls, index: Mapping[str, object], given: Mapping[str, object]) -> tuple[type[Self], dict[str, str]]:
        """The classes for a checkpoint: the pipeline's, and those of the components to load."""
        required, optional = (
            [name for name in names if name not in given and name not in cls.components_to_pass]
            for names in (cls.required_components, cls.optional_components)
        )
        return cls, component_classes(index, required, optional)

    @classmethod
    def keywords(cls) -> tuple[str, ...]:
        """The arguments of ``from_pretrained`` in addition to the loading options."""
        return (*cls.required_components, *cls.optional_components, *cls.config_defaults)

    @classmethod
    def dtype_of(cls, class_name: str, config: Mapping[str, object], dtype: str) -> str:
        """The dtype in which a component is loaded for a pipeline in ``dtype``."""
        return dtype

    # ---- what it is made of ------------------------------------------------------------------------------------------

    @property
    def components(self) -> dict[str, Any]:
        """The components by name; ``StableDiffusionPipeline(**pipe.components)`` shares them with another pipeline."""
        return {name: getattr(self, name) for name in (*self.required_components, *self.optional_components)}

    @property
    def networks(self) -> list[Any]:
        """The networks: components, networks inside them, and those of adapters."""
        parts = [part for each in self.components.values() for part in (each, *getattr(each, "nets", ()))]
        own = [part for part in parts if hasattr(part, "enable_flash_sdp")]
        return [*own, *self.denoiser.put_on.of(NetworkIPAdapters).projections]

    @property
    def denoiser(self) -> Denoiser:
        """The denoising network, whatever the family calls it."""
        denoiser: Denoiser = getattr(self, self.family.denoiser)
        return denoiser

    @property
    def dtype(self) -> str:
        """The compute dtype of the denoising network: "float32", "float16" or "bfloat16"."""
        dtype: str = self.denoiser.dtype
        return dtype

    @property
    def engine(self) -> Engine:
        """The engine that runs the networks. Set it by name: "auto", "openvino", "mindspore"."""
        return self._engine

    @engine.setter
    def engine(self, engine: Engine | str | None) -> None:
        self._engine = engine_of(engine)

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent, along each side."""
        scale: int = self.vae.scale
        return scale

    @property
    def pixels_per_token(self) -> int:
        """Pixels per token of the denoiser, along each side; image sides are multiples of it."""
        return self.vae_scale_factor * self.family.latents.patch

    @property
    def text_towers(self) -> Sequence[TextTower]:
        """The CLIP text encoders, which support weighted words; empty if other encoders read the prompts."""
        return ()

    def unread(self, prompt: str, negative_prompt: str) -> list[str | None]:
        """The parts of two texts beyond the text encoders' length: a sentence for each."""
        return [tower.lost(tower.ids(text)) for tower in self.text_towers for text in (prompt, negative_prompt)]

    # ---- adapters ----------------------------------------------------------------------------------------------------

    @property
    def loras(self) -> Loras:
        """The LoRAs of the denoiser and the text encoders."""
        if self.family.lora is None:
            raise ValueError(f"{type(self).__name__} takes no LoRAs: {self.family.title} has none here")
        parts = self.components
        networks = {name: parts[name] for name in self.family.networks if isinstance(parts.get(name), Model)}
        return Loras(networks, load(self.family.lora), self.words)

    @property
    def words(self) -> Words:
        """The words added to the text encoders: textual inversions."""
        encoders, parts = {}, self.components
        for name in self.family.text_encoders:
            network, tokenizer = parts.get(name), parts.get(name.replace("text_encoder", "tokenizer"))
            if isinstance(network, CLIPTextModel) and isinstance(tokenizer, CLIPTokenizer):
                encoders[name] = network, tokenizer
        return Words(encoders)

    @property
    def image_prompts(self) -> IPAdapters:
        """The IP-Adapters of the denoiser: pictures that it attends to."""
        if self.family.image_prompts is None:
            raise ValueError(f"{type(self).__name__} takes no IP-Adapters: {self.family.title} has none here")
        names, parts = load(self.family.image_prompts), self.components
        reads = parts.get("image_encoder"), parts.get("feature_extractor")
        return IPAdapters(self.denoiser, names, self.engine, *reads, partial(setattr, self), "safety_checker" in parts)

    # ---- generating --------------------------------------------------------------------------------------------------

    def check(self, call: Arguments) -> None:
        """Refuse calls that this family cannot honour, before anything runs.

        Raises:
            ValueError: the call or the components are wrong.
        """

    def condition(self, run: Run, call: Arguments, height: int, width: int) -> None:
        """Encode the prompts of a call, and put the network's conditions into ``run.tensors``.

        Args:
            run: a run whose steps are laid out.
            call: its arguments.
            height, width: the size of the images in pixels.

        Raises:
            ValueError: the network cannot take these conditions; raised before any other network runs.
        """
        raise NotImplementedError(f"{type(self).__name__} must define condition")

    @property
    def default_guidance_scale(self) -> float:
        """The guidance scale for checkpoints that suggest none."""
        return self.family.defaults.guidance_scale

    def choose_guidance_scale(self, given: float | None) -> float:
        """The user's value, else the checkpoint's suggestion, else the pipeline's default."""
        if given is not None:
            return given
        return float(self.generation_config.get("guidance_scale", self.default_guidance_scale))

    def usual(self, argument: str) -> Any:
        """The default of a call's argument: the profile's, the checkpoint's, the family's or the signature's."""
        signature = inspect.signature(type(self).__call__)
        return self.usual_arguments().get(argument, signature.parameters[argument].default)

    def usual_arguments(self) -> dict[str, object]:
        """Default arguments of calls: the profile's, else the checkpoint's, else the family's."""
        suggested = {name: self.generation_config[name] for name in _SUGGESTED if name in self.generation_config}
        steps = self.family.defaults.steps
        own = {} if steps is None else {"num_inference_steps": steps}
        return {**own, **suggested, **self.call_defaults}

    def begin(
        self,
        guidance_scale: float | None,
        guidance_rescale: float = 0.0,
        guidance_interval: Interval = (0.0, 1.0),
        image_guidance_scale: float | None = None,
    ) -> AbstractContextManager[Run]:
        """A run of the pipeline in its current state; see `choose_guidance_scale` for None.

        Raises:
            ValueError: a network is in int8, which this engine does not support.
        """
        for network in (self.denoiser, self.vae):
            check_engine(network, self.engine)
        scale = self.choose_guidance_scale(guidance_scale)
        settings = Settings(scale, guidance_rescale, image_guidance_scale, guidance_interval)
        return self.runs.begin(self, settings)

    def progress_bar(self, iterable: Iterable[object] | None = None, total: int | None = None) -> Any:
        """A progress bar over ``iterable``, or of ``total`` steps to ``update()``; see `set_progress_bar_config`."""
        if iterable is None and total is None:
            raise ValueError("progress_bar needs an iterable, or the total of its steps")
        return progress_bar(iterable, total, **self._progress_bar_options)


def engine_of(engine: Engine | str | None) -> Engine:
    """An engine, or the one of that name; None reads the environment variable MINDONE_ENGINE."""
    if engine is None or isinstance(engine, str):
        return engines.get(engine)
    if not hasattr(engine, "run"):
        raise ValueError(f"engine must be one of {', '.join(engines.NAMES)}, or an engine, got {shown(engine)}")
    return engine


def constructor(
    required: Iterable[str],
    optional: Iterable[str],
    settings: Mapping[str, object],
    order: Sequence[str] = (),
) -> Callable[..., None]:
    """The ``__init__`` of a pipeline with these components and settings, with a real signature.

    Args:
        required: components that must be given.
        optional: components that may be None, the default.
        settings: the pipeline's own settings with their defaults.
        order: all names in the published order, if that differs.

    Raises:
        TypeError: (by the constructor) an argument is unknown or missing.
    """
    required, optional = tuple(required), tuple(optional)
    defaults = {**dict.fromkeys(optional), **settings}
    parameters = [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)]
    for name in (*(order or (*required, *optional, *settings)), "engine"):
        # Python allows no argument without a default after one with; Pipeline reports missing ones.
        follows = parameters[-1].default is not Parameter.empty
        default = None if name == "engine" or (follows and name in required) else defaults.get(name, Parameter.empty)
        parameters.append(Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default))
    signature = Signature(parameters)

    def __init__(self: Pipeline, *positional: object, **named: object) -> None:
        try:
            given = signature.bind(self, *positional, **named)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}: {error}") from None
        given.apply_defaults()
        components = {name: given.arguments[name] for name in (*required, *optional)}
        own = {name: given.arguments[name] for name in settings}
        Pipeline.__init__(self, components, own, given.arguments["engine"])

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__
