"""A row of this library."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from .. import jobs
from ..engines import Engine, Taps
from ..engines.precision import computes_in
from ..jobs.loaded import held_bytes
from ..utils.machine import free_memory
from .clock import StageClock
from .setups import Setup

if TYPE_CHECKING:
    from PIL.Image import Image


_LEAST = 1.1
"""What a run takes for each byte of its weights, in half precision 1.1 to 1.6 (docs/models.md)."""


class Runner:
    """A loaded pipeline for the set-up's job.

    Raises:
        ValueError: memory is too short for the weights, which the system would read from disk again and again.
    """

    def __init__(self, setup: Setup, clock: StageClock):
        pipe = jobs.load(setup.job, **dict.fromkeys(setup.model.without))
        pipe.set_progress_bar_config(disable=True)
        needed, free = _LEAST * held_bytes(pipe), free_memory()
        if free is not None and needed > free:
            room = f"at least {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free"
            raise ValueError(f"a run takes {room}; close other programs, and hold one row at a time with --repeats 1")
        stages = {id(pipe.denoiser): "denoising", id(pipe.vae): "decode"}
        self.engine = f"{pipe.engine.name}, {computes_in(pipe.engine.name, setup.job.dtype)}"
        pipe.engine = cast(Engine, StagedEngine(pipe.engine, stages, clock))
        self.pipe = pipe

    def draw(self, job: jobs.Job) -> "list[Image]":
        """The job's images, one per seed: the set-up's job, or one with the same ``pipeline_key``."""
        return jobs.draw(self.pipe, job)


class Shaped(Protocol):
    """An array from any library."""

    @property
    def shape(self) -> Sequence[int]: ...


class StagedEngine:
    """An engine that notifies a clock before it runs a stage's network; otherwise it is the engine itself."""

    def __init__(self, engine: Any, stages: dict[int, str], clock: StageClock):
        self.engine, self.stages, self.clock = engine, stages, clock

    def run(self, model: object, *inputs: Any, **options: Any) -> object:
        """Run a network's method, see ``engines``."""
        stage = self.stages.get(id(model), "text_encoder")
        if stage == "denoising" and "method" in options:  # it reads a text once for all steps
            stage = "text_encoder"
        if stage != self.clock.stage:
            # Devices work asynchronously: the previous stage is over when this one's inputs have arrived.
            for value in (*inputs, *options.values()):
                if hasattr(value, "shape") and not isinstance(value, np.ndarray):
                    self.engine.numpy(value)
        self.clock.enter(stage)
        if stage == "denoising":
            self._count(*inputs, **options)
        return self.engine.run(model, *inputs, **options)

    def _count(
        self,
        sample: Shaped,
        *_: object,
        encoder_hidden_states: Shaped | tuple[Shaped, ...],
        taps: Taps | None = None,
        **__: object,
    ) -> None:
        """Guidance's two halves start from the same latents, passed once; a text that was read is several arrays."""
        text = encoder_hidden_states[0] if isinstance(encoder_hidden_states, tuple) else encoder_hidden_states
        single = sample.shape[0] == text.shape[0]
        self.clock.calls.add(shallow=taps is not None and bool(taps.left_out), single=single)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)
