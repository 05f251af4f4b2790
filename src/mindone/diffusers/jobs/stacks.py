"""Pipelines with other settings than their own: views that share one copy of the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from ..acceleration.caches import parse_caches
from ..acceleration.int8 import Int8Config, require_int8
from ..acceleration.int8.quantize import calibrate, computes_in_int8, quantize, round_weights
from ..loading.int8 import QUANTIZATION
from ..models.autoencoder_tiny import AutoencoderTiny
from ..models.base import Model
from ..models.twin import is_plain, twin
from ..utils.types import Value
from .profile import Settings
from .steps import scheduler_for

if TYPE_CHECKING:
    from ..pipelines.published import PublishedPipeline as Pipeline


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
        tiny = settings.tiny_vae if name == "vae" else None
        own: Model = getattr(self._checkpoint(settings), name) if tiny is None else self._tiny_vae(tiny)
        own = self._computing_in(self._in_int8(settings, name, own), settings.dtype)
        if name != self.pipe.family.denoiser or settings.token_downsampling in (None, 1):
            return own
        return self._once((id(own), settings.token_downsampling), lambda: _downsampling(own, settings))

    def _in_int8(self, settings: Settings, name: str, network: Model) -> Model:
        """The network, or the twin whose products are in int8, or only its weights, where the settings ask for that.

        One twin serves every precision of what is not in int8: finding the ranges takes long, and so much memory more.
        """
        source, plan = self._checkpoint(settings), self.pipe.family.int8

        def with_products() -> Model:
            view: Value = copy.copy(source)
            setattr(view, name, twin(network))
            _quantize(view, name)
            made: Model = getattr(view, name)
            return made

        def with_weights() -> Model:
            other = twin(network)
            round_weights(other, Int8Config(), plan)
            return other

        if {self.pipe.family.denoiser: settings.int8, "vae": settings.int8_vae}.get(name) and not computes_in_int8(
            network
        ):
            return self._once((id(network), settings.distilled, "int8 products"), with_products)  # type: ignore[no-any-return]
        if settings.int8 and name in plan.weights_only and QUANTIZATION not in network.config:
            return self._once((id(network), "int8 weights"), with_weights)  # type: ignore[no-any-return]
        return network

    @property
    def are_free(self) -> bool:
        """Whether a second network can be made; adapters stand in the way."""
        return all(is_plain(each) for each in self.pipe.components.values() if isinstance(each, Model))

    def networks(self) -> list[Model]:
        """All networks that were made or loaded so far, and the pipeline's own."""
        made = list(self._made.values())
        loaded = [each for pipe in (self.pipe, *made) for each in getattr(pipe, "components", {}).values()]
        return [each for each in (*loaded, *made) if isinstance(each, Model)]

    def release(self) -> None:
        """Drop everything that was compiled for any of them."""
        for network in self.networks():
            if len(network.graphs):
                network.release()

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

    def _tiny_vae(self, path_or_id: str) -> AutoencoderTiny:
        def load() -> AutoencoderTiny:
            return AutoencoderTiny.from_pretrained(path_or_id, mindspore_dtype=self.pipe.dtype)

        return self._once(("tiny_vae", path_or_id), load)  # type: ignore[no-any-return]

    def _computing_in(self, network: Model, dtype: str) -> Model:
        """The network if it computes in what the pipeline has it compute in at ``dtype``, else its twin that does."""
        wanted = self.pipe.dtype_of(type(network).__name__, network.config, dtype)
        if network.dtype == wanted:
            return network
        return self._once((id(network), wanted), lambda: twin(network, wanted))

    def _once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _quantize(pipe: Value, component: str) -> None:
    """Bring a component to int8, and leave the others as they are."""
    require_int8(pipe.engine)
    config = Int8Config(components_to_quantize=(component,))
    quantize(pipe.components[component], calibrate(pipe, config)[component], config, pipe.family.int8)


def _downsampling(network: Value, settings: Settings) -> Value:
    """The twin that looks at fewer tokens."""
    other = twin(network)
    other.enable_token_downsampling(settings.token_downsampling)
    return other
