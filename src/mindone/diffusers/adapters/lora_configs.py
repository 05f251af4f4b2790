"""What peft's configs say about an adapter: ``adapter_config.json``, or diffusers' entry in a file's header.

The tensors hold the rank of every layer; only the config holds alpha. Options that need more than the tensors are
refused by name.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..families.adapters import LoraNames
from ..utils.files import check_file
from ..utils.printable import shown

METADATA = "lora_adapter_metadata"
"""The header entry in which diffusers keeps peft's configs, each name prefixed with its network: ``unet.r``."""
PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""The files that peft saves in a folder."""

_REFUSED = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "modules_to_save",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
)
_CHANGED_BASES = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that subtract the adapter's first values from the base's weights."""
_NAME = re.compile(r"(\^?)([\w-]+(?:\\?\.[\w-]+)*)\$?")
"""A key that is a layer's name, or the end of one; a dot between words means a dot."""
_EXPRESSION = re.compile(r"[\w.\-^$\\*+?|\[\]]{1,500}")
_MOST_EXPRESSIONS, _MOST_QUANTIFIERS = 16, 2
"""At this number, they take 60 µs together for the longest layer name."""


class _Alphas:
    """The values of ``alpha_pattern``: each applies to the layers whose names its key matches, from a dot to the end.

    peft reads the keys as regular expressions, and the file may come from anyone: nothing in it may be slow to match.
    Names, which programs write by the hundred, are looked up; only a few other expressions are matched.

    Raises:
        ValueError: a key is neither a name nor a supported expression, or there are too many expressions.
    """

    def __init__(self, values: Mapping[str, object], source: str):
        self._values = list(values.values())
        self._names: dict[str, int] = {}
        self._expressions: list[tuple[int, re.Pattern[str]]] = []
        for place, key in enumerate(values):
            if name := _NAME.fullmatch(key):
                self._names.setdefault(name[1] + name[2].replace("\\", ""), place)
            else:
                self._expressions.append((place, _compiled(key, source)))
            if len(self._expressions) > _MOST_EXPRESSIONS:
                raise ValueError(
                    f"{source}: alpha_pattern has more than {_MOST_EXPRESSIONS} regular expressions; name the layers"
                )

    def of(self, module: str, default: object) -> object:
        """The value of the first key that matches a layer's name."""
        parts = module.split(".")
        ends = [f"^{module}", *(".".join(parts[start:]) for start in range(len(parts)))]
        places = [self._names[end] for end in ends if end in self._names]
        places += [place for place, expression in self._expressions if expression.match(module)]
        return self._values[min(places)] if places else default


def _compiled(key: str, source: str) -> re.Pattern[str]:
    try:
        if _EXPRESSION.fullmatch(key) and len(re.findall(r"[*+?]", key)) <= _MOST_QUANTIFIERS:
            return re.compile(rf"(.*\.)?({key})$")
    except re.error:
        pass
    raise ValueError(f"{source}: alpha_pattern has {shown(key)}, which names no known layers")


class PeftConfigs:
    """The peft configs of a file, one for each network; without a config a layer's alpha is its rank.

    Args:
        configs: the config of each network.
        source: where they come from, for messages.

    Raises:
        ValueError: an option is not supported, such as ``modules_to_save``.
    """

    def __init__(self, configs: Mapping[str, Mapping[str, object]], source: str):
        self.source, self.configs = source, configs
        self._alphas: dict[str, _Alphas] = {}
        for config in configs.values():
            for name in _REFUSED:
                if config.get(name):
                    raise ValueError(f"{source} has {name}, which is not supported; save the adapter without it")
            if config.get("bias", "none") != "none":
                raise ValueError(f"{source} has bias {shown(config['bias'])}; only 'none' and lora_bias are supported")
            kind = config.get("peft_type", "LORA")
            if kind != "LORA":
                raise ValueError(f"{source} is of the peft_type {shown(kind)}; only 'LORA' is supported")
            begun = config.get("init_lora_weights")
            if isinstance(begun, str) and begun.lower().startswith(_CHANGED_BASES):
                raise ValueError(
                    f"{source} has init_lora_weights {shown(begun)}, which changes the base's weights; save "
                    "it with peft's path_initial_model_for_weight_conversion"
                )

    def alpha(self, component: str, parameter: str, rank: int) -> float | None:
        """The scale of a layer's product, times its rank; None if no config gives it.

        As in peft it is ``lora_alpha``, or the first entry of ``alpha_pattern`` whose key ends the layer's name;
        rank-stabilised LoRA (Kalajdzievski 2023) divides it by the root of the rank.
        """
        config = self.configs.get(component, {})
        module = parameter.removesuffix(".weight")
        alpha = self._alphas_of(component).of(module, config.get("lora_alpha"))
        if alpha is None:
            return None
        number = finite(alpha)
        if number is None:
            raise ValueError(f"{self.source}: the lora_alpha of {module} must be a finite number, got {shown(alpha)}")
        return number * math.sqrt(rank) if config.get("use_rslora") else number

    def _alphas_of(self, component: str) -> _Alphas:
        if component not in self._alphas:
            patterns = self.configs.get(component, {}).get("alpha_pattern")
            self._alphas[component] = _Alphas(patterns if isinstance(patterns, Mapping) else {}, self.source)
        return self._alphas[component]


def configs_of_metadata(text: str | None, components: list[str], denoiser: str, source: str) -> PeftConfigs:
    """The configs in the header of a file written by diffusers.

    ``save_lora_weights`` writes the network's name before each option; the denoiser's ``save_lora_adapter`` does not.
    """
    source = f"{source}: its {METADATA}"
    options = {} if text is None else parsed(text, source)
    if not isinstance(options, dict):
        raise ValueError(f"{source} is no JSON object")
    configs = {
        component: {name[len(component) + 1 :]: x for name, x in options.items() if name.startswith(f"{component}.")}
        for component in components
    }
    plain = {name: value for name, value in options.items() if "." not in name}
    return PeftConfigs({**configs, **({denoiser: plain} if plain else {})}, source)


def configs_of_folder(
    path: str | os.PathLike[str], tensors: Iterable[str], names: LoraNames
) -> tuple[str, PeftConfigs]:
    """The network that a peft folder is for, and its config.

    Args:
        path: its ``adapter_config.json``.
        tensors: the names of its tensors, which give the network if the config does not.
        names: the family's.

    Raises:
        ValueError: the config is no JSON object or is for another kind of network; also what `PeftConfigs` raises.
    """
    path = Path(path)
    check_file(path)
    config = parsed(path.read_bytes(), str(path))
    if not isinstance(config, dict):
        raise ValueError(f"{path} is no JSON object")
    mapping = config.get("auto_mapping")
    base = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    if base is None:
        is_of_text = any(name.startswith("base_model.model.text_model.") for name in tensors)
        component = "text_encoder" if is_of_text else names.denoiser
    elif isinstance(base, str) and base in names.classes:
        component = names.classes[base]
    else:
        raise ValueError(f"{path} describes an adapter for {shown(base)}; supported: {', '.join(names.classes)}")
    return component, PeftConfigs({component: config}, str(path))


def parsed(text: str | bytes, source: str) -> object:
    """A JSON document; raises ValueError for anything else, and if it is nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{source} is not readable JSON") from None


def finite(value: object) -> float | None:
    """A number from a file; None if it is no number, not finite, or too large for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
