"""The base of all networks: a config, weights that stay on disk until an engine needs them, and a dtype."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

import mindspore as ms
import numpy as np
from mindspore import nn
from numpy.typing import NDArray

from .. import engines
from ..engines.base import Array, Engine, FreeAxes, Input, Outputs, Stored, Taps
from ..engines.binding import bind, bound, is_covered, is_put_on, own, published_name
from ..engines.cache import GraphCache, give_back_memory
from ..engines.mindspore.engine import as_input, prepare
from ..engines.operations import executing
from ..loading import dtypes
from ..loading.config import CONFIG_NAME, Config, read_config
from ..loading.configurable import split_config
from ..loading.deferred import Deferred
from ..loading.fields import naming, read_fields
from ..loading.gguf_config import GGUFQuantizationConfig, asked_dtype
from ..loading.group_files import parts_in_file, read_groups
from ..loading.hub import Source
from ..loading.hub_files import file_and_configs
from ..loading.int8 import check_method, read_int8
from ..loading.safetensors import StoredTensor
from ..loading.save_weights import check_upload, require_safe, save_weights
from ..loading.single_file import open_single_file
from ..loading.upload import upload_folder
from ..loading.weights import Weights, open_weights
from ..utils.files import folder_to_write
from ..utils.scratch import Scratch
from .layers import room_for
from .published import PublishedModel
from .taps import Cut, TappedNetwork
from .wrapping import PutOn

M = TypeVar("M", bound="Model")

Pass: TypeAlias = Callable[..., None]
"""Changes a recorded graph in place, before it is compiled: ``change(graph, recorder)`` (`engines.openvino`)."""

_BIG_PARAMETERS = 100_000_000
_MISSING = 200
"""The most missing tensors that a message lists in full."""


class Model(PublishedModel, nn.Cell):
    """A network in the published layout: ``config.json`` next to safetensors files keyed by parameter names.

    A subclass declares its config's fields and their valid values in the frozen dataclass ``Fields`` (see
    `loading.fields`). Other keys are kept and ignored.
    """

    Fields: ClassVar[type]
    weights_name: ClassVar[str] = "diffusion_pytorch_model"
    free_axes: ClassVar[FreeAxes] = {}
    row_of_blocks: ClassVar[str | None] = None
    """The name of the list of blocks that run in sequence, if the network has one."""
    kept_in_int8: ClassVar[tuple[str, ...]] = ()
    """Name parts of weights that keep their dtype when the others are converted to int8."""
    fewest_bits: ClassVar[int] = 4
    """The fewest bits that weights are rounded to without data."""
    zero_points: ClassVar[bool] = True
    """Whether groups of weights in 4 bits have zero points."""

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        self.fields: Any = read_fields(self.Fields, config, type(self).__name__)
        self.config = Config(dataclasses.asdict(self.fields), config)
        self.dtype: str = "float32"
        self.weights: Weights | None = None
        self.graphs = GraphCache()
        self.passes: list[Pass] = []
        """Changes to each recorded graph before it is compiled; clear `graphs` after changing this."""
        self.scratch = Scratch()
        """Computed weights, in files whose pages the system can drop like the checkpoint's."""
        self.put_on = PutOn(self)
        """The managers of its adapters, by class: ``network.put_on.of(NetworkLora)``."""

    # ---- loading and saving ------------------------------------------------------------------------------------------

    @classmethod
    def extract_init_dict(
        cls, config_dict: Mapping[str, Any], **overrides: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """A config's fields for this class, the overrides it does not know, and the other entries."""
        known = {field.name for field in dataclasses.fields(cls.Fields)}
        return split_config(known, config_dict, overrides)

    @classmethod
    def from_config(cls: type[M], config: Mapping[str, Any], **overrides: Any) -> M:
        """A network without weights, from a config such as `load_config` returns; ``overrides`` replace its entries.

        Raises:
            ValueError: the class does not know an override, or a value is not allowed.
        """
        init, unused, hidden = cls.extract_init_dict(config, **overrides)
        if unused:
            raise ValueError(f"{cls.__name__} has no field {', '.join(unused)}")
        return cls(**hidden, **init)

    @classmethod
    def from_pretrained(
        cls: type[M],
        path_or_id: str | os.PathLike[str],
        *,
        subfolder: str | None = None,
        mindspore_dtype: object = None,
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
            subfolder: the component's folder inside it, such as ``vae``.
            mindspore_dtype: float32 (the default), float16 or bfloat16, as a MindSpore type or a string.
            use_safetensors: must be true; pickled checkpoints can run code and are not read.
            variant: ``"fp16"`` reads ``….fp16.safetensors``.
            revision, cache_dir, local_files_only, token: as in huggingface_hub.

        Raises:
            ValueError: a wrong argument, a broken file, or tensors that do not fit the config (the message lists all).
            FileNotFoundError: no such model, or one of its files is missing.
        """
        if not use_safetensors:
            raise ValueError("use_safetensors must be True: pickle files are not read; convert them to safetensors")
        dtype = dtypes.parse_dtype(mindspore_dtype)
        source = Source(path_or_id, revision, cache_dir, local_files_only, token)
        return cls.from_folder(source.component("model", subfolder, variant), dtype, variant)

    @classmethod
    def from_folder(cls: type[M], folder: Path, dtype: str = "float32", variant: str | None = None) -> M:
        """Load a network from the folder that holds its ``config.json`` and weights."""
        weights = open_weights(folder, cls.weights_name, variant)
        with naming(folder / CONFIG_NAME):
            config = read_config(folder)
            check_method(config)
        return cls.of_weights(config, weights.normalized(cls.__name__), folder / CONFIG_NAME, dtype)

    @classmethod
    def of_weights(cls: type[M], config: Mapping[str, Any], weights: Weights, source: Path, dtype: str) -> M:
        """A network with weights.

        Args:
            config: the content of a ``config.json``.
            weights: the tensors by current names.
            source: the config's file, for messages.
            dtype: the compute dtype.

        Raises:
            ValueError: they do not match, or the config describes far more than the weights.
        """
        with naming(source), room_for(len(weights) + _MISSING):
            model = cls(**config)
        model.load(weights, dtype)
        return model

    @classmethod
    def from_single_file(
        cls: type[M],
        path_or_address: str | os.PathLike[str],
        *,
        mindspore_dtype: object = None,
        quantization_config: GGUFQuantizationConfig | None = None,
        config: str | os.PathLike[str] | None = None,
        subfolder: str | None = None,
        original_config: str | os.PathLike[str] | None = None,
        scaling_factor: float | None = None,
        extract_ema: bool = False,
        use_safetensors: bool = True,
        variant: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> M:
        """Load this kind of network from a file in the original layout, alone or among others.

        Args:
            path_or_address: the ``.safetensors`` or ``.gguf`` file, or its address on the hub.
            quantization_config: for a ``.gguf`` file, what to compute in; it may be left out.
            mindspore_dtype, use_safetensors, cache_dir, local_files_only, token: see `from_pretrained`.
            config: a folder, a bundled checkpoint's name, or a hub id, whose config replaces the one derived from the
                tensors.
            subfolder, revision: the folder inside ``config``, and its branch, tag or commit. Without ``config`` the
                folder is ignored, for published scripts, and the revision is that in the address.
            original_config, scaling_factor, extract_ema: see `loading.single_file.open_single_file`.
            variant: accepted for published scripts and ignored: the path names the file.

        Raises:
            ValueError: the file has no such network; also what `from_pretrained` raises.
            FileNotFoundError: no such file.
        """
        dtype = dtypes.parse_dtype(asked_dtype(mindspore_dtype, quantization_config, path_or_address))
        if not use_safetensors:
            raise ValueError("use_safetensors must be True: pickle files are not read; convert them to safetensors")
        file, folder = file_and_configs(path_or_address, config, revision, cache_dir, local_files_only, token)
        single = open_single_file(
            file,
            config=folder / subfolder if folder is not None and subfolder else folder,
            original_config=original_config,
            scaling_factor=scaling_factor,
            extract_ema=extract_ema,
        )
        for component in single.components.values():
            if component.class_name == cls.__name__:
                return cls.of_weights(component.config, component.weights, file, dtype)
        found = ", ".join(component.class_name for component in single.components.values())
        raise ValueError(f"{file} has no {cls.__name__}; it has {found}")

    def load(self, weights: Weights, dtype: str = "float32") -> None:
        """Take ``weights``, mapped from a file, as this network's; ``dtype`` is its compute dtype."""
        parameters = self.published_parameters()
        shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        groups, others = read_groups(weights, shapes)
        int8, plain = read_int8(others)
        plain.check({name: shape for name, shape in shapes.items() if name not in groups}, owner=type(self).__name__)
        for name, parameter in parameters.items():
            bind(parameter, groups.get(name) or int8.get(name) or plain[name], name, weights.source)
        self.weights, self.dtype = weights, self.dtype_for(dtypes.parse_dtype(dtype))
        self.graphs.clear()

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        save_function: None = None,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
        **upload: Any,
    ) -> None:
        """Write ``config.json`` and safetensors files (integers stay, the rest in this network's dtype) into a folder.

        Args:
            save_directory: the folder, created if missing.
            is_main_process: false writes nothing, because another process of the training does.
            save_function: must be None.
            safe_serialization: must be true; pickle files are not written.
            variant, max_shard_size: see `loading.save_weights.save_weights`; above 10 GB there are several files.
            push_to_hub, upload: as in `save_config`.

        Raises:
            ValueError: an argument cannot be honoured.
        """
        require_safe(safe_serialization)
        check_upload(upload)
        if save_function is not None:
            raise ValueError("save_function must be None: weights are written as safetensors files")
        if not is_main_process:
            return
        folder = folder_to_write(save_directory)
        save_weights(_in_file(self), folder, self.weights_name, variant, max_shard_size)
        self.save_config(folder)
        if push_to_hub:
            upload_folder(folder, upload.pop("repo_id", folder.name), **upload)

    # ---- taps --------------------------------------------------------------------------------------------------------

    @property
    def cuts(self) -> Sequence[Cut]:
        """The places where feature caches may cut it, the most effective first; empty for most networks."""
        return ()

    @property
    def blocks(self) -> Sequence[str]:
        """The paths of the blocks that run in sequence, each on the previous one's output; () if there is no such
        row."""
        name = self.row_of_blocks
        return () if name is None else [f"{name}.{i}" for i in range(len(getattr(self, name)))]

    @classmethod
    def can_be_cut(cls) -> bool:
        """Whether feature caches support this class: it lists places to cut for some of its networks."""
        return cls.cuts is not Model.cuts

    @classmethod
    def has_self_attentions(cls) -> bool:
        """Whether networks of this class may have self-attention over pixels."""
        return cls.self_attentions is not Model.self_attentions

    @property
    def self_attentions(self) -> Mapping[int, Sequence[str]]:
        """The paths of the self-attention cells over pixels, by level; level 0 is the largest."""
        return {}

    def tapped(self, taps: Taps) -> TappedNetwork:
        """The network with taps; the network itself stays unchanged."""
        return TappedNetwork(self, taps)

    # ---- weights -----------------------------------------------------------------------------------------------------

    def stored(self, name: str) -> StoredTensor:
        """The parameter ``name`` as stored in the checkpoint, or as set since."""
        return _as_tensor(own(self._parameter(name)))

    def array(self, name: str) -> NDArray[np.float32]:
        """The parameter ``name`` as a float32 array."""
        return own(self._parameter(name)).numpy(np.float32)

    def parameters_and_names(self, name_prefix: str = "", expand: bool = True) -> Iterator[tuple[str, ms.Parameter]]:
        """All parameters, by their names without wrapped cells."""
        for path, parameter in super().parameters_and_names(name_prefix, expand):
            yield path if name_prefix else published_name(parameter, path), parameter

    def published_parameters(self) -> dict[str, ms.Parameter]:
        """The parameters by their names in checkpoints, without those of adapters."""
        return {name: p for name, p in self.parameters_and_names() if not is_put_on(p)}

    def published_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of `published_parameters`."""
        return {name: tuple(p.shape) for name, p in self.published_parameters().items()}

    def _parameter(self, name: str) -> ms.Parameter:
        for path, parameter in self.parameters_and_names():
            if name == path:
                return parameter
        raise ValueError(f"{type(self).__name__} has no parameter {name!r}")

    def release_weights(self) -> None:
        """Free the memory of the mapped checkpoint; an engine's compiled copies stay."""
        self.scratch.release()
        if self.weights is not None:
            self.weights.release()

    @functools.cached_property
    def is_big(self) -> bool:
        """Whether it holds much memory while idle."""
        return self.num_parameters() >= _BIG_PARAMETERS

    def release(self) -> None:
        """Drop everything compiled for this network and return its memory to the system."""
        self.graphs.clear()
        self.release_weights()
        give_back_memory()

    def __call__(self, *inputs: Input, **options: Input) -> Outputs:
        """Run the network: on ``ms.Tensor`` with MindSpore's kernels, on NumPy arrays with this machine's engine.

        The first input decides; inputs of the other kind are converted.

        Raises:
            TypeError: an input is neither, for example a PyTorch tensor.
        """
        for name, value in [*((f"input {i + 1}", x) for i, x in enumerate(inputs)), *options.items()]:
            _check_input(type(self).__name__, name, value)
        if isinstance(inputs[0], np.ndarray):
            named: dict[str, Any] = options
            return engines.get().run(self, *inputs, **named)
        with executing():
            prepare(self)
            given = {name: as_input(x) for name, x in options.items()}
            outputs: Outputs = super().__call__(*map(as_input, inputs), **given)
            return outputs

    def _engine_for(self, x: Array) -> Engine:
        """The engine for a direct call: MindSpore for its own tensors, else this machine's engine.

        Raises:
            ValueError: the input is no array, for example a list.
        """
        if not (hasattr(x, "shape") and hasattr(x, "dtype")):
            raise ValueError(f"{type(self).__name__} takes a NumPy array or an ms.Tensor, got {type(x).__name__}")
        return engines.get("mindspore" if isinstance(x, ms.Tensor) else None)

    def _run(self, method: str, x: Array) -> Outputs:
        return self._engine_for(x).run(self, x, method=method)

    # ---- attention ---------------------------------------------------------------------------------------------------

    def enable_flash_sdp(self, enabled: bool = True) -> None:
        """Use the device's memory-efficient attention kernel (the default), or not. No effect on a CPU."""
        self._set_flash(enabled=enabled)

    def set_flash_attention_force_cast_dtype(self, force_cast_dtype: object) -> None:
        """Cast inputs of another dtype to ``force_cast_dtype`` (float16 by default) for the memory-efficient kernel.

        With None, inputs that the kernel does not take, such as float32, use plain attention.
        """
        cast = None if force_cast_dtype is None else dtypes.parse_dtype(force_cast_dtype)
        if cast == "float32":
            raise ValueError("flash attention computes in float16 or bfloat16, got float32; None turns the cast off")
        self._set_flash(cast_dtype=cast)

    def _set_flash(self, **changes: bool | str | None) -> None:
        for _, cell in self.cells_and_names():
            if getattr(cell, "flash", None) is not None:
                cell.flash = cell.flash._replace(**changes)
        self.graphs.clear()


def _check_input(network: str, name: str, value: object) -> None:
    """Check the inputs of a network: arrays, and constants that select what it does."""
    for part in value if isinstance(value, tuple) else (value,):
        if not (part is None or isinstance(part, (np.ndarray, np.generic, ms.Tensor, bool, int, float, str))):
            kind = f"{type(part).__module__}.{type(part).__name__}".removeprefix("builtins.")
            raise TypeError(f"{network} takes NumPy arrays or ms.Tensor, got {kind} as {name}")


def _as_tensor(values: Stored) -> StoredTensor:
    return values if isinstance(values, StoredTensor) else StoredTensor.from_numpy(values.numpy())


def _in_file(model: Model) -> Deferred[StoredTensor]:
    """The content of a model's file: parameters by published name in its dtype, converted one at a time.

    Quantised weights keep their integers, with their scales next to them.
    """

    def made(parameter: ms.Parameter, part: StoredTensor | None) -> StoredTensor:
        model.release_weights()  # the tensors before it are written
        return part or _as_tensor(own(parameter)).cast(model.dtype)

    makers: dict[str, Callable[[], StoredTensor]] = {}
    for name, parameter in model.published_parameters().items():
        values = own(parameter) if is_covered(parameter) else bound(parameter)
        parts: Mapping[str, StoredTensor | None] = parts_in_file(name, values) or {name: None}
        makers |= {each: functools.partial(made, parameter, part) for each, part in parts.items()}
    return Deferred(makers)
