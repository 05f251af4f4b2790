"""CLIP's tokenizer: converts text to the ids that the text encoders were trained on.

Byte-level byte-pair encoding of lower-cased text, with ``</w>`` marking the end of a word (A. Radford et al., "Learning
Transferable Visual Models From Natural Language Supervision", 2021, section 2.4). The `tokenizers` library
does the work, set up like transformers' `CLIPTokenizerFast`, so the ids are the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .fields import naming, read_fields
from .tokenizer_base import TokenizerBase
from .tokenizer_files import WORD_END, SpecialTokens, Token, TokenizerFiles, byte_pair_encoding

_CONTEXT = 77


class CLIPTokenizer(TokenizerBase):
    """Converts text to ids and back.

    It converts the text to Unicode's composed form (NFC), runs of whitespace to one space, and letters to lower case;
    then it encodes contractions, runs of letters, single digits and runs of other characters one by one.

    transformers has a second, slow tokenizer that differs on unusual text: without the package ftfy it drops
    control and format characters (such as the joiner inside a family emoji) and separates every Chinese character;
    with ftfy it repairs mojibake. This class gives the fast one's ids, on every machine.

    Args:
        vocabulary: the id of every token, without added ones.
        merges: the pairs to join, the most frequent first.
        special_tokens: ``bos_token``, ``eos_token``, ``unk_token``, ``pad_token``, each a string or a dict with its
            ``content`` and flags as published configs have them; by default CLIP's own. As in the reference, a
            special token inside a text is that token: if ``pad_token`` is "!", as in Stable Diffusion 2, "hi!" ends in
            one.
        added_tokens: additional tokens by id, in the same form.
        model_max_length: the most tokens that the text encoder takes, including start and end.

    Raises:
        ValueError: the vocabulary and the merges do not fit together, or a special token is not in it.
    """

    frame_words = "start and end token"

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

        super().__init__()
        self.model_max_length = model_max_length
        special = read_fields(SpecialTokens, special_tokens or {}, "special_tokens")
        self.bos_token, self.eos_token = special.bos_token.content, special.eos_token.content
        self.unk_token, self.pad_token = special.unk_token.content, special.pad_token.content
        self._tokenizer = byte_pair_encoding(vocabulary, merges, self.unk_token)
        added = read_fields(dict[int, Token], dict(added_tokens or {}), "added_tokens")
        self._add_numbered(added)
        self.bos_token_id, self.eos_token_id, self.unk_token_id, self.pad_token_id = (
            self._with_role(role, token, normalized=role != "pad_token") for role, token in vars(special).items()
        )
        self._tokenizer.post_processor = processors.RobertaProcessing(
            (self.eos_token, self.eos_token_id),
            (self.bos_token, self.bos_token_id),  # "cls" until tokenizers 0.22, "cls_token" since
            add_prefix_space=False,
            trim_offsets=False,
        )

    @classmethod
    def read_folder(cls, folder: Path) -> "CLIPTokenizer":
        """Read ``vocab.json`` and ``merges.txt``, or ``tokenizer.json``; raises as `from_pretrained` does."""
        files = TokenizerFiles(folder)
        with naming(folder):
            return cls(
                files.vocabulary,
                files.merges,
                special_tokens=files.special_tokens,
                added_tokens=files.added_tokens,
                model_max_length=files.model_max_length or _CONTEXT,
            )

    def normalized(self, text: str) -> str:
        """A text as the tokenizer sees it: composed, in lower case, with single spaces."""
        return str(self._tokenizer.normalizer.normalize_str(text))

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text of a row of ids: in lower case, with single spaces between words and punctuation."""
        text: str = self._tokenizer.decode([int(number) for number in ids], skip_special_tokens=skip_special_tokens)
        return text.replace(WORD_END, " ").strip()

    def _own_settings(self) -> dict[str, object]:
        return {"add_prefix_space": False, "do_lower_case": True, "errors": "replace"}
