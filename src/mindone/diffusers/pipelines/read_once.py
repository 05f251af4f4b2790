"""What a denoiser reads of a condition once, where that is the same at every step."""

import numpy as np
from numpy.typing import NDArray

from ..adapters.lora import NetworkLora
from ..engines import Array, Engine, Outputs
from ..families.components import Denoiser

_KEPT = 2
"""With guidance and without it."""


class ReadOnce:
    """Calls one of the denoiser's methods with a condition, and again only when that or the LoRAs on it are others.

    Callbacks may change conditions in place, so values are compared, which takes a thousandth of a step.
    """

    def __init__(self, engine: Engine, denoiser: Denoiser, method: str):
        self._engine, self._denoiser, self._method = engine, denoiser, method
        self._kept: list[tuple[int, NDArray[np.float32], Outputs]] = []

    def __call__(self, condition: Array) -> Outputs:
        """What the method makes of the condition (rows, …): arrays of as many rows."""
        values, loras = self._engine.numpy(condition), self._denoiser.put_on.of(NetworkLora).version
        for acting, known, read in self._kept:
            if acting == loras and np.array_equal(known, values):
                return read
        read = self._engine.run(self._denoiser, condition, method=self._method)
        self._kept = [*self._kept[1 - _KEPT :], (loras, values.copy(), read)]
        return read
