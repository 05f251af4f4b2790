"""Converts between a job's fields and the command line, both ways; options take all their facts from the fields.

How a field's type is spelled:

- a text, a number or a choice: ``--steps 25``;
- a switch, off by default: ``--grid``;
- several of a kind (``tuple[str, ...]``): a repeated option, ``--lora a --lora b``;
- a fixed number of values (``tuple[float, float]``): ``--guidance-interval 0,0.5``.

A required field is an argument of the command, not an option.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from ..jobs import Fields, Job
from ..jobs.fields import OneOf, listed, plain_type

C = TypeVar("C", bound=Callable[..., object])

_LIMITS = ("ge", "gt", "le", "lt")


def options_of(fields: type[Fields], leave_out: Collection[str] = ()) -> Callable[[C], C]:
    """A decorator that gives a command an option for each field."""

    def decorate(command: C) -> C:
        for name in reversed(fields.model_fields):
            if name not in leave_out:
                command = parameter(fields, name)(command)
        return command

    return decorate


class Names(click.Choice):  # type: ignore[type-arg]  # not generic in older versions
    """A choice whose error suggests the nearest of many names instead of listing all; a program may add names."""

    def __init__(self, names: Collection[str]):
        self.names = names
        super().__init__(tuple(names))

    @property
    def choices(self) -> tuple[str, ...]:
        """The current names, for help."""
        return tuple(self.names)

    @choices.setter
    def choices(self, names: object) -> None:
        """Convert as `click.Choice`, with the current names."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.names:
            self.fail(f"{value!r} is not one of {listed(tuple(self.names), value)}", param, ctx)
        return str(value)


def parameter(fields: type[Fields], name: str) -> Callable[[C], C]:
    """The click decorator for one field."""
    field, known = fields.model_fields[name], fields.option(name)
    if field.is_required():
        return click.argument(name)
    kind, several, is_flag = _kind(field)
    help = field.description or ""
    choice = plain_type(field)
    if in_words := choice.in_words if isinstance(choice, OneOf) else known.in_words:
        help = f"{help.removesuffix('.')}: {in_words()}."
    if known.unset:
        help += f"  [default: {known.unset}]"
    is_shown = field.default_factory is None and not (field.default is None or isinstance(field.default, (bool, tuple)))
    return click.option(
        _flag(name),
        type=None if is_flag else kind,
        is_flag=is_flag,
        multiple=several,
        default=field.default if is_shown else None,
        show_default=is_shown,
        metavar=known.metavar,
        help=help,
    )


def command_line(command: str, job: Job, **more: object) -> str:
    """The words of a command for ``job``, without defaults, with ``more`` options at the end."""
    from ..utils.printable import shell_command  # `utils` imports image libraries, which help does not need

    arguments, options = [], []
    for name, field in type(job).model_fields.items():
        value = getattr(job, name)
        if field.is_required():
            arguments.append(str(value))
        elif value is not None and value != field.default:
            options += _words(name, value, several=_kind(field)[1])
    for name, value in more.items():
        options += _words(name, value, several=False)
    # A double hyphen separates an argument that looks like an option; after it there are no options.
    separate = any(argument.startswith("-") for argument in arguments)
    words = [*options, "--", *arguments] if separate else [*arguments, *options]
    return shell_command(["mindone-diffusers", command, *words])


def _words(name: str, value: object, several: bool) -> list[str]:
    if value is True or value is False:
        return [_flag(name)] if value else []
    if several and isinstance(value, tuple):
        return [word for each in value for word in (_flag(name), str(each))]
    return [_flag(name), ",".join(str(each) for each in value) if isinstance(value, tuple) else str(value)]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _kind(field: FieldInfo) -> tuple["click.ParamType[Any]", bool, bool]:
    """The click type of a field's values, whether there are several, and whether it is a switch."""
    annotation = plain_type(field)
    several = get_origin(annotation) is tuple and get_args(annotation)[-1] is Ellipsis
    if several:
        annotation = get_args(annotation)[0]
    if isinstance(annotation, OneOf):
        return Names(annotation.names), several, False
    if get_origin(annotation) is Literal:
        return Names([str(value) for value in get_args(annotation)]), several, False
    if annotation in (int, float):
        limits = {name: getattr(bound, name) for bound in field.metadata for name in _LIMITS if hasattr(bound, name)}
        return _number(annotation, limits), several, False
    return click.STRING, several, annotation is bool


def _number(kind: object, limits: Mapping[str, float]) -> "click.ParamType[Any]":  # not generic in older versions
    least, most = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if kind is float:
        return click.FloatRange(least, most, "gt" in limits, "lt" in limits) if limits else click.FLOAT
    whole = [None if limit is None else int(limit) for limit in (least, most)]
    return click.IntRange(whole[0], whole[1], "gt" in limits, "lt" in limits) if limits else click.INT
