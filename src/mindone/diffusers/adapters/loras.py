"""The LoRAs of several networks together, as ``pipe.loras``; `adapters.lora` handles one network."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from ..families.adapters import LoraNames
from ..models.base import Model
from ..utils.finite import is_scale
from ..utils.nearest import names_in
from ..utils.printable import shown
from .lora import NetworkLora, Strength, call_weights
from .lora_files import Tensors, find_lora
from .lora_matrices import lora_scale
from .words import Words

Weight = float | Mapping[str, object] | None
"""A number, numbers by block in the published form, or either by component: ``{"unet": …, "text_encoder": …}``."""


class Loras:
    """The LoRAs of several networks; a LoRA may bring words (textual inversions).

    Args:
        networks: the networks by their names in a pipeline, the denoiser first.
        names: the family's names.
        words: where words that come with a LoRA are added.
    """

    def __init__(self, networks: Mapping[str, Model], names: LoraNames, words: Words):
        self._networks, self._names, self._words = networks, names, words

    def load(
        self,
        path_or_id_or_dict: str | os.PathLike[str] | Tensors,
        *,
        weight_name: str | None = None,
        adapter_name: str | None = None,
        subfolder: str | None = None,
        use_safetensors: bool | None = None,
        low_cpu_mem_usage: bool = True,
        hotswap: bool = False,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> None:
        """Load a LoRA for the denoiser and the text encoders; it becomes the only active one in the networks it
        changes.

        Its weight is 1. Supported are LoRA, LoCon, LoHa, LoKr, DoRA and whole differences (`adapters.lora_kinds`).
        Prompts may use words trained with it (textual inversions) while it is loaded. Networks that it does not change
        keep their active adapters, as published: see `set_active`.

        Args:
            path_or_id_or_dict: a ``.safetensors`` file, a folder or a hub id with one, its address on the hub, or
                tensors by their names; in the layouts of diffusers, peft (``adapter_model.safetensors`` next to
                ``adapter_config.json``) and kohya's trainer.
            weight_name: the file in a folder or repository that has several.
            adapter_name: its name for the other methods; ``default_0``, ``default_1``, … by default.
            subfolder: the folder inside it that holds the file.
            use_safetensors: must not be False: pickles are not read.
            low_cpu_mem_usage: changes nothing: tensors stay in the file until they are needed.
            hotswap: replace the adapter loaded as ``adapter_name``, with the same weights.
            revision, cache_dir, local_files_only, token: as in huggingface_hub.

        Raises:
            ValueError: the name is taken; the file is OFT, (IA)³ or GLoRA; keys fit nothing; the LoRA is for another
                base; or a word is known already. Then nothing is loaded.
            FileNotFoundError: no such file, or several that would fit.
        """
        self.refuse_while_fused("load_lora_weights")
        if not hotswap or adapter_name is None:
            adapter_name = self.new_name(adapter_name)
        if hotswap:
            self.known([adapter_name])
        shapes = {name: network.published_shapes() for name, network in self._networks.items()}
        where = (weight_name, subfolder, use_safetensors, revision, cache_dir, local_files_only, token)
        file = find_lora(path_or_id_or_dict, *where, names=self._names)
        layers = file.layers(shapes)
        if hotswap and (file.words() or adapter_name in self._bundled_words()):
            raise ValueError("hotswap is for adapters without words (textual inversions); delete_adapters, then load")
        undo: list[Callable[[], None]] = []
        is_active = adapter_name in self.get_active()
        try:
            for word, vectors in file.words().items():
                self._words.load({name: x.numpy(np.float32) for name, x in vectors.items()}, token=word)
                self._bundled_words().setdefault(adapter_name, []).append(word)
            for name, lora in self._loras().items():
                if hotswap:
                    undo.append(lora.exchange(adapter_name, layers.get(name, {}), is_active))
                elif name in layers:
                    undo.append(lora.load(adapter_name, layers[name]))
        except Exception:
            for put_back in reversed(undo):
                put_back()
            if not hotswap:
                self._forget([adapter_name])
            raise

    def set_active(self, adapter_names: str | Sequence[str], adapter_weights: Weight | Sequence[Weight] = None) -> None:
        """Make these adapters the active ones.

        Args:
            adapter_names: one or several.
            adapter_weights: one weight for all, or one for each: a number, ``{"unet": 0.5, "text_encoder": 1.0}``, or
                a number for each block, ``{"unet": {"down": 0.5, "up": {"block_0": [0.1, 0.2, 0.3]}}}``.

        Raises:
            ValueError: a name is not loaded, the number of weights is wrong, or a block does not exist.
        """
        self.refuse_while_fused("set_adapters")
        names = self.known(names_in("adapter_names", adapter_names))
        several = isinstance(adapter_weights, list | tuple)
        weights: list[Weight] = list(adapter_weights) if several else [adapter_weights] * len(names)  # type: ignore
        if len(weights) != len(names):
            raise ValueError(
                f"adapter_weights must hold one weight for each of {len(names)} adapters, got {len(weights)}"
            )
        chosen = {
            component: {name: self._weight(weight, component) for name, weight in zip(names, weights)}
            for component in self._loras()
        }
        for component, lora in self._loras().items():
            lora.set_active(chosen[component])

    def get_active(self) -> list[str]:
        """The names of the active adapters."""
        return list(dict.fromkeys(name for lora in self._loras().values() for name in lora.active))

    def get_list(self) -> dict[str, list[str]]:
        """The names of the loaded adapters, for each network that has some."""
        return {component: list(lora.loaded) for component, lora in self._loras().items() if lora.loaded}

    @property
    def fused(self) -> set[str]:
        """The names of the adapters that are fused."""
        return {name for lora in self._loras().values() for name in lora.fused}

    def disable(self) -> None:
        """Generate as if there were no adapters; nothing is compiled again."""
        for lora in self._loras().values():
            lora.enable(False)

    def enable(self) -> None:
        """Generate with the active adapters again."""
        for lora in self._loras().values():
            lora.enable(True)

    def delete(self, adapter_names: str | Sequence[str]) -> None:
        """Unload these adapters.

        Raises:
            ValueError: one is not loaded, or is fused.
        """
        names = self.known(names_in("adapter_names", adapter_names))
        self.refuse_while_fused("delete_adapters")
        self._forget(names)

    def fuse(
        self,
        components: Sequence[str] | None = None,
        lora_scale: float = 1.0,
        safe_fusing: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> None:
        """Bake the active adapters, or those among ``adapter_names``, into the weights: as fast as without adapters.

        Their weights are those of `set_active`, times ``lora_scale``. Compiled graphs are dropped.

        Args:
            components: the networks by name; None for all.
            lora_scale: a factor for all of them.
            safe_fusing: must be False: there is no search for NaN weights.
            adapter_names: which ones; None for the active ones.

        Raises:
            ValueError: no adapter to fuse, some are fused already, an unknown component, or ``safe_fusing``.
        """
        if safe_fusing:
            raise ValueError("safe_fusing must be False: there is no search for NaN weights")
        if not is_scale(lora_scale):
            raise ValueError(f"lora_scale must be a number, got {shown(lora_scale)}")
        networks = self._chosen(components)
        self.refuse_while_fused("fuse_lora")
        names = self.get_active() if adapter_names is None else self.known(names_in("adapter_names", adapter_names))
        if not names or not set(names) <= set(self.get_active()):
            raise ValueError(f"fuse_lora fuses active adapters, and these are {self.get_active()}; see set_adapters")
        for lora in networks:
            lora.fuse(names, lora_scale)

    def unfuse(self, components: Sequence[str] | None = None) -> None:
        """Undo the fusing: the weights are as they were, bit for bit.

        Raises:
            ValueError: `fuse` has no such component.
        """
        for lora in self._chosen(components):
            lora.unfuse()

    def unload(self) -> None:
        """Forget all adapters. Fused ones stay in the weights, as published, until `unfuse`."""
        self._forget(self._loaded())

    def weighted(self, weights: Mapping[str, Weight]) -> AbstractContextManager[None]:
        """Within this context, and only in this thread, give active adapters other weights; compiles nothing again.

        Args:
            weights: for each adapter a weight as in `set_active`; unnamed adapters count 0. If empty, the set weights
                stay.

        Raises:
            ValueError: an adapter is not active or is fused; also what `set_active` raises.
        """
        if not weights:
            return nullcontext()
        self.known(list(weights))
        loras = self._loras().items()
        return call_weights(
            {
                lora: lora.for_call({name: self._weight(each, part) for name, each in weights.items()})
                for part, lora in loras
            }
        )

    def scaled(self, options: Mapping[str, object] | None) -> AbstractContextManager[None]:
        """Within this context, and only in this thread, multiply all adapters' weights by ``options["scale"]``.

        ``options`` are a call's ``cross_attention_kwargs``, ``joint_attention_kwargs`` or ``attention_kwargs``.

        Raises:
            ValueError: there is another entry, the scale is no number, or no unfused adapter is loaded.
        """
        if not options:
            return nullcontext()
        scale = options.get("scale") if isinstance(options, Mapping) else None
        if not is_scale(scale) or len(options) > 1:
            raise ValueError(f"a call's LoRA options must be {{'scale': number}}, got {shown(options)}")
        if not any(lora.loaded and not lora.fused for lora in self._loras().values()):
            raise ValueError(
                f"{{'scale': {scale:g}}} scales LoRAs, but none is loaded that is not fused; load one, or leave it out"
            )
        return lora_scale(float(scale))

    def _loras(self) -> dict[str, NetworkLora]:
        return {name: network.put_on.of(NetworkLora) for name, network in self._networks.items()}

    def _chosen(self, components: Sequence[str] | None) -> list[NetworkLora]:
        """The named networks of the pipeline."""
        known = self._names.networks
        is_list = components is None or (isinstance(components, Iterable) and not isinstance(components, str))
        if not is_list or any(name not in known for name in components or ()):
            raise ValueError(f"components must be a list of {', '.join(known)}, got {components!r}")
        return [lora for name, lora in self._loras().items() if components is None or name in components]

    def _weight(self, weight: Weight, component: str) -> Strength:
        """One adapter's weight in a component."""
        share = component_weight(weight, component, self._names)
        if not isinstance(share, Mapping):
            return share
        assert self._names.by_block is not None
        return self._names.by_block(share, self._networks[component].published_shapes(), 1.0)

    def _loaded(self) -> list[str]:
        """The names of the loaded adapters."""
        return list(dict.fromkeys(name for lora in self._loras().values() for name in (*lora.loaded, *lora.words)))

    def _bundled_words(self) -> dict[str, list[str]]:
        """The textual inversions that came with adapters, by adapter."""
        return next(iter(self._loras().values())).words

    def _forget(self, names: Sequence[str]) -> None:
        for lora in self._loras().values():
            lora.delete(names)
        bundled = self._bundled_words()
        words = [word for name in names for word in bundled.pop(name, ())]
        known = self._words.loaded
        if forgotten := [word for word in words if word in known]:
            self._words.unload(forgotten)

    # ---- checks ------------------------------------------------------------------------------------------------------

    def new_name(self, adapter_name: str | None) -> str:
        """The name for a new adapter, by default ``default_0``, ``default_1``, …; raises if it is taken."""
        if not isinstance(adapter_name, str | None):
            raise ValueError(f"adapter_name must be a text or None, got {shown(adapter_name)}")
        taken = self._loaded()
        if adapter_name in taken:
            raise ValueError(
                f"an adapter {adapter_name!r} is loaded already; delete_adapters first, or choose another name"
            )
        return adapter_name or next(name for i in range(len(taken) + 1) if (name := f"default_{i}") not in taken)

    def known(self, names: list[str]) -> list[str]:
        """The names; raises ValueError if one is not loaded."""
        loaded = self._loaded()
        unknown = [name for name in names if name not in loaded]
        if unknown:
            raise ValueError(f"no adapter {', '.join(map(repr, unknown))} is loaded; loaded are {loaded}")
        return names

    def refuse_while_fused(self, method: str) -> None:
        """Raise ValueError, naming the method, if something is fused."""
        fused = sorted(self.fused)
        if fused:
            raise ValueError(f"{method} is not possible while {', '.join(map(repr, fused))} is fused; call unfuse_lora")


def component_weight(weight: Weight, component: str, names: LoraNames) -> float | Mapping[str, object]:
    """A component's share of the weights given to `Loras.set_active` for one adapter; 1 by default.

    Blocks without a component are the denoiser's, as published.

    Raises:
        ValueError: it is neither a number nor, for a denoiser with blocks, a mapping of blocks.
    """
    if isinstance(weight, Mapping) and not set(weight) & set(names.networks):
        weight = {names.denoiser: weight}
    share = weight.get(component) if isinstance(weight, Mapping) else weight
    has_blocks = component == names.denoiser and names.by_block is not None
    if share is None:
        return 1.0
    if isinstance(share, Mapping) and has_blocks:
        return share
    if is_scale(share):
        return float(share)
    blocks = " or a dict of blocks" * has_blocks
    raise ValueError(f"an adapter's weight must be a number{blocks}, got {shown(share)} for {component}")
