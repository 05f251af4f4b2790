"""Calibrated steps as numbers and as texts. A row is a step and holds as many numbers as the step needs."""

import itertools
from collections.abc import Sequence
from typing import TypeAlias

from ..utils.printable import shown

Row: TypeAlias = Sequence[float]
"""A step: its timestep, the sample's weight, and the weights of all x₀ predicted so far, the latest first."""

_LARGEST = 1e9


def check_rows(rows: Sequence[Row], train_steps: int) -> None:
    """Refuse rows that are no calibration.

    Raises:
        ValueError: names the step and what it must hold.
    """
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, (list, tuple)) for row in rows):
        raise ValueError(f"a calibration is a list of steps, each a list of numbers; got {shown(rows)}")
    for i, row in enumerate(rows):
        if len(row) != i + 3 or not all(isinstance(value, (int, float)) and abs(value) <= _LARGEST for value in row):
            raise ValueError(
                f"step {i + 1} of a calibration is a timestep and {i + 2} weights: one for the sample, one for each "
                f"prediction so far; got {shown(row)}"
            )
    timesteps = [row[0] for row in rows]
    falls = all(before > after for before, after in itertools.pairwise(timesteps))
    if not falls or timesteps[0] >= train_steps or timesteps[-1] < 0 or any(t != int(t) for t in timesteps):
        raise ValueError(
            f"a calibration's timesteps are falling whole numbers from 0 to {train_steps - 1}; got {shown(timesteps)}"
        )


def parse_rows(texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """Rows from the spelling of command lines and jobs: ``TIMESTEP:WEIGHT:WEIGHT…``, one text for each step.

    Raises:
        ValueError: a text holds something other than numbers.
    """
    try:
        return tuple(tuple(float(word) for word in text.split(":")) for text in texts)
    except ValueError:
        raise ValueError(
            f"a calibrated step is TIMESTEP:WEIGHT:WEIGHT…, all numbers; got {shown(list(texts))}"
        ) from None


def row_texts(rows: Sequence[Row]) -> tuple[str, ...]:
    """Rows as texts that `parse_rows` reads."""
    return tuple(":".join(f"{value:.9g}" for value in row) for row in rows)
