"""Reads configs, tokenizers and memory-mapped weights from a folder or by name. Nothing here imports MindSpore."""

from .config import Config, read_config, write_config
from .dtypes import parse_dtype, to_mindspore
from .safetensors import SafetensorsFile, StoredTensor, save_file
from .weights import Weights, open_weights

__all__ = [
    "Config",
    "SafetensorsFile",
    "StoredTensor",
    "Weights",
    "open_weights",
    "parse_dtype",
    "read_config",
    "save_file",
    "to_mindspore",
    "write_config",
]
