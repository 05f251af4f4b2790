"""Text embeddings of prompts with weights and of any length: AUTOMATIC1111's arithmetic, in its "Original" emphasis."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..engines import Array, Engine
from ..families.clip_texts import TextTower, run_tower
from ..pipelines import checks
from ..pipelines.pipeline import Pipeline
from .pieces import Piece, pieces_of
from .syntax import refuse_composition

Floats = NDArray[np.float32]
Texts = str | list[str] | None


def encode_prompt(
    pipe: Pipeline,
    prompt: str | list[str],
    negative_prompt: Texts = None,
    *,
    prompt_2: Texts = None,
    negative_prompt_2: Texts = None,
    clip_skip: int | None = None,
    do_classifier_free_guidance: bool | None = None,
) -> dict[str, Array]:
    """The arguments to call a pipeline with instead of prompts: ``pipe(**encode_prompt(pipe, "a (red:1.3) cat"))``.

    Each prompt is cut into pieces of 75 tokens, which are encoded one by one. The vectors of a piece are multiplied by
    their tokens' weights, and then by one number that restores their mean. The pieces of a prompt follow one another;
    if another prompt of the call has more, pieces of an empty text fill up. The pooled text of Stable Diffusion XL is
    the first piece's, without weights.

    Args:
        pipe: a pipeline of Stable Diffusion 1, 2 or XL; image-to-image, inpainting and ControlNet too.
        prompt: a text with weights (`parse_prompt`), or a list of them.
        negative_prompt: the same for what to avoid. None means the empty text, or for Stable Diffusion XL zeros if the
            checkpoint was trained that way (``force_zeros_for_empty_prompt``).
        prompt_2, negative_prompt_2: for the second text encoder, which without them reads the first ones.
        clip_skip: how many of the text encoders' last layers to skip, for negative prompts too: this is how
            AUTOMATIC1111 does it; a pipeline's own ``clip_skip`` does not.
        do_classifier_free_guidance: False omits the negative embeddings; by default they are omitted if the network has
            guidance built in.

    Returns:
        ``prompt_embeds`` and ``negative_prompt_embeds``, (prompts, pieces · 77, channels), and for Stable Diffusion XL
        ``pooled_prompt_embeds`` and ``negative_pooled_prompt_embeds``, (prompts, channels): the engine's arrays.

    Raises:
        ValueError: a wrong argument, a prompt that `parse_prompt` refuses or that joins several with ``AND``, more than
            40 pieces, or weights whose embeddings are not finite.
    """
    if not hasattr(pipe, "text_towers"):
        raise ValueError(
            "pipe must be a loaded pipeline, such as DiffusionPipeline.from_pretrained(…) returns, "
            f"got {type(pipe).__name__}"
        )
    towers = pipe.text_towers
    if not towers:
        raise ValueError(f"{type(pipe).__name__} supports no weighted words; pass the prompt to the pipeline itself")
    networks = [tower.both[0] for tower in towers]
    seconds = {"prompt_2": prompt_2, "negative_prompt_2": negative_prompt_2}
    count = checks.check_prompts(prompt, None, negative_prompt, None, **seconds)
    least = min(network.config["num_hidden_layers"] - tower.skip for network, tower in zip(networks, towers))
    checks.check_clip_skip(clip_skip, least)
    guided = do_classifier_free_guidance
    if guided is None:
        guided = not pipe.family.has_built_in_guidance(pipe.denoiser.config)
    positive = checks.as_list(prompt, count), checks.as_list(prompt_2 or prompt, count)
    for text in {text for texts in positive for text in texts}:
        refuse_composition(text)
    inputs = pipe.family.inputs.values()
    rows = _in_pieces("prompt", towers, *positive)
    pools, nothing_negative = "text_embeds" in inputs, negative_prompt is None and negative_prompt_2 is None
    zeros = pools and nothing_negative and bool(pipe.own_settings.force_zeros_for_empty_prompt)
    if guided and not zeros:
        negative = checks.as_list(negative_prompt, count), checks.as_list(negative_prompt_2 or negative_prompt, count)
        rows += _in_pieces("negative_prompt", towers, *negative)
    embeds, pooled = _encoded(pipe.engine, towers, rows, clip_skip or 0)
    given = {"prompt_embeds": embeds[:count]} | ({"pooled_prompt_embeds": pooled[:count]} if pools else {})
    if guided:
        negatives = [x[:count] * 0.0 if zeros else x[count:] for x in (embeds, pooled)]
        given |= {f"negative_{name}": x for name, x in zip(given, negatives)}
    return {name: pipe.engine.asarray(x) for name, x in given.items()}


Row = list[list[Piece]]
"""A prompt's pieces for each text encoder."""


def _in_pieces(name: str, towers: Sequence[TextTower], *texts: Sequence[str]) -> list[Row]:
    """The pieces of each prompt; ``texts`` are all prompts for the first text encoder, then those for the second."""
    return [[pieces_of(text, tower, name) for tower, text in zip(towers, each)] for each in zip(*texts)]


def _encoded(engine: Engine, towers: Sequence[TextTower], rows: Sequence[Row], clip_skip: int) -> tuple[Floats, Floats]:
    """Embeddings (prompts, tokens, channels of all encoders), and the last encoder's pooled texts."""
    most = max(len(pieces) for row in rows for pieces in row)
    by_tower = []
    for number, tower in enumerate(towers):
        encode = _Encoder(engine, tower, clip_skip)
        padded = [row[number] + [Piece()] * (most - len(row[number])) for row in rows]
        by_tower.append([[encode(piece) for piece in pieces] for pieces in padded])
    hidden = [np.stack([np.concatenate([each for each, _ in pieces]) for pieces in tower]) for tower in by_tower]
    embeds = np.concatenate(hidden, axis=-1)
    if not np.isfinite(embeds).all():
        raise ValueError("prompt has weights whose embeddings are not finite; use smaller ones")
    return embeds, np.stack([pieces[0][1] for pieces in by_tower[-1]])


class _Encoder:
    """Encodes each piece once and one by one, so that one compiled graph serves any number of them."""

    def __init__(self, engine: Engine, tower: TextTower, clip_skip: int):
        self._engine, self._tower, self._clip_skip = engine, tower, clip_skip
        self._known: dict[tuple[int, ...], tuple[Floats, Floats]] = {}

    def __call__(self, piece: Piece) -> tuple[Floats, Floats]:
        """The weighted vectors (tokens, channels) and the pooled text (channels) of a piece."""
        ids = tuple(piece.ids)
        if ids not in self._known:
            row = np.array([self._tower.framed(ids)], np.int64)
            end = self._tower.both[1].eos_token_id
            hidden, pooled = run_tower(self._engine, self._tower, row, self._clip_skip, pool_at=end)
            self._known[ids] = self._engine.numpy(hidden)[0], self._engine.numpy(pooled)[0]
        hidden, pooled = self._known[ids]
        return _weighted(hidden, piece.weights), pooled


def _weighted(hidden: Floats, weights: Sequence[float]) -> Floats:
    """Vectors (tokens, channels) times their tokens' weights, with their mean restored."""
    if all(weight == 1 for weight in weights):
        return hidden
    factors = np.ones((len(hidden), 1))
    factors[1 : 1 + len(weights), 0] = weights
    with np.errstate(all="ignore"):  # non-finite numbers are refused
        weighted = hidden * factors
        # In float64: both means are small differences of large numbers.
        return np.asarray(weighted * (hidden.mean(dtype=np.float64) / weighted.mean()), np.float32)
