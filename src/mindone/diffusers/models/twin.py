"""A second network with the weights of a first one, which can change, or compute in another dtype, by itself."""

from typing import TypeVar

from ..engines.binding import bind, is_covered, is_put_on, stored
from .base import Model

M = TypeVar("M", bound=Model)


def is_plain(network: Model) -> bool:
    """Whether the network matches its checkpoint: no adapter has added parameters or replaced values."""
    return not any(is_put_on(parameter) or is_covered(parameter) for _, parameter in network.parameters_and_names())


def twin(network: M, dtype: str | None = None) -> M:
    """Another network of the same class, config and stored weights; the weights are in memory once.

    Args:
        network: stays unchanged; its active speed-ups (caches, token downsampling) are off in the twin.
        dtype: the twin's compute dtype; None for the same.

    Raises:
        ValueError: an adapter is on the network.
    """
    if not is_plain(network):
        raise ValueError(
            f"{type(network).__name__} has adapters, which a second network cannot share; call "
            "unload_lora_weights() first"
        )
    other = type(network).from_config(network.config)
    sources = network.published_parameters()
    for name, parameter in other.published_parameters().items():
        bind(parameter, stored(sources[name]), name)
    other.weights, other.dtype, other.passes = network.weights, dtype or network.dtype, list(network.passes)
    other.graphs.limit = network.graphs.limit
    flashes = [cell.flash for _, cell in network.cells_and_names() if getattr(cell, "flash", None) is not None]
    if flashes:
        other._set_flash(**flashes[0]._asdict())
    return other
