"""The cost of any settings: each part is measured once, and a run is the sum over its calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engines import Input, Taps, several
from ..families.components import Denoiser
from ..jobs.profile import Settings
from ..models.base import Model
from .rehearsal import Call, Example, Rehearsal, RehearsingEngine, rehearse
from .stacks import Stacks

_ANY_NETWORKS = {"int8": False, "int8_vae": False, "tiny_vae": None, "token_downsampling": None, "calibration": ()}
_ENOUGH_SECONDS, _LEAST_REPEATS, _MOST_REPEATS = 0.3, 2, 15


@dataclass(frozen=True)
class Part:
    """The cost of one call of a network."""

    seconds: float
    compile_seconds: float


class Costs:
    """Seconds of one image at one size, with any settings.

    Args:
        stacks: makes the networks.
        arguments: the pipeline call's arguments: ``prompt``, ``height``, ``width``.
    """

    def __init__(self, stacks: Stacks, arguments: Mapping[str, Any]):
        self.stacks, self.arguments = stacks, arguments
        self.has_time: Callable[[], bool] = lambda: True
        """Whether new parts may still be measured."""
        self.parts: dict[tuple[int, Call], Part] = {}
        self.warming_up: float | None = None
        """Extra seconds of other work after each call of a network, which evicts its data from the processor's caches;
        None until measured."""
        self._rehearsals: dict[Settings, Rehearsal] = {}
        self._known: dict[object, dict[Call, Any]] = {}
        self.examples: dict[Call, Example] = {}
        self._features: dict[tuple[int, object], Any] = {}

    def seconds(self, settings: Settings) -> float:
        """Seconds of a run, from prompt to picture. Parts that are new are measured now.

        Raises:
            ValueError: the pipeline refuses these settings, or no time is left to measure a part.
        """
        rehearsal = self.rehearsal(settings)
        parts = {call: self.part(settings, call) for call in rehearsal.calls}
        warming_up = self.warming_up or 0.0
        return rehearsal.arithmetic + sum(
            (parts[call].seconds + warming_up) * count for call, count in rehearsal.calls.items()
        )

    def compile_seconds(self, settings: Settings) -> float:
        """What a run with these settings compiles if nothing is compiled yet."""
        return sum(self.part(settings, call).compile_seconds for call in self.rehearsal(settings).calls)

    def rehearsal(self, settings: Settings) -> Rehearsal:
        """The calls of a run.

        Raises:
            ValueError: the pipeline refuses these settings.
        """
        # The choice of networks does not change how often they are called.
        plain = settings.model_copy(update={**_ANY_NETWORKS, "dtype": self.stacks.pipe.dtype})
        if plain not in self._rehearsals:
            view = self.stacks.view(plain)
            known = self._known.setdefault(settings.distilled, {})
            arguments = {**self.arguments, "generator": np.random.default_rng(0)}

            def once(is_busy: bool = False) -> Rehearsal:
                return rehearse(view, arguments, RehearsingEngine(view, known, self.examples, is_busy))

            if not known:  # the networks' answers are found once, which takes long
                once()
            if self.warming_up is None:
                busy, idle = (statistics.median(once(each).arithmetic for _ in range(5)) for each in (True, False))
                self.warming_up = max(busy - idle, 0.0) / sum(once().calls.values())
            self._rehearsals[plain] = once()
        return self._rehearsals[plain]

    def part(self, settings: Settings, call: Call) -> Part:
        """The cost of one call with the network of these settings."""
        network = self.stacks.network(settings, call.role)
        if call.taps is not None and not call.taps.left_out:  # the whole network, with one more tensor returned
            call = self._whole(call)
        key = (id(network), call)
        if key not in self.parts:
            if not self.has_time():
                raise ValueError(f"no time is left to measure {call.role}.{call.method}")
            self.make_room(network)
            self.parts[key] = self._measure(network, call)
        return self.parts[key]

    def make_room(self, network: Denoiser) -> None:
        """Before using a big network, drop the graphs of other big ones and limit those of the rest."""
        if not network.is_big:
            return
        for other in self.stacks.networks():
            if other is not network and len(other.graphs):
                if other.is_big:
                    other.release()
                else:
                    other.graphs.rest()

    def _whole(self, call: Call) -> Call:
        whole = call._replace(taps=None)
        example = self.examples[call]
        options = {name: x for name, x in example.options.items() if name != "taps"}
        self.examples.setdefault(whole, Example(example.inputs, options))
        return whole

    def _measure(self, network: Model, call: Call) -> Part:
        inputs, options = self._inputs(network, call)
        run = self.stacks.pipe.engine.run
        named: Any = options

        def once() -> float:
            began = time.perf_counter()
            result = run(network, *inputs, method=call.method, **named)
            self.stacks.pipe.engine.numpy(result[0] if isinstance(result, tuple) else result)  # waits for it
            return time.perf_counter() - began

        first = once()
        taken = [once()]
        while len(taken) < _LEAST_REPEATS or (sum(taken) < _ENOUGH_SECONDS and len(taken) < _MOST_REPEATS):
            taken.append(once())
        seconds = statistics.median(taken)
        return Part(seconds, max(first - seconds, 0.0))

    def _inputs(self, network: Model, call: Call) -> tuple[tuple[Input, ...], Mapping[str, Input]]:
        """The rehearsal's examples; replacements for a tap come from a call that reads it."""
        example = self.examples[call]
        if call.taps is None or not call.taps.replaced:
            return example.inputs, example.options
        layers, options = call.taps.replaced, dict(example.options)
        features = self._features.get((id(network), layers))
        if features is None or features[0].shape[0] < call.rows:
            rest: Any = {**options, "taps": Taps(read=layers), "values": ()}
            _, *features = several(self.stacks.pipe.engine.run(network, *example.inputs, **rest))
            self._features[id(network), layers] = features
        return example.inputs, {**options, "values": tuple(x[x.shape[0] - call.rows :] for x in features)}
