"""The published methods for the LoRAs of a denoiser alone, for its class: `published_denoiser` adds them.

They share what is loaded with the methods of a pipeline, ``pipe.load_lora_weights`` and the others.
"""

import os
from collections.abc import Sequence
from typing import Any

from ..families.adapters import LoraNames
from ..models.base import Model
from ..utils import logging
from .lora import NetworkLora
from .lora_files import Tensors, find_lora
from .loras import Loras, Weight
from .words import Words

logger = logging.get_logger(__name__)

Weights = Weight | Sequence[Weight]


class _Methods(Model):
    """What a denoiser's class gets; nothing is of this class itself."""

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
        """Load what a LoRA has for this network; it alone is active then, with the weight 1.

        Args:
            path_or_id_or_dict, weight_name, subfolder, use_safetensors, revision, cache_dir, local_files_only, token:
                as in ``pipe.load_lora_weights``.
            prefix: the denoiser's name in a pipeline, or None: names with that prefix and without it are its own here.
            adapter_name: what the other methods know it by; ``default_0``, ``default_1``, … by default.
            low_cpu_mem_usage: makes no difference: tensors stay in the file until they are wanted.

        Raises:
            ValueError: a name that is taken, no layer of the network, or what ``load_lora_weights`` raises.
            FileNotFoundError: no such file, or several that could be meant.
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
        """Make these adapters the active ones, each with a weight, or one for each block, and 1 where it is None.

        Raises:
            ValueError: a name that is not loaded, another number of weights, or a block that is not there.
        """
        _loras(self).set_active(adapter_names, weights)

    def set_adapter(self, adapter_name: str | Sequence[str]) -> None:
        """Make one adapter the active one, or several, with the weight 1; raises as `set_adapters`."""
        self.set_adapters(adapter_name)

    def active_adapters(self) -> list[str]:
        """The names of the active adapters."""
        return self.put_on.of(NetworkLora).active

    def delete_adapters(self, adapter_names: str | Sequence[str]) -> None:
        """Unload these adapters. Raises ValueError where one is not loaded, or some are fused."""
        loras = _loras(self)
        loras.refuse_while_fused("delete_adapters")
        names = [adapter_names] if isinstance(adapter_names, str) else list(adapter_names)
        self.put_on.of(NetworkLora).delete(loras.known(names))

    def disable_lora(self) -> None:
        """Draw as without adapters; nothing is compiled again."""
        self.put_on.of(NetworkLora).enable(False)

    def enable_lora(self) -> None:
        """Draw with the active adapters again."""
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
            ValueError: no active adapter to fuse, some are fused already, or ``safe_fusing``, which is not here.
        """
        _loras(self).fuse(None, lora_scale, safe_fusing, adapter_names)

    def unfuse_lora(self) -> None:
        """Take what was fused out of the weights again, which are then as they were, bit for bit."""
        self.put_on.of(NetworkLora).unfuse()

    def unload_lora(self) -> None:
        """Forget all adapters; what is fused stays in the weights until `unfuse_lora`."""
        lora = self.put_on.of(NetworkLora)
        lora.delete(list(lora.loaded))


def _loras(network: _Methods) -> Loras:
    """Those of the network alone; the words that came with them are a pipeline's."""
    return Loras({network.lora_names.denoiser: network}, network.lora_names, Words({}))


def methods(names: LoraNames) -> dict[str, object]:
    """What a denoiser's class gets, where LoRA files have these names."""
    found = {name: method for name, method in vars(_Methods).items() if not name.startswith("_")}
    return {**found, "lora_names": names}
