"""The tokenizer methods that scripts for the published API expect and `TokenizerBase` does not need itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from .tokenizer_files import ROLES

if TYPE_CHECKING:
    import tokenizers


class PublishedTokenizer:
    """A mixin for `tokenizer_base.TokenizerBase`."""

    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]
    is_fast: ClassVar[bool] = True
    """True: the `tokenizers` library does the work."""
    _tokenizer: tokenizers.Tokenizer

    if TYPE_CHECKING:

        def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]: ...
        def add_tokens(self, new_tokens: str | Sequence[str], special_tokens: bool = False) -> int: ...

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The special tokens by role: ``bos_token``, ``eos_token``, ``unk_token``, ``pad_token``."""
        return {role: token for role in ROLES if (token := getattr(self, role)) is not None}

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, each once."""
        return list(dict.fromkeys(self.special_tokens_map.values()))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return [int(self._tokenizer.token_to_id(token)) for token in self.all_special_tokens]

    @property
    def added_tokens_decoder(self) -> dict[int, tokenizers.AddedToken]:
        """The tokens that are recognised before a text is split, with their flags, by id."""
        return dict(sorted(self._tokenizer.get_added_tokens_decoder().items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of these tokens."""
        return {token.content: number for number, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """The same as `added_tokens_encoder`."""
        return self.added_tokens_encoder

    def add_special_tokens(self, special_tokens_dict: Mapping[str, Sequence[str]]) -> int:
        """Add the tokens in ``{"additional_special_tokens": […]}``; returns the number of new ones.

        Raises:
            ValueError: another key: the checkpoint determines the tokens of the other roles.
        """
        if other := [name for name in special_tokens_dict if name != "additional_special_tokens"]:
            raise ValueError(f"add_special_tokens takes additional_special_tokens, got {', '.join(other)}")
        return self.add_tokens(special_tokens_dict.get("additional_special_tokens", ()), special_tokens=True)

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens, with single spaces between words."""
        ids = [int(self._tokenizer.token_to_id(token)) for token in tokens]
        return str(self._tokenizer.decode(ids, skip_special_tokens=False)).replace("</w>", " ").strip()

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write only the vocabulary (``vocab.json``, and ``merges.txt`` for byte pairs); returns the paths."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        return tuple(self._tokenizer.model.save(os.fspath(save_directory), filename_prefix))
