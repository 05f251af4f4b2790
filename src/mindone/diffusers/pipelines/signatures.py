"""Published calls: a pipeline's ``__call__``, made of a task's dataclass (`calls`)."""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from inspect import Parameter, Signature
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..utils.nearest import nearest
from ..utils.outputs import BaseOutput
from ..utils.types import Value
from .callbacks import OlderCallback
from .image_processor import Images
from .stages import draw
from .starts import Start

P = ParamSpec("P")
O = TypeVar("O", bound=BaseOutput)  # noqa: E741

_OTHERWISE = {
    "pag_scale": "perturbed-attention guidance is not here",
    "pag_adaptive_scale": "perturbed-attention guidance is not here",
    "num_images": "it is num_images_per_prompt",
    "seed": "pass generator=np.random.default_rng(seed)",
    "negative_prompts": "it is negative_prompt",
    "init_image": "it is image",
}
"""What is often written, and not a slip of the keyboard."""


def published(
    task: Callable[P, object], start: type[Start], output: type[O]
) -> Callable[Concatenate[Any, P], O | tuple[Images | list[bool] | None, ...]]:
    """The ``__call__`` of a pipeline: the task's arguments, with its defaults and help, for type checkers as well.

    Args:
        task: a dataclass of `calls`.
        start: what runs of the task start from.
        output: what a call returns, unless ``return_dict`` is False.
    """
    signature = inspect.signature(task)

    def __call__(pipe: Any, /, *positional: P.args, **named: P.kwargs) -> O | tuple[Images | list[bool] | None, ...]:
        given = _given(f"{type(pipe).__name__}.__call__", signature, positional, named)
        usual = {name: value for name, value in pipe.usual_arguments().items() if name in signature.parameters}
        asked = vars(task(**{**usual, **given}))  # type: ignore[call-arg]
        for name, value in asked.items():
            if check := _declared(task, name).get("check"):
                check(name, value)
        call = pipe.arguments(**asked)
        results = draw(pipe, call, start(call))[: len(fields(output))]  # type: ignore[arg-type]
        return output(*results) if call.return_dict else results

    returns = output | tuple[Images | list[bool] | None, ...]
    parameters = [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD), *signature.parameters.values()]
    __call__.__signature__ = Signature(parameters, return_annotation=returns)  # type: ignore[attr-defined]
    __call__.__annotations__ = {each.name: each.annotation for each in parameters[1:]} | {"return": returns}
    __call__.__doc__ = _docstring(task, signature)
    return __call__


def _given(
    name: str, signature: Signature, positional: tuple[Value, ...], named: Mapping[str, Value]
) -> dict[str, Value]:
    """The arguments of a call as the task has them; ``callback`` and ``callback_steps`` become the newer form.

    Raises:
        TypeError: an argument that the task does not have; the nearest one is named. Or too many, or one twice.
        ValueError: ``callback`` is no function, or ``callback_steps`` no number.
    """
    named = dict(named)
    callback, every = named.pop("callback", None), named.pop("callback_steps", None)
    for keyword in named:
        if keyword not in signature.parameters:
            raise TypeError(f"{name} has no argument {keyword!r}; {_nearest(keyword, [*signature.parameters])}")
    try:
        given = signature.bind_partial(*positional, **named).arguments
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    if callback is not None:
        newer = given.get("callback_on_step_end")
        given["callback_on_step_end"] = OlderCallback(callback, 1 if every is None else every, newer)
    return given


def _nearest(keyword: str, known: list[str]) -> str:
    if keyword in _OTHERWISE:
        return _OTHERWISE[keyword]
    return nearest(keyword, known) or f"it has {', '.join(known)}"


def _declared(task: Any, name: str) -> Mapping[str, Any]:
    """What `calls.argument` says of an argument, where a task has no more than another default for it."""
    found = (vars(cls).get("__dataclass_fields__", {}).get(name) for cls in task.__mro__)
    return next((each.metadata for each in found if each is not None and each.metadata), {})


def _docstring(task: Any, signature: Signature) -> str:
    each = (_paragraph(f"{name}: {_declared(task, name)['help']}") for name in signature.parameters)
    return "\n".join(
        [
            "Draw images.",
            "",
            "Args:",
            *each,
            "",
            "Returns:",
            "    Images, and of pipelines that may have a safety checker its verdicts (None without one).",
            "",
            "Raises:",
            "    ValueError: an argument is wrong; raised before any network runs.",
            "    TypeError: an argument that the call does not have.",
        ]
    )


@cache
def _paragraph(text: str) -> str:
    """Filled once: most tasks have most arguments."""
    return textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="        ")
