"""Rounds the weights of a pipeline's networks, one tensor at a time, without data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...engines.base import is_grouped, is_quantized
from ...engines.binding import bind, is_put_on, origin, stored
from ...families.family import Int8Plan
from ...loading.config import Config
from ...loading.group_files import METHOD
from ...loading.int8 import QUANTIZATION
from ...loading.safetensors import StoredTensor
from ...models.base import Model
from ...models.fingerprint import SOURCE, fingerprint_of
from ..quantized_components import components_of
from .choice import LAYERS, Rounding, choose
from .config import WeightOnlyConfig
from .rounded import RoundedLater

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Summary:
    """The result for one network: the number of its tensors by kind, and its bytes before and after."""

    component: str
    tensors: Mapping[str, int]
    before: int
    after: int

    @property
    def words(self) -> str:
        """In one line."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.tensors.items())
        return f"{self.component}: {kinds}; {_size(self.before)} → {_size(self.after)}"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def quantize_weights(pipe: Any, config: WeightOnlyConfig, at_once: bool = True) -> list[Summary]:
    """Round the weights of the config's components.

    Args:
        pipe: a pipeline; this changes its networks.
        config: what to round, and to what.
        at_once: round now, into temporary files, to compute with the result. Otherwise saving a network rounds each of
            its weights, with only one of them in memory.

    Returns:
        A summary for each network.

    Raises:
        ValueError: the family lacks a component, one is quantised already or has adapters on it, the group divides
            nothing, or a weight has NaN or infinite values.
    """
    chosen: dict[str, dict[str, Rounding]] = {}
    for name in components_of(pipe.family, config.components_to_quantize):
        network = pipe.components.get(name)
        if not isinstance(network, Model):
            continue
        if QUANTIZATION in network.config:
            raise ValueError(f"the checkpoint's {name} is quantised already: take the one that it was made from")
        if any(is_put_on(parameter) for _, parameter in network.parameters_and_names()):
            raise ValueError(f"{name} has adapters on it: quantise first, and load them afterwards")
        chosen[name] = choose(network, pipe.family.int8, config)
    summaries = []
    for name, which in chosen.items():
        network = pipe.components[name]
        source = {SOURCE: fingerprint_of(network, pipe.family.fingerprint)} if network is pipe.denoiser else {}
        summaries.append(_round(name, network, which, config, at_once, source))
    return summaries


def round_network(network: Model, config: WeightOnlyConfig, plan: Int8Plan, at_once: bool = True) -> Summary:
    """`quantize_weights` for a single network, with its family's plan."""
    return _round(type(network).__name__, network, choose(network, plan, config), config, at_once)


def _round(
    name: str,
    network: Model,
    chosen: Mapping[str, Rounding],
    config: WeightOnlyConfig,
    at_once: bool,
    source: Mapping[str, str] = {},
) -> Summary:
    kinds: Counter[str] = Counter()
    before = after = 0
    for path, parameter in network.published_parameters().items():
        values = stored(parameter)
        rounding = None if is_grouped(values) or is_quantized(values) else chosen.get(path)
        as_it_is = parameter.size * _BYTES[network.dtype]
        before += values.nbytes if isinstance(values, StoredTensor) else as_it_is
        if rounding is None:
            after += as_it_is
            kinds["as they are"] += 1
            continue
        later = RoundedLater(values, rounding, origin(parameter, path), network.release_weights)
        after += sum(tensor.nbytes for tensor in later.tensors(path).values())
        kinds[f"in {rounding.words}"] += 1
        bind(parameter, later.rounded(network.scratch) if at_once else later, path)
    network.config = Config(network.config, {QUANTIZATION: {**_described(network, chosen, config), **source}})
    network.release()
    return Summary(name, dict(sorted(kinds.items())), before, after)


def _described(network: Model, chosen: Mapping[str, Rounding], config: WeightOnlyConfig) -> dict[str, object]:
    """The entry of ``config.json``: settings, and those of layers that differ, by the names of their modules."""
    layers = {id(cell.weight) for _, cell in network.cells_and_names() if isinstance(cell, LAYERS)}
    names = [name for name, parameter in network.published_parameters().items() if id(parameter) in layers]
    finer = [name for name in names if name in chosen and chosen[name].bits > config.bits]
    return {
        "quant_method": METHOD,
        "weights_only": True,
        "bits": config.bits,
        "group_size": config.group_size,
        "sym": not any(rounding.zero_point for rounding in chosen.values()),
        "modules_in_8bit": [name.removesuffix(".weight") for name in finer],
        "modules_to_not_convert": [name.removesuffix(".weight") for name in names if name not in chosen],
    }
