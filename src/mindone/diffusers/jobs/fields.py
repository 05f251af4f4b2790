"""The base of jobs: frozen, validated fields. Each declares in one place what every interface needs to know.

A field's type, bounds (``Field(ge=1)``), description and default are pydantic's; ``Option`` adds facts for the command
line's help and the pipelines.
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

from ..utils.errors import rule_of
from ..utils.nearest import nearest, nearest_or_all
from ..utils.printable import shown

F = TypeVar("F", bound="Fields")

LONGEST_TEXT = 10**5
"""The most characters of any text field."""
_MOST_LISTED = 16
"""The most choices that an error message lists."""


@dataclass(frozen=True)
class Option:
    """What a field declares in addition to its type, bounds, description and default."""

    metavar: str | None = None
    """The placeholder of the value in the command line's help."""
    unset: str | None = None
    """What applies if the field is not given, unless its default says so."""
    argument: str | None = None
    """The argument of a pipeline's call that takes the value."""
    in_words: Callable[[], str] | None = None
    """Describes the choices, if a program may add to them; help ends with this."""


class OneOf:
    """In ``Annotated[str, OneOf(names)]``: a choice of names that a program may extend. (`Literal` is for fixed
    ones.)"""

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
    """Immutable values, validated from the start; hashable, and equal if all values are.

    Raises:
        ValueError: a value is out of bounds, a field is unknown or missing, or fields contradict each other: one line
            names the field.
    """

    # A limit on texts also refuses lone surrogates, which JSON can write but no encoding can.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_max_length=LONGEST_TEXT)

    def __init__(self, **values: object):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError(_first_reason(error, type(self).model_fields)) from None

    @classmethod
    def of(cls: type[F], values: Mapping[str, object]) -> F:
        """Like the constructor, for values of unknown types."""
        return cls(**values)

    @classmethod
    def from_texts(cls: type[F], given: Mapping[str, object]) -> F:
        """Fields from a command line or a row of a CSV file.

        None or empty means unset, except for a required field; numbers may be texts, and commas separate the values of
        a field with several.
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
        """A field's `Option`."""
        return next((item for item in cls.model_fields[name].metadata if isinstance(item, Option)), Option())

    def changed(self: F, **values: object) -> F:
        """A copy with other values for some fields, validated."""
        return type(self)(**{**self.to_dict(), **values})

    def to_dict(self) -> dict[str, object]:
        """The fields with values, as JSON values, without those that are unset, empty or off by default."""
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
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: the text is no JSON object, or a field is refused.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
        if not isinstance(values, dict):
            raise ValueError(f"must be a JSON object of {', '.join(cls.model_fields)}; got {shown(values)}")
        return cls(**values)


def plain_type(field: FieldInfo) -> object:
    """A field's type without None and without annotations; a `OneOf` stays itself."""
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
    """The error for an unknown field."""
    return f"unknown field {shown(name)}; {nearest_or_all(name, known)}"


def _first_reason(error: ValidationError, known: Mapping[str, FieldInfo]) -> str:
    """Pydantic's first complaint in one line: the field, what was given, and what would work."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return unknown_field(name, known)
    if first["type"] == "missing":
        field, *at = first["loc"]
        if at and isinstance(at[0], int):  # a value of several
            return f"{field} must be {len(get_args(plain_type(known[str(field)])))} values, got {shown(first['input'])}"
        return f"{name} is missing"
    message = rule_of(first["msg"])
    if first["type"] == "string_unicode":  # such as a word of a terminal whose locale is not UTF-8
        message = "must be text that UTF-8 can write (a terminal's is, with LC_ALL=C.UTF-8)"
    if not name:  # a rule about several fields names them itself
        return message
    return f"{name} {message}, got {shown(first['input'])}"


def listed(choices: Sequence[str], given: object) -> str:
    """Choices in words; if there are many, the first ones and the one nearest to the input."""
    names = [repr(choice) for choice in choices]
    if len(names) <= _MOST_LISTED:
        return ", ".join(names)
    meant = nearest(str(given), choices)
    return f"{', '.join(names[:_MOST_LISTED])}, … ({len(names)} in all){meant and f'; {meant}'}"
