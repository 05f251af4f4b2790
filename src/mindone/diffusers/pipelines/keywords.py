"""Keywords of a pipeline's call: those of older scripts, and those that nobody knows."""

import difflib
from inspect import Parameter, Signature

from ..utils.types import Value
from .callbacks import OlderCallback

_OTHERWISE = {
    "pag_scale": "perturbed-attention guidance is not here",
    "pag_adaptive_scale": "perturbed-attention guidance is not here",
    "num_images": "it is num_images_per_prompt",
    "seed": "pass generator=np.random.default_rng(seed)",
    "negative_prompts": "it is negative_prompt",
    "init_image": "it is image",
}
"""What is often written, and not a slip of the keyboard."""


def read_keywords(name: str, signature: Signature, keywords: dict[str, Value]) -> dict[str, Value]:
    """The keywords of a call as its signature has them.

    Args:
        name: the pipeline's name, for messages.
        signature: of the call.
        keywords: as they were given; ``callback`` and ``callback_steps`` become a ``callback_on_step_end``.

    Raises:
        TypeError: a keyword that the call does not have; the nearest one is named.
        ValueError: ``callback`` is no function, or ``callback_steps`` no number.
    """
    parameters = signature.parameters
    if "callback" in keywords or "callback_steps" in keywords:
        keywords = dict(keywords)
        callback, steps = keywords.pop("callback", None), keywords.pop("callback_steps", None)
        if callback is not None:
            newer = keywords.get("callback_on_step_end")
            keywords["callback_on_step_end"] = OlderCallback(callback, 1 if steps is None else steps, newer)
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return keywords  # what it hands them on to knows them
    for keyword in keywords:
        if keyword not in parameters:
            raise TypeError(f"{name}.__call__ has no argument {keyword!r}; {_nearest(keyword, [*parameters][1:])}")
    return keywords


def _nearest(keyword: str, known: list[str]) -> str:
    if keyword in _OTHERWISE:
        return _OTHERWISE[keyword]
    near = difflib.get_close_matches(keyword, known, 1, 0.5)
    return f"the nearest is {near[0]!r}" if near else f"it has {', '.join(known)}"
