"""CLIP's tokenizer: from text to the ids that the text encoders were trained on.

Byte-level byte-pair encoding of lower-cased text, with ``</w>`` marking the end of a word (A. Radford et al., "Learning
Transferable Visual Models From Natural Language Supervision", 2021, section 2.4). The work is done by the `tokenizers`
library, set up as transformers' `CLIPTokenizerFast` is, so the ids are the same.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from ..utils.files import write_json
from ..utils.printable import shown
from .config import Config
from .fields import naming, read_fields
from .hub import resolve
from .published_tokenizer import PublishedTokenizer
from .tokenizer_files import WORD_END, SpecialTokens, Token, TokenizerFiles, byte_pair_encoding

if TYPE_CHECKING:
    import tokenizers

Ids = NDArray[np.int64]

_CONTEXT = 77
LONGEST = 100_000
"""The most characters of a text, far more than any text encoder reads; each of them takes time."""


class CLIPTokenizer(PublishedTokenizer):
    """Text to ids and back.

    The text is brought to Unicode's composed form (NFC), runs of whitespace become one space, and letters become lower
    case; then contractions, runs of letters, single digits and runs of other characters are encoded one by one.

    transformers has a second, slow tokenizer that differs where text is not plain: without the package ftfy it drops
    control and format characters (such as the joiner inside a family emoji) and sets every Chinese character apart;
    with ftfy it repairs mojibake. This class gives the fast one's ids, on every machine.

    Args:
        vocabulary: id of every token, without the added ones.
        merges: the pairs that are joined, most frequent first.
        special_tokens: ``bos_token``, ``eos_token``, ``unk_token``, ``pad_token``, each a string or a dict with its
            ``content`` and flags as published configs have them; CLIP's own where they are left out. As in the
            reference, a special token inside a text is that token: where ``pad_token`` is "!", as in Stable Diffusion
            2, "hi!" ends in one.
        added_tokens: further tokens by id, in the same form.
        model_max_length: tokens the text encoder takes, first and last ones included.

    Raises:
        ValueError: the vocabulary and the merges do not fit together, or a special token is not in it.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        *,
        special_tokens: Mapping[str, object] | None = None,
        added_tokens: Mapping[int, object] | None = None,
        model_max_length: int = _CONTEXT,
    ):
        from tokenizers import processors

        self.model_max_length = model_max_length
        self._loaded: str | None = None
        self._groups: dict[int, list[int]] | None = None
        special = read_fields(SpecialTokens, special_tokens or {}, "special_tokens")
        self.bos_token, self.eos_token = special.bos_token.content, special.eos_token.content
        self.unk_token, self.pad_token = special.unk_token.content, special.pad_token.content
        self._tokenizer = byte_pair_encoding(vocabulary, merges, self.unk_token)
        added = read_fields(dict[int, Token], dict(added_tokens or {}), "added_tokens")
        self._add(*(token for _, token in sorted(added.items())), special=False)
        for number, token in sorted(added.items()):
            actual = self._tokenizer.token_to_id(token.content)
            if actual != number:
                raise ValueError(f"the added token {token.content!r} is to have id {number}, but would get {actual}")
        for role, token in vars(special).items():
            number = self._tokenizer.token_to_id(token.content)
            if number is None:
                raise ValueError(f"{role} {shown(token.content)} is not in the vocabulary")
            if number not in self._tokenizer.get_added_tokens_decoder():
                self._add(token, special=True, normalized=role != "pad_token")
        self.unk_token_id = self._tokenizer.token_to_id(self.unk_token)
        self.bos_token_id, self.eos_token_id, self.pad_token_id = map(
            self._id, (self.bos_token, self.eos_token, self.pad_token)
        )
        self._tokenizer.post_processor = processors.RobertaProcessing(
            (self.eos_token, self.eos_token_id),
            (self.bos_token, self.bos_token_id),  # "cls" until tokenizers 0.22, "cls_token" since
            add_prefix_space=False,
            trim_offsets=False,
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        subfolder: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> "CLIPTokenizer":
        """Read ``vocab.json`` and ``merges.txt``, or ``tokenizer.json``, of a folder, a bundled checkpoint or a hub id.

        Raises:
            FileNotFoundError: there are no such files.
            ValueError: a file is broken; the message names it.
        """
        folder = resolve(
            name_or_path,
            needed="tokenizer",
            subfolder=subfolder,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        files = TokenizerFiles(folder)
        with naming(folder):
            return cls(
                files.vocabulary,
                files.merges,
                special_tokens=files.special_tokens,
                added_tokens=files.added_tokens,
                model_max_length=files.model_max_length or _CONTEXT,
            )

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
        """The ids of one text or several, each between the start and the end token.

        Args:
            texts: one text, or a list of them.
            padding: "max_length" fills up with the padding token; False does not, and then texts must be equally long.
            max_length: tokens per text, start and end included; ``model_max_length`` when None.
            truncation: cut a text that is too long, keeping the end token.
            return_tensors: None for the ids alone; "np" or "ms" for ``input_ids`` and ``attention_mask`` (1 for the
                text, 0 for the padding) as entries and attributes, NumPy arrays or MindSpore tensors.

        Returns:
            Ids of shape (texts, tokens), or both.

        Raises:
            ValueError: the texts do not make an array: too long without truncation, or of different lengths unpadded.
        """
        if padding not in ("max_length", False):
            raise ValueError(f'padding must be "max_length" or False, got {padding!r}')
        if return_tensors not in (None, "np", "ms"):
            raise ValueError(f'return_tensors must be "np", "ms" or None, got {return_tensors!r}')
        length = self._length(max_length)
        rows = [self._encode(text, length if truncation else None) for text in _as_list(texts)]
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
        """The ids of one text, unpadded, with the start and the end token or without."""
        (text,) = _as_list(text)
        if add_special_tokens:
            return list(self._encode(text, self._length(max_length) if truncation else None).ids)
        ids = list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return ids[: self._length(max_length)] if truncation else ids

    @property
    def groups(self) -> dict[int, list[int]]:
        """The ids of added tokens that are one word, by the first one: ``cat``, ``cat_1``, ``cat_2``, as published."""
        if self._groups is None:
            added, groups = self.added_tokens_encoder, {}
            for token, number in added.items():
                names = takewhile(added.__contains__, (f"{token}_{i}" for i in range(1, _CONTEXT)))
                groups[number] = [number, *(added[name] for name in names)]
            self._groups = {number: group for number, group in groups.items() if len(group) > 1}
        return self._groups

    def normalized(self, text: str) -> str:
        """A text as it is searched for tokens: composed, in lower case, with single spaces."""
        return str(self._tokenizer.normalizer.normalize_str(text))

    def spans(self, text: str) -> list[tuple[int, int, int]]:
        """The ids of one text as `encode` gives them, each with where it begins and ends in the text."""
        (text,) = _as_list(text)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [(number, *span) for number, span in zip(encoding.ids, encoding.offsets)]

    def tokenize(self, text: str) -> list[str]:
        """The tokens of one text, without the start and the end token; ``</w>`` marks the last one of a word."""
        return self.convert_ids_to_tokens(self.encode(text, add_special_tokens=False))

    def truncated(self, text: str, max_length: int | None = None) -> str:
        """The end of ``text`` that does not fit into ``max_length`` tokens, as text; "" when all of it fits."""
        return self.decode(self.encode(text, add_special_tokens=False)[self._length(max_length) - 2 :])

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text of a row of ids: in lower case, words and punctuation set apart by single spaces."""
        text: str = self._tokenizer.decode([int(number) for number in ids], skip_special_tokens=skip_special_tokens)
        return text.replace(WORD_END, " ").strip()

    def batch_decode(self, rows: Iterable[Iterable[int]], skip_special_tokens: bool = False) -> list[str]:
        """The texts of rows of ids."""
        return [self.decode(row, skip_special_tokens) for row in rows]

    def __len__(self) -> int:
        size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        return size

    @property
    def vocab_size(self) -> int:
        """Number of tokens without added ones."""
        size: int = self._tokenizer.get_vocab_size(with_added_tokens=False)
        return size

    def get_vocab(self) -> dict[str, int]:
        """The id of every token, added ones included."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]:
        """The id of a token, or the ids of several; what is no token has the id of ``unk_token``."""
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
        """Have texts seen as whole tokens wherever they stand, such as the placeholders of textual inversion.

        They get the next free ids; the text encoder's embeddings must have rows for them. Texts that are tokens already
        are left alone.

        Returns:
            How many were new.
        """
        new = [text for text in dict.fromkeys(_as_list(new_tokens)) if self._tokenizer.token_to_id(text) is None]
        self._add(*map(Token, new), special=special_tokens)
        return len(new)

    def set_added_tokens(self, tokens: Sequence[str]) -> None:
        """Have exactly these texts as added tokens, besides those that were loaded; see `add_tokens`."""
        import tokenizers

        if self._loaded is None:
            self._loaded = self._tokenizer.to_str()
        self._tokenizer, self._groups = tokenizers.Tokenizer.from_str(self._loaded), None
        self.add_tokens(tokens)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the files that published checkpoints have, so that transformers reads them as well."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._tokenizer.model.save(str(folder))
        roles = ("bos_token", "eos_token", "unk_token", "pad_token")
        special = {role: getattr(self, role) for role in roles}
        write_json(folder / "special_tokens_map.json", special)
        flags = Token.__dataclass_fields__
        added = {
            str(number): {flag: getattr(token, flag) for flag in flags}
            for number, token in sorted(self._tokenizer.get_added_tokens_decoder().items())
        }
        config = special | {
            "add_prefix_space": False,
            "added_tokens_decoder": added,
            "do_lower_case": True,
            "errors": "replace",
            "model_max_length": self.model_max_length,
            "tokenizer_class": "CLIPTokenizer",
        }
        write_json(folder / "tokenizer_config.json", config)

    def _id(self, token: str) -> int:
        number: int | None = self._tokenizer.token_to_id(token)
        return self.unk_token_id if number is None else number

    def _length(self, max_length: int | None) -> int:
        length = self.model_max_length if max_length is None else max_length
        if length < 2:
            raise ValueError(f"max_length must be at least 2 (start and end token), got {length}")
        return length

    def _encode(self, text: str, length: int | None) -> "tokenizers.Encoding":
        # Not by the tokenizer's own truncation and padding: they are its state, and threads share it.
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        if length is not None:
            encoding.truncate(length - 2)
        return self._tokenizer.post_process(encoding)

    def _add(self, *tokens: Token, special: bool, normalized: bool | None = None) -> None:
        """Make the tokenizer see each token as a whole wherever it is in a text; its own flags win."""
        from tokenizers import AddedToken

        self._groups = None
        defaults = {"special": special} | ({} if normalized is None else {"normalized": normalized})
        added = [
            AddedToken(**defaults | {flag: value for flag, value in asdict(token).items() if value is not None})
            for token in tokens
        ]
        # As many at once as can be: the library searches texts with an automaton that each call builds anew.
        for is_special, group in groupby(added, key=lambda token: token.special):
            add = self._tokenizer.add_special_tokens if is_special else self._tokenizer.add_tokens
            add(list(group))


def _as_list(texts: str | Sequence[str]) -> list[str]:
    rows = [texts] if isinstance(texts, str) else list(texts)
    for text in rows:
        if not isinstance(text, str):
            raise ValueError(f"texts must be strings, got {type(text).__name__}")
        if len(text) > LONGEST:
            raise ValueError(f"a text may have {LONGEST} characters, got {len(text)}")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"texts must be valid Unicode, got {text[:40]!r} ({error.reason})") from None
    return rows
