"""From prompts to text embeddings."""

from ..adapters.textual_inversion import spelled_out
from ..engines import Array, Engine
from ..utils import logging
from .components import Component

logger = logging.get_logger(__name__)


def as_list(text: str | list[str] | None, count: int) -> list[str]:
    """One text for each of ``count`` prompts: a single one serves all, None is the empty text."""
    return list(text) if isinstance(text, list) else [text or ""] * count


def encode_text(
    engine: Engine,
    text_encoder: Component,
    tokenizer: Component,
    texts: list[str],
    skip: int = 0,
    apply_final_norm: bool = True,
) -> tuple[Array, Array]:
    """Run a CLIP text encoder.

    Texts beyond the encoder's length (77 tokens) are cut off, with a warning that names the part that is lost.

    Args:
        skip: how many of the last layers to leave out.
        apply_final_norm: whether the final layer norm follows the last layer that is run.

    Returns:
        Hidden states (texts, tokens, channels), and the pooled or projected text (texts, channels).
    """
    check_reader(text_encoder, tokenizer)
    texts = [spelled_out(text_encoder, text) for text in texts]
    length = min(tokenizer.model_max_length, text_encoder.config["max_position_embeddings"])
    for text in dict.fromkeys(texts):
        if lost := tokenizer.truncated(text, length):
            logger.warning(
                f"The prompt is longer than the {length} tokens that CLIP reads; this part is ignored: {lost}"
            )
    ids = tokenizer(texts, max_length=length)
    vocabulary = text_encoder.config["vocab_size"]
    if ids.max() >= vocabulary:
        raise ValueError(
            f"the tokenizer gave the id {ids.max()}, but the text encoder knows {vocabulary} tokens: they are not of "
            "one checkpoint"
        )
    hidden, pooled, *_ = engine.run(text_encoder, ids, skip=skip, apply_final_norm=apply_final_norm)
    return hidden, pooled


def check_reader(text_encoder: Component, tokenizer: Component) -> None:
    """Texts need a text encoder and a tokenizer. Raises ValueError where one is None."""
    for name, component in (("text_encoder", text_encoder), ("tokenizer", tokenizer)):
        if component is None:
            raise ValueError(
                f"the pipeline's {name} is None, so that it reads no texts; pass prompt_embeds, and under guidance "
                "negative_prompt_embeds, or set one"
            )


def repeat_each(engine: Engine, x: Array, times: int) -> Array:
    """Rows ``a, b`` of ``x`` as ``a, a, b, b`` (for two times)."""
    if times == 1:
        return x
    return engine.concat([x[row : row + 1] for row in range(x.shape[0]) for _ in range(times)])
