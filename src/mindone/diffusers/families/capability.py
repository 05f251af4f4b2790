"""What a component of a pipeline must be able to do, whatever its class."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NETWORK = ("construct", "parameters_and_names", "graphs", "dtype")
"""What an engine needs of every network."""


@dataclass(frozen=True)
class Capability:
    """The requirements for a component: the attributes and config entries that are read."""

    kind: str
    attributes: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    is_called: bool = False
    keywords: tuple[str, ...] = ()
    """The keywords of its calls."""

    def missing(self, component: Any) -> list[str]:
        """What the component lacks, in readable words."""
        lacks = [name for name in self.attributes if not hasattr(component, name)]
        config = getattr(component, "config", None)
        entries = config if isinstance(config, Mapping) else {}
        lacks += [f"config[{name!r}]" for name in self.fields if name not in entries]
        if self.is_called and not callable(component):
            return [*lacks, "a call"]
        return lacks if self._takes_keywords(component) else [*lacks, f"a call with {'=…, '.join(self.keywords)}=…"]

    def _takes_keywords(self, component: Any) -> bool:
        if not self.keywords:
            return True
        try:
            signature = inspect.signature(component)
        except (TypeError, ValueError):  # written in C: the signature is unknown
            return True
        try:
            signature.bind(**dict.fromkeys(self.keywords))
        except TypeError:
            return False
        return True


CLIP = Capability(
    "a CLIP text encoder, such as CLIPTextModel",
    NETWORK,
    ("vocab_size", "max_position_embeddings", "num_hidden_layers"),
)
CLIP_TOKENIZER = Capability(
    "a tokenizer, such as mindone.transformers.CLIPTokenizer", ("model_max_length", "truncated"), is_called=True
)
T5 = Capability("a text encoder, such as T5EncoderModel", (*NETWORK, "encode_with"), ("vocab_size", "d_model"))
T5_TOKENIZER = Capability(
    "a tokenizer, such as mindone.transformers.T5TokenizerFast", ("encode", "decode", "pad_token_id")
)
