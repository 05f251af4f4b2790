"""What scripts written for the published API ask of any pipeline, beyond what `base.Pipeline` needs for itself."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, ClassVar, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..adapters.image_prompts import IPAdapters
from ..adapters.loras import NETWORKS, Loras
from ..adapters.unet_loras import UNet2DConditionModel as UNet2DConditionModel  # with its methods for LoRAs
from ..adapters.words import Words
from ..engines import Array, Engine
from ..loading.config import Config
from ..loading.configurable import Configurable, split_config
from ..loading.hub import Source
from ..loading.tokenizer import CLIPTokenizer
from ..models.base import Model
from ..models.clip_text import CLIPTextModel
from ..schedulers.base import Generators, draw_noise
from ..utils.nearest import nearest
from ..utils.types import Value
from .absent import METHODS
from .components import INDEX_NAME, Component, component_classes, published_names
from .image_processor import decode_latents, to_pil
from .predictors import guidance_scale_embedding
from .run import step_options
from .safety import blacken_unsafe

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..acceleration.caches import CacheConfig


M = TypeVar("M")
P = ParamSpec("P")
R = TypeVar("R")


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
    def call(self: PublishedPipeline, *args: P.args, **options: P.kwargs) -> R:
        try:
            signature.bind(self, *args, **options)
        except TypeError as error:
            known = signature.parameters
            meant = next((nearest(each, known) for each in options if each not in known), "")
            raise TypeError(f"{type(self).__name__}.{name}: {error}{meant and f'; {meant}'}") from None
        return method(getattr(self, manager), *args, **options)

    return call


class PublishedPipeline(Configurable):
    """Mixed into `base.Pipeline`."""

    config_name = INDEX_NAME
    required_components: ClassVar[tuple[str, ...]]
    optional_components: ClassVar[tuple[str, ...]]
    callback_tensors: ClassVar[tuple[str, ...]]
    own_settings: Config
    """The pipeline's own entries of ``model_index.json``."""
    name_or_path: str = ""
    """What `from_pretrained` was given."""
    engine: Engine
    generation_config: Config
    caches: Sequence[CacheConfig] | None
    _offloads: bool
    _progress_bar_options: dict[str, Value]
    denoiser: Component
    vae: Component
    scheduler: Component
    image_encoder: Component
    feature_extractor: Component

    if TYPE_CHECKING:

        def __init__(self, *components: Component, **more: Component) -> None: ...
        @property
        def components(self) -> dict[str, Component]: ...
        def _networks(self) -> list[Component]: ...
        def enable_flash_sdp(self, enabled: bool = True) -> None: ...
        @property
        def vae_scale_factor(self) -> int: ...
        @classmethod
        def _keywords(cls) -> tuple[str, ...]: ...

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Value:
            reason = f": {METHODS[name]}" if name in METHODS else ""
            raise AttributeError(f"{type(self).__name__} has no {name}{reason}", name=name, obj=self)

    def __copy__(self) -> Self:
        """Another pipeline with the same components and runs."""
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

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

    # ---- what it is made of --------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:  # type: ignore[override]
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
    def from_pipe(cls, pipeline: PublishedPipeline, **components: Component) -> Self:
        """A pipeline of this class with the components of another one, which both then share, and with its switches.

        Args:
            pipeline: the other one.
            components: components, and settings, that replace its own.
        """
        mine: Mapping[str, Value] = {**pipeline.components, **pipeline.own_settings}
        taken = {name: value for name, value in mine.items() if name in cls._keywords()}
        made = cls(**{**taken, **components}, engine=pipeline.engine)
        made.generation_config, made.caches = pipeline.generation_config, pipeline.caches
        made._offloads, made._progress_bar_options = pipeline._offloads, pipeline._progress_bar_options
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
    ) -> Value:
        """The content of ``model_index.json``; the arguments are those of `Configurable.load_config`."""
        index = Source(pretrained_model_name_or_path, revision, cache_dir, local_files_only, token).index()
        if unused and not return_unused_kwargs:
            raise ValueError(f"load_config takes no {', '.join(unused)}; return_unused_kwargs=True gives them back")
        return (index, unused) if return_unused_kwargs else index

    @classmethod
    def extract_init_dict(
        cls, config_dict: Mapping[str, Value], **overrides: Value
    ) -> tuple[dict[str, Value], dict[str, Value], dict[str, Value]]:
        """What of ``model_index.json`` the constructor takes, overrides that it does not, and the other entries."""
        return split_config(cls._keywords(), config_dict, overrides)

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
        device: str = self.denoiser.device
        return device

    def to(self, *where: object, dtype: object = None, device: object = None) -> Self:
        """Compute in another type from now on, ``pipe.to(ms.float16)``; see `PublishedModel.to`. Returns the pipeline.

        Raises:
            ValueError: a device other than the one that this process runs on, or a type that no network computes in.
        """
        for network in self._networks():
            network.to(*where, dtype=dtype, device=device)
        return self

    # ---- adapters ------------------------------------------------------------------------------------------------

    @property
    def loras(self) -> Loras:
        """The LoRAs of the denoiser and the text encoders."""
        networks = {name: getattr(self, name, None) for name in NETWORKS}
        return Loras({name: each for name, each in networks.items() if isinstance(each, Model)}, self.words)

    @property
    def words(self) -> Words:
        """The words that the text encoders learned: textual inversions."""
        encoders = {}
        for name in ("text_encoder", "text_encoder_2"):
            network = getattr(self, name, None)
            tokenizer = getattr(self, name.replace("text_encoder", "tokenizer"), None)
            if isinstance(network, CLIPTextModel) and isinstance(tokenizer, CLIPTokenizer):
                encoders[name] = network, tokenizer
        return Words(encoders)

    @property
    def image_prompts(self) -> IPAdapters:
        """The IP-Adapters of the denoiser: pictures that it attends to beside the text."""
        shares_extractor = "safety_checker" in self.components
        reads = self.image_encoder, self.feature_extractor
        return IPAdapters(self.denoiser, self.engine, *reads, partial(setattr, self), shares_extractor)

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
        for network in self._networks():
            network.set_use_memory_efficient_attention_xformers(valid, attention_op)

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
        latents: Array = None,
    ) -> Array:
        """The noise that a run begins with, for images of ``height`` × ``width`` pixels.

        ``dtype`` and ``device`` are taken for published scripts: what schedulers compute with is float32, where the
        engine has it. Call ``scheduler.set_timesteps`` first.
        """
        factor = self.vae_scale_factor
        shape = (batch_size, num_channels_latents, height // factor, width // factor)
        noise = draw_noise(np.empty(shape, np.float32), generator) if latents is None else latents
        return self.engine.asarray(noise) * float(self.scheduler.init_noise_sigma)

    def prepare_extra_step_kwargs(self, generator: Generators, eta: float) -> dict[str, object]:
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
        return decode_latents(self.engine, self.vae, latents)

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


for _name, _method in vars(PublishedPipeline).items():
    if hasattr(_method, "__wrapped__"):
        _method.__name__, _method.__qualname__ = _name, f"{PublishedPipeline.__name__}.{_name}"
