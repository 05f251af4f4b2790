"""int8: runs the denoiser's products on 8-bit integers, calibrated on a few prompts."""

from .config import Int8Config
from .quantize import check_engine, quantize_pipeline, require_int8

__all__ = ["Int8Config", "check_engine", "quantize_pipeline", "require_int8"]
