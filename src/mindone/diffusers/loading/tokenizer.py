"""CLIP's tokenizer: from text to the ids that the text encoders were trained on.

Byte-level byte-pair encoding of lower-cased text, with `</w>` marking the end of a word (A. Radford et al., "Learning
Transferable Visual Models From Natural Language Supervision", 2021, section 2.4). The work is done by the `tokenizers`
library, set up as transformers' `CLIPTokenizerFast` is, so the ids are the same.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..utils.files import atomic_write, read_json, write_json
from .hub import resolve
from .published_tokenizer import PublishedTokenizer

WORD_END = "</w>"
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_MERGES_HEADER = "#version: 0.2"
_START, _END = "<|startoftext|>", "<|endoftext|>"
_ROLES = {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": _END}
_TOKEN_FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")
_CONTEXT = 77
_NO_LIMIT = 10**6  # transformers writes 1e30 where a tokenizer has no limit


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
        special_tokens: `bos_token`, `eos_token`, `unk_token`, `pad_token`, each a string or a dict with its `content`
            and flags as published configs have them; CLIP's own where they are left out. As in the reference, a special
            token inside a text is that token: where `pad_token` is "!", as in Stable Diffusion 2, "hi!" ends in one.
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
        special_tokens: Mapping[str, str | Mapping[str, Any]] | None = None,
        added_tokens: Mapping[int, str | Mapping[str, Any]] | None = None,
        model_max_length: int = _CONTEXT,
    ):
        self.model_max_length = model_max_length
        self._vocabulary = dict(vocabulary)
        self._merges = list(merges)
        self._special: dict[str, Any] = {role: (special_tokens or {}).get(role, _ROLES[role]) for role in _ROLES}
        self.bos_token, self.eos_token, self.unk_token, self.pad_token = map(_content, self._special.values())
        self._tokenizer = _backend(self._vocabulary, self._merges, self.unk_token)
        self._added: dict[int, Any] = {}
        for number, spec in sorted((added_tokens or {}).items()):
            self._add(_token(spec), number)
        ids = {role: self._id_of(role) for role in _ROLES}
        for role, number in ids.items():
            if number not in self._added:
                self._add(_token(self._special[role], special=True, normalized=role != "pad_token"), number)
        self.bos_token_id, self.eos_token_id, self.unk_token_id, self.pad_token_id = ids.values()

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
        """Read `vocab.json` and `merges.txt`, or `tokenizer.json`, of a folder, a bundled checkpoint or a hub id.

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
        published = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
        if published:
            vocabulary, merges = _read_vocabulary(folder / "vocab.json"), _read_merges(folder / "merges.txt")
            serialized_added: dict[int, Any] = {}
        elif (folder / "tokenizer.json").is_file():
            vocabulary, merges, serialized_added = _read_serialized(folder / "tokenizer.json")
        else:
            raise FileNotFoundError(
                f"no merges.txt in {folder}; a tokenizer is vocab.json with merges.txt, or tokenizer.json"
            )
        config = _read_object(folder / "tokenizer_config.json")
        limit = config.get("model_max_length", _CONTEXT)
        if not isinstance(limit, int | float) or limit < 2:
            raise ValueError(f"{folder / 'tokenizer_config.json'}: model_max_length must be at least 2, got {limit!r}")
        try:
            special, added = _read_special_tokens(folder, config, serialized_added)
            return cls(
                vocabulary,
                merges,
                special_tokens=special,
                added_tokens=added,
                model_max_length=int(limit) if limit < _NO_LIMIT else _CONTEXT,
            )
        except ValueError as error:
            raise ValueError(f"the tokenizer in {folder} cannot be used: {error}") from None

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        max_length: int | None = None,
        padding: Literal["max_length", False] = "max_length",
        truncation: bool = True,
    ) -> NDArray[np.int64]:
        """The ids of one text or several, each between the start and the end token.

        Args:
            texts: one text, or a list of them.
            max_length: tokens a text, start and end included; `model_max_length` when None.
            padding: "max_length" fills up with the padding token; False does not, and then texts must be equally long.
            truncation: cut a text that is too long, keeping the end token.

        Returns:
            Ids of shape (texts, tokens).

        Raises:
            ValueError: the texts do not make an array: too long without truncation, or of different lengths unpadded.
        """
        if padding not in ("max_length", False):
            raise ValueError(f'padding must be "max_length" or False, got {padding!r}')
        length = self.model_max_length if max_length is None else max_length
        if length < 2:
            raise ValueError(f"max_length must be at least 2 (start and end token), got {length}")
        rows = [self._encode(text, length if truncation else None) for text in _as_list(texts)]
        if padding == "max_length":
            longest = max((len(row) for row in rows), default=0)
            if longest > length:
                raise ValueError(f"a text of {longest} tokens is longer than max_length={length}; pass truncation=True")
            rows = [row + [self.pad_token_id] * (length - len(row)) for row in rows]
        elif len({len(row) for row in rows}) > 1:
            lengths = ", ".join(str(len(row)) for row in rows)
            raise ValueError(f'texts of {lengths} tokens do not make one array; pass padding="max_length"')
        return np.array(rows, dtype=np.int64)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    @property
    def vocab_size(self) -> int:
        """Number of tokens without added ones."""
        return len(self._vocabulary)

    def truncated(self, text: str, max_length: int | None = None) -> str:
        """The end of `text` that does not fit into `max_length` tokens, as text; "" when all of it fits."""
        length = self.model_max_length if max_length is None else max_length
        return self.decode(self._encode(text, None)[length - 1 : -1])

    def decode(self, ids: Sequence[int] | NDArray[Any], skip_special_tokens: bool = False) -> str:
        """The text of a row of ids: in lower case, words and punctuation set apart by single spaces."""
        text = self._tokenizer.decode([int(number) for number in ids], skip_special_tokens=skip_special_tokens)
        return text.replace(WORD_END, " ").strip()

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the files that published checkpoints have, so that transformers reads them as well."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        ordered = dict(sorted(self._vocabulary.items(), key=lambda item: item[1]))
        with atomic_write(folder / "vocab.json") as file:
            file.write(_compact(ordered))
        with atomic_write(folder / "merges.txt") as file:
            lines = [_MERGES_HEADER, *(" ".join(pair) for pair in self._merges)]
            file.write(("\n".join(lines) + "\n").encode("utf-8"))
        special = {role: _content(spec) for role, spec in self._special.items()}
        write_json(folder / "special_tokens_map.json", special)
        config: dict[str, Any] = special | {
            "add_prefix_space": False,
            "added_tokens_decoder": {str(number): _flags(token) for number, token in sorted(self._added.items())},
            "do_lower_case": True,
            "errors": "replace",
            "model_max_length": self.model_max_length,
            "tokenizer_class": "CLIPTokenizer",
        }
        write_json(folder / "tokenizer_config.json", config)

    def _encode(self, text: str, length: int | None) -> list[int]:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if length is not None:
            ids = ids[: length - 2]
        return [self.bos_token_id, *ids, self.eos_token_id]

    def _add(self, token: Any, number: int | None) -> None:
        """Make the tokenizer see `token` as a whole wherever it is in a text."""
        if token.special:
            self._tokenizer.add_special_tokens([token])
        else:
            self._tokenizer.add_tokens([token])
        actual = self._tokenizer.token_to_id(token.content)
        if number is not None and actual != number:
            raise ValueError(f"the added token {token.content!r} is to have id {number}, but would get {actual}")
        self._added[actual] = token

    def _id_of(self, role: str) -> int:
        token = _content(self._special[role])
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise ValueError(f"{role} {token!r} is not in the vocabulary")
        return number


def _backend(vocabulary: dict[str, int], merges: list[tuple[str, str]], unknown: str) -> Any:
    import tokenizers
    from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

    try:
        model = models.BPE(
            vocab=vocabulary,
            merges=merges,
            continuing_subword_prefix="",
            end_of_word_suffix=WORD_END,
            unk_token=unknown,
        )
    except Exception as error:  # tokenizers raises bare Exceptions
        raise ValueError(f"the merges do not fit the vocabulary: {error}") from None
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _content(spec: str | Mapping[str, Any]) -> str:
    content = spec.get("content") if isinstance(spec, Mapping) else spec
    if not isinstance(content, str) or not content:
        raise ValueError(f"a token must be a string or an object with a content, got {spec!r}")
    return content


def _token(spec: str | Mapping[str, Any], **defaults: bool) -> Any:
    from tokenizers import AddedToken

    flags = {flag: bool(spec[flag]) for flag in _TOKEN_FLAGS if flag in spec} if isinstance(spec, Mapping) else {}
    return AddedToken(_content(spec), **(defaults | flags))


def _flags(token: Any) -> dict[str, Any]:
    return {"content": token.content} | {flag: getattr(token, flag) for flag in _TOKEN_FLAGS}


def _as_list(texts: str | Sequence[str]) -> list[str]:
    rows = [texts] if isinstance(texts, str) else list(texts)
    for text in rows:
        if not isinstance(text, str):
            raise ValueError(f"texts must be strings, got {type(text).__name__}")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"texts must be valid Unicode, got {text[:40]!r} ({error.reason})") from None
    return rows


def _compact(obj: Any) -> bytes:
    return json.dumps(obj, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one where there is no such file."""
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, not a {type(value).__name__}")
    return value


def _read_special_tokens(
    folder: Path, config: dict[str, Any], serialized: dict[int, Any]
) -> tuple[dict[str, Any], dict[int, Any]]:
    """The special tokens by role, and all added tokens by id, from new files or from those of transformers < 4.34."""
    special = {role: config[role] for role in _ROLES if config.get(role) is not None}
    added: dict[int, Any]
    if "added_tokens_decoder" in config:
        added = {int(number): spec for number, spec in config["added_tokens_decoder"].items()}
        by_content = {_content(spec): spec for spec in added.values()}
        return {role: by_content.get(_content(spec), spec) for role, spec in special.items()}, added
    overrides = _read_object(folder / "special_tokens_map.json")
    special |= {role: overrides[role] for role in _ROLES if overrides.get(role) is not None}
    names = {_content(spec) for spec in special.values()}
    added = serialized | {
        number: {"content": content, "special": content in names, "normalized": content not in names}
        for content, number in _read_object(folder / "added_tokens.json").items()
    }
    return special, added


def _vocabulary(value: Any, path: Path) -> dict[str, int]:
    if not isinstance(value, dict) or not all(type(number) is int and 0 <= number < 2**31 for number in value.values()):
        raise ValueError(f"{path} must map tokens to ids")
    return value


def _read_vocabulary(path: Path) -> dict[str, int]:
    return _vocabulary(read_json(path), path)


def _read_merges(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no merges file: byte {error.start} is not UTF-8; fetch it again") from None
    merges = []
    for number, line in enumerate(lines, start=1):
        if (number == 1 and line.startswith("#version")) or not line.strip():
            continue
        merges.append(_pair(line.split(), f"{path} line {number}"))
    return merges


def _pair(parts: Any, where: str) -> tuple[str, str]:
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{where} must be two tokens, got {parts!r}")
    return parts[0], parts[1]


def _read_serialized(path: Path) -> tuple[dict[str, int], list[tuple[str, str]], dict[int, Any]]:
    """Vocabulary, merges and added tokens of a `tokenizer.json`; what it says of normalisation is CLIP's anyway."""
    content = _read_object(path)
    model = content.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE" or "merges" not in model:
        raise ValueError(f"{path} is no CLIP tokenizer: its model is not byte-pair encoding")
    merges = [
        _pair(merge.split(" ") if isinstance(merge, str) else merge, f"{path}, merge {number}")
        for number, merge in enumerate(model["merges"])
    ]
    vocabulary = _vocabulary(model.get("vocab"), path)
    added = {token["id"]: token for token in content.get("added_tokens", []) if token["content"] not in vocabulary}
    return vocabulary, merges, added
