"""The LoRAs of one network: which are loaded, which are active and how strongly, and which are fused.

**What compiles again, and when.** A layer that a loaded adapter updates gets a pair of matrices with a capacity: the
largest rank among the loaded adapters, or the sum of the ranks active at once if that is more. A capacity only grows.
So three things compile the network again: the first adapter, an adapter that updates more layers or has a higher rank,
and a larger sum of active ranks; switching, weights, ``disable_lora`` and ``delete_adapters`` do not.

Changes that are no low-rank products (`lora_kinds`) are added to the weights themselves. These become inputs of the
compiled graph while such an adapter is loaded, so it too can be switched and weighted without compiling again.

Fusing changes weights, which are constants of the compiled graph: it compiles once, and so does unfusing.
"""

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import NamedTuple

from ..engines.base import Stored, is_grouped
from ..engines.binding import Computed, bind, lay_over, stored, uncover
from ..models.base import Model
from ..utils.logging import get_logger
from .lora_cells import put_around
from .lora_kinds import Change, LoraLayer
from .lora_matrices import Adjusted, LayerUpdate, changed, overlay

logger = get_logger(__name__)

Layers = Mapping[str, Change]
"""The changes of an adapter, by parameter."""


Strength = float | Mapping[str, float]
"""An adapter's weight: one for everything, or one for each parameter of the network."""
Strengths = Mapping[str, Mapping[str, float]]
"""A weight for each adapter and each parameter that it updates."""


class CallStrengths(NamedTuple):
    """The weights of adapters in one call."""

    strengths: Strengths
    key: int
    """Equal for equal strengths, so that results computed from them can be used again."""


_calls: ContextVar[Mapping["NetworkLora", CallStrengths] | None] = ContextVar(
    "mindone.diffusers.lora_weights", default=None
)
"""The strengths that this thread's call set for itself."""
_changes = itertools.count(1)


class NetworkLora:
    """The LoRAs of ``network``; pipelines that share the network share this."""

    def __init__(self, network: Model):
        self.network = network
        self.loaded: dict[str, Layers] = {}
        self.words: dict[str, list[str]] = {}
        """Textual inversions that came with an adapter; the first network of a pipeline holds them for all networks."""
        self.fused: tuple[str, ...] = ()
        self._weights: Mapping[str, Strength] = {}
        self._strengths: Strengths = {}
        """The active adapters, with a weight for each parameter that they update."""
        self._enabled = True
        self._version = next(_changes)
        self._updates: dict[str, LayerUpdate] = {}
        self._overlays: dict[str, Adjusted] = {}
        self._take_off: list[Callable[[], None]] = []
        self._before_fusing: dict[str, Stored] = {}

    @property
    def active(self) -> list[str]:
        """The names of the active adapters."""
        return list(self._strengths)

    # ---- which ones, and how strongly --------------------------------------------------------------------------------

    def load(self, name: str, layers: Layers) -> Callable[[], None]:
        """Load an adapter and make it the only active one. Returns a function that undoes this.

        Raises:
            ValueError: a layer takes no changes; then nothing has changed.
        """
        return self._change({**self.loaded, name: layers}, {name: 1.0})

    def exchange(self, name: str, layers: Layers, is_active: bool) -> Callable[[], None]:
        """Replace the adapter loaded as ``name`` and keep its weight; see `load`.

        If that one had nothing for this network, the weight is 1 if it ``is_active`` elsewhere.
        """
        others = {each: kept for each, kept in self.loaded.items() if each != name}
        weights = {name: 1.0, **self._weights} if is_active else self._weights
        return self._change({**others, name: layers} if layers else others, weights)

    def _change(self, loaded: dict[str, Layers], weights: Mapping[str, Strength]) -> Callable[[], None]:
        before = self.loaded, self._weights, self._strengths
        capacities = {each: update.capacity for each, update in self._updates.items()}

        def undo() -> None:
            self.loaded, self._weights, self._strengths = before
            self._wrap(capacities)
            self._apply()

        self.loaded = loaded
        try:
            self.set_active(weights)
        except Exception:
            undo()
            raise
        return undo

    def set_active(self, weights: Mapping[str, Strength]) -> None:
        """Make these adapters the active ones, each with its weight."""
        self._strengths, self._weights = self._expanded(weights), dict(weights)
        self._apply()

    def for_call(self, weights: Mapping[str, Strength]) -> CallStrengths:
        """The strengths of active adapters for `call_weights`; unnamed adapters count 0.

        Raises:
            ValueError: an adapter is not active, or is fused.
        """
        idle = [name for name in weights if name in self.loaded and (name not in self._strengths or self.fused)]
        if idle:
            raise ValueError(f"adapter {idle[0]!r} is fused or not active, so a call cannot weight it")
        strengths = self._expanded(weights)
        return CallStrengths(strengths, hash(tuple((name, tuple(each.items())) for name, each in strengths.items())))

    def _expanded(self, weights: Mapping[str, Strength]) -> Strengths:
        return {
            name: {each: weight[each] if isinstance(weight, Mapping) else weight for each in self.loaded[name]}
            for name, weight in weights.items()
            if name in self.loaded
        }

    def enable(self, enabled: bool) -> None:
        """Switch the active adapters on or off."""
        self._enabled = enabled
        self._apply()

    def delete(self, names: Sequence[str]) -> None:
        """Forget these adapters; once none is left, the layers are the network's own again."""
        for name in names:
            self.loaded.pop(name, None)
        self._strengths = {name: each for name, each in self._strengths.items() if name not in names}
        self._apply()

    # ---- baked in ----------------------------------------------------------------------------------------------------

    def fuse(self, names: Sequence[str], scale: float) -> None:
        """Add the active adapters among ``names`` to the weights, at ``scale`` times their strength."""
        chosen = [name for name in names if name in self._strengths]
        if not chosen:
            return
        self._cover(set())  # fusing adds to the network's own weights
        parameters = self.network.published_parameters()
        names = list(dict.fromkeys(parameter for each in chosen for parameter in self.loaded[each]))
        self._warn_of_widening(names)
        for name in names:
            self._before_fusing[name] = base = stored(parameters[name])
            acting = self._acting(name, {each: self._strengths[each] for each in chosen}, scale)
            bind(parameters[name], Computed(base.shape, partial(changed, base, acting)))
        self.fused = tuple(chosen)
        self.network.graphs.clear()
        self._apply()

    def unfuse(self) -> None:
        """Restore the fused weights, bit for bit."""
        if not self.fused:
            return
        parameters = self.network.published_parameters()
        for name, values in self._before_fusing.items():
            bind(parameters[name], values)
        self._before_fusing.clear()
        self.fused = ()
        self.network.graphs.clear()
        self._apply()

    def _warn_of_widening(self, names: Collection[str]) -> None:
        """Say that what is added to weights in 4 or 8 bits makes floats of them."""
        parameters = self.network.published_parameters()
        count = sum(is_grouped(stored(parameters[name])) for name in names)
        if count:
            logger.warning(
                f"{type(self.network).__name__}: LoRAs are added to {count} weight{'s' * (count > 1)} in 4 or 8 "
                "bits by group, which take as much memory as any others meanwhile"
            )

    # ---- what engines see --------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """A number that differs after each change, and for each call's own weights."""
        own = self._of_call()
        return self._version if own is None else hash((self._version, own.key))

    def _products(self, parameter: str) -> list[tuple[LoraLayer, float]]:
        """The low-rank products that act on a parameter in this thread's call, each with its strength."""
        acting = self._acting_now(parameter)
        return [(change, weight) for change, weight in acting if isinstance(change, LoraLayer)]

    def _others(self, parameter: str) -> list[tuple[Change, float]]:
        """The other changes that act on it."""
        return [each for each in self._acting_now(parameter) if not isinstance(each[0], LoraLayer)]

    def _acting_now(self, parameter: str) -> list[tuple[Change, float]]:
        own = self._of_call()
        return self._acting(parameter, self._strengths if own is None else own.strengths) if self._enabled else []

    def _of_call(self) -> CallStrengths | None:
        return (_calls.get() or {}).get(self)

    def _acting(self, parameter: str, strengths: Strengths, scale: float = 1.0) -> list[tuple[Change, float]]:
        loaded = self.loaded
        return [
            (loaded[name][parameter], scale * each[parameter]) for name, each in strengths.items() if parameter in each
        ]

    def _apply(self) -> None:
        wanted = {} if self.fused else self._capacities()
        if wanted != {name: update.capacity for name, update in self._updates.items()}:
            self._wrap(wanted)
        others = set() if self.fused else self._changed_otherwise()
        if others != self._overlays.keys():
            self._cover(others)
        self._version = next(_changes)

    def _capacities(self) -> dict[str, int]:
        """The number of ranks that each layer's pair of matrices needs room for."""
        if not self.loaded:
            return {}
        needed = {name: update.capacity for name, update in self._updates.items()}
        for layers in self.loaded.values():
            for name, layer in layers.items():
                if isinstance(layer, LoraLayer):
                    needed[name] = max(needed.get(name, 0), layer.rank)
        for name in needed:
            acting = [change for change, _ in self._acting(name, self._strengths)]
            needed[name] = max(needed[name], sum(change.rank for change in acting if isinstance(change, LoraLayer)))
        return needed

    def _changed_otherwise(self) -> set[str]:
        """The parameters that a loaded adapter changes other than by a low-rank product."""
        every = [item for layers in self.loaded.values() for item in layers.items()]
        return {name for name, change in every if not isinstance(change, LoraLayer)}

    def _cover(self, names: set[str]) -> None:
        parameters = self.network.published_parameters()
        for name in self._overlays.keys() - names:
            uncover(parameters[name])
        kept = {name: overlay for name, overlay in self._overlays.items() if name in names}
        self._warn_of_widening(names - kept.keys())
        self._overlays = kept | {
            name: overlay(stored(parameters[name]), partial(self._others, name), lambda: self.version)
            for name in sorted(names - kept.keys())
        }
        for name in names - kept.keys():
            lay_over(parameters[name], self._overlays[name])
        self.network.graphs.clear()

    def _wrap(self, capacities: Mapping[str, int]) -> None:
        for take_off in reversed(self._take_off):
            take_off()
        shapes = self.network.published_shapes()
        self._updates, self._take_off = {}, []
        self.network.graphs.clear()
        for name, capacity in capacities.items():
            update = LayerUpdate(shapes[name], capacity, partial(self._products, name), lambda: self.version)
            self._take_off.append(put_around(self.network, name.removesuffix(".weight"), update))
            self._updates[name] = update


@contextmanager
def call_weights(strengths: Mapping[NetworkLora, CallStrengths]) -> Iterator[None]:
    """Within this context, and only in this thread, give the adapters of these networks these weights.

    Args:
        strengths: for each network the result of its `NetworkLora.for_call`.
    """
    token = _calls.set({**(_calls.get() or {}), **strengths})
    try:
        yield
    finally:
        _calls.reset(token)
