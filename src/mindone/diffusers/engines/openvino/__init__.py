"""The OpenVINO engine: records a network, changes it by passes, compiles it for the CPU, and runs it on NumPy
arrays."""

from .compiling import half_precision
from .engine import OpenVINOEngine

__all__ = ["OpenVINOEngine", "half_precision"]
