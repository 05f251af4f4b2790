"""LoRA files: low-rank updates of a network's weights (Hu et al. 2021), and of convolutions (LoCon, Yeh et al. 2024).

A layer's weight W becomes W + scale · (alpha / rank) · up · down. The files come in many spellings (see `lora_names`);
what is read is one mapping from our parameters' names to `LoraLayer`, with tensors that are views of the file.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..loading.safetensors import SafetensorsFile, StoredTensor
from ..loading.weights import PICKLE_SUFFIXES
from .lora_bases import looks_like
from .lora_configs import METADATA, PEFT_CONFIG, PEFT_FILE, PeftConfigs, configs_of_folder, configs_of_metadata
from .lora_names import LoraKey, Part, Resolver, Shapes, parse_key, refused_kind

_SHOWN = 4


@dataclass(frozen=True)
class LoraLayer:
    """The update of one weight of shape (out, in) or (out, in, height, width)."""

    down: StoredTensor
    """(rank, in) or (rank, in, height, width)."""
    up: StoredTensor
    """(out, rank)."""
    alpha: float

    @property
    def rank(self) -> int:
        """Rows of ``down``."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """What the product is multiplied by before the user's own weight: alpha / rank."""
        return self.alpha / self.rank

    def update(self) -> NDArray[np.float32]:
        """What is added to the weight at full strength, in the weight's shape."""
        down = self.down.numpy(np.float32)
        product: NDArray[np.float32] = self.up.numpy(np.float32) @ down.reshape(self.rank, -1)
        product *= np.float32(self.scale)
        return product.reshape(-1, *down.shape[1:])


Lora = Mapping[str, Mapping[str, LoraLayer]]
"""Layers by component (``unet``, ``text_encoder``, ``text_encoder_2``) and by parameter name."""


def open_lora(path: str | os.PathLike[str], networks: Mapping[str, Shapes]) -> dict[str, dict[str, LoraLayer]]:
    """Read a LoRA's ``.safetensors`` file for the given networks; see `read_lora`.

    Beside ``adapter_model.safetensors``, as peft saves it, lies ``adapter_config.json`` with alpha.
    """
    path = Path(path)
    if path.suffix in PICKLE_SUFFIXES:
        raise ValueError(
            f"{path} is a pickle file, which can run code and is not read; take the LoRA's .safetensors file"
        )
    file = SafetensorsFile(path)
    if path.name != PEFT_FILE:
        return read_lora(file, networks, file.metadata, source=str(path))
    config = path.with_name(PEFT_CONFIG)
    if not config.is_file():
        raise FileNotFoundError(f"no {PEFT_CONFIG} beside {path}; peft keeps alpha there")
    component, configs = configs_of_folder(config, list(file))
    named = {f"{component}.{name}": tensor for name, tensor in file.items()}
    return read_lora(named, networks, source=str(path), configs=configs)


def read_lora(
    tensors: Mapping[str, StoredTensor],
    networks: Mapping[str, Shapes],
    metadata: Mapping[str, str] | None = None,
    *,
    source: str = "the LoRA",
    configs: PeftConfigs | None = None,
) -> dict[str, dict[str, LoraLayer]]:
    """Find the layer of ``networks`` that every tensor of a LoRA file belongs to.

    A file that numbers its blocks in both ways holds everything twice; then our numbering counts.

    Args:
        tensors: the file's.
        networks: the shapes of every parameter of ``unet``, ``text_encoder`` and ``text_encoder_2``.
        metadata: the file's; diffusers keeps alpha there (`METADATA`).
        source: the file, for messages.
        configs: peft's; None: those in ``metadata``.

    Returns:
        Layers by component and parameter name; only components that have some.

    Raises:
        ValueError: DoRA, LoHa, LoKr and other methods than LoRA; keys that fit nothing (with the architecture that they
            look like); shapes of another base (listed); half of a pair.
    """
    if not tensors:
        raise ValueError(f"{source} holds no tensors")
    for name in tensors:
        kind = refused_kind(name)
        if kind is not None:
            raise ValueError(f"{source} is {kind}, told by {name!r}; only LoRA and LoCon are known here")
    resolvers = {component: Resolver(component, shapes) for component, shapes in networks.items()}
    layers, strange = _grouped(tensors, resolvers)
    if strange:
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        guess = looks_like(tensors)
        raise ValueError(
            f"{source}: {len(strange)} of {len(tensors)} keys fit nothing here: "
            f"{', '.join(map(repr, strange[:_SHOWN]))}{more}" + (f"; they look like {guess}" if guess else "")
        )
    if configs is None:
        configs = configs_of_metadata((metadata or {}).get(METADATA), list(networks), source)
    result: dict[str, dict[str, LoraLayer]] = {}
    wrong: list[str] = []
    for (component, parameter), (key, parts) in layers.items():
        if "down" not in parts or "up" not in parts:
            raise ValueError(f"{source}: {key.module!r} has {' and '.join(sorted(parts))} but needs down and up")
        shape = networks[component][parameter]
        if not _fits(parts, shape):
            found = " and ".join("×".join(map(str, parts[part].shape)) for part in ("down", "up"))
            wrong.append(f"{parameter} of {'×'.join(map(str, shape))} has {found}")
            continue
        layer = _layer(parts, shape, configs.alpha(component, parameter, parts["down"].shape[0]))
        result.setdefault(component, {})[parameter] = layer
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        guess = looks_like(tensors)
        raise ValueError(
            f"{source} is a LoRA of another base{f', by its looks {guess}' if guess else ''}: "
            f"{'; '.join(wrong[:_SHOWN])}{more}"
        )
    return result


Parts = dict[Part, StoredTensor]


def _grouped(
    tensors: Mapping[str, StoredTensor], resolvers: Mapping[str, Resolver]
) -> tuple[dict[tuple[str, str], tuple[LoraKey, Parts]], list[str]]:
    """The parts of every layer by component and parameter, and the keys that fit nothing."""
    strange: list[str] = []
    found: dict[tuple[str, str], dict[bool, tuple[LoraKey, Parts]]] = {}
    for name, tensor in tensors.items():
        key = parse_key(name)
        resolver = None if key is None else resolvers.get(key.component)
        parameter = None if key is None or resolver is None else resolver.parameter(key)
        if key is None or resolver is None or parameter is None:
            strange.append(name)
            continue
        numberings = found.setdefault((key.component, parameter), {})
        _, parts = numberings.setdefault(resolver.in_original_numbering(key), (key, {}))
        parts[key.part] = tensor
    return {place: numberings[min(numberings)] for place, numberings in found.items()}, strange


def _fits(parts: Parts, shape: tuple[int, ...]) -> bool:
    down, up, mid = parts["down"].shape, parts["up"].shape, parts.get("mid")
    rank, kernel = down[0], math.prod(shape[2:])
    if len(down) < 2 or len(up) < 2 or down[1] != shape[1] or up[0] != shape[0] or math.prod(up[1:]) != rank:
        return False
    if mid is None:
        return math.prod(down[2:]) == kernel
    return math.prod(down[2:]) == 1 and mid.shape == (rank, rank, *shape[2:])


def _layer(parts: Parts, shape: tuple[int, ...], alpha: float | None) -> LoraLayer:
    down, up = parts["down"], parts["up"]
    rank = down.shape[0]
    if "mid" in parts:  # down, mid and up are convolutions in a row: the first two make one
        folded = np.tensordot(parts["mid"].numpy(np.float32), down.numpy(np.float32).reshape(rank, -1), ([1], [0]))
        down = StoredTensor.from_numpy(np.moveaxis(folded, -1, 1))
    if "alpha" in parts:
        alpha = float(parts["alpha"].numpy(np.float32).reshape(-1)[0])
    return LoraLayer(
        down.reshape((rank, *shape[1:])), up.reshape((shape[0], rank)), float(rank) if alpha is None else alpha
    )
