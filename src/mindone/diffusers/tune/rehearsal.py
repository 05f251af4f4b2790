"""A run without its networks: which calls the settings make, and how long everything else takes.

The pipeline runs as always, so schedulers, caches, guidance and forecasts decide as they do when it generates; but its
engine makes up the networks' outputs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from ..engines import Engine, Input, Outputs, Taps, single
from ..models.base import Model

if TYPE_CHECKING:
    from ..pipelines.published import PublishedPipeline as Pipeline


DENOISER = "denoiser"
_MATRIX = np.ones((768, 768), np.float32)


class Call(NamedTuple):
    """A call of a network, reduced to what its time depends on."""

    role: str
    """The pipeline's name for the network: ``vae``, ``text_encoder``; the denoiser's is `DENOISER`."""
    method: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    fixed: tuple[tuple[str, object], ...]
    taps: Taps | None = None

    @property
    def rows(self) -> int:
        """Rows of the text, which are a denoiser's batch."""
        return dict(self.shapes).get("encoder_hidden_states", (1,))[0]


@dataclass
class Example:
    """The arguments of a call, so that it can be repeated."""

    inputs: tuple[Input, ...]
    options: Mapping[str, Input]


@dataclass
class Rehearsal:
    """The calls and the overhead of a run."""

    calls: Mapping[Call, float] = field(default_factory=Counter)
    arithmetic: float = 0.0
    """Seconds of everything except networks: tokens, schedulers, guidance, forecasts, images."""


class RehearsingEngine:
    """An engine that counts the calls of a pipeline's networks and makes up their outputs; otherwise it is the engine
    itself.

    It runs only text encoders, and layers that read their output once for all steps, each once. With ``is_busy`` it
    multiplies matrices at each call, to load the processor as networks do.

    Args:
        view: the pipeline.
        known: the outputs so far, by call.
        examples: collects one of each call.
        is_busy: see above.
    """

    def __init__(
        self, view: Pipeline, known: dict[Call, Outputs], examples: dict[Call, Example], is_busy: bool = False
    ):
        self.engine: Engine = view.engine
        self.known, self.examples, self.is_busy = known, examples, is_busy
        self.roles = {id(each): name for name, each in view.components.items() if isinstance(each, Model)}
        self.roles[id(view.denoiser)] = DENOISER
        self.read_once = view.family.read_once
        self.calls: Counter[Call] = Counter()
        self.busy_seconds = 0.0
        """The thread's own seconds in these products."""
        self.scale: int = view.vae.scale

    def count(self, network: object, inputs: tuple[Input, ...], method: str, options: Mapping[str, Input]) -> Call:
        """The call as the engine sees it."""
        # The ``values`` at taps are a tuple, so they have no shape here: no rehearsal knows it.
        named = {**{str(i): x for i, x in enumerate(inputs)}, **options}
        named |= {name: x[0] for name, x in options.items() if name in self.read_once and isinstance(x, tuple)}
        arrays = {name: single(x) for name, x in named.items() if hasattr(x, "shape")}
        shapes = tuple((name, tuple(arrays[name].shape)) for name in sorted(arrays))
        fixed = tuple((name, x) for name, x in sorted(options.items()) if isinstance(x, (bool, int, float, str)))
        call = Call(self.roles[id(network)], method, shapes, fixed, cast("Taps | None", options.get("taps")))
        self.calls[call] += 1
        self.examples.setdefault(call, Example(inputs, options))
        return call

    def compile_ahead(self, network: Model, *inputs: Input, **options: Input) -> None:
        """Nothing: counting needs no compiling."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def run(self, network: Model, *inputs: Input, method: str = "construct", **options: Input) -> Outputs:
        """Count the call and make up its output."""
        call = self.count(network, inputs, method, options)
        if call not in self.known:
            self.known[call] = self._made_up(network, call, inputs, options)
        if self.is_busy:
            began = time.thread_time()
            np.matmul(_MATRIX, _MATRIX)
            self.busy_seconds += time.thread_time() - began
        return self.known[call]

    def _made_up(self, network: Model, call: Call, inputs: tuple[Input, ...], options: Mapping[str, Input]) -> Outputs:
        rows, channels, height, width = (*getattr(inputs[0], "shape", ()), 0, 0, 0, 0)[:4]
        generator = np.random.default_rng(0)
        if call.role == DENOISER and call.method not in self.read_once.values():
            reads = network.config["in_channels"]  # of latents, or of patches of them
            outs = channels * (network.config["out_channels"] or reads) // reads
            shape = (call.rows, outs, height, width)
            noise = self.engine.asarray(generator.standard_normal(shape, np.float32))
            read = () if call.taps is None else call.taps.read
            return (noise, *(self.engine.asarray(np.zeros((call.rows, 1, 1, 1))) for _ in read)) if read else noise
        if call.role == "vae":
            pixels = (rows, 3, height * self.scale, width * self.scale)
            return self.engine.asarray(np.clip(generator.standard_normal(pixels, np.float32), -1, 1))
        named: Any = options
        return self.engine.run(network, *inputs, method=call.method, **named)


def rehearse(view: Pipeline, arguments: Mapping[str, object], engine: RehearsingEngine) -> Rehearsal:
    """Rehearse a call of a pipeline with its ``arguments``.

    Raises:
        ValueError: the pipeline refuses it, for example a cache that would save nothing.
    """
    before, view.engine = view.engine, cast(Engine, engine)
    try:
        # The thread's own seconds: time that other programs take does not count.
        began = time.thread_time()
        view(**arguments)
        return Rehearsal(engine.calls, time.thread_time() - began - engine.busy_seconds)
    finally:
        view.engine = before
