"""Weights in 4 or 8 bits by group: files and memory of a quarter or half of their size, and no data are needed."""

from .config import WeightOnlyConfig
from .quantize import Summary, quantize_weights

__all__ = ["Summary", "WeightOnlyConfig", "quantize_weights"]
