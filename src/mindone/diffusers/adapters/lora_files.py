"""LoRA files: changes to a network's weights, low-rank (Hu et al. 2021) or of the kinds in `lora_kinds`.

The files come in many spellings (see `lora_names`). Reading gives one mapping from our parameters' names to their
changes; the tensors are views of the file.
"""

import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..engines import Array
from ..engines.binding import check_finite
from ..families.adapters import LoraNames, Shapes
from ..families.registry import families, load
from ..loading.hub_files import FileSource
from ..loading.safetensors import SafetensorsFile, StoredTensor
from ..utils.printable import shown
from .lora_configs import (
    METADATA,
    PEFT_CONFIG,
    PEFT_FILE,
    PeftConfigs,
    configs_of_folder,
    configs_of_metadata,
    finite,
)
from .lora_kinds import Change, LoraLayer, Sum, Whole, dora, hada, lokr, outputs_of
from .lora_names import BIAS_PARTS, LoraKey, Resolver, parse_key, refused_kind

_SHOWN = 4
_TABLES = ("token_embedding.weight", "position_embedding.weight")
_BUNDLED = re.compile(r"^bundle_emb\.(.+)\.(clip_l|clip_g|emb_params|string_to_param\.\*)$")

_MARKS = (
    ("lora_prior_", "Stable Cascade"),
    ("motion_modules", "AnimateDiff"),
    ("self_attn.q.lora", "Wan"),
    ("lora_controlnet", "a Control-LoRA"),
)
"""Bases that no family here has, by the look of a LoRA's keys."""
USUAL_NAME = "pytorch_lora_weights.safetensors"

Tensors: TypeAlias = Mapping[str, NDArray[np.generic] | StoredTensor | Array]
Lora = Mapping[str, Mapping[str, Change]]
"""Changes by component and by parameter name."""
Parts = dict[str, StoredTensor]


@dataclass(frozen=True)
class LoraFile:
    """The source of a LoRA."""

    tensors: Mapping[str, StoredTensor]
    names: LoraNames
    """The family's names."""
    metadata: Mapping[str, str] | None = None
    """The header's metadata; diffusers keeps peft's configs there (`METADATA`)."""
    source: str = "the LoRA"
    """The file, for messages."""
    configs: PeftConfigs | None = None
    """peft's configs; None for those in ``metadata``."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], names: LoraNames) -> "LoraFile":
        """Open a ``.safetensors`` file; next to peft's ``adapter_model.safetensors`` lies a config with alpha.

        Raises:
            ValueError: a pickle, a broken file or config, or a peft option that is not supported.
            FileNotFoundError: no such file, or a peft file without its config.
        """
        path = Path(path)
        file = SafetensorsFile(path)
        if path.name != PEFT_FILE:
            return cls(file, names, file.metadata, str(path))
        config = path.with_name(PEFT_CONFIG)
        if not config.is_file():
            raise FileNotFoundError(f"no {PEFT_CONFIG} next to {path}; peft keeps alpha there")
        component, configs = configs_of_folder(config, file, names)
        tensors = {f"{component}.{name}": tensor for name, tensor in file.items()}
        return cls(tensors, names, None, str(path), configs)

    def words(self) -> dict[str, dict[str, StoredTensor]]:
        """The tensors of textual inversions trained with it, by word, named as in files of their own."""
        found: dict[str, dict[str, StoredTensor]] = {}
        for name, tensor in self.tensors.items():
            if (match := _BUNDLED.match(name)) is not None:
                found.setdefault(match[1], {})[match[2].removeprefix("string_to_param.")] = tensor
        return found

    def of_component(self, component: str) -> "LoraFile":
        """The same, with only the layers of ``component`` and without words."""
        kept = {}
        for name, tensor in self.tensors.items():
            key = parse_key(name, self.names)
            if not _BUNDLED.match(name) and (key is None or key.component == component):
                kept[name] = tensor
        return replace(self, tensors=kept)

    def layers(self, networks: Mapping[str, Shapes]) -> dict[str, dict[str, Change]]:
        """Find the layer of ``networks`` to which each tensor belongs.

        A file that numbers its blocks both ways holds everything twice; then our numbering wins.

        Args:
            networks: for each, by its name in the pipeline, the shape of every parameter.

        Returns:
            Changes by component and parameter name; only components that have any.

        Raises:
            ValueError: OFT, (IA)³ and any kind not in `lora_kinds`; keys that fit nothing (the message names the
                architecture they look like); shapes of another base (listed); half of a pair; values that are NaN or
                infinite.
        """
        tensors = {name: tensor for name, tensor in self.tensors.items() if not _BUNDLED.match(name)}
        if not self.tensors:
            raise ValueError(f"{self.source} holds no tensors")
        for name in tensors:
            kind = refused_kind(name)
            if kind is not None:
                raise ValueError(f"{self.source} is {kind}, which is not supported: it has {shown(name)}")
        resolvers = {component: Resolver(component, shapes, self.names) for component, shapes in networks.items()}
        layers, strange = _grouped(tensors, resolvers, networks, self.names)
        if strange and not layers and not is_lora(tensors):
            raise ValueError(
                f"{self.source} is no LoRA, by its tensors {_listed([shown(name) for name in strange], ', ')}; "
                "mindone-diffusers info FILE says what it is"
            )
        if strange:
            raise ValueError(
                f"{self.source}: {len(strange)} of {len(tensors)} keys fit nothing here: "
                f"{_listed([shown(name) for name in strange], ', ')}" + self._guessed("; they look like ")
            )
        result: dict[str, dict[str, Change]] = {}
        wrong: list[str] = []
        said = (self.metadata or {}).get(METADATA)
        configs = self.configs or configs_of_metadata(said, list(networks), self.names.denoiser, self.source)
        unclear: list[str] = []
        for (component, parameter), (key, parts) in layers.items():
            if parameter.endswith(_TABLES):
                raise ValueError(
                    f"{self.source} changes {parameter}; only layers, convolutions and norms are supported"
                )
            shape = networks[component][parameter]
            layer = _Layer(self.source, key, parts, shape, configs, component, parameter)
            changes = layer.changes()
            if layer.alpha() is None and "alpha" in parts:
                unclear.append(shown(key.module))
            if changes is None:
                found = " and ".join(
                    "×".join(map(str, x.shape)) or "one number" for name, x in parts.items() if name != "alpha"
                )
                wrong.append(f"{parameter} of {'×'.join(map(str, shape))} has {found}")
                continue
            result.setdefault(component, {}).update(changes)
        if wrong:
            base = self._guessed(", by its looks ")
            raise ValueError(f"{self.source} is a LoRA of another base{base}: {_listed(wrong, '; ')}")
        if unclear:
            raise ValueError(f"{self.source}: alpha must be one finite number, but is not for {_listed(unclear, ', ')}")
        check_finite(tensors, self.source)
        return result

    def _guessed(self, before: str) -> str:
        guess = looks_like(self.tensors, self.names)
        return before + guess if guess else ""


def find_lora(
    path_or_id_or_dict: str | os.PathLike[str] | Tensors,
    weight_name: str | None = None,
    subfolder: str | None = None,
    use_safetensors: bool | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    *,
    names: LoraNames,
) -> LoraFile:
    """A LoRA's tensors and the data stored with them.

    Args:
        path_or_id_or_dict: a ``.safetensors`` file, a folder or a hub id with one, its address on the hub, or tensors.
        weight_name: the file in a folder or repository that has several.
        subfolder: the folder inside it that holds the file.
        use_safetensors: must not be False: pickles are not read.
        revision, cache_dir, local_files_only, token: as in huggingface_hub.
        names: the family's.

    Raises:
        ValueError, FileNotFoundError: as `LoraFile.open`; also if there is no such file, or if several would fit.
    """
    if use_safetensors is False:
        raise ValueError("use_safetensors must be True: pickle files are not read; take the LoRA's .safetensors file")
    if isinstance(path_or_id_or_dict, Mapping):
        if strange := [name for name in path_or_id_or_dict if not isinstance(name, str)]:
            raise ValueError(f"a LoRA's tensors must have names, got {shown(strange[0])}")
        return LoraFile({name: _stored(tensor) for name, tensor in path_or_id_or_dict.items()}, names)
    source = FileSource(path_or_id_or_dict, revision, cache_dir, local_files_only, token)
    return LoraFile.open(source.file(weight_name, USUAL_NAME, PEFT_CONFIG, subfolder), names)


def _stored(tensor: NDArray[np.generic] | StoredTensor | Array) -> StoredTensor:
    if isinstance(tensor, StoredTensor):
        return tensor
    return StoredTensor.from_numpy(tensor.asnumpy() if hasattr(tensor, "asnumpy") else np.asarray(tensor))


def is_lora(names: Collection[str]) -> bool:
    """Whether all tensors of a file are named as those of a LoRA, or of words that were trained with it."""
    known = next(load(each.lora) for each in families() if each.lora is not None)
    return bool(names) and all(
        parse_key(name, known) is not None or refused_kind(name) is not None or _BUNDLED.match(name) for name in names
    )


def looks_like(tensors: Mapping[str, StoredTensor], names: LoraNames | None = None) -> str | None:
    """The base of a LoRA in words, judged by names, then by the width of its text; None if neither shows it.

    Only for messages, never for decisions.

    Args:
        tensors: the LoRA's.
        names: those of the family that it was given to; None if it was given to none.
    """
    others: list[LoraNames] = [load(each.lora) for each in families() if each.lora is not None]
    marks = [mark for other in others if other != names for mark in other.marks.items()]
    for mark, base in (*_MARKS, *marks):
        if any(mark in name for name in tensors):
            return base
    for known in others if names is None else (names, *others):
        for name, tensor in tensors.items():
            for before, layer in known.telling:
                after = name.partition(before)[2].rpartition(layer)[2]
                width = tensor.shape[-1] if len(tensor.shape) == 2 else 0
                if layer in name and ("down" in after or "lora_A" in after) and width in known.bases:
                    return known.bases[width]
    if any(name.startswith(("lora_te2_", "text_encoder_2.")) for name in tensors):
        return "Stable Diffusion XL"
    is_transformer = (names is None or names.denoiser != "transformer") and any(
        name.startswith("transformer.") for name in tensors
    )
    return "a transformer such as FLUX.1" if is_transformer else None


def _grouped(
    tensors: Mapping[str, StoredTensor],
    resolvers: Mapping[str, Resolver],
    networks: Mapping[str, Shapes],
    names: LoraNames,
) -> tuple[dict[tuple[str, str], tuple[LoraKey, Parts]], list[str]]:
    """The parts of every layer, by component and weight name, and the keys that fit nothing."""
    strange: list[str] = []
    found: dict[tuple[str, str], dict[bool, tuple[LoraKey, Parts]]] = {}
    for name, tensor in tensors.items():
        key = parse_key(name, names)
        resolver = None if key is None else resolvers.get(key.component)
        places = [] if key is None or resolver is None else resolver.places(key)
        if key is None or resolver is None or not places:
            strange.append(name)
            continue
        if key.part in BIAS_PARTS and _bias(places[0][0]) not in networks[key.component]:
            strange.append(name)
            continue
        for weight, rows in places:
            numberings = found.setdefault((key.component, weight), {})
            _, parts = numberings.setdefault(resolver.in_original_numbering(key), (key, {}))
            parts[key.part] = tensor if rows is None else outputs_of(tensor, key.part, rows)
    return {place: numberings[min(numberings)] for place, numberings in found.items()}, strange


@dataclass(frozen=True)
class _Layer:
    """The tensors of one layer, and the weight that they change."""

    source: str
    key: LoraKey
    parts: Parts
    shape: tuple[int, ...]
    configs: PeftConfigs
    component: str
    parameter: str

    def changes(self) -> dict[str, Change] | None:
        """The changes of weight and bias, by name; None if shapes do not fit the weight's."""
        changes: dict[str, Change] = {}
        weight = self._weight()
        bias = self._bias()
        if weight is None or bias is None:
            return None
        if weight:
            changes[self.parameter] = weight[0] if len(weight) == 1 else Sum(weight)
        if bias:
            changes[_bias(self.parameter)] = bias[0] if len(bias) == 1 else Sum(bias)
        if not changes:
            self._check_needs("down", "up")
        return changes

    def _weight(self) -> list[Change] | None:
        parts, alpha = self.parts, self.alpha()
        kinds = {name.split("_")[0] for name in parts}
        found: list[Change | None] = []
        if kinds & {"down", "up", "mid"}:
            self._check_needs("down", "up")
            found.append(_low_rank(parts, self.shape, self._peft_alpha() if alpha is None else alpha))
        if "hada" in kinds:
            self._check_needs("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
            found.append(hada(parts, self.shape, alpha))
        if "lokr" in kinds:
            for whole in ("lokr_w1", "lokr_w2"):
                self._check_needs(*([whole] if whole in parts else [f"{whole}_a", f"{whole}_b"]))
            found.append(lokr(parts, self.shape, alpha))
        found += [_whole(parts[name], self.shape) for name in ("diff", "w_norm") if name in parts]
        changes = [change for change in found if change is not None]
        if len(changes) < len(found):
            return None
        for name in ("dora_scale", "lora_magnitude_vector"):
            if name in parts:
                if not changes:
                    self._check_needs("down", "up")
                change = changes[0] if len(changes) == 1 else Sum(changes)
                around = dora(change, parts[name], self.shape, strength_inside=name == "lora_magnitude_vector")
                if around is None:
                    return None
                changes = [around]
        return changes

    def _bias(self) -> list[Change] | None:
        parts, shape = self.parts, self.shape[:1]
        found: list[Change | None] = [_whole(parts[name], shape) for name in ("diff_b", "b_norm") if name in parts]
        if "bias" in parts:
            self._check_needs("down", "up")
            rank = parts["down"].shape[0] if parts["down"].shape else 1
            alpha = self.alpha()
            alpha = self._peft_alpha() if alpha is None else alpha
            found.append(_whole(parts["bias"], shape, 1.0 if alpha is None else alpha / max(rank, 1)))
        changes = [change for change in found if change is not None]
        return changes if len(changes) == len(found) else None

    def alpha(self) -> float | None:
        """The file's own alpha; None if it has none, or if that is not one finite number."""
        tensor = self.parts.get("alpha")
        if tensor is None or tensor.size != 1:
            return None
        return finite(float(tensor.numpy(np.float64).reshape(-1)[0]))

    def _peft_alpha(self) -> float | None:
        down = self.parts["down"].shape
        return self.configs.alpha(self.component, self.parameter, down[0] if down else 0)

    def _check_needs(self, *names: str) -> None:
        if any(name not in self.parts for name in names):
            has, needs = " and ".join(sorted(self.parts)), " and ".join(names)
            raise ValueError(f"{self.source}: {shown(self.key.module)} has {has} but needs {needs}")


def _low_rank(parts: Parts, shape: tuple[int, ...], alpha: float | None) -> LoraLayer | None:
    down, up, mid = parts["down"], parts["up"], parts.get("mid")
    if len(down.shape) < 2 or len(up.shape) < 2 or 0 in (*down.shape, *up.shape):
        return None
    rank, kernel = down.shape[0], math.prod(shape[2:])
    if down.shape[1] != shape[1] or up.shape[0] != shape[0] or math.prod(up.shape[1:]) != rank:
        return None
    if mid is None:
        if math.prod(down.shape[2:]) != kernel:
            return None
    else:  # down, mid and up are convolutions in a row: the first two make one
        fits = math.prod(down.shape[2:]) == 1 and mid.shape == (rank, rank, *shape[2:])
        if not fits or rank > max(shape[:2]):
            return None
        folded = np.tensordot(mid.numpy(np.float32), down.numpy(np.float32).reshape(rank, -1), ([1], [0]))
        down = StoredTensor.from_numpy(np.moveaxis(folded, -1, 1))
    return LoraLayer(
        down.reshape((rank, *shape[1:])), up.reshape((shape[0], rank)), float(rank) if alpha is None else alpha
    )


def _whole(tensor: StoredTensor, shape: Sequence[int], scale: float = 1.0) -> Whole | None:
    fits = tensor.shape[:1] == tuple(shape[:1]) and tensor.size == math.prod(shape)
    return Whole(tensor, scale) if fits else None


def _bias(weight: str) -> str:
    return weight.removesuffix("weight") + "bias"


def _listed(items: Sequence[str], between: str) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return between.join(each if len(each) <= 100 else f"{each[:99]}…" for each in items[:_SHOWN]) + more
