"""The published import path of text and image encoders, tokenizers and image processors."""

from typing import TYPE_CHECKING, Any

from mindone.diffusers.lazy import look_up
from mindone.diffusers.published_paths import publish_transformers

if TYPE_CHECKING:
    from mindone.diffusers.loading.clip_image_processor import CLIPImageProcessor as CLIPImageProcessor
    from mindone.diffusers.loading.fast_tokenizer import (
        GemmaTokenizerFast as GemmaTokenizer,
        GemmaTokenizerFast as GemmaTokenizerFast,
    )
    from mindone.diffusers.loading.t5_tokenizer import (
        T5TokenizerFast as T5Tokenizer,
        T5TokenizerFast as T5TokenizerFast,
    )
    from mindone.diffusers.loading.tokenizer import CLIPTokenizer as CLIPTokenizer
    from mindone.diffusers.models.clip_text import (
        CLIPTextModel as CLIPTextModel,
        CLIPTextModelWithProjection as CLIPTextModelWithProjection,
    )
    from mindone.diffusers.models.clip_vision import CLIPVisionModelWithProjection as CLIPVisionModelWithProjection
    from mindone.diffusers.models.gemma2 import Gemma2Model as Gemma2Model
    from mindone.diffusers.models.t5 import T5EncoderModel as T5EncoderModel

_HOME = {
    "CLIPImageProcessor": "mindone.diffusers.loading.clip_image_processor",
    "CLIPTextModel": "mindone.diffusers.families.networks",
    "CLIPTextModelWithProjection": "mindone.diffusers.families.networks",
    "CLIPTokenizer": "mindone.diffusers.loading.tokenizer",
    "CLIPVisionModelWithProjection": "mindone.diffusers.families.networks",
    "Gemma2Model": "mindone.diffusers.families.networks",
    "GemmaTokenizer": "mindone.diffusers.loading.fast_tokenizer:GemmaTokenizerFast",
    "GemmaTokenizerFast": "mindone.diffusers.loading.fast_tokenizer",
    "T5EncoderModel": "mindone.diffusers.families.networks",
    "T5Tokenizer": "mindone.diffusers.loading.t5_tokenizer:T5TokenizerFast",
    "T5TokenizerFast": "mindone.diffusers.loading.t5_tokenizer",
}

__all__ = [
    "CLIPImageProcessor",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPTokenizer",
    "CLIPVisionModelWithProjection",
    "Gemma2Model",
    "GemmaTokenizer",
    "GemmaTokenizerFast",
    "T5EncoderModel",
    "T5Tokenizer",
    "T5TokenizerFast",
]


def __getattr__(name: str) -> Any:
    return look_up(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__


publish_transformers(__name__, _HOME)
