"""Tokenizers that a ``tokenizer.json`` describes completely: those of language models."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeVar

from pydantic import Field

from ..utils.files import atomic_write, read_json, read_utf8
from ..utils.printable import shown
from .fields import Flag, Real, naming, read_fields
from .spiece import check_replacements
from .tokenizer_base import NO_LIMIT, TokenizerBase
from .tokenizer_files import ROLES, Token, TokenFields

if TYPE_CHECKING:
    import tokenizers

FILE = "tokenizer.json"

T = TypeVar("T", bound="FastTokenizer")


@dataclass(frozen=True)
class FastFields(TokenFields):
    """The fields of language models' ``tokenizer_config.json``."""

    model_max_length: Annotated[Real, Field(ge=1)] | None = None
    add_bos_token: Flag | None = None
    add_eos_token: Flag | None = None


class FastTokenizer(TokenizerBase):
    """Converts text to ids and back, following a ``tokenizer.json``. It pads on the right, whatever the files say.

    A subclass has a published class's name and adds that class's behaviour beyond its file.

    Args:
        tokenizer: the one that the file describes.
        fields: those of the files beside it.

    Raises:
        ValueError: a token with a role is not in the vocabulary.
    """

    Fields: ClassVar[type[FastFields]] = FastFields
    roles: ClassVar[Mapping[str, str]] = {}
    """The default tokens by role, for files that name none."""

    def __init__(self, tokenizer: "tokenizers.Tokenizer", fields: FastFields | None = None):
        super().__init__()
        self.fields = fields or FastFields()
        self._tokenizer = tokenizer
        # Lengths belong to a call: as a state, threads would share them.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        limit = self.fields.model_max_length
        self.model_max_length = NO_LIMIT if limit is None else int(limit)
        self._add_numbered(self.fields.added_tokens_decoder or {})
        self.bos_token, self.bos_token_id = self._role("bos_token")
        self.eos_token, self.eos_token_id = self._role("eos_token")
        unknown, padding = self._role("unk_token"), self._role("pad_token")
        if unknown[1] is None or padding[1] is None:
            raise ValueError(f"{'unk_token' if unknown[1] is None else 'pad_token'} is missing")
        self.unk_token, self.unk_token_id = unknown[0], unknown[1]
        self.pad_token, self.pad_token_id = padding[0] or "", padding[1]

    @classmethod
    def read_folder(cls: type[T], folder: Path) -> T:
        """Read ``tokenizer.json`` and the files beside it; raises as `from_pretrained` does."""
        with naming(folder):
            fields = _fields(cls.Fields, folder)
            return cls(cls.read(folder, fields), fields)

    @classmethod
    def read(cls, folder: Path, fields: FastFields) -> "tokenizers.Tokenizer":
        """The tokenizer that a folder's files describe.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: a file is broken.
        """
        return _read(folder / FILE)

    def _save_model(self, folder: Path) -> None:
        with atomic_write(folder / FILE) as file:
            file.write(self._tokenizer.to_str(pretty=True).encode("utf-8"))

    def _own_settings(self) -> dict[str, object]:
        return {"clean_up_tokenization_spaces": False, "padding_side": "right"}

    @property
    def padding_side(self) -> str:
        """The side of the padding: always the right.

        Raises:
            ValueError: you set it to anything else: text encoders expect padding after the text.
        """
        return "right"

    @padding_side.setter
    def padding_side(self, side: str) -> None:
        if side != "right":
            raise ValueError(f'padding_side must be "right", got {side!r}')

    @property
    def backend_tokenizer(self) -> "tokenizers.Tokenizer":
        """The underlying `tokenizers.Tokenizer`."""
        return self._tokenizer

    @property
    def vocab(self) -> dict[str, int]:
        """The same as `get_vocab`."""
        return self.get_vocab()

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""
        return str(self._tokenizer.decoder.decode(list(tokens)))

    def _role(self, role: str) -> tuple[str | None, int | None]:
        """A role's token and its id; None if there is none."""
        named: Token | None = getattr(self.fields, role)
        content = self.roles.get(role) if named is None else named.content
        if content is None:
            return None, None
        return content, self._with_role(role, named or Token(content))


class GemmaTokenizerFast(FastTokenizer):
    """Gemma's: pieces of text that include spaces, bytes for all other text, and a start token before each text."""

    roles: ClassVar[Mapping[str, str]] = {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }

    def __init__(self, tokenizer: "tokenizers.Tokenizer", fields: FastFields | None = None):
        super().__init__(tokenizer, fields)
        self._begins, self._ends = self.fields.add_bos_token is not False, self.fields.add_eos_token is True
        self._frame_texts()

    @property
    def add_bos_token(self) -> bool:
        """Whether ``bos_token`` precedes each text; true unless the files say otherwise."""
        return self._begins

    @add_bos_token.setter
    def add_bos_token(self, value: bool) -> None:
        self._begins = value
        self._frame_texts()

    @property
    def add_eos_token(self) -> bool:
        """Whether ``eos_token`` follows each text; false unless the files say otherwise."""
        return self._ends

    @add_eos_token.setter
    def add_eos_token(self, value: bool) -> None:
        self._ends = value
        self._frame_texts()

    def _own_settings(self) -> dict[str, object]:
        return super()._own_settings() | {"add_bos_token": self._begins, "add_eos_token": self._ends}

    def _frame_texts(self) -> None:
        from tokenizers import processors

        first, last = (self.bos_token, self.bos_token_id), (self.eos_token, self.eos_token_id)
        single = [str(self.bos_token)] * self._begins + ["$A"] + [str(self.eos_token)] * self._ends
        frame = [first] * self._begins + [last] * self._ends
        self._tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=frame)


def _read(path: Path) -> "tokenizers.Tokenizer":
    import tokenizers

    if not path.is_file():
        raise FileNotFoundError(f"no {FILE} in {path.parent}")
    try:
        content = read_utf8(path)
        description = json.loads(content)
        check_normalizer(description.get("normalizer"))
        tokenizer = tokenizers.Tokenizer.from_str(content)
        check_post_processor(description.get("post_processor"))
        return tokenizer
    except Exception as error:  # tokenizers raises bare Exceptions
        raise ValueError(f"{FILE} describes no tokenizer: {shown(str(error))}; fetch it again") from None


def check_normalizer(description: object) -> None:
    """Check the replacement tables in a file's normalizer; see `spiece.check_replacements`."""
    if isinstance(description, Mapping):
        for part in description.get("normalizers") or ():
            check_normalizer(part)
        if description.get("type") == "Precompiled":
            check_replacements(base64.b64decode(description["precompiled_charsmap"]))


def check_post_processor(description: object) -> None:
    """Check that a file describes all tokens that it puts around texts; otherwise the library panics."""
    if not isinstance(description, Mapping):
        return
    for part in description.get("processors") or ():
        check_post_processor(part)
    if description.get("type") == "TemplateProcessing":
        pieces = [piece for side in ("single", "pair") for piece in description[side]]
        named = {piece["SpecialToken"]["id"] for piece in pieces if "SpecialToken" in piece}
        if missing := sorted(named - {*description["special_tokens"]}):
            raise ValueError(f"its post_processor puts {missing[0]} around texts, and special_tokens do not have it")


def _fields(kind: type[FastFields], folder: Path) -> FastFields:
    """The fields of ``tokenizer_config.json``; ``special_tokens_map.json`` adds the roles that it does not name."""
    config, roles = (
        read_fields(kind, read_json(path) if path.is_file() else {}, path.name)
        for path in (folder / "tokenizer_config.json", folder / "special_tokens_map.json")
    )
    named = {role: getattr(config, role) or getattr(roles, role) for role in ROLES}
    return replace(config, **named)
