"""Weights in 4 or 8 bits by group: a quarter or half of the file size and memory, without calibration data."""

from .config import WeightOnlyConfig
from .quantize import Summary, quantize_weights

__all__ = ["Summary", "WeightOnlyConfig", "quantize_weights"]
