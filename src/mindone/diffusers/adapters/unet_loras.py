"""The published methods for the LoRAs of a UNet alone, put on its class from outside: networks know no adapters.

They share what is loaded with the methods of a pipeline, ``pipe.load_lora_weights`` and the others.
"""

import os
from collections.abc import Sequence

from ..families.stable_diffusion.unet import UNet2DConditionModel as UNet2DConditionModel
from ..utils import logging
from ..utils.types import Value
from .block_weights import BlockWeights
from .lora import NetworkLora
from .lora_names import UNET
from .lora_sources import Tensors, find_lora
from .loras import Loras
from .words import Words

logger = logging.get_logger(__name__)

Weights = BlockWeights | Sequence[BlockWeights] | None


class _Methods(UNet2DConditionModel):
    """What `UNet2DConditionModel` gets; nothing is of this class itself."""

    def load_lora_adapter(
        self,
        path_or_id_or_dict: str | os.PathLike[str] | Tensors,
        prefix: str | None = "unet",
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
        """Load what a LoRA has for the UNet; it alone is active then, with the weight 1.

        Args:
            path_or_id_or_dict, weight_name, subfolder, use_safetensors, revision, cache_dir, local_files_only, token:
                as in ``pipe.load_lora_weights``.
            prefix: "unet" or None: names with that prefix and without it are the UNet's here.
            adapter_name: what the other methods know it by; ``default_0``, ``default_1``, … by default.
            low_cpu_mem_usage: makes no difference: tensors stay in the file until they are wanted.

        Raises:
            ValueError: a name that is taken, no layer of a UNet, or what ``load_lora_weights`` raises.
            FileNotFoundError: no such file, or several that could be meant.
        """
        if prefix not in ("unet", None):
            raise ValueError(f"prefix must be 'unet' or None, got {prefix!r}")
        where = (weight_name, subfolder, use_safetensors, revision, cache_dir, local_files_only, token)
        file = find_lora(path_or_id_or_dict, *where)
        if file.words():
            logger.warning("%s has words (textual inversions), which pipe.load_lora_weights loads", file.source)
        loras = _loras(self)
        loras.refuse_while_fused("load_lora_adapter")
        name = loras.new_name(adapter_name)
        own = file.of_component(UNET)
        if file.tensors and not own.tensors:
            raise ValueError(f"{file.source} has nothing for a UNet; pipe.load_lora_weights loads it for text encoders")
        self.put_on.of(NetworkLora).load(name, own.layers({UNET: self.published_shapes()})[UNET])

    def load_attn_procs(self, path_or_id_or_dict: str | os.PathLike[str] | Tensors, **options: Value) -> None:
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
        _loras(self).fuse(("unet",), lora_scale, safe_fusing, adapter_names)

    def unfuse_lora(self) -> None:
        """Take what was fused out of the weights again, which are then as they were, bit for bit."""
        self.put_on.of(NetworkLora).unfuse()

    def unload_lora(self) -> None:
        """Forget all adapters; what is fused stays in the weights until `unfuse_lora`."""
        lora = self.put_on.of(NetworkLora)
        lora.delete(list(lora.loaded))


def _loras(unet: UNet2DConditionModel) -> Loras:
    """Those of the UNet alone; the words that came with them are a pipeline's."""
    return Loras({"unet": unet}, Words({}))


for _name, _method in vars(_Methods).items():
    if not _name.startswith("_"):
        setattr(UNet2DConditionModel, _name, _method)
