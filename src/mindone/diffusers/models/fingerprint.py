"""An identifier of a network's weights, which tells whether two checkpoints hold the same model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..loading.int8 import QUANTIZATION

if TYPE_CHECKING:
    from .base import Model

SOURCE = "source_fingerprint"
"""The entry of a rounded network's ``quantization_config`` with the fingerprint of the network that was rounded."""


def fingerprint_of(network: Model, names: Iterable[str]) -> str:
    """A digest of a network's config and of the weights ``names``, which tell a checkpoint.

    These may be none of the rounded ones, so what was rounded, and how, belongs to it.
    """
    left_out = () if source_of(network) else (QUANTIZATION,)
    config = {name: value for name, value in network.config.items() if name not in left_out and name[0] != "_"}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name in names:
        digest.update(network.array(name).astype(np.float16).tobytes())
    return digest.hexdigest()[:16]


def source_of(network: Model) -> str | None:
    """The fingerprint of the network that was rounded to this one; None if it is not rounded, or does not say."""
    entry = network.config.get(QUANTIZATION)
    return entry.get(SOURCE) if isinstance(entry, Mapping) else None
