"""The signatures and docstrings of published calls, made from a task's dataclass (`calls`)."""

import inspect
import textwrap
from collections.abc import Callable
from functools import cache
from inspect import Parameter, Signature
from typing import Any

from .calls import declared


def documented(call: Callable[..., object], task: Callable[..., object], returns: object) -> None:
    """Give a pipeline's ``__call__`` the arguments of its task, with their types, defaults and help."""
    signature = inspect.signature(task)
    parameters = [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD), *signature.parameters.values()]
    call.__signature__ = Signature(parameters, return_annotation=returns)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters[1:]} | {"return": returns}
    call.__doc__ = _docstring(task, signature)


def _docstring(task: Any, signature: Signature) -> str:
    each = (_paragraph(f"{name}: {declared(task, name)['help']}") for name in signature.parameters)
    return "\n".join(
        [
            "Draw images.",
            "",
            "Args:",
            *each,
            "",
            "Returns:",
            "    Images and, if the pipeline may have a safety checker, its verdicts (None without one).",
            "",
            "Raises:",
            "    ValueError: an argument is wrong; raised before any network runs.",
            "    TypeError: the call has no such argument.",
        ]
    )


@cache
def _paragraph(text: str) -> str:
    """Wrapped once: most tasks have most arguments."""
    return textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="        ")
