"""What values a config's fields may have: said beside their names as types, and checked when a config is read.

A group of fields is a dataclass whose annotations are the types below, or are made as they are; rules that several
fields share stand in its ``__post_init__``. The bounds lie far beyond every published checkpoint, and keep a broken
file from asking for terabytes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

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
    """Check values against a type: a dataclass of fields (keys that it does not have are ignored), or a plain type.

    Args:
        schema: what the values are to be. Fields that are left out have their defaults.
        values: such as the content of a ``config.json``.
        owner: whose they are, for the message: a class, or a file.

    Raises:
        ValueError: the one line says, for every field that is wrong, what is allowed and what was given.
    """
    try:
        return TypeAdapter(schema).validate_python(dict(values) if isinstance(values, Mapping) else values)
    except ValidationError as error:
        raise ValueError(f"{owner}: {'; '.join(_explained(error.errors(include_url=False), values))}") from None


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Errors in the values of a file name it, in one line that is not too long to be read."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {one_line(str(error))}") from None
    except MemoryError:
        raise ValueError(f"{path}: what it describes does not fit into memory") from None


def listed(names: Iterable[str], room: int = 90) -> str:
    """Names with commas between them: those that fit into ``room`` characters, at least one, and how many more.

    A stranger's file chooses both the names and how many there are; a message has to stay one that can be read.
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
    """One clause per field that is wrong."""
    fields = dict.fromkeys(error["loc"][:1] for error in errors)
    for field in fields:
        steps = [(_steps(error, values), error) for error in errors if error["loc"][:1] == field]
        # Of the alternatives of a union, those count that got furthest into the value.
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
    """Where an error is, as keys and positions; pydantic's names of a union's alternatives are left out."""
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
    """``("size", "width")`` as ``size.width``, ``("sizes", 1)`` as ``sizes[1]``; in one line whatever the key."""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    return name if name.isprintable() and len(name) <= 80 else shown(name)


def _allowed(message: str) -> str:
    """pydantic's "Input should be a valid tuple" as "be a list"."""
    allowed = _SHOULD.sub("be " if " should be " in message else "", message)
    allowed = allowed.replace("a valid tuple", "a list").replace("a valid dictionary", "an object")
    return re.sub(r"a dictionary or an instance of \w+", "an object", allowed).replace(" after validation", "")
