"""Pipelines with other settings than their own: views that share one copy of the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from ..acceleration.caches import parse_caches
from ..acceleration.int8 import Int8Config, require_int8
from ..acceleration.int8.layers import WEIGHTS_ONLY
from ..acceleration.int8.quantize import calibrate, computes_in_int8, quantize, round_weights
from ..loading.int8 import QUANTIZATION
from ..models.autoencoder_tiny import AutoencoderTiny
from ..models.base import Model
from ..models.twin import is_plain, twin
from ..utils.types import Value
from .profile import Settings
from .steps import scheduler_for

if TYPE_CHECKING:
    from ..pipelines.base import Pipeline


class Stacks:
    """What settings make of a pipeline, which stays as it is. Each network that any settings need is made once."""

    def __init__(self, pipe: Pipeline):
        self.pipe = pipe
        self._made: dict[Hashable, Value] = {}

    def view(self, settings: Settings) -> Pipeline:
        """A copy of the pipeline that draws with the settings, whatever it is called with.

        Raises:
            ValueError, OSError: what these settings need is not there; or adapters are on a network of which they need
                a second one.
        """
        view: Value = copy.copy(self._checkpoint(settings))
        for name, component in view.components.items():
            if isinstance(component, Model):
                setattr(view, name, self.network(settings, name))
        view.scheduler = self._scheduler(settings, view.scheduler)
        view.caches = parse_caches(settings.cache)
        view.call_defaults = {
            "num_inference_steps": settings.steps,
            "guidance_interval": settings.guidance_interval or (0.0, 1.0),
        }
        return view  # type: ignore[no-any-return]

    def network(self, settings: Settings, name: str) -> Model:
        """The network that the settings ask for, by the pipeline's name for it."""
        if name == "unet":
            return self._unet(settings)
        if name == "vae" and settings.tiny_vae is not None:
            own: Model = self._tiny_vae(settings.tiny_vae, settings.dtype)
        else:
            own = getattr(self._checkpoint(settings), name)
        own = self._computing_in(own, settings.dtype)
        if name == "vae" and settings.int8_vae and not computes_in_int8(own):
            return self._decoding_in_int8(settings, own)
        rounds = settings.int8 and name in WEIGHTS_ONLY and QUANTIZATION not in own.config
        return self._rounded(own) if rounds else own

    def _unet(self, settings: Settings) -> Model:
        source = self._checkpoint(settings)
        own = self._computing_in(source.unet, settings.dtype)
        rounds = settings.int8 and QUANTIZATION not in own.config
        if not rounds and settings.token_downsampling in (None, 1):
            return own
        key = ("unet", settings.distilled, own.dtype, rounds, settings.token_downsampling)

        def make() -> Model:
            view: Value = copy.copy(source)
            view.unet = other = twin(own)
            if rounds:
                _quantize(view, "unet")
            if settings.token_downsampling is not None:
                other.enable_token_downsampling(settings.token_downsampling)
            return other  # type: ignore[no-any-return]

        return self._once(key, make)

    @property
    def are_free(self) -> bool:
        """Whether a second network can be made; adapters stand in the way."""
        return all(is_plain(each) for each in self.pipe.components.values() if isinstance(each, Model))

    def networks(self) -> list[Model]:
        """All networks that were made so far, and the pipeline's own."""
        others = [each for each in self._made.values() if isinstance(each, Model)]
        return [*(each for each in self.pipe.components.values() if isinstance(each, Model)), *others]

    def _checkpoint(self, settings: Settings) -> Pipeline:
        """The pipeline itself, or that of the distilled model."""
        if settings.distilled is None:
            return self.pipe

        def load() -> Pipeline:
            kind, dtype = type(self.pipe), self.pipe.dtype
            rest = {name: getattr(self.pipe, name) for name in self.pipe.optional_components}
            other = kind.from_pretrained(
                str(settings.distilled), mindspore_dtype=dtype, engine=self.pipe.engine, **rest
            )
            other.set_progress_bar_config(**self.pipe._progress_bar_options)
            return other

        return self._once(("checkpoint", settings.distilled), load)

    def _scheduler(self, settings: Settings, own: Value) -> Value:
        """Of the settings' kind, for the checkpoint of ``own``; runs leave it as it is, so that views can share it."""

        kind = (settings.scheduler, settings.last_timestep, settings.calibration)
        return self._once(("scheduler", settings.distilled, *kind), lambda: scheduler_for(own, *kind))

    def _tiny_vae(self, path_or_id: str, dtype: str) -> AutoencoderTiny:
        def load() -> AutoencoderTiny:
            return AutoencoderTiny.from_pretrained(path_or_id, mindspore_dtype=dtype)

        return self._once(("tiny_vae", path_or_id, dtype), load)

    def _computing_in(self, network: Model, dtype: str) -> Model:
        """The network if it computes in what the pipeline has it compute in at ``dtype``, else its twin that does."""
        wanted = self.pipe._dtype_of(type(network).__name__, network.config, dtype)
        if network.dtype == wanted:
            return network
        return self._once((id(network), wanted), lambda: twin(network, wanted))

    def _decoding_in_int8(self, settings: Settings, network: Model) -> Model:
        """The twin that decodes in int8, as far as the checkpoint's own latents tell."""
        source = self._checkpoint(settings)

        def make() -> Model:
            view: Value = copy.copy(source)
            view.unet, view.vae = self._computing_in(source.unet, settings.dtype), twin(network)
            _quantize(view, "vae")
            return view.vae  # type: ignore[no-any-return]

        return self._once((id(network), settings.distilled, "int8 products"), make)  # type: ignore[no-any-return]

    def _rounded(self, network: Model) -> Model:
        """The twin whose weights are in int8, as a checkpoint in int8 has them beside the denoising network."""

        def make() -> Model:
            other = twin(network)
            round_weights(other, Int8Config())
            return other

        return self._once((id(network), "int8"), make)  # type: ignore[no-any-return]

    def _once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _quantize(pipe: Value, component: str) -> None:
    """Bring a component to int8, and leave the others as they are."""
    require_int8(pipe.engine)
    config = Int8Config(components_to_quantize=(component,))
    quantize(pipe.components[component], calibrate(pipe, config)[component], config)
