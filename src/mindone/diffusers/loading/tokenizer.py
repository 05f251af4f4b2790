"""CLIP's tokenizer: converts text to the ids that the text encoders were trained on.

Byte-level byte-pair encoding of lower-cased text, with ``</w>`` marking the end of a word (A. Radford et al., "Learning
Transferable Visual Models From Natural Language Supervision", 2021, section 2.4). The `tokenizers` library
does the work, set up like transformers' `CLIPTokenizerFast`, so the ids are the same.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..utils.files import write_json
from ..utils.printable import shown
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
        self._add(*(token for _, token in sorted(added.items())), special=False)
        for number, token in sorted(added.items()):
            actual = self._tokenizer.token_to_id(token.content)
            if actual != number:
                raise ValueError(
                    f"the added token {shown(token.content)} is to have id {number}, but would get {actual}"
                )
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

    def tokenize(self, text: str) -> list[str]:
        """The tokens of one text, without start and end tokens; ``</w>`` marks the last one of a word."""
        return self.convert_ids_to_tokens(self.encode(text, add_special_tokens=False))

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text of a row of ids: in lower case, with single spaces between words and punctuation."""
        text: str = self._tokenizer.decode([int(number) for number in ids], skip_special_tokens=skip_special_tokens)
        return text.replace(WORD_END, " ").strip()

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
