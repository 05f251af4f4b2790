"""The common part of all tokenizers: converting texts to rows of ids and back, and adding tokens.

The `tokenizers` library does the work; a subclass sets it up.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from ..utils.files import make_folder, write_json
from ..utils.printable import shown
from .config import Config
from .hub import Source
from .tokenizer_files import ROLES, Token

if TYPE_CHECKING:
    import tokenizers

Ids = NDArray[np.int64]
T = TypeVar("T", bound="TokenizerBase")

LONGEST = 100_000
"""The most characters in a text, far more than any text encoder reads; each one takes time."""
NO_LIMIT = 10**30
"""transformers' maximum length if a tokenizer's files name none."""
_WORD = 77
"""The most tokens in one added word."""


class TokenizerBase(ABC):
    """Converts text to ids and back with a ``_tokenizer`` from the `tokenizers` library."""

    frame_words: ClassVar[str] = "with what frames a text"
    """The name of the tokens around every text, for messages."""
    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]
    is_fast: ClassVar[bool] = True
    """True: the `tokenizers` library does the work."""
    model_max_length: int
    unk_token_id: int
    pad_token: str
    pad_token_id: int
    _tokenizer: "tokenizers.Tokenizer"

    def __init__(self) -> None:
        self._loaded: str | None = None
        self._groups: dict[int, list[int]] | None = None

    @classmethod
    def from_pretrained(
        cls: type[T],
        name_or_path: str | os.PathLike[str],
        *,
        subfolder: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> T:
        """Read the files of a folder, a bundled checkpoint or a hub id, as `read_folder` does.

        Raises:
            FileNotFoundError: the files do not exist.
            ValueError: a file is broken; the message names it.
        """
        source = Source(name_or_path, revision, cache_dir, local_files_only, token)
        return cls.read_folder(source.component("tokenizer", subfolder))

    @classmethod
    @abstractmethod
    def read_folder(cls: type[T], folder: Path) -> T:
        """A tokenizer from the files in a folder."""

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the files that published checkpoints have, so that transformers reads them as well."""
        folder = make_folder(folder)
        self._save_model(folder)
        special, flags = self.special_tokens_map, Token.__dataclass_fields__
        write_json(folder / "special_tokens_map.json", special)
        config: dict[str, object] = {
            **special,
            "added_tokens_decoder": {
                str(number): {flag: getattr(token, flag) for flag in flags}
                for number, token in self.added_tokens_decoder.items()
            },
            "model_max_length": self.model_max_length,
            "tokenizer_class": type(self).__name__.removesuffix("Fast"),
        }
        write_json(folder / "tokenizer_config.json", config | self._own_settings())

    def _save_model(self, folder: Path) -> None:
        """Write the vocabulary and the encoding."""
        self._tokenizer.model.save(str(folder))

    def _own_settings(self) -> dict[str, object]:
        """The class's own entries in ``tokenizer_config.json``."""
        return {}

    @overload
    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        padding: Literal["max_length", False] = ...,
        max_length: int | None = ...,
        truncation: bool = ...,
        return_tensors: None = ...,
    ) -> Ids: ...

    @overload
    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        padding: Literal["max_length", False] = ...,
        max_length: int | None = ...,
        truncation: bool = ...,
        return_tensors: Literal["np", "ms"],
    ) -> Config: ...

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        padding: Literal["max_length", False] = "max_length",
        max_length: int | None = None,
        truncation: bool = True,
        return_tensors: Literal["np", "ms"] | None = None,
    ) -> Ids | Config:
        """The ids of one or several texts, each with its start and end tokens.

        Args:
            texts: one text, or a list of them.
            padding: "max_length" pads with the padding token; False does not, and all texts must be equally long.
            max_length: tokens per text, including start and end; None means ``model_max_length``.
            truncation: cut texts that are too long, keeping start and end tokens.
            return_tensors: None for the ids alone; "np" or "ms" for ``input_ids`` and ``attention_mask`` (1 for the
                text, 0 for the padding) as entries and attributes, NumPy arrays or MindSpore tensors.

        Returns:
            Ids of shape (texts, tokens), or both.

        Raises:
            ValueError: a text is too long without ``truncation``, or unpadded texts differ in length.
        """
        if padding not in ("max_length", False):
            raise ValueError(f'padding must be "max_length" or False, got {padding!r}')
        if return_tensors not in (None, "np", "ms"):
            raise ValueError(f'return_tensors must be "np", "ms" or None, got {return_tensors!r}')
        length = self._length(max_length)
        if padding == "max_length" and length >= NO_LIMIT:
            raise ValueError("max_length is missing: this tokenizer's files name no longest text to pad to")
        rows = [self._encode(text, length if truncation else None) for text in as_list(texts)]
        lengths = [len(row) for row in rows]
        if padding == "max_length":
            if max(lengths, default=0) > length:
                raise ValueError(
                    f"a text of {max(lengths)} tokens is longer than max_length={length}; pass truncation=True"
                )
            for row in rows:
                row.pad(length, pad_id=self.pad_token_id, pad_token=self.pad_token)
        elif len(set(lengths)) > 1:
            shown = ", ".join(map(str, lengths))
            raise ValueError(f'texts of {shown} tokens do not make one array; pass padding="max_length"')
        ids = np.array([row.ids for row in rows], np.int64)
        if return_tensors is None:
            return ids
        both = {"input_ids": ids, "attention_mask": np.array([row.attention_mask for row in rows], np.int64)}
        if return_tensors == "np":
            return Config(both)
        import mindspore as ms

        return Config({name: ms.Tensor(values) for name, values in both.items()})

    def encode(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        max_length: int | None = None,
        truncation: bool = False,
    ) -> list[int]:
        """The ids of one text, unpadded, with or without start and end tokens."""
        (text,) = as_list(text)
        if add_special_tokens:
            return list(self._encode(text, self._length(max_length) if truncation else None).ids)
        ids = list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return ids[: self._length(max_length)] if truncation else ids

    @property
    def groups(self) -> dict[int, list[int]]:
        """The ids of added tokens that form one word, by the first: ``cat``, ``cat_1``, ``cat_2``, as published."""
        if self._groups is None:
            added, groups = self.added_tokens_encoder, {}
            for token, number in added.items():
                names = takewhile(added.__contains__, (f"{token}_{i}" for i in range(1, _WORD)))
                groups[number] = [number, *(added[name] for name in names)]
            self._groups = {number: group for number, group in groups.items() if len(group) > 1}
        return self._groups

    def spans(self, text: str) -> list[tuple[int, int, int]]:
        """The ids of one text as from `encode`, each with its start and end in the text."""
        (text,) = as_list(text)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [(number, *span) for number, span in zip(encoding.ids, encoding.offsets)]

    def tokenize(self, text: str) -> list[str]:
        """The tokens of one text, without start and end tokens."""
        return self.convert_ids_to_tokens(self.encode(text, add_special_tokens=False))

    def truncated(self, text: str, max_length: int | None = None) -> str:
        """The end of ``text`` that does not fit into ``max_length`` tokens, as text; "" if all of it fits."""
        return self.decode(self.encode(text, add_special_tokens=False)[self._length(max_length) - self._frame :])

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text of a row of ids."""
        text: str = self._tokenizer.decode([int(number) for number in ids], skip_special_tokens=skip_special_tokens)
        return text

    def batch_decode(self, rows: Iterable[Iterable[int]], skip_special_tokens: bool = False) -> list[str]:
        """The texts of rows of ids."""
        return [self.decode(row, skip_special_tokens) for row in rows]

    def __len__(self) -> int:
        size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        return size

    @property
    def vocab_size(self) -> int:
        """The number of tokens without added ones."""
        size: int = self._tokenizer.get_vocab_size(with_added_tokens=False)
        return size

    def get_vocab(self) -> dict[str, int]:
        """The id of every token, added ones included."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]:
        """The id of a token, or the ids of several; unknown ones get the id of ``unk_token``."""
        return self._id(tokens) if isinstance(tokens, str) else [self._id(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """The tokens of several ids.

        Raises:
            ValueError: there is no such id.
        """
        tokens = [self._tokenizer.id_to_token(int(number)) for number in ids]
        if None in tokens:
            raise ValueError(f"ids must be from 0 to {len(self) - 1}")
        return tokens

    def add_tokens(self, new_tokens: str | Sequence[str], special_tokens: bool = False) -> int:
        """Add texts as whole tokens, recognised anywhere, such as the placeholders of textual inversion.

        They get the next free ids; the text encoder's embeddings must have rows for them. Existing tokens stay
        unchanged.

        Returns:
            The number of new tokens.
        """
        new = [text for text in dict.fromkeys(as_list(new_tokens)) if self._tokenizer.token_to_id(text) is None]
        self._add(*map(Token, new), special=special_tokens)
        return len(new)

    def set_added_tokens(self, tokens: Sequence[str]) -> None:
        """Make exactly these texts the added tokens, besides the loaded ones; see `add_tokens`."""
        import tokenizers

        if self._loaded is None:
            self._loaded = self._tokenizer.to_str()
        self._tokenizer, self._groups = tokenizers.Tokenizer.from_str(self._loaded), None
        self.add_tokens(tokens)

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
    def added_tokens_decoder(self) -> "dict[int, tokenizers.AddedToken]":
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
        return tuple(self._tokenizer.model.save(str(make_folder(save_directory)), filename_prefix))

    def _id(self, token: str) -> int:
        number: int | None = self._tokenizer.token_to_id(token)
        return self.unk_token_id if number is None else number

    def _length(self, max_length: int | None) -> int:
        length = self.model_max_length if max_length is None else max_length
        least = max(1, self._frame)
        if length < least:
            raise ValueError(f"max_length must be at least {least} ({self.frame_words}), got {length}")
        return length

    @property
    def _frame(self) -> int:
        """The number of tokens around every text."""
        return int(self._tokenizer.num_special_tokens_to_add(False))

    def _encode(self, text: str, length: int | None) -> "tokenizers.Encoding":
        # Not with the tokenizer's own truncation and padding: those are state, which threads share.
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        if length is not None:
            encoding.truncate(length - self._frame)
        return self._tokenizer.post_process(encoding)

    def _add_numbered(self, tokens: Mapping[int, Token]) -> None:
        """Add tokens, by the ids that they must get; those that are there already keep their places."""
        added, known = sorted(tokens.items()), self._tokenizer.get_added_tokens_decoder()
        self._add(*(token for number, token in added if _differs(token, known.get(number))), special=False)
        for number, token in added:
            if (actual := self._tokenizer.token_to_id(token.content)) != number:
                raise ValueError(f"the added token {shown(token.content)} is to have id {number}, but has {actual}")

    def _with_role(self, role: str, token: Token, normalized: bool | None = None) -> int:
        """The id of a token with a role, which is recognised as a whole from now on."""
        number: int | None = self._tokenizer.token_to_id(token.content)
        if number is None:
            raise ValueError(f"{role} {shown(token.content)} is not in the vocabulary")
        if number not in self._tokenizer.get_added_tokens_decoder():
            self._add(token, special=True, normalized=normalized)
        return number

    def _add(self, *tokens: Token, special: bool, normalized: bool | None = None) -> None:
        """Make the tokenizer recognise each token as a whole anywhere in a text; the token's own flags win."""
        from tokenizers import AddedToken

        self._groups = None
        defaults = {"special": special} | ({} if normalized is None else {"normalized": normalized})
        added = [
            AddedToken(**defaults | {flag: value for flag, value in asdict(token).items() if value is not None})
            for token in tokens
        ]
        # As many at once as possible: every call rebuilds the automaton with which the library searches texts.
        for is_special, group in groupby(added, key=lambda token: token.special):
            add = self._tokenizer.add_special_tokens if is_special else self._tokenizer.add_tokens
            add(list(group))


def _differs(token: Token, known: "tokenizers.AddedToken | None") -> bool:
    """Whether a token is unknown or its flags differ from the known one's."""
    return known is None or any(value not in (None, getattr(known, name)) for name, value in asdict(token).items())


def as_list(texts: str | Sequence[str]) -> list[str]:
    """One or several texts as a list.

    Raises:
        ValueError: one is not a string, not valid Unicode, or too long.
    """
    rows = [texts] if isinstance(texts, str) else list(texts)
    for text in rows:
        if not isinstance(text, str):
            raise ValueError(f"texts must be strings, got {type(text).__name__}")
        if len(text) > LONGEST:
            raise ValueError(f"a text may have {LONGEST} characters, got {len(text)}")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            around = text[max(0, error.start - 20) : error.start + 20]
            raise ValueError(f"texts must be valid Unicode, got {around!r} ({error.reason})") from None
    return rows
