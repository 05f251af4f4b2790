"""Quantises a pipeline's networks: generates a few prompts, observes the ranges, rounds the weights.

The plain method (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", §2.1): asymmetric activations, symmetric weights per output channel, ranges that
cover all observed values. It does not move outliers into the weights (SmoothQuant, α = 0.5): on ``icons`` (float32
against int8, 12 prompts, 25 steps) that takes 40 dB down to 33, because rows with stretched weights lose more than
activations gain.
"""

import inspect
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from PIL import Image

from ...engines.base import Engine
from ...engines.binding import bind, origin, published_name, stored
from ...engines.openvino.observing import ObservingEngine, Ranges
from ...engines.rounding import round_stored_to_int8
from ...families.components import Configured
from ...families.family import Int8Plan
from ...loading.config import Config
from ...loading.int8 import METHOD, QUANTIZATION, Int8Tensor
from ...loading.safetensors import StoredTensor
from ...models.autoencoder import decode_images
from ...models.base import Model
from ...models.packed_latents import unpacked
from ...schedulers.short_names import deterministic
from ...utils.logging import get_logger
from ..quantized_components import components_of
from .config import Int8Config

logger = get_logger(__name__)


def quantize_pipeline(pipe: Any, config: Int8Config) -> None:
    """Convert the config's components to int8, and with the denoiser the weights of all others, run once per image.

    Raises:
        ValueError: the engine does not compute in int8, a component already is in int8, or the family lacks one.
    """
    config = replace(config, components_to_quantize=components_of(pipe.family, config.components_to_quantize))
    plan = pipe.family.int8
    named = [name for name in config.components_to_quantize if name in plan.products]
    for name in config.components_to_quantize:
        if (component := pipe.components.get(name)) is not None and computes_in_int8(component):
            raise ValueError(f"the checkpoint's {name} is in int8 already: leave quantization_config (--int8) out")
    require_int8(pipe.engine)
    # Before generating, so that a large text encoder takes half the memory then.
    for name in plan.weights_only if pipe.family.denoiser in named else config.components_to_quantize:
        network = pipe.components.get(name)
        if isinstance(network, Model) and name not in named and QUANTIZATION not in network.config:
            round_weights(network, config, plan)
    if named:
        prompts, steps = len(config.prompts), config.num_inference_steps
        logger.info(f"int8: generating {prompts} prompts in {steps} steps to find the ranges")
        for name, ranges in calibrate(pipe, config).items():
            quantize(pipe.components[name], ranges, config, plan)


def calibrate(pipe: Any, config: Int8Config) -> dict[str, Ranges]:
    """The ranges of the products' inputs and of some results, by component of the config, observed while generating.

    This compiles one network at a time, large ones in half precision: it encodes all prompts before denoising any.
    """
    plan = pipe.family.int8
    named = [name for name in components_of(pipe.family, config.components_to_quantize) if name in plan.products]
    networks = {name: pipe.components[name] for name in named}
    in_half = [name for name, network in networks.items() if network.is_big]
    engine = ObservingEngine(networks, plan.products, plan.rounds_result, in_half)
    view = pipe.view()  # with its own engine: the networks and compiled graphs are shared
    view.engine, view.offloads = engine, True
    if getattr(view, "safety_checker", None) is not None:
        view.safety_checker = None
    view.scheduler, view.caches = deterministic(pipe.scheduler), ()  # so that it observes whole steps
    view.set_progress_bar_config(disable=True)
    noise = [np.random.Generator(np.random.PCG64(seed)) for seed in range(len(config.prompts))]
    options = {"num_inference_steps": config.num_inference_steps, "generator": noise, "output_type": "latent"}
    try:
        latents = view(list(config.prompts), **options, **_shown(pipe)).images
        if "vae" in networks:
            for each in np.split(_as_pictures(pipe, engine.numpy(latents)), len(config.prompts)):
                decode_images(engine, pipe.vae, engine.asarray(each))
    finally:
        for network in networks.values():
            network.release()  # the graphs of this engine's observations
    return engine.ranges


def _as_pictures(pipe: Any, latents: Any) -> Any:
    """The latents of a call as (images, channels, height, width), where its family's calls give tokens."""
    form = pipe.family.latents
    if not form.packed:
        return latents
    rows, columns = (side // (form.pixels * form.patch) for side in _sides(pipe))
    return unpacked(latents, rows, columns, form.patch)


def _sides(pipe: Any) -> list[int]:
    """The height and width in pixels that calibrating generates at: the trained ones, or its family's if smaller."""
    trained = [side * pipe.vae_scale_factor for side in pipe.family.latents.trained(pipe.denoiser.config)]
    drawn = pipe.family.int8.drawn
    return [min(drawn.get(name, side), side) for name, side in zip(("height", "width"), trained)]


def _shown(pipe: Any) -> dict[str, object]:
    """A pipeline's arguments besides prompts: its family's, a picture to start from or to follow, and an all-white
    mask."""
    wanted = inspect.signature(type(pipe).__call__).parameters
    given: dict[str, Any] = dict(pipe.family.int8.drawn)
    sides = _sides(pipe)
    given |= {name: side for name, side in zip(("height", "width"), sides) if name in given}
    down, across = (np.linspace(0, 255, side) for side in sides)
    ramps = np.broadcast_arrays(down[:, None], across, 255 - across)
    picture = Image.fromarray(np.stack(ramps, -1).astype(np.uint8))
    nets = getattr(getattr(pipe, "controlnet", None), "nets", None)
    control = picture if nets is None else [picture] * len(nets)
    given |= {
        "image": picture if "control_image" in wanted or not hasattr(pipe, "controlnet") else control,
        "control_image": control,
        "mask_image": Image.new("L", picture.size, 255),
        "strength": 1.0,
    }
    return {name: value for name, value in given.items() if name in wanted}


def quantize(network: Model, seen: Ranges, config: Int8Config, plan: Int8Plan) -> None:
    """Bind int8 weights to the parameters of all layers that were ``seen`` and do not have to stay unchanged.

    It reads, rounds and releases one weight at a time; there is never a float copy of the network.
    """
    for path, parameter in network.parameters_and_names():
        name = published_name(parameter, path)
        if name in seen.inputs and not plan.keeps(name, (*network.kept_in_int8, *config.modules_to_not_convert)):
            values, scale = round_stored_to_int8(stored(parameter), origin(parameter, path))
            result = symmetric(*seen.results[name]) if name in seen.results else None
            inputs = with_zero(*seen.inputs[name]) if plan.rounds_input(name) else None
            kept = StoredTensor.from_numpy(network.scratch.keep(values))
            bind(parameter, Int8Tensor(kept, scale, inputs, result), name)
            network.release_weights()
    network.config = Config(network.config, {QUANTIZATION: {"quant_method": METHOD, **asdict(config)}})
    network.release()


def round_weights(network: Model, config: Int8Config, plan: Int8Plan) -> None:
    """Keep the weights of a network in int8 and its products unchanged: half the memory and file size."""
    for path, parameter in network.parameters_and_names():
        name = published_name(parameter, path)
        if len(parameter.shape) > 1 and not plan.keeps(name, (*network.kept_in_int8, *config.modules_to_not_convert)):
            values, scale = round_stored_to_int8(stored(parameter), origin(parameter, path))
            bind(parameter, Int8Tensor(StoredTensor.from_numpy(network.scratch.keep(values)), scale), name)
            network.release_weights()
    network.config = Config(network.config, {QUANTIZATION: {"quant_method": METHOD, "weights_only": True}})
    network.release()


def with_zero(low: float, high: float) -> tuple[float, float]:
    """The range, moved a little so that one of 256 levels is exactly zero: convolutions pad with zeros."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return (0.0, 1.0)
    step = (high - low) / 255
    zero = round(-low / step)
    return (-zero * step, (255 - zero) * step)


def symmetric(low: float, high: float) -> tuple[float, float]:
    """The range for signed integers, from -128 to 127, that covers the given one."""
    end = max(-low, high) or 1.0
    return (-end, end * 127 / 128)


def check_engine(network: Configured, engine: Engine) -> None:
    """Raise ``ValueError`` if a network has products in int8 and the engine does not support int8."""
    if computes_in_int8(network):
        require_int8(engine)


def computes_in_int8(network: Configured) -> bool:
    """Whether products of the network are in int8, not only its weights."""
    quantization = network.config.get(QUANTIZATION)
    return isinstance(quantization, Mapping) and not quantization.get("weights_only")


def require_int8(engine: Engine) -> None:
    """Raise ``ValueError`` if the engine does not support int8."""
    if engine.name != "openvino":
        raise ValueError(f'int8 computes on the OpenVINO engine, got engine {engine.name!r}: pass engine="openvino"')
