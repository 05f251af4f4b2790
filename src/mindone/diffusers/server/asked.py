"""Sorts the fields of a request: those to honour, those that change nothing, and those to refuse by name.

Clients send fields of every kind, most of them at values that change nothing. The server accepts a field that changes
nothing, whatever its name. It honours a field that would change the image, or refuses it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, model_validator

from .refusals import Refusal

Neutral: TypeAlias = Mapping[str, tuple[object, ...] | None]
"""Unsupported fields with the values that change nothing; None if no value could show in an image. False changes
nothing either, unless True is the harmless value."""


class AskedFields(BaseModel):
    """The fields that an API honours."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @classmethod
    def neutral(cls, values: Mapping[str, object]) -> Neutral:
        """The unsupported fields with their harmless values, given this request's other fields."""
        return {}

    @classmethod
    def idle(cls, values: Mapping[str, object]) -> Collection[str]:
        """The fields that this request's other fields switch off."""
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
    """The fields of a request to honour.

    Args:
        values: the client's fields; null leaves a field at its default.
        known: the names of the supported fields.
        neutral: the unsupported fields with known harmless values.
        idle: fields that have no effect in this request, such as the size of a second pass without a second pass.

    Raises:
        Refusal: a field asks for something unsupported.
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
    """Whether a value usually changes nothing: false, or an empty text, list or object."""
    return value is False or value in ("", [], {})
