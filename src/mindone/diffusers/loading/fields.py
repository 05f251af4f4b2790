"""The values that a config's fields may have: types declare them beside the names, and reading a config checks them.

A group of fields is a dataclass annotated with the types below or similar ones; its ``__post_init__`` checks rules
across several fields. The bounds lie far beyond every published checkpoint, and keep a broken file from requesting
terabytes.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, Strict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ..utils.errors import one_line
from ..utils.printable import shown

Flag = Annotated[bool, Strict()]
"""True or false; 0 and 1 are neither."""
Pixels = Annotated[int, Strict(), Field(ge=1, le=16_384)]
TokenId = Annotated[int, Strict(), Field(ge=0, lt=2**24)]
Real = Annotated[float, Strict(), Field(allow_inf_nan=False)]
"""Any finite number; whole ones may be written without a point."""
Positive = Annotated[Real, Field(gt=0)]
Fraction = Annotated[Real, Field(gt=0, lt=1)]
"""Strictly between 0 and 1, as the β of a noise schedule."""

T = TypeVar("T")
_SHOULD = re.compile(r"^\w+ should (?:be )?")


def read_fields(schema: type[T], values: object, owner: str) -> T:
    """Check values against a type: a dataclass of fields (unknown keys are ignored), or a plain type.

    Args:
        schema: the type to check against. Missing fields get their defaults.
        values: for example the content of a ``config.json``.
        owner: the class or the file that they belong to, for the message.

    Raises:
        ValueError: one line that gives, for every wrong field, the allowed values and the given one.
    """
    try:
        checked: T = _adapter(schema).validate_python(dict(values) if isinstance(values, Mapping) else values)
    except ValidationError as error:
        raise ValueError(f"{owner}: {'; '.join(_explained(error.errors(include_url=False), values))}") from None
    return checked


_adapter: Callable[[object], TypeAdapter[Any]] = functools.cache(TypeAdapter)
"""What checks values against a type: making it takes hundreds of times as long as a check."""


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Make errors in a file's values name the file, in one line of readable length."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {one_line(str(error))}") from None
    except MemoryError:
        raise ValueError(f"{path}: what it describes does not fit into memory") from None


def listed(names: Iterable[str], room: int = 90) -> str:
    """Names separated by commas: those that fit into ``room`` characters, at least one, and the number of others.

    A stranger's file chooses the names and their number; the message must stay readable.
    """
    every = list(names)
    first: list[str] = []
    for name in every:
        name = name if name.isprintable() and len(name) <= 80 else shown(name)
        if first and sum(map(len, first)) + len(name) > room:
            break
        first.append(name)
    more = len(every) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def _explained(errors: Sequence[ErrorDetails], values: object) -> Iterator[str]:
    """One clause per wrong field."""
    fields = dict.fromkeys(error["loc"][:1] for error in errors)
    for field in fields:
        steps = [(_steps(error, values), error) for error in errors if error["loc"][:1] == field]
        # Among a union's alternatives, only those that got furthest into the value count.
        depth = max(len(path) for path, _ in steps)
        furthest = [(path, error) for path, error in steps if len(path) == depth]
        path, first = furthest[0]
        name = _name(path)
        if first["type"] == "value_error":
            yield f"{name}: {first['ctx']['error']}" if name else str(first["ctx"]["error"])
        elif first["type"] == "missing":
            yield f"{name} is missing"
        else:
            allowed = dict.fromkeys(_allowed(error["msg"]) for same, error in furthest if same == path)
            rule = " or ".join(allowed).replace(" or be ", " or ")
            yield f"{name or 'the content'} must {rule}, got {shown(first['input'])}"


def _steps(error: ErrorDetails, values: object) -> tuple[str | int, ...]:
    """The location of an error, as keys and positions, without pydantic's names for a union's alternatives."""
    steps: list[str | int] = []
    for step in error["loc"]:
        if isinstance(values, Mapping) and (step in values or error["type"] == "missing"):
            values = values.get(step)
        elif isinstance(values, (list, tuple)) and isinstance(step, int):
            values = values[step] if step < len(values) else None
        else:
            continue
        steps.append(step)
    return tuple(steps)


def _name(steps: tuple[str | int, ...]) -> str:
    """``("size", "width")`` as ``size.width``, ``("sizes", 1)`` as ``sizes[1]``; one line for any key."""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    return name if name.isprintable() and len(name) <= 80 else shown(name)


def _allowed(message: str) -> str:
    """pydantic's "Input should be a valid tuple" as "be a list"."""
    allowed = _SHOULD.sub("be " if " should be " in message else "", message)
    allowed = allowed.replace("a valid tuple", "a list").replace("a valid dictionary", "an object")
    return re.sub(r"a dictionary or an instance of \w+", "an object", allowed).replace(" after validation", "")
