"""What jobs are made of: frozen, validated fields, each of which says in one place what every surface needs to know.

A field's type, bounds (``Field(ge=1)``), description and default are pydantic's; ``Option`` adds what the command
line's help and the pipelines know it by.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function

from ..utils.nearest import nearest, nearest_or_all
from ..utils.printable import shown

F = TypeVar("F", bound="Fields")

LONGEST_TEXT = 10**5
"""The most characters of any text."""
_MOST_LISTED = 16
"""Choices that an error message names."""


@dataclass(frozen=True)
class Option:
    """What is known of a field besides its type, its bounds, its description and its default."""

    metavar: str | None = None
    """What stands for the value in the command line's help."""
    unset: str | None = None
    """What holds when the field is not given, for those whose default does not say it."""
    argument: str | None = None
    """The argument of a pipeline's call that gets the value."""
    in_words: Callable[[], str] | None = None
    """Says what may be given, where a program may add to that: help ends with it."""


class OneOf:
    """In ``Annotated[str, OneOf(names)]``: one of names that a program may add to. (`Literal` is for those that are
    fixed.)"""

    def __init__(self, names: Collection[str], in_words: Callable[[], str]):
        self.names, self.in_words = names, in_words

    def _check(self, given: str) -> str:
        if given not in self.names:
            raise ValueError(f"must be {listed(tuple(self.names), given)}")
        return given

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "enum": list(self.names)}


class Fields(BaseModel):
    """Values that cannot be changed and are valid from the start; hashable, and equal when all of them are.

    Raises:
        ValueError: a value out of bounds, an unknown or missing field, or fields that contradict each other: one line
            that names the field.
    """

    # A bound on texts also refuses half a surrogate pair, which JSON can write and no encoding has.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_max_length=LONGEST_TEXT)

    def __init__(self, **values: object):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError(_first_reason(error, type(self).model_fields)) from None

    @classmethod
    def of(cls: type[F], values: Mapping[str, object]) -> F:
        """The same as the constructor, for values whose types are not known beforehand."""
        return cls(**values)

    @classmethod
    def from_texts(cls: type[F], given: Mapping[str, object]) -> F:
        """Fields as a command line or a row of a CSV file gives them.

        What is None or empty is unset, but for a field that must be given; numbers may be texts, and commas separate
        the values of a field that has several.
        """
        values = {}
        for name, value in given.items():
            field = cls.model_fields.get(name)
            if value in (None, ()) or (value == "" and not (field and field.is_required())):
                continue
            is_split = isinstance(value, str) and field is not None and get_origin(plain_type(field)) is tuple
            values[name] = str(value).split(",") if is_split else value
        return cls(**values)

    @classmethod
    def option(cls, name: str) -> Option:
        """What is known of a field, beside what pydantic knows."""
        return next((item for item in cls.model_fields[name].metadata if isinstance(item, Option)), Option())

    def changed(self: F, **values: object) -> F:
        """The same with other values for some fields, validated."""
        return type(self)(**{**self.to_dict(), **values})

    def to_dict(self) -> dict[str, object]:
        """The fields that say something, as JSON values: those that are unset, empty or off by default are left out."""
        values = self.model_dump(mode="json")
        return {
            name: value
            for name, value in values.items()
            if value or (value is not None and getattr(self, name) != type(self).model_fields[name].default)
        }

    def to_json(self) -> str:
        """``to_dict`` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls: type[F], text: str) -> F:
        """What ``to_json`` wrote.

        Raises:
            ValueError: the text is no JSON object, or its fields are refused.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
        if not isinstance(values, dict):
            raise ValueError(f"must be a JSON object of {', '.join(cls.model_fields)}; got {shown(values)}")
        return cls(**values)


def plain_type(field: FieldInfo) -> object:
    """A field's type without None, and without what it is annotated with; a `OneOf` stands for itself."""
    annotation: object = field.annotation
    while True:
        if get_origin(annotation) is Annotated:
            plain, *about = get_args(annotation)
            annotation = next((each for each in about if isinstance(each, OneOf)), plain)
        elif get_origin(annotation) in (Union, UnionType):
            annotation = next(each for each in get_args(annotation) if each is not type(None))
        else:
            return annotation


def unknown_field(name: str, known: Iterable[str]) -> str:
    """What an error says of a field that there is not."""
    return f"unknown field {shown(name)}; {nearest_or_all(name, known)}"


def _first_reason(error: ValidationError, known: Iterable[str]) -> str:
    """The first of pydantic's complaints in one line, which names the field, what was given and what would work."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return unknown_field(name, known)
    if first["type"] == "missing":
        return f"{name} is missing"
    message = first["msg"].removeprefix("Value error, ")
    if not name:  # a rule that concerns several fields names them itself
        return message
    return f"{name} {message.replace('Input should', 'must')}, got {shown(first['input'])}"


def listed(choices: Sequence[str], given: object) -> str:
    """Choices in words; if there are many, the first ones and the one nearest to what was given."""
    names = [repr(choice) for choice in choices]
    if len(names) <= _MOST_LISTED:
        return ", ".join(names)
    meant = nearest(str(given), choices)
    return f"{', '.join(names[:_MOST_LISTED])}, … ({len(names)} in all){meant and f'; {meant}'}"
