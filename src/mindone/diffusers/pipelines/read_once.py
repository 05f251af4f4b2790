"""Reads a condition once for a denoiser, if the result is the same at every step."""

import numpy as np
from numpy.typing import NDArray

from ..adapters.lora import NetworkLora
from ..engines import Array, Engine, Outputs
from ..families.components import Denoiser

_KEPT = 2
"""One each with and without guidance."""


class ReadOnce:
    """Calls one of the denoiser's methods with a condition, and calls it again only if that or the LoRAs change.

    Callbacks may change conditions in place, so it compares values, which takes a thousandth of a step.
    """

    def __init__(self, engine: Engine, denoiser: Denoiser, method: str):
        self._engine, self._denoiser, self._method = engine, denoiser, method
        self._kept: list[tuple[int, NDArray[np.float32], Outputs]] = []

    def __call__(self, condition: Array) -> Outputs:
        """The method's result for the condition (rows, …): arrays with the same number of rows."""
        values, loras = self._engine.numpy(condition), self._denoiser.put_on.of(NetworkLora).version
        for acting, known, read in self._kept:
            if acting == loras and np.array_equal(known, values):
                return read
        read = self._engine.run(self._denoiser, condition, method=self._method)
        self._kept = [*self._kept[1 - _KEPT :], (loras, values.copy(), read)]
        return read
