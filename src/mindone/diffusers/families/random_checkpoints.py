"""Writes checkpoints with random weights in published shapes: what `Shape` is for the families here."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..loading.config import write_config
from ..loading.hub import MODEL_INDEX, SHARED_COMPONENTS
from ..loading.tokenizer_base import TokenizerBase
from ..models.autoencoder_tiny import AutoencoderTiny
from ..models.base import Model
from ..models.random_weights import write_random_network
from ..utils.files import write_json

if TYPE_CHECKING:
    from typing_extensions import Self

Values = Mapping[str, Any]


class Network(NamedTuple):
    """A network; its fields are the arguments of `write_random_network`."""

    cls: type[Model]
    config: Values
    bits: Callable[[str], int | None] = lambda name: None


@dataclass(frozen=True)
class RandomCheckpoint:
    """A `Shape`: a pipeline, and a tiny autoencoder for its latents."""

    description: str
    nbytes: int
    """The most bytes of the files on disk."""
    pipeline: str
    """The pipeline's class."""
    networks: Mapping[str, Network]
    tokenizers: Mapping[str, Callable[[Values], TokenizerBase]]
    """For each a function that makes it for a text encoder of a config."""
    scheduler: Values
    tiny_vae: Values
    distilled: Mapping[str, Values] = field(default_factory=dict)
    """The configs of its networks in another, distilled checkpoint, which shares the rest."""
    absent: tuple[str, ...] = ()
    """Components of the pipeline's class that it lacks."""

    def config(self, component: str) -> Values:
        """The config of one of its networks."""
        return self.networks[component].config

    def changed(self, configs: Mapping[str, Values], **fields: Any) -> Self:
        """A copy with other configs of networks, and other values of fields."""
        networks = {name: self.networks[name]._replace(config=config) for name, config in configs.items()}
        return replace(self, networks={**self.networks, **networks}, **fields)

    def held_bytes(self) -> int:
        """See `Shape`."""
        bytes_of = {component: _bytes_of(network) for component, network in self.networks.items()}
        smaller = {each: _bytes_of(self.networks[each]._replace(config=it)) for each, it in self.distilled.items()}
        return min(sum(bytes_of.values()), sum({**bytes_of, **smaller}.values()))

    def write(self, name: str, folder: Path) -> Mapping[str, tuple[str, Path]]:
        """See `Shape.write`."""
        roles = {"model": folder / name, "tiny_vae": folder / f"{name}-tiny-vae"}
        root = roles["model"]
        for component, network in self.networks.items():
            write_random_network(network.cls, network.config, root / component, network.bits)
        classes = {component: network.cls.__name__ for component, network in self.networks.items()}
        for component, make in self.tokenizers.items():
            tokenizer = make(self.config(component.replace("tokenizer", "text_encoder")))
            tokenizer.save_pretrained(root / component)
            classes[component] = type(tokenizer).__name__
        write_config(root / "scheduler", self.scheduler, "scheduler_config.json")
        index = self._index({**classes, "scheduler": self.scheduler["_class_name"]})
        write_json(root / MODEL_INDEX, index)
        write_random_network(AutoencoderTiny, self.tiny_vae, roles["tiny_vae"])
        if self.distilled:
            distilled = roles["distilled"] = folder / f"{name}-distilled"
            for component, config in self.distilled.items():
                write_random_network(self.networks[component].cls, config, distilled / component)
            shutil.copyfile(root / MODEL_INDEX, distilled / MODEL_INDEX)
            shared = [component for component in index if component not in (*self.distilled, "_class_name")]
            write_json(distilled / SHARED_COMPONENTS, dict.fromkeys(shared, name))
        return {role: (f"random weights: {path.name}", path) for role, path in roles.items()}

    def _index(self, classes: Mapping[str, str]) -> dict[str, object]:
        index: dict[str, object] = {component: [None, None] for component in self.absent}
        for component, class_name in classes.items():
            is_read = component.startswith(("text_encoder", "tokenizer"))
            index[component] = ["transformers" if is_read else "diffusers", class_name]
        return {"_class_name": self.pipeline, **index}


def _bytes_of(network: Network) -> int:
    """The bytes of a network's weights in float16, or in the bits of its file."""
    shapes = network.cls.from_config(network.config).published_shapes()
    bits = {name: network.bits(name) if len(shape) == 2 else None for name, shape in shapes.items()}
    return sum(math.prod(shape) * (bits[name] or 16) // 8 for name, shape in shapes.items())
