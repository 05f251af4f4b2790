"""Protocols of a pipeline's components, whatever their class; `capability` checks them when a component is set."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..engines import Array, Engine
from ..engines.base import Network
from ..loading.config import Config
from ..models.autoencoder import Source
from ..models.taps import Cut
from ..models.wrapping import PutOn

FunctionOrNetwork = Callable[..., object]
"""A callable network, or a user's function in its place."""


class Configured(Protocol):
    """An object with a config."""

    @property
    def config(self) -> Config:
        """The content of its ``config.json``."""


class StoredNetwork(Configured, Network, Protocol):
    """A network with readable config and weights."""

    def array(self, name: str) -> NDArray[np.float32]:
        """The weight of that name."""


class Denoiser(StoredNetwork, Protocol):
    """The network that predicts the noise of latents: a transformer, or a network of skip connections."""

    put_on: PutOn
    """The managers of its adapters."""

    @property
    def cuts(self) -> Sequence[Cut]:
        """The places where features can be cached for later steps, the outermost first."""

    @property
    def blocks(self) -> Sequence[str]:
        """The paths of the blocks that run in sequence, for a transformer; () for others."""

    @property
    def self_attentions(self) -> Mapping[int, Sequence[str]]:
        """The self-attention cells over pixels, by level; level 0 is the largest."""

    @property
    def is_big(self) -> bool:
        """Whether its memory use matters."""

    def published_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of its weights, by published name."""

    @property
    def device(self) -> str:
        """The device: "cpu" or "npu"."""


class SkippingDenoiser(Denoiser, Protocol):
    """A denoiser with skip connections, FreeU and token downsampling."""

    @property
    def skip_channels(self) -> Sequence[int]:
        """The channels of each skip connection."""

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """Weaken the skip connections."""

    def disable_freeu(self) -> None:
        """Disable FreeU."""

    def enable_token_downsampling(self, factor: int) -> None:
        """Attend to fewer tokens."""


class Autoencoder(Configured, Protocol):
    """Turns images into latents and latents into images."""

    dtype: str
    """The compute dtype."""
    encodes_at_random: bool
    """Whether encoding an image draws noise."""
    scale: int
    """Pixels per latent, along each side."""

    def decode_with(self, engine: Engine, latents: Array) -> Array:
        """Images (batch, 3, scale·h, scale·w) in [-1, 1] from latents (batch, channels, h, w)."""

    def encode_with(self, engine: Engine, image: Array, generator: Source = None) -> Array:
        """Latents from images (batch, 3, height, width) in [-1, 1]."""

    def num_parameters(self) -> int:
        """The number of its weights."""

    def enable_slicing(self) -> None:
        """Encode and decode one image of a batch at a time."""

    def disable_slicing(self) -> None:
        """Encode and decode a batch at once."""

    def enable_tiling(self) -> None:
        """Encode and decode large images in overlapping tiles."""

    def disable_tiling(self) -> None:
        """Encode and decode images whole."""

    def to(self, dtype: str, /) -> object:
        """Compute in another dtype from now on."""


class TextEncoder(StoredNetwork, Protocol):
    """Turns tokens into the denoiser's conditions: CLIP's text model and similar ones."""


class LanguageModel(TextEncoder, Protocol):
    """A text encoder that runs only the tokens that count: `models.text_model`."""

    @property
    def most_tokens(self) -> int:
        """The most tokens of a text."""

    def encode_with(self, engine: Engine, input_ids: Array, attention_mask: Array | None = None) -> Array:
        """Hidden states (texts, tokens, channels) from ids, with zeros for padding."""


class CausalTextEncoder(LanguageModel, Protocol):
    """A language model that reads prompts after an instruction: `models.causal_text`."""

    def encode_with(
        self, engine: Engine, input_ids: Array, attention_mask: Array | None = None, beginning: Sequence[int] = ()
    ) -> Array:
        """Hidden states (texts, tokens, channels) from ids; results for a common ``beginning`` are kept."""


class TextTokenizer(Protocol):
    """A tokenizer of any family."""

    @property
    def pad_token_id(self) -> int:
        """The id for padding."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The ids of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text for ids."""


class Tokenizer(TextTokenizer, Protocol):
    """CLIP's tokenizer, which also learns words."""

    model_max_length: int

    @property
    def groups(self) -> Mapping[int, list[int]]:
        """All ids of each added word, by its first id."""

    @property
    def bos_token_id(self) -> int:
        """The id that begins a text."""

    @property
    def eos_token_id(self) -> int:
        """The id that ends a text."""

    @property
    def unk_token_id(self) -> int:
        """The id for unknown tokens."""

    def convert_tokens_to_ids(self, tokens: str) -> int:
        """The id of a token."""
