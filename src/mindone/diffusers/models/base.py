"""What every network is besides its layers: a config, weights that stay on disk until an engine wants them, a dtype."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import mindspore as ms
import numpy as np
from mindspore import nn

from ..engines import FlashAttention
from ..loading import dtypes
from ..loading.config import CONFIG_NAME, Config, read_config, write_config
from ..loading.fields import naming, read_fields
from ..loading.hub import resolve
from ..loading.safetensors import StoredTensor, save_file
from ..loading.weights import Weights, open_weights

M = TypeVar("M", bound="Model")


class Model(nn.Cell):
    """A network in the published layout: ``config.json`` beside safetensors files whose keys are its parameters' names.

    A subclass names its config's fields in the frozen dataclass ``Fields``, with what values they may have (see
    `loading.fields`). Further keys are kept and ignored.
    """

    Fields: ClassVar[type]
    weights_name: ClassVar[str] = "diffusion_pytorch_model"

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        self.fields: Any = read_fields(self.Fields, config, type(self).__name__)
        self.config = Config(dataclasses.asdict(self.fields), config)
        self.dtype: str = "float32"
        self.weights: Weights | None = None
        self.graphs: dict[Any, Any] = {}
        self.prepared: str | None = None

    # ---- loading and saving ------------------------------------------------------------------------------------------

    @classmethod
    def from_config(cls: type[M], config: Mapping[str, Any]) -> M:
        """A network without weights."""
        return cls(**config)

    @classmethod
    def from_pretrained(
        cls: type[M],
        path_or_id: str | os.PathLike[str],
        *,
        subfolder: str | None = None,
        mindspore_dtype: Any = None,
        use_safetensors: bool = True,
        variant: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> M:
        """Load a network from a folder, a bundled checkpoint's name, or a hub id.

        Args:
            path_or_id: the folder with ``config.json``, ``icons-tiny-vae`` and the like, or ``owner/name`` on the hub.
            subfolder: the component's folder inside it, such as ``unet``.
            mindspore_dtype: float32 (the default), float16 or bfloat16, as a MindSpore type or a string.
            use_safetensors: must be true; pickled checkpoints can run code and are not read.
            variant: ``"fp16"`` reads ``….fp16.safetensors``.
            revision, cache_dir, local_files_only, token: as in huggingface_hub.

        Raises:
            ValueError: a wrong argument, a broken file, or tensors that do not fit the config (all are listed).
            FileNotFoundError: no such model, or a file of it is missing.
        """
        if not use_safetensors:
            raise ValueError("use_safetensors must be True: pickle files are not read; convert them to safetensors")
        dtype = dtypes.parse_dtype(mindspore_dtype)
        folder = resolve(
            path_or_id,
            revision=revision,
            variant=variant,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            subfolder=subfolder,
        )
        return cls.from_folder(folder, dtype, variant)

    @classmethod
    def from_folder(cls: type[M], folder: Path, dtype: str = "float32", variant: str | None = None) -> M:
        """Load a network from the folder that holds its ``config.json`` and weights."""
        weights = open_weights(folder, cls.weights_name, variant)
        with naming(folder / CONFIG_NAME):
            model = cls(**read_config(folder))
        model.load(weights.normalized(cls.__name__), dtype)
        return model

    def load(self, weights: Weights, dtype: str = "float32") -> None:
        """Take ``weights``, mapped from a file, as this network's; ``dtype`` is what it is meant to compute in."""
        expected = {name: tuple(p.shape) for name, p in self.parameters_and_names()}
        weights.check(expected, owner=type(self).__name__)
        self.weights, self.dtype = weights, dtypes.parse_dtype(dtype)
        self.prepared = None
        self.graphs.clear()

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.json`` and one safetensors file in this network's dtype into ``folder``."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(_Cast(self), folder / f"{self.weights_name}.safetensors")
        write_config(folder, {"_class_name": type(self).__name__, **self.config})

    # ---- weights -----------------------------------------------------------------------------------------------------

    def stored(self, name: str) -> StoredTensor:
        """The parameter ``name`` as the checkpoint holds it, or as it was set since."""
        if self.weights is not None and self.prepared is None:
            return self.weights[name]
        parameter = dict(self.parameters_and_names())[name]
        if not parameter.has_init:
            return StoredTensor.from_numpy(parameter.asnumpy())
        raise ValueError(f"{type(self).__name__} has no weights yet: use from_pretrained, or load()")

    def array(self, name: str) -> np.ndarray:
        """The parameter ``name`` as a float32 array."""
        return self.stored(name).numpy(np.float32)

    def prepare(self, compute_dtype: str) -> None:
        """Fill the parameters from the checkpoint in ``compute_dtype``, for MindSpore's kernels; once."""
        if self.prepared == compute_dtype or self.weights is None:
            return
        target = dtypes.to_mindspore(compute_dtype)
        for name, parameter in self.parameters_and_names():
            values = ms.Tensor(np.array(self.weights[name].numpy(np.float32)), target)
            parameter.set_dtype(target)
            parameter.set_data(values)
        self.prepared = compute_dtype
        self.release_weights()

    def release_weights(self) -> None:
        """Give back the memory of the mapped checkpoint; what an engine has made of it stays."""
        if self.weights is not None:
            self.weights.release()

    def num_parameters(self) -> int:
        """The number of scalars in all parameters."""
        return sum(int(np.prod(p.shape)) for p in self.get_parameters())

    def __call__(self, *inputs, **options):
        """Run the network on ``ms.Tensor`` inputs with MindSpore's kernels, eagerly or in Graph mode."""
        if self.prepared is None:
            self.prepare("float32" if ms.get_context("device_target") == "CPU" else self.dtype)
        return super().__call__(*inputs, **options)

    # ---- attention ---------------------------------------------------------------------------------------------------

    def enable_flash_sdp(self, enabled: bool = True) -> None:
        """Use the device's memory-efficient attention kernel, or not (at first: yes). On a CPU it means nothing."""
        self._set_flash(FlashAttention() if enabled else None)

    def set_flash_attention_force_cast_dtype(self, dtype: Any) -> None:
        """Cast inputs of another type to ``dtype`` (float16 at first) for the memory-efficient attention kernel.

        None: inputs that the kernel does not take, such as float32, go to plain attention.
        """
        cast = None if dtype is None else dtypes.parse_dtype(dtype)
        if cast == "float32":
            raise ValueError("flash attention computes in float16 or bfloat16, got float32; None turns the cast off")
        self._set_flash(FlashAttention(cast))

    def _set_flash(self, flash: FlashAttention | None) -> None:
        for _, cell in self.cells_and_names():
            if hasattr(cell, "flash"):
                cell.flash = flash
        self.graphs.clear()


class _Cast(Mapping[str, StoredTensor]):
    """A model's parameters in its dtype, converted one at a time."""

    def __init__(self, model: Model):
        self.model = model
        self.names = [name for name, _ in model.parameters_and_names()]

    def __getitem__(self, name: str) -> StoredTensor:
        return self.model.stored(name).cast(self.model.dtype)

    def __iter__(self):
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
