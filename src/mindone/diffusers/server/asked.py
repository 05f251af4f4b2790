"""Fields of a request: those beyond the ones that are honoured ask for nothing, or are refused by name.

Clients send fields of every kind, most of them at values that change nothing. A field that asks for nothing
is accepted, whatever its name. One that would change the picture is honoured, or refused where it cannot be.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, model_validator

from .refusals import Refusal

Neutral: TypeAlias = Mapping[str, tuple[object, ...] | None]
"""Fields that are not supported, with the values at which they ask for nothing; None where no value could show in a
picture. False asks for nothing too, unless True is the harmless value."""


class AskedFields(BaseModel):
    """The fields that an API honours."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @classmethod
    def neutral(cls, values: Mapping[str, object]) -> Neutral:
        """What is harmless beside the other fields of this request."""
        return {}

    @classmethod
    def idle(cls, values: Mapping[str, object]) -> Collection[str]:
        """The fields that others of this request switch off."""
        return ()

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_ignored(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        return honoured(values, cls.model_fields, cls.neutral(values), cls.idle(values))


def honoured(
    values: Mapping[str, object], known: Collection[str], neutral: Neutral, idle: Collection[str] = ()
) -> dict[str, object]:
    """The fields of a request that are to be honoured.

    Args:
        values: what the client sent; null leaves a field at its default.
        known: the names of the fields that can be honoured.
        neutral: the fields whose harmless values are known.
        idle: fields that mean nothing beside the others of this request, such as the size of a second pass when there
            is none.

    Raises:
        Refusal: a field asks for what cannot be honoured.
    """
    kept = {}
    for name, value in values.items():
        if value is None or name in idle:
            continue
        if name in known:
            kept[name] = value
        elif name in neutral:
            _check_neutral(name, value, neutral[name])
        elif value != 0 and not _is_empty(value):
            raise Refusal(422, f"unknown field {name[:80]!r}", name[:80])
    return kept


def _check_neutral(name: str, value: object, harmless: tuple[object, ...] | None) -> None:
    if harmless is None or value in harmless:
        return
    if _is_empty(value) and not (value is False and any(each is True for each in harmless)):
        return
    known = " or ".join(repr(each) for each in harmless if isinstance(each, (int, float, str)) and len(repr(each)) < 40)
    raise Refusal(422, f"{name} is not supported; leave it out" + (f", or keep it at {known}" if known else ""), name)


def _is_empty(value: object) -> bool:
    """Whether a value usually asks for nothing: false, or an empty text, list or object."""
    return value is False or value in ("", [], {})
