"""Skip-layer guidance: away from the denoiser's prediction without some of its layers.

Stability AI published it with Stable Diffusion 3.5 medium; spatio-temporal skip guidance (Hyung et al. 2024, arXiv
2411.18664) is the same. A step with it runs the network once more, with only the prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..acceleration.steps import Predictor, Step
from ..engines import Array, Engine, Input, Outputs
from ..families.components import Denoiser
from ..schedulers.base import Scheduler
from ..utils.finite import is_whole
from .loop import NetworkCall, Run


@dataclass(frozen=True)
class SkippedLayers:
    """`starts.Guide`: the layers to skip, and the steps at which to do so.

    Step i of N is guided where N · ``start`` < i < N · ``stop``.
    """

    layers: Sequence[int]
    scale: float
    start: float
    stop: float

    def check(self, run: Run, images: int, height: int, width: int) -> None:
        """See `starts.Guide`."""
        count = int(run.denoiser.config["num_layers"])
        numbers = [*self.layers] if isinstance(self.layers, (list, tuple)) else []
        are_whole = all(map(is_whole, numbers))
        if not numbers or not are_whole or not all(0 <= each < count for each in numbers):
            raise ValueError(
                f"skip_guidance_layers must be numbers of layers from 0 to {count - 1}, such as [{count // 2}], or "
                f"None; got {self.layers!r:.80}"
            )
        if not run.do_classifier_free_guidance:
            raise ValueError(
                f"skip_guidance_layers needs guidance, and guidance_scale={run.settings.guidance_scale:g} is none; "
                "give one above 1, or leave the layers out"
            )
        steps = run.num_inference_steps
        if not any(self.applies(step, steps) for step in range(steps)):
            raise ValueError(
                f"skip_guidance_layers applies to none of {steps} steps: none lies between "
                f"skip_layer_guidance_start={self.start:g} and skip_layer_guidance_stop={self.stop:g}; use more steps "
                "or a wider part of them"
            )

    def begin(self, run: Run) -> None:
        """See `starts.Guide`."""
        run.settings.skip_guidance_layers = self.layers
        run.around.append(lambda inner: SkipLayerGuidance(self, run, inner))

    def applies(self, index: int, steps: int) -> bool:
        """Whether step number ``index`` of ``steps`` is guided this way."""
        return self.start * steps < index < self.stop * steps


class SkipLayerGuidance:
    """Predictions moved by ``scale`` times the layers' effect: the prediction with all of them minus that without some.

    The prediction without the prompt moves by the same amount as the one with it, so guidance, which comes later, and a
    forecast of guidance's difference are unaffected. Forecasts of whole steps forecast the third prediction, too.
    """

    def __init__(self, asked: SkippedLayers, run: Run, inner: Predictor):
        self.asked, self.run, self.inner = asked, run, inner
        self.without: Predictor = NetworkCall(run, self._forward)
        for cache in run.caches:
            self.without = cache.predictor(self.without, _PromptAlone(run))

    def predict(self, latents: Array, step: Step) -> Array:
        """See `Predictor`."""
        noise = self.inner.predict(latents, step)
        applies = self.asked.applies(step.index, self.run.num_inference_steps)
        if not applies or not self.run.is_guided(step):
            return noise
        images = latents.shape[0]
        moved = (noise[-images:] - self.without.predict(latents, step)) * self.asked.scale
        return noise + self.run.engine.concat([moved] * (noise.shape[0] // images))

    def _forward(self, step: Step, sample: Array, timestep: NDArray[np.float32], **conditions: Array) -> Outputs:
        text: dict[str, Input] = {name: x[-sample.shape[0] :] for name, x in conditions.items()}
        return self.run.call_network(step, sample, timestep, **text, skip_layers=tuple(map(int, self.asked.layers)))


class _PromptAlone:
    """The run as seen by the caches of a prediction with one row per image at every step."""

    def __init__(self, run: Run):
        self.engine: Engine = run.engine
        self.scheduler: Scheduler = run.scheduler
        self.denoiser: Denoiser = run.denoiser

    def guides(self, step: Step) -> bool:
        """See `steps.Run`."""
        return False
