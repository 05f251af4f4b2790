"""The published methods of all networks that `base.Model` does not need itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import mindspore as ms
import numpy as np

from ..engines.base import Parameter, is_grouped, is_quantized
from ..engines.binding import bound
from ..engines.cache import GraphCache
from ..engines.precision import float_bytes
from ..loading.configurable import Configurable
from ..loading.dtypes import parse_dtype
from ..loading.fields import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_DEVICES = {"cpu": "CPU", "npu": "Ascend", "ascend": "Ascend"}


def _held_bytes(parameter: Parameter, each: int) -> int:
    """Of a parameter's values: ``each`` bytes, or their bits with a scale for a group or a row."""
    count, values = int(np.prod(parameter.shape)), bound(parameter)
    if is_grouped(values):
        return count * values.bits // 8 + count // values.group_size * 4
    return count + values.shape[0] * 4 if is_quantized(values) else count * each


class PublishedModel(Configurable):
    """Mixed into `base.Model`."""

    dtype: str
    graphs: GraphCache
    exceeds_float16: ClassVar[bool] = False
    """Whether its values exceed float16's range, 65,504: then it computes in bfloat16 instead."""

    # ---- device and dtype ----------------------------------------------------------------------------------------

    @property
    def device(self) -> str:
        """The device: "cpu" or "npu"."""
        return "npu" if ms.get_context("device_target") == "Ascend" else "cpu"

    def to(self, *where: object, dtype: object = None, device: object = None, **others: object) -> Self:
        """Compute in another dtype from now on: ``network.to(ms.float16)``. Returns the network itself.

        A device may be given too, but only the current one: the device is chosen for the whole process, with
        ``ms.set_context(device_target=…)``.

        Raises:
            ValueError: another device, or a dtype other than float32, float16 and bfloat16.
            TypeError: PyTorch's ``memory_format``, or another argument.
        """
        if others:
            advice = "the engines choose the layout themselves" if "memory_format" in others else "both may be left out"
            raise TypeError(f"to() takes a dtype and a device, got {listed(others)}; leave it out: {advice}")
        for one in (*where, dtype, device):
            if one is None:
                continue
            name = str(one).lower().split(":")[0]
            if name in _DEVICES or name in ("cuda", "gpu", "mps", "xpu"):
                self._require_device(name)
            else:
                self._set_dtype(parse_dtype(one))
        return self

    @classmethod
    def dtype_for(cls, dtype: str) -> str:
        """The compute dtype for a requested ``dtype``."""
        return "bfloat16" if dtype == "float16" and cls.exceeds_float16 else dtype

    def _set_dtype(self, dtype: str) -> None:
        dtype = self.dtype_for(dtype)
        if dtype != self.dtype:
            self.dtype = dtype
            self.graphs.clear()

    def _require_device(self, name: str) -> None:
        if _DEVICES.get(name) != ms.get_context("device_target"):
            raise ValueError(
                f"this process runs on {self.device}, got device {name!r}; leave the device out, or choose it before "
                "loading, with ms.set_context(device_target='CPU' or 'Ascend')"
            )

    # ---- how big it is -------------------------------------------------------------------------------------------

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """The number of scalars in all parameters.

        Args:
            only_trainable: count those that require gradients.
            exclude_embeddings: skip tables of tokens and positions.
        """
        return sum(
            int(np.prod(parameter.shape))
            for name, parameter in self.parameters_and_names()
            if (parameter.requires_grad or not only_trainable) and not (exclude_embeddings and "embedding" in name)
        )

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """The bytes of the parameters in the network's dtype, or in 4 or 8 bits as stored; it has no buffers."""
        return sum(_held_bytes(parameter, _BYTES[self.dtype]) for _, parameter in self.parameters_and_names())

    def packed_bytes(self, engine: str) -> int:
        """The bytes of the parameters as the named engine packs them; see `get_memory_footprint`."""
        each = float_bytes(engine, self.dtype)
        return sum(_held_bytes(parameter, each) for _, parameter in self.parameters_and_names())

    # ---- attention -----------------------------------------------------------------------------------------------

    if TYPE_CHECKING:

        def enable_flash_sdp(self, enabled: bool = True) -> None: ...

        def parameters_and_names(
            self, name_prefix: str = "", expand: bool = True
        ) -> Iterator[tuple[str, Parameter]]: ...

    def enable_xformers_memory_efficient_attention(self, attention_op: object = None) -> None:
        """Use the device's memory-efficient attention kernel, as `enable_flash_sdp`; ``attention_op`` must be None.

        Raises:
            ValueError: an ``attention_op`` was given.
        """
        if attention_op is not None:
            raise ValueError("attention_op must be None: the kernel is the device's own; see enable_flash_sdp")
        self.enable_flash_sdp(True)

    def disable_xformers_memory_efficient_attention(self) -> None:
        """Use plain attention, as ``enable_flash_sdp(False)``."""
        self.enable_flash_sdp(False)

    def set_use_memory_efficient_attention_xformers(self, valid: bool, attention_op: object = None) -> None:
        """Choose between the two."""
        if valid:
            self.enable_xformers_memory_efficient_attention(attention_op)
        else:
            self.disable_xformers_memory_efficient_attention()

    def enable_npu_flash_attention(self) -> None:
        """The same as ``enable_flash_sdp(True)``."""
        self.enable_flash_sdp(True)

    def disable_npu_flash_attention(self) -> None:
        """The same as ``enable_flash_sdp(False)``."""
        self.enable_flash_sdp(False)

    def set_use_npu_flash_attention(self, valid: bool) -> None:
        """The same as ``enable_flash_sdp(valid)``."""
        self.enable_flash_sdp(valid)

    def set_attention_slice(self, slice_size: str | int | list[int] | None = "auto") -> None:
        """Accepted for published scripts, without effect: attention here never holds all its weights at once.

        A CPU computes it piece by piece anyway, and an Ascend device uses its memory-efficient kernel.
        """
