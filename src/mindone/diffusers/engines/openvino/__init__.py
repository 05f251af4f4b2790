"""The OpenVINO engine: a network is recorded, changed by passes, compiled for the CPU, and run on NumPy arrays."""

from .compiling import half_precision
from .engine import OpenVINOEngine

__all__ = ["OpenVINOEngine", "half_precision"]
