"""Smaller networks that replace a checkpoint's own: a tiny autoencoder, a distilled model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .speedup import Networks, Stage, View


@dataclass(frozen=True)
class TinyAutoencoder:
    """Decode with the `AutoencoderTiny` of a folder or a hub id, such as ``madebyollin/taesd``."""

    path_or_id: str
    stage = Stage.NETWORK
    words = "tiny autoencoder"

    def put_on(self, view: View, networks: Networks) -> None:
        """See `SpeedUp`."""
        from ..models.autoencoder_tiny import AutoencoderTiny

        dtype = view.dtype
        view.vae = networks.once(self, lambda: AutoencoderTiny.from_pretrained(self.path_or_id, mindspore_dtype=dtype))


@dataclass(frozen=True)
class Distilled:
    """Generate with another checkpoint of the same kind, such as ``nota-ai/bk-sdm-small``."""

    path_or_id: str
    stage = Stage.CHECKPOINT
    words = "distilled"

    def put_on(self, view: View, networks: Networks) -> None:
        """See `SpeedUp`."""
        other = networks.once(self, lambda: self._load(view))
        for name, component in other.components.items():
            setattr(view, name, component)
        view.generation_config, view.name_or_path = other.generation_config, other.name_or_path

    def _load(self, like: Any) -> Any:
        rest = {name: getattr(like, name) for name in like.optional_components}
        return type(like).from_pretrained(self.path_or_id, mindspore_dtype=like.dtype, engine=like.engine, **rest)
