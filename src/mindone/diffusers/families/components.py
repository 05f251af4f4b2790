"""What is used of a pipeline's components, whatever their class, as types; `capability` checks it when one is set."""

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
"""A network, which can be called, or a function of the user's in its place."""


class Configured(Protocol):
    """What has a config."""

    @property
    def config(self) -> Config:
        """The content of its ``config.json``."""


class StoredNetwork(Configured, Network, Protocol):
    """A network whose config and weights can be read."""

    def array(self, name: str) -> NDArray[np.float32]:
        """The weight of that name."""


class Denoiser(StoredNetwork, Protocol):
    """What predicts the noise of latents: a transformer, or a network of skip connections."""

    put_on: PutOn
    """What keeps the adapters that are on it."""
    after_blocks: str | None
    """The layer whose first input is what the last of `blocks` leaves of the image, where that block leaves more."""

    @property
    def cuts(self) -> Sequence[Cut]:
        """Where its features can be kept for later steps, from the outermost."""

    @property
    def blocks(self) -> Sequence[str]:
        """The paths of the blocks that run one after the other, for a transformer; () for others."""

    @property
    def self_attentions(self) -> Mapping[int, Sequence[str]]:
        """The cells in which pixels attend to each other, by level, the largest first, which is 0."""

    @property
    def is_big(self) -> bool:
        """Whether memory for it is worth a thought."""

    def published_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of its weights, by their published names."""

    @property
    def device(self) -> str:
        """The device: "cpu" or "npu"."""


class SkippingDenoiser(Denoiser, Protocol):
    """A denoiser with skip connections, and with what changes them or skips tokens."""

    @property
    def skip_channels(self) -> Sequence[int]:
        """The channels of each skip connection."""

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """Listen less to the skip connections."""

    def disable_freeu(self) -> None:
        """Disable FreeU."""

    def enable_token_downsampling(self, factor: int) -> None:
        """Attend to fewer tokens."""


class Autoencoder(Configured, Protocol):
    """What makes latents of images and images of latents."""

    dtype: str
    """What it is meant to compute in."""
    encodes_at_random: bool
    """Whether encoding an image draws noise."""
    scale: int
    """Pixels per latent, along each side."""

    def decode_with(self, engine: Engine, latents: Array) -> Array:
        """Images (batch, 3, scale·h, scale·w) in [-1, 1] of latents (batch, channels, h, w)."""

    def encode_with(self, engine: Engine, image: Array, generator: Source = None) -> Array:
        """Latents of images (batch, 3, height, width) in [-1, 1]."""

    def num_parameters(self) -> int:
        """How many numbers its weights are."""

    def enable_slicing(self) -> None:
        """Encode and decode one image of a batch at a time."""

    def disable_slicing(self) -> None:
        """Encode and decode a batch at once."""

    def enable_tiling(self) -> None:
        """Encode and decode large images in overlapping tiles."""

    def disable_tiling(self) -> None:
        """Encode and decode images whole."""

    def to(self, dtype: str, /) -> object:
        """Compute in another type from now on."""


class TextEncoder(StoredNetwork, Protocol):
    """What makes of tokens what the denoiser is conditioned on: CLIP's text model and its like."""


class LanguageModel(TextEncoder, Protocol):
    """A text encoder that runs the tokens that count: `models.text_model`."""

    @property
    def most_tokens(self) -> int:
        """The most tokens of a text."""

    def encode_with(self, engine: Engine, input_ids: Array, attention_mask: Array | None = None) -> Array:
        """Hidden states (texts, tokens, channels) of ids, zeros in place of padding."""


class CausalTextEncoder(LanguageModel, Protocol):
    """A language model that reads prompts behind an instruction: `models.causal_text`."""

    def encode_with(
        self, engine: Engine, input_ids: Array, attention_mask: Array | None = None, beginning: Sequence[int] = ()
    ) -> Array:
        """Hidden states (texts, tokens, channels) of ids; what texts have in common with ``beginning`` is kept."""


class TextTokenizer(Protocol):
    """What cuts texts into tokens, of any family."""

    @property
    def pad_token_id(self) -> int:
        """The id that fills a text up."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The ids of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""


class Tokenizer(TextTokenizer, Protocol):
    """CLIP's, which also learns words."""

    model_max_length: int

    @property
    def groups(self) -> Mapping[int, list[int]]:
        """All ids of each added word, by its first one."""

    @property
    def bos_token_id(self) -> int:
        """The id that begins a text."""

    @property
    def eos_token_id(self) -> int:
        """The id that ends a text."""

    @property
    def unk_token_id(self) -> int:
        """The id of what has none of its own."""

    def convert_tokens_to_ids(self, tokens: str) -> int:
        """The id of a token."""
