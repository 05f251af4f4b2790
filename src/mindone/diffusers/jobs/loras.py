"""The LoRAs of a job: texts such as ``style.safetensors:0.8``, and their meaning for a pipeline."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..utils.printable import shown

if TYPE_CHECKING:
    from ..families.family import Family

LARGEST_WEIGHT = 1000.0
"""The largest weight; results stop being pictures long before."""


@dataclass(frozen=True)
class WeighedLora:
    """A LoRA with its weights in the text encoders and the denoiser."""

    path: str
    text_encoder: float = 1.0
    denoiser: float = 1.0

    @classmethod
    def parse(cls, text: str) -> WeighedLora:
        """Parse ``PATH``, ``PATH:WEIGHT``, or ``PATH:TEXT_ENCODER:DENOISER``; an address has its own colons.

        Raises:
            ValueError: there is no path, or a weight is no finite number or exceeds `LARGEST_WEIGHT`.
        """
        path = text
        weights: list[str] = []
        while len(weights) < 2:
            before, colon, last = path.rpartition(":")
            if not colon or "/" in last or last.endswith(".safetensors") or (weights and _number(last) is None):
                break
            path, weights = before, [last, *weights]
        numbers = [_number(weight) for weight in weights] or [1.0]
        first, last_one = numbers[0], numbers[-1]
        if not path or first is None or last_one is None:
            raise ValueError(
                f"lora must be PATH, PATH:WEIGHT or PATH:TEXT_ENCODER:DENOISER such as "
                f"style.safetensors:0.8, got {shown(text)}"
            )
        found = cls(path, first, last_one)
        if found.largest > LARGEST_WEIGHT:
            raise ValueError(
                f"a lora's weight must be from -{LARGEST_WEIGHT:g} to {LARGEST_WEIGHT:g}, got {shown(text)}"
            )
        return found

    @property
    def largest(self) -> float:
        """The larger absolute value of the two weights."""
        return max(abs(self.text_encoder), abs(self.denoiser))

    @property
    def weights(self) -> str:
        """``0.8``, or ``0.5:0.8`` if the text encoders have another weight."""
        text = f"{self.text_encoder:g}"
        return text if self.text_encoder == self.denoiser else f"{text}:{self.denoiser:g}"

    def __str__(self) -> str:
        return f"{self.path}:{self.weights}"

    def by_component(self, family: Family) -> dict[str, float]:
        """The weights in the form of ``set_adapters``."""
        return {family.denoiser: self.denoiser, **dict.fromkeys(family.text_encoders, self.text_encoder)}


def merged(loras: Iterable[str | WeighedLora]) -> list[WeighedLora]:
    """Each LoRA once, in the order of the paths; repeated ones add up their weights."""
    found: dict[str, WeighedLora] = {}
    for lora in loras:
        one = WeighedLora.parse(lora) if isinstance(lora, str) else lora
        before = found.get(one.path, WeighedLora(one.path, 0.0, 0.0))
        found[one.path] = WeighedLora(one.path, before.text_encoder + one.text_encoder, before.denoiser + one.denoiser)
    return [found[path] for path in sorted(found)]


def adapter_weights(loras: Iterable[WeighedLora], family: Family) -> dict[str, dict[str, float]]:
    """The weights of a family's adapters, numbered in the order of `merged`."""
    return {f"lora_{i}": lora.by_component(family) for i, lora in enumerate(loras)}


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
