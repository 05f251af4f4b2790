"""T5's tokenizer, from a ``tokenizer.json`` or SentencePiece's own ``spiece.model``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, Strict

from ..utils.printable import shown
from . import spiece
from .fast_tokenizer import FILE, FastFields, FastTokenizer
from .fields import Flag

if TYPE_CHECKING:
    import tokenizers

_SPACE = "▁"
_END = "</s>"


@dataclass(frozen=True)
class T5TokenizerFields(FastFields):
    """The additional fields of T5's ``tokenizer_config.json``."""

    extra_ids: Annotated[int, Strict(), Field(ge=0, le=1000)] | None = None
    """The number of marks for gaps, ``<extra_id_0>`` and so on, after SentencePiece's pieces; by default 100."""
    legacy: Flag | None = None
    """Whether to put a space before the text after a special token; true unless the files say otherwise."""


class T5TokenizerFast(FastTokenizer):
    """T5's: pieces of text that include spaces, and an end token after each text.

    Without ``tokenizer.json`` it reads the folder's ``spiece.model``, which gives the same ids.
    """

    Fields = T5TokenizerFields
    roles: ClassVar[Mapping[str, str]] = {"eos_token": _END, "unk_token": "<unk>", "pad_token": "<pad>"}

    @classmethod
    def read(cls, folder: Path, fields: FastFields) -> "tokenizers.Tokenizer":
        """See `FastTokenizer`."""
        if (folder / FILE).is_file() or not (folder / spiece.FILE).is_file():
            return super().read(folder, fields)
        assert isinstance(fields, T5TokenizerFields)
        pieces = spiece.read_spiece(folder / spiece.FILE)
        try:
            if pieces.replacements:
                spiece.check_replacements(pieces.replacements)
            return of_pieces(pieces, 100 if fields.extra_ids is None else fields.extra_ids, fields.legacy is not False)
        except Exception as error:  # tokenizers raises bare Exceptions
            raise ValueError(f"{spiece.FILE} describes no tokenizer: {shown(str(error))}; fetch it again") from None

    def get_sentinel_tokens(self) -> list[str]:
        """The marks for gaps, ``<extra_id_0>`` and so on."""
        return [token for token in self.get_vocab() if token.startswith("<extra_id_")]

    def get_sentinel_token_ids(self) -> list[int]:
        """The ids of `get_sentinel_tokens`."""
        return [self._id(token) for token in self.get_sentinel_tokens()]

    def _own_settings(self) -> dict[str, object]:
        return super()._own_settings() | {"extra_ids": len(self.get_sentinel_tokens())}


def of_pieces(content: spiece.Spiece, extra_ids: int, is_legacy: bool) -> "tokenizers.Tokenizer":
    """A tokenizer from SentencePiece's pieces, followed by marks for gaps."""
    import tokenizers
    from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

    gaps = [f"<extra_id_{number}>" for number in range(extra_ids)]
    entries = [(piece.text, piece.score) for piece in content.pieces] + [(gap, 0.0) for gap in reversed(gaps)]
    tokenizer = tokenizers.Tokenizer(models.Unigram(entries, content.unknown, False))
    for piece in content.pieces:
        if piece.kind in (spiece.CONTROL, spiece.USER_DEFINED):
            is_special = piece.kind == spiece.CONTROL
            tokenizer.add_tokens([AddedToken(piece.text, normalized=False, special=is_special)])
    tokenizer.add_special_tokens([AddedToken(gap, normalized=False) for gap in gaps])
    spaces = [
        normalizers.Strip(left=False, right=True),
        normalizers.Replace(tokenizers.Regex(" {2,}"), _SPACE),
    ]
    characters = [normalizers.Precompiled(content.replacements)] if content.replacements else []
    tokenizer.normalizer = normalizers.Sequence([*characters, *spaces])
    scheme = "always" if is_legacy else "first"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(replacement=_SPACE, prepend_scheme=scheme)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["$A", _END], pair=["$A", _END, "$B", _END], special_tokens=[(_END, tokenizer.token_to_id(_END))]
    )
    return tokenizer
