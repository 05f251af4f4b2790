"""Calibrated steps as numbers and as texts. A row is a step; it is as long as its weights are many."""

import itertools
from collections.abc import Sequence
from typing import TypeAlias

from ..utils.printable import shown

Row: TypeAlias = Sequence[float]
"""A step: its timestep, the weight of the sample, and those of the x₀ predicted so far, the latest first."""

_LARGEST = 1e9


def check_rows(rows: Sequence[Row], train_steps: int) -> None:
    """Refuse a calibration that cannot be.

    Raises:
        ValueError: as said.
    """
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, (list, tuple)) for row in rows):
        raise ValueError(f"a calibration is a list of steps, each a list of numbers; got {shown(rows)}")
    for i, row in enumerate(rows):
        if len(row) != i + 3 or not all(isinstance(value, (int, float)) and abs(value) <= _LARGEST for value in row):
            raise ValueError(
                f"step {i + 1} of a calibration is a timestep and {i + 2} weights: of the sample, and of the "
                f"predictions so far; got {shown(row)}"
            )
    timesteps = [row[0] for row in rows]
    falls = all(before > after for before, after in itertools.pairwise(timesteps))
    if not falls or timesteps[0] >= train_steps or timesteps[-1] < 0 or any(t != int(t) for t in timesteps):
        raise ValueError(
            f"a calibration's timesteps are whole numbers that fall, all from 0 to {train_steps - 1}; got "
            f"{shown(timesteps)}"
        )


def parse_rows(texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """Rows as command lines and jobs spell them: ``TIMESTEP:WEIGHT:WEIGHT…``, a text for each step.

    Raises:
        ValueError: a text with what is no number.
    """
    try:
        return tuple(tuple(float(word) for word in text.split(":")) for text in texts)
    except ValueError:
        raise ValueError(f"a calibrated step is TIMESTEP:WEIGHT:WEIGHT…, all numbers; got {list(texts)}") from None


def row_texts(rows: Sequence[Row]) -> tuple[str, ...]:
    """What `parse_rows` reads."""
    return tuple(":".join(f"{value:.9g}" for value in row) for row in rows)
