"""Reads a checkpoint's training YAML file, for facts that its tensors' names and shapes do not show.

Web UIs read it if it lies beside the checkpoint under the same name (``dreamy.safetensors``, ``dreamy.yaml``). Only a
dozen lines matter, each a name and a plain value with the same meaning everywhere in the file; so this reads lines, not
YAML.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...utils.files import check_file
from ...utils.printable import shown

_LONGEST = 100_000
"""The most bytes in a file; published ones have 3,000."""
_LINE = re.compile(r"""[ \t]*([a-z_]{1,40}):[ \t]+["']?([\w.+-]{1,100})["']?[ \t]*(?:#.*)?""")
_NUMBERS = ("linear_start", "linear_end", "timesteps", "num_heads", "num_head_channels", "scale_factor")


@dataclass(frozen=True)
class TrainingConfig:
    """The values we honour; None if the file does not give them."""

    path: Path | None = None
    prediction_type: str | None = None
    numbers: Mapping[str, float] | None = None

    def number(self, name: str) -> float | None:
        """One of the numbers ``linear_start``, ``linear_end``, ``timesteps``, ``num_heads``, ``scale_factor``, …"""
        return (self.numbers or {}).get(name)

    @property
    def schedule(self) -> dict[str, object]:
        """The noise schedule in a scheduler's fields."""
        names = {"linear_start": "beta_start", "linear_end": "beta_end"}
        found: dict[str, object] = {ours: value for name, ours in names.items() if (value := self.number(name))}
        steps = self.number("timesteps")
        return found if steps is None else {**found, "num_train_timesteps": int(steps)}

    def heads(self, widths: list[int]) -> int | list[int] | None:
        """``attention_head_dim`` of a network whose stages have these widths; None if the file does not give it."""
        heads, channels = self.number("num_heads"), self.number("num_head_channels")
        if channels is not None and channels > 0:
            return [max(width // int(channels), 1) for width in widths]
        return int(heads) if heads is not None and heads > 0 else None


def read_training_config(path: str | os.PathLike[str]) -> TrainingConfig:
    """Read a ``.yaml`` file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an address, or not a text file of this kind.
    """
    if "://" in os.fspath(path):
        raise ValueError(f"{path} is an address: fetch the file and give its path")
    path = Path(path)
    check_file(path)
    if path.stat().st_size > _LONGEST:
        raise ValueError(f"{path} is longer than the configuration of a training, {_LONGEST:,} bytes")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text: byte {error.start} is not UTF-8") from None
    found: dict[str, str] = {}
    for line in lines:
        if match := _LINE.fullmatch(line):
            found.setdefault(match[1], match[2])
            if match[1] == "target" and match[2].endswith((".VScaling", ".EpsScaling")):  # the layout of XL
                found.setdefault("parameterization", "v" if match[2].endswith(".VScaling") else "eps")
    if "target" not in found:
        raise ValueError(f"{path} is no original config: it has no line `target: …`, which says what it configures")
    predicts = found.get("parameterization", "eps")
    if predicts not in ("v", "eps"):
        raise ValueError(f"{path}: parameterization must be v or eps, got {shown(predicts)}")
    said = found.get("parameterization")
    return TrainingConfig(path, said and {"v": "v_prediction", "eps": "epsilon"}[said], _numbers(found, path))


def _numbers(found: Mapping[str, str], path: Path) -> dict[str, float]:
    numbers = {}
    for name in _NUMBERS:
        if name in found:
            try:
                numbers[name] = float(found[name])
            except ValueError:
                raise ValueError(f"{path}: {name} must be a number, got {shown(found[name])}") from None
            if not math.isfinite(numbers[name]):
                raise ValueError(f"{path}: {name} must be finite, got {found[name]}")
    return numbers
