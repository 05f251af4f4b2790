"""The published methods of a denoiser's class for its own LoRAs: `published_denoiser` adds them.

They share the loaded adapters with the pipeline's methods, such as ``pipe.load_lora_weights``.
"""

import os
from collections.abc import Sequence
from typing import Any

from ..families.adapters import LoraNames
from ..models.base import Model
from ..utils import logging
from ..utils.nearest import names_in
from .lora import NetworkLora
from .lora_files import Tensors, find_lora
from .loras import Loras, Weight
from .words import Words

logger = logging.get_logger(__name__)

Weights = Weight | Sequence[Weight]


class _Methods(Model):
    """A collection of methods for a denoiser's class; it is never instantiated."""

    lora_names: LoraNames

    def load_lora_adapter(
        self,
        path_or_id_or_dict: str | os.PathLike[str] | Tensors,
        prefix: str | None = None,
        *,
        adapter_name: str | None = None,
        weight_name: str | None = None,
        subfolder: str | None = None,
        use_safetensors: bool | None = None,
        low_cpu_mem_usage: bool = True,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> None:
        """Load a LoRA's changes for this network and make it the only active one, with weight 1.

        Args:
            path_or_id_or_dict, weight_name, subfolder, use_safetensors, revision, cache_dir, local_files_only, token:
                as in ``pipe.load_lora_weights``.
            prefix: the denoiser's name in a pipeline, or None; names with and without that prefix count as its own.
            adapter_name: its name for the other methods; ``default_0``, ``default_1``, … by default.
            low_cpu_mem_usage: changes nothing: tensors stay in the file until they are needed.

        Raises:
            ValueError: the name is taken or the file has no layer of the network; also what ``load_lora_weights``
                raises.
            FileNotFoundError: no such file, or several that would fit.
        """
        denoiser = self.lora_names.denoiser
        if prefix not in (denoiser, None):
            raise ValueError(f"prefix must be {denoiser!r} or None, got {prefix!r}")
        where = (weight_name, subfolder, use_safetensors, revision, cache_dir, local_files_only, token)
        file = find_lora(path_or_id_or_dict, *where, names=self.lora_names)
        if file.words():
            logger.warning("%s has words (textual inversions), which pipe.load_lora_weights loads", file.source)
        loras = _loras(self)
        loras.refuse_while_fused("load_lora_adapter")
        name = loras.new_name(adapter_name)
        own = file.of_component(denoiser)
        if file.tensors and not own.tensors:
            raise ValueError(
                f"{file.source} has nothing for the {denoiser}; pipe.load_lora_weights loads it for text encoders"
            )
        self.put_on.of(NetworkLora).load(name, own.layers({denoiser: self.published_shapes()})[denoiser])

    def load_attn_procs(self, path_or_id_or_dict: str | os.PathLike[str] | Tensors, **options: Any) -> None:
        """The older name of `load_lora_adapter`, with the same options."""
        self.load_lora_adapter(path_or_id_or_dict, **options)

    def set_adapters(self, adapter_names: str | Sequence[str], weights: Weights = None) -> None:
        """Make these adapters the active ones, each with a weight or a weight for each block; None means 1.

        Raises:
            ValueError: a name is not loaded, the number of weights is wrong, or a block does not exist.
        """
        _loras(self).set_active(adapter_names, weights)

    def set_adapter(self, adapter_name: str | Sequence[str]) -> None:
        """Make one or several adapters the active ones, with weight 1; raises as `set_adapters`."""
        self.set_adapters(adapter_name)

    def active_adapters(self) -> list[str]:
        """The names of the active adapters."""
        return self.put_on.of(NetworkLora).active

    def delete_adapters(self, adapter_names: str | Sequence[str]) -> None:
        """Unload these adapters. Raises ValueError if one is not loaded, or some are fused."""
        loras = _loras(self)
        loras.refuse_while_fused("delete_adapters")
        names = names_in("adapter_names", adapter_names)
        self.put_on.of(NetworkLora).delete(loras.known(names))

    def disable_lora(self) -> None:
        """Generate as if there were no adapters; nothing is compiled again."""
        self.put_on.of(NetworkLora).enable(False)

    def enable_lora(self) -> None:
        """Generate with the active adapters again."""
        self.put_on.of(NetworkLora).enable(True)

    disable_adapters = disable_lora
    enable_adapters = enable_lora

    def fuse_lora(
        self,
        lora_scale: float = 1.0,
        safe_fusing: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> None:
        """Bake the active adapters, or those among ``adapter_names``, into the weights.

        Raises:
            ValueError: no active adapter to fuse, some are fused already, or ``safe_fusing``, which is not supported.
        """
        _loras(self).fuse(None, lora_scale, safe_fusing, adapter_names)

    def unfuse_lora(self) -> None:
        """Undo the fusing: the weights are as they were, bit for bit."""
        self.put_on.of(NetworkLora).unfuse()

    def unload_lora(self) -> None:
        """Forget all adapters; fused ones stay in the weights until `unfuse_lora`."""
        lora = self.put_on.of(NetworkLora)
        lora.delete(list(lora.loaded))


def _loras(network: _Methods) -> Loras:
    """The network's own LoRAs; words that came with them belong to a pipeline."""
    return Loras({network.lora_names.denoiser: network}, network.lora_names, Words({}))


def methods(names: LoraNames) -> dict[str, object]:
    """The methods for a denoiser's class whose LoRA files use these names."""
    found = {name: method for name, method in vars(_Methods).items() if not name.startswith("_")}
    return {**found, "lora_names": names}
