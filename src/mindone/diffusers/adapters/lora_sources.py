"""Where a LoRA comes from: tensors by name, a file, a folder, or a repository on the hub."""

import os
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..engines import Array
from ..loading.hub_files import FileSource
from ..loading.safetensors import StoredTensor
from .lora_configs import PEFT_CONFIG
from .lora_files import LoraFile

USUAL_NAME = "pytorch_lora_weights.safetensors"

Tensors: TypeAlias = Mapping[str, NDArray[np.generic] | StoredTensor | Array]


def find_lora(
    path_or_id_or_dict: str | os.PathLike[str] | Tensors,
    weight_name: str | None = None,
    subfolder: str | None = None,
    use_safetensors: bool | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> LoraFile:
    """A LoRA's tensors and what stands beside them.

    Args:
        path_or_id_or_dict: a ``.safetensors`` file, a folder or a hub id with one, its address on the hub, or tensors.
        weight_name: the file in a folder or repository that has several.
        subfolder: where in it the file lies.
        use_safetensors: must not be False: pickles are not read.
        revision, cache_dir, local_files_only, token: as in huggingface_hub.

    Raises:
        ValueError, FileNotFoundError: as `LoraFile.open`; no such file, or several that could be meant.
    """
    if use_safetensors is False:
        raise ValueError("use_safetensors must be True: pickle files are not read; take the LoRA's .safetensors file")
    if isinstance(path_or_id_or_dict, Mapping):
        return LoraFile({name: _stored(tensor) for name, tensor in path_or_id_or_dict.items()})
    source = FileSource(path_or_id_or_dict, revision, cache_dir, local_files_only, token)
    return LoraFile.open(source.file(weight_name, USUAL_NAME, PEFT_CONFIG, subfolder))


def _stored(tensor: NDArray[np.generic] | StoredTensor | Array) -> StoredTensor:
    if isinstance(tensor, StoredTensor):
        return tensor
    return StoredTensor.from_numpy(tensor.asnumpy() if hasattr(tensor, "asnumpy") else np.asarray(tensor))
