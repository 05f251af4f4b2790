"""int8 on a shared pipeline: networks beside its own, calibrated on first use."""

from __future__ import annotations

from dataclasses import dataclass

from ..quantized_components import DENOISER
from ..speedup import Networks, Stage, View
from .config import Int8Config


@dataclass(frozen=True)
class Int8:
    """Runs the products of a component in int8: the denoiser's, or those of the decoder in "vae".

    With the denoiser's products, the weights of the networks that run once per image are in int8, too.
    """

    component: str = DENOISER

    @property
    def stage(self) -> Stage:
        """See `SpeedUp`."""
        return Stage.INT8 if self.component == DENOISER else Stage.INT8_DECODER

    @property
    def words(self) -> str:
        """See `SpeedUp`."""
        return "int8" if self.component == DENOISER else "decoded in int8"

    def put_on(self, view: View, networks: Networks) -> None:
        """See `SpeedUp`."""
        from ...loading.int8 import QUANTIZATION
        from .quantize import computes_in_int8

        plain, is_denoiser = view.view(), self.component == DENOISER
        name = view.family.denoiser if is_denoiser else self.component
        for role in plain.family.int8.weights_only if is_denoiser else ():
            other = plain.components.get(role)
            if other is not None and QUANTIZATION not in other.config:
                made = networks.once((id(other), "int8 weights"), lambda: _with_weights(plain, role))  # noqa: B023
                setattr(view, role, made)
        own = plain.components[name]
        if not computes_in_int8(own):
            key = (id(own), id(plain.denoiser), "int8 products")
            setattr(view, name, networks.once(key, lambda: _with_products(view.view(), name)))


def _with_products(pipe: View, name: str) -> object:
    from ...models.twin import twin
    from .quantize import calibrate, quantize, require_int8

    require_int8(pipe.engine)
    view, config = pipe.view(), Int8Config(components_to_quantize=(name,))
    network = twin(pipe.components[name])
    setattr(view, name, network)
    quantize(network, calibrate(view, config)[name], config, pipe.family.int8)
    return network


def _with_weights(pipe: View, name: str) -> object:
    from ...models.twin import twin
    from .quantize import round_weights

    other = twin(pipe.components[name])
    round_weights(other, Int8Config(), pipe.family.int8)
    return other
