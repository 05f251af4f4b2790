"""The files of a CLIP tokenizer in checkpoints of all ages, and the encoding that they describe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, Strict, StringConstraints

from ..utils.files import check_file, read_json
from ..utils.printable import shown
from .fields import Flag, Real, TokenId, read_fields

if TYPE_CHECKING:
    import tokenizers

WORD_END = "</w>"
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_NO_LIMIT = 10**6  # transformers writes 1e30 where a tokenizer has no limit
START, END = "<|startoftext|>", "<|endoftext|>"
ROLES = ("bos_token", "eos_token", "unk_token", "pad_token")

Text = Annotated[str, Strict(), StringConstraints(min_length=1)]
"""Not empty, and valid Unicode, as pydantic requires of all strings."""
Vocabulary = dict[Text, TokenId]


@dataclass(frozen=True)
class Token:
    """A token kept whole, with the flags of the `tokenizers` library; None if a file does not set one."""

    content: Text
    lstrip: Flag | None = None
    rstrip: Flag | None = None
    single_word: Flag | None = None
    normalized: Flag | None = None
    special: Flag | None = None


AnyToken = Annotated[Token, BeforeValidator(lambda spec: {"content": spec} if isinstance(spec, str) else spec)]
"""A token in a file: an object, or only its content."""


@dataclass(frozen=True)
class SpecialTokens:
    """The tokens with a role; by default CLIP's own."""

    bos_token: AnyToken = Token(START)
    eos_token: AnyToken = Token(END)
    unk_token: AnyToken = Token(END)
    pad_token: AnyToken = Token(END)


@dataclass(frozen=True)
class TokenFields:
    """The fields of all kinds of ``tokenizer_config.json``; ``special_tokens_map.json`` has the first four."""

    bos_token: AnyToken | None = None
    eos_token: AnyToken | None = None
    unk_token: AnyToken | None = None
    pad_token: AnyToken | None = None
    added_tokens_decoder: dict[Annotated[int, Field(ge=0, lt=2**24)], Token] | None = None


@dataclass(frozen=True)
class TokenizerFields(TokenFields):
    """The fields of CLIP's."""

    model_max_length: Annotated[Real, Field(ge=2)] = 77


@dataclass(frozen=True)
class SerializedToken(Token):
    """A token of ``tokenizer.json``."""

    id: TokenId = 0


@dataclass(frozen=True)
class SerializedModel:
    """The byte-pair encoding of ``tokenizer.json``."""

    vocab: Vocabulary
    merges: list[Text | tuple[Text, Text]]
    type: Literal["BPE"] = "BPE"


@dataclass(frozen=True)
class SerializedFields:
    """The fields of ``tokenizer.json`` that we read; its normalisation is CLIP's anyway."""

    model: SerializedModel
    added_tokens: tuple[SerializedToken, ...] = ()


class TokenizerFiles:
    """The description of a tokenizer in a folder's files.

    Raises:
        FileNotFoundError: the folder has neither ``vocab.json`` with ``merges.txt`` nor ``tokenizer.json``.
        ValueError: a file is broken; the message names it.
    """

    vocabulary: dict[str, int]
    merges: list[tuple[str, str]]
    special_tokens: dict[str, Token]
    added_tokens: dict[int, Token]
    model_max_length: int | None
    """None for no limit."""

    def __init__(self, folder: Path):
        serialized: dict[int, Token] = {}
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            self.vocabulary = read_fields(Vocabulary, read_json(folder / "vocab.json"), str(folder / "vocab.json"))
            self.merges = _read_merges(folder / "merges.txt")
        elif (path := folder / "tokenizer.json").is_file():
            fields = read_fields(SerializedFields, read_json(path), str(path))
            self.vocabulary = fields.model.vocab
            self.merges = [_pair(merge, f"{path}, merge {i}") for i, merge in enumerate(fields.model.merges)]
            serialized = {token.id: token for token in fields.added_tokens if token.content not in self.vocabulary}
        else:
            raise FileNotFoundError(
                f"no merges.txt in {folder}; a tokenizer is vocab.json with merges.txt, or tokenizer.json"
            )
        fields_of_config = _read(folder / "tokenizer_config.json")
        limit = fields_of_config.model_max_length
        self.model_max_length = int(limit) if limit < _NO_LIMIT else None
        self._read_special_tokens(folder, fields_of_config, serialized)

    def _read_special_tokens(self, folder: Path, config: TokenizerFields, serialized: dict[int, Token]) -> None:
        """Special tokens by role and added tokens by id, from new files or from those of transformers < 4.34."""
        self.special_tokens = _roles(config)
        if config.added_tokens_decoder is not None:
            self.added_tokens = dict(config.added_tokens_decoder)
            by_content = {token.content: token for token in self.added_tokens.values()}
            self.special_tokens = {
                role: by_content.get(token.content, token) for role, token in self.special_tokens.items()
            }
            return
        self.special_tokens |= _roles(_read(folder / "special_tokens_map.json"))
        path = folder / "added_tokens.json"
        older = read_fields(Vocabulary, read_json(path), str(path)) if path.is_file() else {}
        names = {token.content for token in self.special_tokens.values()}
        self.added_tokens = serialized | {
            number: Token(content, special=content in names, normalized=content not in names)
            for content, number in older.items()
        }


def _read(path: Path) -> TokenizerFields:
    return read_fields(TokenizerFields, read_json(path) if path.is_file() else {}, str(path))


def _roles(fields: TokenizerFields) -> dict[str, Token]:
    roles = {role: getattr(fields, role) for role in ROLES}
    return {role: token for role, token in roles.items() if token is not None}


def _read_merges(path: Path) -> list[tuple[str, str]]:
    check_file(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a merges file: byte {error.start} is not UTF-8; fetch it again") from None
    return [
        _pair(line.split(), f"{path} line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip() and not (number == 1 and line.startswith("#version"))
    ]


def _pair(merge: object, where: str) -> tuple[str, str]:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list | tuple) or len(parts) != 2:
        raise ValueError(f"{where} must be two tokens, got {shown(parts)}")
    return parts[0], parts[1]


def byte_pair_encoding(
    vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], unknown: str
) -> "tokenizers.Tokenizer":
    """CLIP's encoding, run by the `tokenizers` library.

    Raises:
        ValueError: the merges do not fit the vocabulary.
    """
    import tokenizers
    from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

    try:
        model = models.BPE(
            vocab=dict(vocabulary),
            merges=list(merges),
            continuing_subword_prefix="",
            end_of_word_suffix=WORD_END,
            unk_token=unknown,
        )
    except Exception as error:  # tokenizers raises bare Exceptions
        raise ValueError(f"the merges do not fit the vocabulary: {shown(str(error))}") from None
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
